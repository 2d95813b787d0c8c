//! What the operator remembers of streams between reconciles. All of it may be lost at any moment: a restart costs a repeated call or an
//! earlier try, never a wrong decision.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::LiveStream;
use api::control::FinishAnswer;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::backoff::Failures;

/// What is remembered of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recollection {
    /// Its attempts that failed in a row.
    pub(crate) failures: Option<Failures>,
    /// Errors of the cluster in a row.
    pub(crate) errors: u32,
    /// The pod that was last told to finish.
    pub(crate) finish: Option<Finish>,
    /// Uids of pods that were told to stop.
    pub(crate) stopped: BTreeSet<String>,
    /// Uids of pods that have said, when told to finish or to stop, that their source is closed.
    pub(crate) closed: BTreeSet<String>,
    /// Uid of the pod that had waited and has taken the job of its attempt.
    pub(crate) given: Option<String>,
    /// Uid of the pod that had waited and did not take it.
    pub(crate) refused: Option<String>,
    /// Names of pods that waited and were not to be had, whatever the watch says of them.
    pub(crate) lost: BTreeSet<String>,
    /// When its pod was last named, more exactly than the status can say.
    pub(crate) named: Option<Timestamp>,
    /// When its status was last written.
    pub(crate) written: Option<Timestamp>,
    /// The version that this replaced: whoever sees it still is behind.
    pub(crate) replaced: Option<String>,
}

impl Recollection {
    /// Its status was written over the version `seen`.
    pub(crate) fn wrote(&mut self, seen: &str, written: &LiveStream, now: Timestamp) {
        self.written = Some(now);
        // What changes nothing makes no new version.
        let is_new = written
            .resource_version()
            .is_some_and(|version| version != seen);
        self.replaced = is_new.then(|| seen.to_owned());
    }
}

/// A pod that was told to finish.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finish {
    pub(crate) pod_uid: String,
    /// What its successor goes on with, if it said so.
    pub(crate) answer: Option<FinishAnswer>,
}

/// What is remembered, by uid of the stream; apart from the map, which has room for twice as many.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    streams: Mutex<HashMap<String, Box<Recollection>>>,
}

impl Memory {
    /// What is remembered of a stream.
    pub(crate) fn recall(&self, stream_uid: &str) -> Recollection {
        let streams = self.lock();
        let stream = streams.get(stream_uid);
        stream.map_or_else(Recollection::default, |stream| (**stream).clone())
    }

    /// When a write of ours has replaced this version of a stream.
    pub(crate) fn replaced_at(&self, stream_uid: &str, version: &str) -> Option<Timestamp> {
        let streams = self.lock();
        let stream = streams.get(stream_uid)?;
        let is_replaced = stream.replaced.as_deref() == Some(version);
        stream.written.filter(|_| is_replaced)
    }

    /// Changes what is remembered of a stream. Of most there is nothing, and that takes no room.
    pub(crate) fn update<T>(
        &self,
        stream_uid: &str,
        change: impl FnOnce(&mut Recollection) -> T,
    ) -> T {
        let mut streams = self.lock();
        let mut stream = streams.remove(stream_uid).unwrap_or_default();
        let outcome = change(&mut stream);
        if *stream != Recollection::default() {
            streams.insert(stream_uid.to_owned(), stream);
        }
        outcome
    }

    /// How many streams wait for their next attempt, and how many for another try after an error of the cluster.
    pub(crate) fn backing_off(&self, now: Timestamp) -> (usize, usize) {
        let streams = self.lock();
        let waits = |failures: &Failures| !failures.left(now).is_zero();
        let attempts = streams
            .values()
            .filter(|one| one.failures.as_ref().is_some_and(waits));
        let errors = streams.values().filter(|one| one.errors > 0);
        (attempts.count(), errors.count())
    }

    /// Drops what is remembered of a stream that is gone.
    pub(crate) fn forget(&self, stream_uid: &str) {
        self.lock().remove(stream_uid);
    }

    /// Drops everything: another operator has gone on meanwhile.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Box<Recollection>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_which_there_is_nothing_to_remember_takes_no_room() {
        let memory = Memory::default();
        memory.update("a", |stream| stream.errors = 0);
        assert_eq!(memory.lock().len(), 0);
        memory.update("a", |stream| stream.errors += 1);
        memory.update("b", |stream| stream.given = Some("pod".to_owned()));
        assert_eq!((memory.recall("a").errors, memory.lock().len()), (1, 2));
        memory.update("a", |stream| stream.errors = 0);
        memory.forget("b");
        assert_eq!(memory.lock().len(), 0);
    }
}
