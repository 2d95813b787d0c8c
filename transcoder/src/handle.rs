//! The way into a running attempt: what it says, what it has, and what it can be told. Cheap to clone.
//! A handle keeps nothing running; an attempt that ended answers so.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::control::{FinishAnswer, GrantRequest, JobStatus, PublishRequest};
use api::names::segment_name;
use api::playlists::Playlists;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::audience::Audience;
pub use crate::output::memory::SegmentReadError;
use crate::output::memory::SegmentStore;

/// The attempt has ended and can be told nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the attempt has ended")]
pub struct JobEnded;

/// Something an attempt is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Close the last segment and the upstream, and say where to go on.
    Finish(oneshot::Sender<FinishAnswer>),
    /// Go on where another attempt has ended.
    Publish(Box<PublishRequest>, oneshot::Sender<()>),
    /// Go on with sources of another account. Answered whether it does.
    Grant(GrantRequest, oneshot::Sender<bool>),
    /// End. Answered when the upstream is closed.
    Stop(oneshot::Sender<()>),
}

/// A running attempt, seen from outside.
#[derive(Debug, Clone)]
pub struct JobHandle {
    pub(crate) stream_uid: Arc<str>,
    pub(crate) attempt: i32,
    pub(crate) status: watch::Receiver<JobStatus>,
    pub(crate) playlists: watch::Receiver<Arc<Playlists>>,
    pub(crate) segments: SegmentStore,
    pub(crate) commands: mpsc::Sender<Command>,
    /// The highest version of the status that was given to anybody over HTTP.
    pub(crate) answered: watch::Sender<u64>,
    pub(crate) requested: mpsc::Sender<BTreeSet<String>>,
    pub(crate) audience: Audience,
}

impl JobHandle {
    /// The stream's uid.
    #[must_use]
    pub fn stream_uid(&self) -> &str {
        &self.stream_uid
    }

    /// Which attempt it is.
    #[must_use]
    pub fn attempt(&self) -> i32 {
        self.attempt
    }

    /// What it says of itself, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<JobStatus> {
        self.status.clone()
    }

    /// What is listed, now and from now on. Without segments until the first is published.
    #[must_use]
    pub fn playlists(&self) -> watch::Receiver<Arc<Playlists>> {
        self.playlists.clone()
    }

    /// The bytes of one of its segments, in bounded time.
    ///
    /// # Errors
    /// When there is no such segment any more, or the volume does not answer.
    pub async fn segment(&self, rendition: &str, number: u64) -> Result<Bytes, SegmentReadError> {
        let name = segment_name(self.attempt, number);
        self.segments.read(rendition, &name).await
    }

    /// Renditions that viewers asked for: encoded ones may run only while somebody does. Never waits.
    pub fn request_renditions(&self, requested: BTreeSet<String>) {
        if !requested.is_empty() {
            // A full queue is read in a moment, and viewers ask again; an attempt that ended encodes nothing.
            drop(self.requested.try_send(requested));
        }
    }

    /// So many watch by this gateway now.
    pub fn watched(&self, gateway: &str, viewers: u32) {
        self.audience.told(gateway, viewers, Instant::now());
    }

    /// Closes the last segment and the upstream; answers where the next attempt goes on.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn finish(&self) -> Result<FinishAnswer, JobEnded> {
        self.tell(Command::Finish).await
    }

    /// Lets it go on where another attempt has ended; what publishes already does so anyway.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn publish(&self, request: PublishRequest) -> Result<(), JobEnded> {
        let request = Box::new(request);
        self.tell(|answer| Command::Publish(request, answer)).await
    }

    /// Lets it go on with sources of another account, if it asks for that; answers whether it does.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn grant(&self, grant: GrantRequest) -> Result<bool, JobEnded> {
        self.tell(|answer| Command::Grant(grant, answer)).await
    }

    /// Ends it; answers when the upstream is closed.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn stop(&self) -> Result<(), JobEnded> {
        self.tell(Command::Stop).await
    }

    /// Notes that a version of the status has been given to somebody.
    pub(crate) fn answered(&self, version: u64) {
        self.answered.send_if_modified(|highest| {
            let is_higher = version > *highest;
            *highest = version.max(*highest);
            is_higher
        });
    }

    async fn tell<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, JobEnded> {
        let (answer, answered) = oneshot::channel();
        let told = self.commands.send(command(answer)).await;
        told.map_err(|_| JobEnded)?;
        answered.await.map_err(|_| JobEnded)
    }
}
