//! Sees an encoder to its end: closes its input, drains it, then asks, then kills, and always reaps.
//! No step waits without a limit.

use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{EncoderEvent, Exit, Report};

/// From the end of its input until it is asked to end.
const DRAIN: Duration = Duration::from_secs(1);
/// From being asked until it is killed.
const TERMINATE: Duration = Duration::from_secs(2);
/// For what is left in the pipes after its end.
const REST: Duration = Duration::from_secs(1);

/// Everything that belongs to one encoder.
pub(super) struct Supervised {
    /// The process.
    pub(super) child: Child,
    /// The task that writes its input.
    pub(super) feeding: JoinHandle<()>,
    /// The tasks that read its outputs.
    pub(super) drains: JoinSet<()>,
    /// The task that reads its problems.
    pub(super) stderr: JoinHandle<Option<String>>,
    /// Cancelled when its input is closed.
    pub(super) closing: CancellationToken,
    /// Cancelled when nobody wants it any more.
    pub(super) abort: CancellationToken,
    /// Where its end is told.
    pub(super) report: Report,
}

/// Waits for the encoder's end, or brings it about.
pub(super) async fn supervise(mut encoder: Supervised) {
    let status = run_to_end(&mut encoder).await;
    encoder.feeding.abort();
    // A descendant that kept a pipe open must not hold us.
    let rest = async { while encoder.drains.join_next().await.is_some() {} };
    if timeout(REST, rest).await.is_err() {
        tracing::warn!("the encoder ended and left a pipe open");
    }
    let words = timeout(REST, &mut encoder.stderr).await;
    encoder.stderr.abort();
    let last_words = words.ok().and_then(Result::ok).flatten();
    let exit = status.map_or(Exit::Signal(0), Exit::from);
    encoder
        .report
        .tell(EncoderEvent::Ended { exit, last_words });
}

async fn run_to_end(encoder: &mut Supervised) -> io::Result<ExitStatus> {
    let Supervised {
        child,
        closing,
        abort,
        feeding,
        ..
    } = encoder;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    tokio::select! {
        status = child.wait() => return status,
        () = abort.cancelled() => {}
        () = closing.cancelled() => {
            if let Some(status) = within(DRAIN, abort, child.wait()).await {
                return status;
            }
            // With its input open it does not see the signal: it is blocked reading.
            feeding.abort();
            signal(pid, Signal::TERM);
            if let Some(status) = within(TERMINATE, abort, child.wait()).await {
                return status;
            }
            tracing::warn!("the encoder did not end when asked to: killing it");
        }
    }
    feeding.abort();
    signal(pid, Signal::KILL);
    child.wait().await
}

async fn within<T>(
    limit: Duration,
    abort: &CancellationToken,
    ending: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        ended = timeout(limit, ending) => ended.ok(),
        () = abort.cancelled() => None,
    }
}

/// Signals the encoder's process group, once: a second TERM makes FFmpeg throw its output away.
fn signal(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid
        && let Err(error) = kill_process_group(pid, signal)
    {
        tracing::debug!(%error, ?signal, "failed to signal the encoder");
    }
}
