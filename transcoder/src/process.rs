//! The process around one attempt: settings, logs, signals, health, exit code. Nothing here knows media.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::job::TranscodeJob;
use clap::Parser;
use prometheus_client::registry::Registry;
use runtime::admin::{self, Readiness};
use runtime::exit::{self, ProcessError};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::job::{self, JobOptions, Outcome};
use crate::metrics::Metrics;
use crate::sandbox::Launcher;
use crate::settings::Settings;
use crate::waiting::{self, Seat};

const NAME: &str = "headend-transcoder";
/// Before the grace ends, this much is kept for ending.
const END: Duration = Duration::from_secs(5);
/// After this long without media from any source a new attempt may be luckier; the reason is told, not hidden by trying on.
const GIVE_UP: Duration = Duration::from_secs(60);
/// How long an attempt that gave up can still be asked why.
const LINGER: Duration = Duration::from_secs(5);
/// Threads for files: a hanging volume takes one for writing and a few for reading.
const FILE_THREADS: usize = 16;

/// Runs the process to its end.
#[must_use]
pub fn main() -> ExitCode {
    exit::report(NAME, run(&Settings::parse()))
}

fn run(settings: &Settings) -> Result<(), ProcessError> {
    runtime::telemetry::start(&settings.log)?;
    let outcome = execute(settings);
    if let Err(error) = &outcome {
        // For `kubectl describe pod`; anywhere else there is no such file.
        drop(std::fs::write(&settings.termination_log, error.message()));
    }
    outcome
}

fn execute(settings: &Settings) -> Result<(), ProcessError> {
    let task = Task::of(settings)?;
    let runtime = Builder::new_multi_thread()
        // One: with more, each look wakes several threads, for work that one does in a hundredth of its time.
        .worker_threads(1)
        .max_blocking_threads(FILE_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(supervise(settings, task));
    // Threads that hang in a volume are left behind: the process must not wait for them.
    runtime.shutdown_background();
    outcome
}

/// What the process is there for.
enum Task {
    Run(Box<TranscodeJob>),
    Wait(Seat),
}

impl Task {
    fn of(settings: &Settings) -> Result<Self, ProcessError> {
        match (&settings.job, settings.job_key, &settings.pod_uid) {
            (None, Some(key), Some(pod_uid)) => Ok(Self::Wait(Seat::new(pod_uid, key))),
            (document, ..) => {
                let document = document.as_deref().unwrap_or_default();
                let job = TranscodeJob::from_json(document).map_err(ProcessError::input)?;
                Ok(Self::Run(Box::new(job)))
            }
        }
    }
}

async fn supervise(settings: &Settings, task: Task) -> Result<(), ProcessError> {
    runtime::trace::start(&settings.trace, NAME).map_err(ProcessError::input)?;
    let listener = TcpListener::bind(settings.listen).await?;
    let shutdown = runtime::shutdown::signals()?;
    let mut registry = Registry::default();
    runtime::build::register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::new(&["segments"]);
    let launcher = Launcher::new(settings.ffmpeg.clone());
    tokio::spawn(launcher.clone().announce(metrics.clone()));
    let options = JobOptions {
        launcher,
        allow_loopback: settings.allow_loopback,
        grace: Duration::from_secs(settings.grace_seconds).saturating_sub(END),
        give_up_after: GIVE_UP,
        linger: LINGER,
        memory_bytes: settings.memory_mebibytes << 20,
        metrics,
        readiness: readiness.clone(),
        routes: admin::router(Arc::new(registry), readiness),
    };
    let outcome = match task {
        Task::Run(job) => job::run(*job, listener, options, shutdown).await?,
        Task::Wait(seat) => waiting::run(seat, listener, options, shutdown).await?,
    };
    match outcome {
        Outcome::Stopped => Ok(()),
        Outcome::Failed { reason, message } => Err(ProcessError::from(format!(
            "{}: {message}",
            reason.as_str()
        ))),
    }
}
