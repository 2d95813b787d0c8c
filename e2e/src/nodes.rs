//! Nodes of the test cluster: closing one to new pods, losing one and getting it back. Only a cluster of our own loses nodes.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::process::Command;

/// The node in whose network the tests run, beside the control plane. It is never lost.
pub const HOME: &str = "node-1";
/// The node that may be lost.
pub const AWAY: &str = "node-2";

/// Whether there are these two nodes and one may be lost. Where not, says which test is left out.
#[must_use]
pub fn are_ours(test: &str) -> bool {
    let ours = std::env::var_os("HEADEND_E2E_OWN_CLUSTER").is_some();
    if !ours {
        eprintln!("LEFT OUT: {test}: only a cluster of our own (`cargo xtask test`) loses nodes");
    }
    ours
}

/// Lets new pods onto a node, or none, as `kubectl cordon` does.
///
/// # Errors
/// When the API server refuses it.
pub async fn close(client: &Client, node: &str, closed: bool) -> Result<()> {
    let spec = json!({ "spec": { "unschedulable": closed } });
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .patch(node, &PatchParams::default(), &Patch::Merge(&spec))
        .await
        .with_context(|| format!("failed to close or open {node}"))?;
    Ok(())
}

/// Evicts everything from the node that may be lost, as whoever maintains it does. Returns what kubectl said.
///
/// # Errors
/// When the node is not empty in time.
pub async fn drain() -> Result<String> {
    let words = [
        "drain",
        AWAY,
        "--force",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=150s",
    ];
    let mut kubectl = Command::new("kubectl");
    run(kubectl.args(words)).await
}

/// Ends the node that may be lost, with its kubelet and its pods, at once and without a word.
///
/// # Errors
/// When that fails.
pub async fn lose() -> Result<()> {
    run(cluster().args(["node", "kill", "2"])).await.map(drop)
}

/// Starts it again and waits until it is Ready. Harmless where it was not lost.
///
/// # Errors
/// When it does not come back.
pub async fn bring_back() -> Result<()> {
    run(cluster().args(["node", "start", "2"])).await.map(drop)
}

/// `cargo xtask cluster`, by the cargo that runs the tests.
fn cluster() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["xtask", "cluster"])
        .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// Runs a program that bounds its own time.
async fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("failed to start {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(said)
}
