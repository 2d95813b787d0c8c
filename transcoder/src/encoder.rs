//! FFmpeg as a child process: media in by standard input, media out by numbered pipes, and a sure end.
//! Knows nothing of timestamps and segments, and never blocks whoever feeds it or listens to it.

mod drain;
mod feed;
mod lines;
pub(crate) mod pipes;
mod supervise;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use command_fds::FdMapping;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub(crate) use feed::Feed;

use crate::sandbox;

/// Number of the first output pipe in the child.
const FIRST_PIPE: i32 = 3;

/// What is started.
#[derive(Debug, Clone)]
pub(crate) struct EncoderCommand {
    /// The FFmpeg to run.
    pub(crate) program: PathBuf,
    /// Its arguments, which name the pipes from 3 on.
    pub(crate) arguments: Vec<OsString>,
    /// How many output pipes they name.
    pub(crate) pipes: usize,
    /// For how long what they carry is taken as it comes; later it is looked at in intervals.
    pub(crate) hurry: Duration,
}

/// How an encoder ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

/// What an encoder says.
#[derive(Debug)]
pub(crate) enum EncoderEvent {
    /// Media of one pipe, in order.
    Media {
        /// Which pipe, from 0.
        pipe: usize,
        /// Its next bytes.
        bytes: Bytes,
    },
    /// One line of the progress report.
    Progress(String),
    /// It is gone, every pipe is read to its end, and nothing follows.
    Ended {
        /// How.
        exit: Exit,
        /// The last line it wrote about a problem.
        last_words: Option<String>,
    },
}

/// Where encoders tell what they have to say, each under its own number.
pub(crate) type Reports = mpsc::UnboundedSender<(u64, EncoderEvent)>;

/// A running encoder. Dropping it kills the process, which is reaped in any case.
#[derive(Debug)]
pub(crate) struct Encoder {
    feed: Option<Feed>,
    closing: CancellationToken,
    abort: CancellationToken,
}

impl Encoder {
    /// Starts one, which tells what it has to say under this number.
    ///
    /// # Errors
    /// When pipes cannot be made or the program cannot be run.
    pub(crate) fn start(
        command: &EncoderCommand,
        number: u64,
        reports: Reports,
    ) -> io::Result<Self> {
        let (outputs, mappings) = output_pipes(command.pipes)?;
        // The command owns the write ends, so that they are closed here as soon as it is started.
        let mut child = sandbox::spawn(&command.program, &command.arguments, mappings)?;
        let report = Report { number, reports };
        let closing = CancellationToken::new();
        let abort = CancellationToken::new();
        let (feed, feeding) = feed::start(take(child.stdin.take())?, &abort);
        let mut drains = tokio::task::JoinSet::new();
        drains.spawn(drain::drain(outputs, command.hurry, report.clone()));
        drains.spawn(lines::progress(take(child.stdout.take())?, report.clone()));
        let problems = lines::problems(take(child.stderr.take())?);
        let supervised = supervise::Supervised {
            child,
            feeding,
            drains,
            stderr: tokio::spawn(problems.in_current_span()),
            closing: closing.clone(),
            abort: abort.clone(),
            report,
        };
        tokio::spawn(supervise::supervise(supervised).in_current_span());
        Ok(Self {
            feed: Some(feed),
            closing,
            abort,
        })
    }

    /// Whether it takes more at the moment.
    pub(crate) fn has_room(&self) -> bool {
        self.feed.as_ref().is_some_and(Feed::has_room)
    }

    /// Hands over media; never waits. What it has no room for is lost.
    pub(crate) fn feed(&self, bytes: Bytes) {
        if let Some(feed) = &self.feed {
            feed.push(bytes);
        }
    }

    /// Nothing more follows: what waits is still encoded, then the process ends, at the latest by force.
    pub(crate) fn close(&mut self) {
        self.feed = None;
        self.closing.cancel();
    }
}

/// The way of one encoder's events.
#[derive(Debug, Clone)]
struct Report {
    number: u64,
    reports: Reports,
}

impl Report {
    /// Tells something; whether anybody still listens does not matter.
    fn tell(&self, event: EncoderEvent) {
        drop(self.reports.send((self.number, event)));
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.abort.cancel();
    }
}

fn output_pipes(count: usize) -> io::Result<(Vec<pipes::Output>, Vec<FdMapping>)> {
    let mut outputs = Vec::new();
    let mut mappings = Vec::new();
    for child_fd in (FIRST_PIPE..).take(count) {
        let (output, parent_fd) = pipes::pair()?;
        outputs.push(output);
        mappings.push(FdMapping {
            parent_fd,
            child_fd,
        });
    }
    Ok((outputs, mappings))
}

fn take<T>(pipe: Option<T>) -> io::Result<T> {
    pipe.ok_or_else(|| io::Error::other("a standard stream of the encoder is missing"))
}

#[cfg(test)]
mod tests;
