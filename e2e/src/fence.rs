//! Looks at the fence of a stream where it stands, in the release's Redis, as an SRE would: with `redis-cli` in its pod. Changes nothing.

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::suite::{NAMESPACE, RELEASE};

/// Where the collection of a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// None is under way.
    Open,
    /// Gateways are waited for.
    Closing,
    /// Sealed: the stream is about to be collected.
    Closed,
}

/// The fence of the stream with this uid.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn of(stream_uid: &str) -> Result<Fence> {
    for (state, fence) in [("closed", Fence::Closed), ("closing", Fence::Closing)] {
        if !score(state, stream_uid).await?.is_empty() {
            return Ok(fence);
        }
    }
    Ok(Fence::Open)
}

async fn score(state: &str, stream_uid: &str) -> Result<String> {
    let pod = format!("{RELEASE}-redis-0");
    let key = format!("headend:{{{NAMESPACE}/{RELEASE}}}:{state}");
    // The password stays in the pod: neither argument nor output here.
    let script =
        r#"REDISCLI_AUTH="$(cat /etc/headend/redis/password)" exec redis-cli ZSCORE "$0" "$1""#;
    let mut command = Command::new("kubectl");
    command.args([
        "--namespace",
        NAMESPACE,
        "exec",
        &pod,
        "--",
        "sh",
        "-c",
        script,
        &key,
        stream_uid,
    ]);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .context("failed to start kubectl")?;
    if !output.status.success() {
        bail!(
            "failed to ask Redis for the fence: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
