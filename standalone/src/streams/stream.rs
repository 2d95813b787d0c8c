//! One local stream as others see it: who it is, what it is made from, what is listed, where its segments are. Runs nothing itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::LiveStreamSpec;
use api::job::StreamIdentity;
use api::playlists::Playlists;
use bytes::Bytes;
use gateway::directory::Entry;
use gateway::origin::{Demand, SegmentError, SegmentId};
use runtime::trace::TraceContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transcoder::handle::{JobHandle, SegmentReadError};

use crate::process::GATEWAY;

/// A stream from its first wish to its end.
pub(super) struct Stream {
    pub(super) identity: Arc<StreamIdentity>,
    /// The trace of its start.
    pub(super) trace: Option<TraceContext>,
    pub(super) ending: CancellationToken,
    pub(super) playlists: watch::Sender<Option<Arc<Playlists>>>,
    entry: watch::Sender<Arc<Entry>>,
    /// The attempts whose segments can still be read, the latest last.
    attempts: Mutex<Vec<JobHandle>>,
    demand: Mutex<Option<Arc<Demand>>>,
}

impl Stream {
    pub(super) fn new(
        slug: &str,
        entry: Arc<Entry>,
        trace: Option<TraceContext>,
    ) -> Result<Self, getrandom::Error> {
        let identity = StreamIdentity {
            namespace: String::new(),
            name: slug.to_owned(),
            uid: new_uid()?,
        };
        Ok(Self {
            identity: Arc::new(identity),
            trace,
            ending: CancellationToken::new(),
            playlists: watch::Sender::new(None),
            entry: watch::Sender::new(entry),
            attempts: Mutex::default(),
            demand: Mutex::default(),
        })
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// What it is made from now.
    pub(super) fn spec(&self) -> LiveStreamSpec {
        self.entry.borrow().spec.clone()
    }

    /// What it is made from, now and from now on.
    pub(super) fn entries(&self) -> watch::Receiver<Arc<Entry>> {
        self.entry.subscribe()
    }

    /// Its channel may have been edited.
    pub(super) fn edit(&self, entry: &Arc<Entry>) {
        self.entry.send_if_modified(|current| {
            let edited = current.revision != entry.revision;
            if edited {
                *current = entry.clone();
            }
            edited
        });
    }

    /// What is listed, for a gateway that says by `demand` which renditions it wants.
    pub(super) fn follow(&self, demand: &Arc<Demand>) -> watch::Receiver<Option<Arc<Playlists>>> {
        *lock(&self.demand) = Some(demand.clone());
        self.playlists.subscribe()
    }

    /// Passes on what an attempt lists, and tells it what viewers ask for.
    pub(super) fn publish(&self, attempt: &JobHandle, playlists: Arc<Playlists>) {
        self.playlists.send_replace(Some(playlists));
        self.pass_on(attempt);
    }

    /// Tells an attempt what viewers ask for.
    pub(super) fn pass_on(&self, attempt: &JobHandle) {
        if let Some(demand) = self.demand() {
            attempt.request_renditions(demand.take());
            attempt.watched(GATEWAY, demand.viewers());
        }
    }

    /// Waits until viewers ask for something that does not run.
    pub(super) async fn urged(&self) {
        match self.demand() {
            Some(demand) => demand.urged().await,
            None => std::future::pending().await,
        }
    }

    fn demand(&self) -> Option<Arc<Demand>> {
        lock(&self.demand).clone()
    }

    /// An attempt begins.
    pub(super) fn begin(&self, attempt: JobHandle) {
        lock(&self.attempts).push(attempt);
    }

    /// Nobody may ask for this attempt's segments any more.
    pub(super) fn retire(&self, attempt: i32) {
        lock(&self.attempts).retain(|handle| handle.attempt() != attempt);
    }

    pub(super) async fn segment(&self, segment: &SegmentId) -> Result<Bytes, SegmentError> {
        let attempt = {
            let attempts = lock(&self.attempts);
            let mut attempts = attempts.iter();
            attempts
                .find(|handle| handle.attempt() == segment.attempt)
                .cloned()
        };
        let attempt = attempt.ok_or(SegmentError::NotFound)?;
        let read = attempt.segment(&segment.rendition, segment.number).await;
        read.map_err(|error| match error {
            SegmentReadError::NotFound => SegmentError::NotFound,
            SegmentReadError::Unavailable => SegmentError::Unavailable {
                reason: error.to_string(),
            },
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random uid in the form that the API server gives (RFC 9562, version 4).
fn new_uid() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: &str) -> Arc<Entry> {
        Arc::new(Entry {
            spec: LiveStreamSpec::default(),
            revision: revision.to_owned(),
        })
    }

    #[test]
    fn every_stream_has_a_uid_of_its_own_in_the_usual_form() {
        let uids = [(); 2].map(|()| new_uid().unwrap());
        assert_ne!(uids[0], uids[1]);
        for uid in uids {
            let lengths: Vec<_> = uid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{uid}");
            assert_eq!(&uid[14..15], "4");
        }
    }

    #[test]
    fn only_another_revision_is_an_edit() {
        let stream = Stream::new("news", entry("a"), None).unwrap();
        let mut entries = stream.entries();
        stream.edit(&entry("a"));
        assert!(!entries.has_changed().unwrap());
        stream.edit(&entry("b"));
        assert_eq!(entries.borrow_and_update().revision, "b");
    }

    #[tokio::test]
    async fn a_segment_of_no_attempt_is_not_found() {
        let stream = Stream::new("news", entry("a"), None).unwrap();
        let segment = SegmentId {
            rendition: "source".to_owned(),
            attempt: 1,
            number: 7,
        };
        assert_eq!(stream.segment(&segment).await, Err(SegmentError::NotFound));
    }
}
