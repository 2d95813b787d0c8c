//! An FFmpeg whose standard output is the transport stream of a source: started, read, and surely ended. It never outlives us,
//! and nothing of what it says is repeated.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use command_fds::FdMapping;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdout;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use upstream::milestones::Milestones;

use super::words::{self, Words};
use crate::sandbox;

/// Bytes that are read at once.
const READ_SIZE: usize = 64 << 10;
/// From being asked to end until it is killed: it says goodbye to the server.
const TERMINATE: Duration = Duration::from_secs(1);
/// For its last words after its output has ended.
const REST: Duration = Duration::from_secs(3);

/// What is started.
pub(super) struct Start {
    /// What is run, and with which arguments.
    pub(super) command: (PathBuf, Vec<OsString>),
    /// What it reads from its standard input.
    pub(super) script: String,
    /// What it reads from besides.
    pub(super) inputs: Vec<FdMapping>,
    /// Where it is noted when it says that it is connected.
    pub(super) milestones: Milestones,
}

/// The process. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Child {
    output: ChildStdout,
    buffer: BytesMut,
    words: oneshot::Receiver<Words>,
    _running: DropGuard,
}

impl Child {
    /// Starts it. It counts as a task until it is reaped.
    ///
    /// # Errors
    /// When pipes cannot be made or the program cannot be run.
    pub(super) fn start(start: Start, processes: &TaskTracker) -> io::Result<Self> {
        let (program, arguments) = start.command;
        let mut child = sandbox::spawn(&program, &arguments, start.inputs)?;
        let missing = || io::Error::other("one of its standard streams is missing");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let abort = CancellationToken::new();
        let (tell, words) = oneshot::channel();
        let running = abort.clone().drop_guard();
        let (script, milestones) = (start.script, start.milestones);
        processes.spawn(async move {
            let talk = async {
                // It fits into the pipe; one that ends before it has read it says so by ending.
                drop(stdin.write_all(script.as_bytes()).await);
                drop(stdin);
                // Whether anybody still asks does not matter.
                let _ = tell.send(words::listen(stderr, &milestones).await);
            };
            let ((), ended) = tokio::join!(talk, end(&mut child, &abort));
            if let Err(error) = ended {
                tracing::warn!(%error, "failed to wait for the FFmpeg of a source");
            }
        });
        Ok(Self {
            output,
            buffer: BytesMut::new(),
            words,
            _running: running,
        })
    }

    /// The next bytes; `None` at the end. May be cancelled and called again without losing any.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        self.buffer.reserve(READ_SIZE);
        match self.output.read_buf(&mut self.buffer).await {
            Ok(1..) => Some(self.buffer.split().freeze()),
            Ok(0) | Err(_) => None,
        }
    }

    /// Why it ended, after its output has.
    pub(super) async fn last_words(&mut self) -> Words {
        let words = timeout(REST, &mut self.words).await;
        words.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Waits for the end of the process, or brings it about, and reaps it.
async fn end(
    child: &mut tokio::process::Child,
    abort: &CancellationToken,
) -> io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    tokio::select! {
        status = child.wait() => return status,
        () = abort.cancelled() => {}
    }
    signal(pid, Signal::TERM);
    if let Ok(status) = timeout(TERMINATE, child.wait()).await {
        return status;
    }
    // Blocked in a read, it does not heed the first signal.
    signal(pid, Signal::KILL);
    child.wait().await
}

fn signal(pid: Option<Pid>, signal: Signal) {
    if let Some(pid) = pid
        && let Err(error) = kill_process_group(pid, signal)
    {
        tracing::debug!(%error, ?signal, "failed to signal the FFmpeg of a source");
    }
}
