//! The operators under measurement, a process for each namespace: started, asked for their metrics, weighed, ended.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::control_plane::{ControlPlane, operator};
use crate::machine::{free_port, on_processor, usage};
use crate::redis_server::Redis;

/// Name of the release in every namespace.
pub(crate) const INSTANCE: &str = "bench";
/// How long one may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether they have got through.
const LOOK: Duration = Duration::from_millis(50);

/// What operators are started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release<'a> {
    pub(crate) program: &'a Path,
    pub(crate) directory: &'a Path,
    pub(crate) plane: &'a ControlPlane,
    pub(crate) redis: &'a Redis,
    pub(crate) namespaces: &'a [String],
}

/// Running operators.
#[derive(Debug)]
pub(crate) struct Operators {
    processes: Vec<(Child, u16)>,
    client: reqwest::Client,
    started: Instant,
}

impl Operators {
    /// Starts one for each namespace.
    pub(crate) fn start(release: &Release) -> Result<Self> {
        let started = Instant::now();
        let processes = release.namespaces.iter().map(|one| spawn(release, one));
        Ok(Self {
            processes: processes.collect::<Result<_>>()?,
            client: reqwest::Client::new(),
            started,
        })
    }

    /// Waits until they have been through so many streams since their start; how long that took.
    pub(crate) async fn steady(&self, streams: usize, limit: Duration) -> Result<Duration> {
        let wanted = streams as f64;
        let counted = "headend_reconciliations_total";
        self.reaches(counted, wanted, limit).await
    }

    /// Waits until a metric, summed over all of them, has reached a value; how long after the start that was.
    pub(crate) async fn reaches(
        &self,
        metric: &str,
        wanted: f64,
        limit: Duration,
    ) -> Result<Duration> {
        let end = Instant::now() + limit;
        loop {
            // One that does not answer yet has done nothing yet.
            let value = self.metric(metric).await.unwrap_or_default();
            if value >= wanted {
                return Ok(self.started.elapsed());
            }
            if Instant::now() > end {
                bail!("{metric} is {value}, not {wanted}, after {limit:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A metric summed over all of them; with its labels, as it is written.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let mut sum = 0.0;
        for (_, port) in &self.processes {
            let answer = self
                .client
                .get(format!("http://127.0.0.1:{port}/metrics"))
                .send();
            sum += value(&answer.await?.text().await?, name);
        }
        Ok(sum)
    }

    /// Bytes that are theirs alone.
    pub(crate) fn private(&self) -> Result<f64> {
        Ok(usage(&self.pids()?)?.private as f64)
    }

    /// Processor time since their start.
    pub(crate) fn on_processor(&self) -> Result<Duration> {
        self.pids()?.into_iter().map(on_processor).sum()
    }

    fn pids(&self) -> Result<Vec<u32>> {
        let pids = self.processes.iter().map(|(child, _)| child.id());
        pids.map(|pid| pid.context("an operator has ended"))
            .collect()
    }

    /// Ends them in good order.
    pub(crate) async fn end(mut self) -> Result<()> {
        for pid in self.pids()? {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                kill_process(pid, Signal::TERM).context("failed to end an operator")?;
            }
        }
        for (child, _) in &mut self.processes {
            let ended = tokio::time::timeout(ENDS_WITHIN, child.wait()).await;
            ended.context("an operator does not end")??;
        }
        Ok(())
    }
}

fn spawn(release: &Release, namespace: &str) -> Result<(Child, u16)> {
    let port = free_port()?;
    let name = operator(namespace);
    let log = File::create(release.directory.join(format!("{name}.log")))?;
    let child = Command::new(release.program)
        .args(["run", "--namespace", namespace, "--instance", INSTANCE])
        .args(["--transcoder-image", "localhost/transcoder:bench"])
        .args(["--output-claim", "output", "--redis-url"])
        .arg(release.redis.url())
        .args(["--admin-listen", &format!("127.0.0.1:{port}")])
        .env("KUBECONFIG", release.plane.kubeconfig(&name)?)
        .env("HEADEND_LOG", "warn")
        // As the chart sets it.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start {}", release.program.display()))?;
    Ok((child, port))
}

/// The value of a metric in what was answered; nothing counted is zero.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| {
        let (metric, value) = line.rsplit_once(' ')?;
        (metric == name).then_some(value)
    });
    line.and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text =
            "# TYPE a counter\na_total 12\nstreams{phase=\"Live\"} 7\nstreams{phase=\"Idle\"} 8\n";
        assert_eq!(value(text, "a_total"), 12.0);
        assert_eq!(value(text, "streams{phase=\"Live\"}"), 7.0);
        assert_eq!(value(text, "a"), 0.0);
    }
}
