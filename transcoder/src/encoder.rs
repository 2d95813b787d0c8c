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
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

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
    /// Starts one, which tells what it has to say under this number. What it is fed meanwhile waits, and one that cannot be started
    /// ends at once, like one that fails later.
    pub(crate) fn start(command: EncoderCommand, number: u64, reports: Reports) -> Self {
        let (feed, queue) = feed::queue();
        let encoder = Self {
            feed: Some(feed),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        let life = Life {
            queue,
            closing: encoder.closing.clone(),
            abort: encoder.abort.clone(),
            report: Report { number, reports },
        };
        tokio::spawn(life.live(command).in_current_span());
        encoder
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

/// What an encoder is begun with.
struct Life {
    queue: feed::Queue,
    closing: CancellationToken,
    abort: CancellationToken,
    report: Report,
}

impl Life {
    async fn live(self, command: EncoderCommand) {
        let program = command.program.clone();
        let report = self.report.clone();
        match self.begin(command).await {
            Ok(supervised) => supervise::supervise(supervised).await,
            Err(error) => report.tell(EncoderEvent::Ended {
                exit: Exit::Code(-1),
                last_words: Some(format!("failed to start {}: {error}", program.display())),
            }),
        }
    }

    /// Starts the process, and the tasks that talk with it.
    async fn begin(self, command: EncoderCommand) -> io::Result<supervise::Supervised> {
        let (outputs, mappings) = output_pipes(command.pipes)?;
        // Whoever starts a program waits until it is read from the disk: not the thread of the streams. The command owns the write
        // ends, so that they are closed here as soon as it is started.
        let hurry = command.hurry;
        let span = Span::current();
        let spawn = move || {
            span.in_scope(|| sandbox::spawn(&command.program, &command.arguments, mappings))
        };
        let mut child = spawn_blocking(spawn).await??;
        let mut drains = JoinSet::new();
        drains.spawn(drain::drain(outputs, hurry, self.report.clone()));
        drains.spawn(lines::progress(
            take(child.stdout.take())?,
            self.report.clone(),
        ));
        let problems = lines::problems(take(child.stderr.take())?);
        let stdin = take(child.stdin.take())?;
        Ok(supervise::Supervised {
            feeding: self.queue.write_to(stdin, &self.abort),
            child,
            drains,
            stderr: tokio::spawn(problems.in_current_span()),
            closing: self.closing,
            abort: self.abort,
            report: self.report,
        })
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
