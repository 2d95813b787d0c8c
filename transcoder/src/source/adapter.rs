//! FFmpeg as the way to a source that speaks another protocol than HTTP: it connects, and its standard output is one transport
//! stream. What it is told comes in by its standard input. It never outlives us, and nothing of what it says is repeated.

mod script;
mod words;

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use upstream::failure::SourceFailure;
use upstream::foreign::{self, Protocol};
use upstream::source::Patience;
use url::Url;

use crate::sandbox::Launcher;
use words::Words;

/// Bytes that are read at once.
const READ_SIZE: usize = 64 << 10;
/// From being asked to end until it is killed: it says goodbye to the server.
const TERMINATE: Duration = Duration::from_secs(1);
/// For its last words after its output has ended.
const REST: Duration = Duration::from_secs(3);

/// A source as FFmpeg reads it. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Adapter {
    origin: String,
    output: ChildStdout,
    buffer: BytesMut,
    silence: Duration,
    /// Since when more bytes are wanted; silence counts from here, so a slow reader is never the source's fault.
    waiting_since: Option<Instant>,
    words: oneshot::Receiver<Words>,
    _running: DropGuard,
}

impl Adapter {
    /// Opens a source that the policy admits, and waits for its first bytes. The process counts as a task until it is reaped.
    ///
    /// # Errors
    /// The named failure of the source.
    pub(super) async fn open(
        launcher: &Launcher,
        processes: &TaskTracker,
        protocol: Protocol,
        url: &Url,
        patience: Patience,
    ) -> Result<Self, SourceFailure> {
        let origin = foreign::origin(url);
        let command = launcher.network_command(script::arguments(protocol));
        let script = script::script(protocol, url);
        let mut adapter = Self::start(command, script, origin, processes).map_err(|error| {
            SourceFailure::InvalidRequest {
                detail: format!("FFmpeg cannot be started: {error}"),
            }
        })?;
        let until = Instant::now() + patience.first_byte;
        match adapter.read(until, patience.first_byte).await? {
            Some(bytes) => adapter.buffer = BytesMut::from(&*bytes),
            None => return Err(adapter.last_words().await.opening(&adapter.origin)),
        }
        adapter.silence = patience.silence;
        Ok(adapter)
    }

    fn start(
        (program, arguments): (PathBuf, Vec<std::ffi::OsString>),
        script: String,
        origin: String,
        processes: &TaskTracker,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("one of its standard streams is missing");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let abort = CancellationToken::new();
        let (tell, words) = oneshot::channel();
        let running = abort.clone().drop_guard();
        processes.spawn(async move {
            let talk = async {
                // It fits into the pipe; one that ends before it has read it says so by ending.
                drop(stdin.write_all(script.as_bytes()).await);
                drop(stdin);
                // Whether anybody still asks does not matter.
                let _ = tell.send(words::listen(stderr).await);
            };
            let ((), ended) = tokio::join!(talk, end(&mut child, &abort));
            if let Err(error) = ended {
                tracing::warn!(%error, "failed to wait for the FFmpeg of a source");
            }
        });
        Ok(Self {
            origin,
            output,
            buffer: BytesMut::new(),
            silence: Duration::ZERO,
            waiting_since: None,
            words,
            _running: running,
        })
    }

    /// The next bytes, never empty. May be cancelled and called again without losing any.
    ///
    /// # Errors
    /// The source ended or was silent for too long.
    pub(super) async fn next(&mut self) -> Result<Bytes, SourceFailure> {
        if !self.buffer.is_empty() {
            return Ok(self.buffer.split().freeze());
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        match self.read(since + self.silence, self.silence).await? {
            Some(bytes) => {
                self.waiting_since = None;
                Ok(bytes)
            }
            None => Err(self.last_words().await.ending(&self.origin)),
        }
    }

    /// The next bytes; `None` at the end.
    async fn read(
        &mut self,
        until: Instant,
        waited: Duration,
    ) -> Result<Option<Bytes>, SourceFailure> {
        self.buffer.reserve(READ_SIZE);
        match timeout_at(until, self.output.read_buf(&mut self.buffer)).await {
            Err(_) => Err(SourceFailure::Silent {
                origin: self.origin.clone(),
                waited,
            }),
            Ok(Ok(1..)) => Ok(Some(self.buffer.split().freeze())),
            Ok(Ok(0) | Err(_)) => Ok(None),
        }
    }

    async fn last_words(&mut self) -> Words {
        let words = timeout(REST, &mut self.words).await;
        words.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Waits for the end of the process, or brings it about, and reaps it.
async fn end(child: &mut Child, abort: &CancellationToken) -> io::Result<ExitStatus> {
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
