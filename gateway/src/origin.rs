//! The origin (port): where playlists and segments of a stream come from. Adapters: pods and the shared volume here, local tasks in
//! standalone. It knows no viewer, renders nothing and caches nothing: the gateway does that, above the port.

pub mod remote;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use api::job::StreamIdentity;
use api::playlists::Playlists;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// Bytes of a segment at most.
pub const SEGMENT_MAXIMUM: usize = 64 * 1024 * 1024;

/// Which segment of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SegmentId {
    /// The rendition.
    pub rendition: String,
    /// The attempt that made it.
    pub attempt: i32,
    /// Its media sequence number.
    pub number: u64,
}

/// What a stream's attempt is told of its viewers: which renditions they asked for since it was last taken (encoded rungs run only on
/// demand), and how many there are.
#[derive(Debug, Default)]
pub struct Demand {
    renditions: Mutex<BTreeSet<String>>,
    urgent: Notify,
    viewers: AtomicU32,
}

impl Demand {
    /// A viewer asked for a rendition that the stream has.
    pub fn ask(&self, rendition: &str) {
        let mut renditions = self.lock();
        if !renditions.contains(rendition) {
            renditions.insert(rendition.to_owned());
        }
    }

    /// So many watch here now.
    pub fn watched(&self, viewers: u32) {
        self.viewers.store(viewers, Ordering::Relaxed);
    }

    /// How many watch here, as of the last count.
    #[must_use]
    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }

    /// What was asked for does not run: it is to be told at once.
    pub fn urge(&self) {
        self.urgent.notify_one();
    }

    /// Waits until something is to be told at once.
    pub async fn urged(&self) {
        self.urgent.notified().await;
    }

    /// Takes what was asked for since the last call.
    #[must_use]
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.renditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a segment cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// There is no such segment (any more).
    #[error("failed to find the segment")]
    NotFound,
    /// It may exist and cannot be read now.
    #[error("failed to read the segment: {reason}")]
    Unavailable {
        /// The cause, for the log.
        reason: String,
    },
}

/// The port. Implementations are shared by every request.
#[async_trait]
pub trait Origin: Send + Sync {
    /// The stream's playlists, now and from now on; `None` until there are any. The origin follows the stream for as long as a
    /// receiver is held. It may repeat or go back: the gateway refuses what would take numbers back.
    fn playlists(
        &self,
        stream: &Arc<StreamIdentity>,
        demand: &Arc<Demand>,
    ) -> watch::Receiver<Option<Arc<Playlists>>>;

    /// The bytes of a segment, at most [`SEGMENT_MAXIMUM`], in bounded time.
    async fn segment(
        &self,
        stream: &StreamIdentity,
        segment: &SegmentId,
    ) -> Result<Bytes, SegmentError>;
}
