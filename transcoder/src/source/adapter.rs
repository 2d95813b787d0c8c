//! FFmpeg as the way to a source that speaks another protocol than HTTP: it connects, and its standard output is one transport
//! stream. What it is told comes in by its standard input.

mod script;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use upstream::failure::SourceFailure;
use upstream::foreign::{self, Protocol};
use upstream::milestones::{Milestone, Milestones};
use upstream::source::Patience;
use url::Url;

use super::child::{Child, Start};
use crate::sandbox::Launcher;

/// A source as FFmpeg reads it. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Adapter {
    origin: String,
    child: Child,
    /// What came first.
    first: Option<Bytes>,
    silence: Duration,
    /// Since when more bytes are wanted; silence counts from here, so a slow reader is never the source's fault.
    waiting_since: Option<Instant>,
}

impl Adapter {
    /// Opens a source that the policy admits, and waits for its first bytes; both are milestones. The process counts as a task until it
    /// is reaped.
    ///
    /// # Errors
    /// The named failure of the source.
    pub(super) async fn open(
        launcher: &Launcher,
        processes: &TaskTracker,
        protocol: Protocol,
        url: &Url,
        patience: Patience,
        milestones: &Milestones,
    ) -> Result<Self, SourceFailure> {
        let start = Start {
            command: launcher.network_command(script::arguments(protocol)),
            script: script::script(protocol, url),
            inputs: Vec::new(),
            milestones: milestones.clone(),
        };
        let child = Child::start(start, processes).map_err(|error| {
            let detail = format!("FFmpeg cannot be started: {error}");
            SourceFailure::InvalidRequest { detail }
        })?;
        let mut adapter = Self {
            origin: foreign::origin(url),
            child,
            first: None,
            silence: patience.silence,
            waiting_since: None,
        };
        let until = Instant::now() + patience.first_byte;
        adapter.first = adapter.read(until, patience.first_byte).await?;
        if adapter.first.is_none() {
            return Err(adapter.child.last_words().await.opening(&adapter.origin));
        }
        milestones.reach(Milestone::FirstByte);
        Ok(adapter)
    }

    /// The next bytes, never empty. May be cancelled and called again without losing any.
    ///
    /// # Errors
    /// The source ended or was silent for too long.
    pub(super) async fn next(&mut self) -> Result<Bytes, SourceFailure> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        match self.read(since + self.silence, self.silence).await? {
            Some(bytes) => {
                self.waiting_since = None;
                Ok(bytes)
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
