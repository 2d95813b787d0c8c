//! Helm as a platform team calls it. Waits are bounded by helm's own time-outs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The chart's folder.
#[must_use]
pub fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/headend")
}

/// Runs helm in a namespace with values on its standard input, and returns what it printed.
///
/// # Errors
/// When helm is missing or fails; the error has what it said.
pub async fn helm(namespace: &str, arguments: &[&str], values: Option<&Value>) -> Result<String> {
    let mut command = Command::new("helm");
    command
        .args(["--namespace", namespace])
        .args(arguments)
        .kill_on_drop(true);
    if values.is_some() {
        command.args(["--values", "-"]);
    }
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().context("failed to start helm")?;
    let mut input = child.stdin.take().context("helm has no standard input")?;
    if let Some(values) = values {
        input
            .write_all(values.to_string().as_bytes())
            .await
            .context("failed to give helm its values")?;
    }
    drop(input);
    let output = child
        .wait_with_output()
        .await
        .context("failed to wait for helm")?;
    if !output.status.success() {
        bail!(
            "helm {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs or upgrades the release from a chart's folder and waits until it is ready.
///
/// # Errors
/// When helm fails.
pub async fn install(namespace: &str, release: &str, chart: &Path, values: &Value) -> Result<()> {
    let arguments = [
        "upgrade",
        "--install",
        release,
        &chart.to_string_lossy(),
        "--wait",
        "--timeout",
        "120s",
    ];
    helm(namespace, &arguments, Some(values)).await.map(drop)
}

/// Uninstalls the release and waits until its objects are gone.
///
/// # Errors
/// When helm fails.
pub async fn uninstall(namespace: &str, release: &str) -> Result<()> {
    helm(
        namespace,
        &["uninstall", release, "--wait", "--timeout", "150s"],
        None,
    )
    .await
    .map(drop)
}
