//! wrk as a client: it copies what it gets, asks for the targets in turn and keeps its connections. Only runs it and reads what it tells.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// How long it waits for an answer.
const PATIENCE: &str = "30s";

/// How long after its time it may take to end.
const END: Duration = Duration::from_secs(60);

const SCRIPT: &str = include_str!("wrk.lua");

/// What one run saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Told {
    pub(crate) requests: f64,
    /// Bytes of answers, heads included.
    pub(crate) bytes: f64,
    pub(crate) seconds: f64,
    /// Seconds from request to complete answer.
    pub(crate) p99: f64,
}

/// Runs it; its script and targets go into `directory`.
pub(crate) async fn run(
    directory: &Path,
    address: SocketAddr,
    targets: &[String],
    connections: usize,
    time: Duration,
) -> Result<Told> {
    let (script, list) = (directory.join("wrk.lua"), directory.join("wrk.targets"));
    std::fs::write(&script, SCRIPT).context("failed to write wrk's script")?;
    std::fs::write(&list, targets.join("\n")).context("failed to write wrk's targets")?;
    let child = Command::new("wrk")
        .args(["--threads", "1", "--timeout", PATIENCE, "--connections"])
        .arg(connections.to_string())
        .args(["--duration", &format!("{}s", time.as_secs()), "--script"])
        .arg(&script)
        .arg(format!("http://{address}"))
        .arg("--")
        .arg(&list)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("failed to start wrk: is it installed?")?;
    let output = tokio::time::timeout(time + END, child.wait_with_output()).await;
    let output = output.context("wrk does not end")??;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    read(&text).with_context(|| format!("wrk said: {text}"))
}

/// The line that the script writes: requests, bytes, microseconds, those of the 99th percentile, errors.
fn read(text: &str) -> Result<Told> {
    let line = text.lines().find_map(|line| line.strip_prefix("told "));
    let words = line.context("its script told nothing")?.split(' ');
    let numbers: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
    let [requests, bytes, microseconds, p99, errors] = numbers[..] else {
        bail!("its script told something else");
    };
    ensure!(errors == 0.0, "{errors} requests failed");
    ensure!(requests > 0.0, "nothing was answered");
    Ok(Told {
        requests,
        bytes,
        seconds: microseconds / 1e6,
        p99: p99 / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_tells_is_read_and_errors_are_no_figures() {
        let told = read("Running 5s test\ntold 10 2000 5000000 1500 0\nRequests/sec: 2\n").unwrap();
        let expected = Told {
            requests: 10.0,
            bytes: 2000.0,
            seconds: 5.0,
            p99: 0.0015,
        };
        assert_eq!(told, expected);
        for bad in [
            "told 10 2000 5000000 1500 1",
            "told 0 0 5 0 0",
            "told 1",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
