//! FFmpeg as the way to a source that is not asked by HTTP: its standard output is one transport stream, whose times begin with it.
//! Of another protocol it connects by itself, and is told where by its standard input.

mod script;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use upstream::failure::SourceFailure;
use upstream::foreign::Protocol;
use upstream::milestones::{Milestone, Milestones};
use upstream::source::Patience;
use url::Url;

use super::SourceEvent;
use super::child::{Child, Start};
use crate::sandbox::Launcher;

/// A source as FFmpeg reads it. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Adapter {
    origin: String,
    child: Child,
    /// What is to be told first: how the source comes, and its first bytes.
    first: VecDeque<SourceEvent>,
    silence: Duration,
    /// Since when more bytes are wanted; silence counts from here, so a slow reader is never the source's fault.
    waiting_since: Option<Instant>,
}

/// The FFmpeg that connects to an address of another protocol.
pub(super) fn connecting(
    launcher: &Launcher,
    protocol: Protocol,
    url: &Url,
    milestones: &Milestones,
) -> Start {
    Start {
        command: launcher.network_command(script::arguments(protocol)),
        script: script::script(protocol, url),
        inputs: Vec::new(),
        milestones: milestones.clone(),
    }
}

impl Adapter {
    /// Starts the FFmpeg of a source that may be opened, and waits for its first bytes, which are a milestone. The process counts as a
    /// task until it is reaped. The origin is what of its address may be shown.
    ///
    /// # Errors
    /// The named failure of the source.
    pub(super) async fn open(
        start: Start,
        origin: String,
        patience: Patience,
        processes: &TaskTracker,
    ) -> Result<Self, SourceFailure> {
        let milestones = start.milestones.clone();
        let child = Child::start(start, processes).map_err(|error| {
            let detail = format!("FFmpeg cannot be started: {error}");
            SourceFailure::InvalidRequest { detail }
        })?;
        let mut adapter = Self {
            origin,
            child,
            first: VecDeque::from([SourceEvent::OwnTimes]),
            silence: patience.silence,
            waiting_since: None,
        };
        let until = Instant::now() + patience.first_byte;
        let Some(bytes) = adapter.read(until, patience.first_byte).await? else {
            return Err(adapter.child.last_words().await.opening(&adapter.origin));
        };
        adapter.first.push_back(SourceEvent::Bytes(bytes));
        milestones.reach(Milestone::FirstByte);
        Ok(adapter)
    }

    /// It reads as fast as its output is read, which is at what pace we like.
    pub(super) fn reads_at_will(&mut self) {
        self.first.push_front(SourceEvent::AtWill);
    }

    /// What comes next, bytes never empty. May be cancelled and called again without losing any.
    ///
    /// # Errors
    /// The source ended or was silent for too long.
    pub(super) async fn next(&mut self) -> Result<SourceEvent, SourceFailure> {
        if let Some(first) = self.first.pop_front() {
            return Ok(first);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        match self.read(since + self.silence, self.silence).await? {
            Some(bytes) => {
                self.waiting_since = None;
                Ok(SourceEvent::Bytes(bytes))
            }
            None => Err(self.child.last_words().await.ending(&self.origin)),
        }
    }

    /// The next bytes; `None` at the end.
    async fn read(
        &mut self,
        until: Instant,
        waited: Duration,
    ) -> Result<Option<Bytes>, SourceFailure> {
        let silent = |_| SourceFailure::Silent {
            origin: self.origin.clone(),
            waited,
        };
        timeout_at(until, self.child.read()).await.map_err(silent)
    }
}
