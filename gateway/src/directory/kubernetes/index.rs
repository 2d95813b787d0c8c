//! Every LiveStream by name and by uid, with those who follow it. Fed by the watch and by answers to our own calls, which may overtake
//! each other: an older version of a name never replaces a newer one. Never asks the API server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use api::job::StreamIdentity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use super::record::{Record, version};
use crate::directory::{OwnChannel, StreamSummary, StreamView};

/// Names without a stream that are kept for their followers before they are looked through.
const SLACK: usize = 1024;

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A change, from the watch.
    Apply,
    /// Part of a list: what the list lacks is gone.
    List,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<String, Slot>,
    names: HashMap<String, String>,
    listing: Option<Vec<Record>>,
}

#[derive(Debug, Default)]
struct Slot {
    record: Option<Arc<Record>>,
    /// The last version that was taken in, its removal included.
    version: u64,
    followers: watch::Sender<Arc<StreamView>>,
}

impl Index {
    pub(super) fn record(&self, name: &str) -> Option<Arc<Record>> {
        self.read().slots.get(name)?.record.clone()
    }

    pub(super) fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>> {
        let table = self.read();
        let record = table.slots.get(table.names.get(uid)?)?.record.as_ref()?;
        Some(record.identity.clone())
    }

    pub(super) fn own_channels(&self) -> Vec<OwnChannel> {
        let table = self.read();
        let records = table.slots.values().filter_map(|slot| slot.record.as_ref());
        let mut channels: Vec<_> = records.filter_map(|record| record.own_channel()).collect();
        channels.sort_by(|left, right| left.slug.cmp(&right.slug));
        channels
    }

    pub(super) fn streams(&self) -> Vec<StreamSummary> {
        let table = self.read();
        let records = table.slots.values().filter_map(|slot| slot.record.as_ref());
        let mut streams: Vec<_> = records.map(|record| record.summary()).collect();
        streams.sort_by(|left, right| left.identity.name.cmp(&right.identity.name));
        streams
    }

    pub(super) fn follow(&self, name: &str) -> watch::Receiver<Arc<StreamView>> {
        if let Some(slot) = self.read().slots.get(name) {
            return slot.followers.subscribe();
        }
        let mut table = self.write();
        table.drop_unfollowed();
        table
            .slots
            .entry(name.to_owned())
            .or_default()
            .followers
            .subscribe()
    }

    /// Takes in an answer to a call of ours.
    pub(super) fn apply(&self, record: Record) {
        self.write().apply(record);
    }

    /// Takes in what the watch brings.
    pub(super) fn take(&self, record: Record, change: Change) {
        let mut table = self.write();
        match (change, &mut table.listing) {
            (Change::List, Some(listing)) => listing.push(record),
            _ => table.apply(record),
        }
    }

    /// The watch says that a stream is gone.
    pub(super) fn remove(&self, name: &str, uid: &str, metadata: &ObjectMeta) {
        let mut table = self.write();
        let known = table.slots.get(name).and_then(|slot| slot.record.as_ref());
        if known.is_some_and(|record| record.identity.uid == uid) {
            table.clear(name, version(metadata));
        }
    }

    /// A call of ours was told that there is no such stream.
    pub(super) fn remove_name(&self, name: &str) {
        self.write().clear(name, 0);
    }

    pub(super) fn begin_list(&self) {
        self.write().listing = Some(Vec::new());
    }

    pub(super) fn end_list(&self) {
        let mut table = self.write();
        let listed = table.listing.take().unwrap_or_default();
        let names: HashSet<String> = listed
            .iter()
            .map(|record| record.identity.name.clone())
            .collect();
        for record in listed {
            table.apply(record);
        }
        let gone = table
            .slots
            .iter()
            .filter(|(name, slot)| slot.record.is_some() && !names.contains(*name));
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            // A stream that we made after the list was taken is lost here for a moment: the watch brings it back, and whoever
            // wants it before that is told by the server that it exists.
            table.clear(&name, 0);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn apply(&mut self, record: Record) {
        let slot = self.slots.entry(record.identity.name.clone()).or_default();
        if record.version < slot.version {
            return;
        }
        slot.version = record.version;
        if let Some(old) = &slot.record {
            self.names.remove(&old.identity.uid);
        }
        self.names
            .insert(record.identity.uid.clone(), record.identity.name.clone());
        show(&slot.followers, record.view.clone());
        slot.record = Some(Arc::new(record));
    }

    fn clear(&mut self, name: &str, version: u64) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        slot.version = version.max(slot.version);
        if let Some(old) = slot.record.take() {
            self.names.remove(&old.identity.uid);
        }
        show(&slot.followers, Arc::default());
    }

    fn drop_unfollowed(&mut self) {
        if self.slots.len() > 2 * self.names.len() + SLACK {
            self.slots
                .retain(|_, slot| slot.record.is_some() || slot.followers.receiver_count() > 0);
        }
    }
}

fn show(followers: &watch::Sender<Arc<StreamView>>, view: Arc<StreamView>) {
    followers.send_if_modified(|shown| {
        let changed = **shown != *view;
        *shown = view;
        changed
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::StreamPhase;
    use crate::directory::kubernetes::testing::object;

    fn record(name: &str, uid: &str, version: u64, replicas: i32) -> Record {
        let mut object = object(name, uid, version);
        object.spec.replicas = replicas;
        Record::read(&object).unwrap()
    }

    fn remove(index: &Index, name: &str, uid: &str, version: u64) {
        let metadata = object(name, uid, version).metadata;
        index.remove(name, uid, &metadata);
    }

    fn phase(index: &Index, name: &str) -> StreamPhase {
        index.follow(name).borrow().phase
    }

    #[test]
    fn a_stream_is_found_by_name_and_by_uid() {
        let index = Index::default();
        index.take(record("one", "uid-1", 1, 1), Change::Apply);
        assert_eq!(index.stream("uid-1").unwrap().name, "one");
        assert_eq!(index.record("one").unwrap().identity.uid, "uid-1");
        assert!(index.stream("uid-2").is_none() && index.record("two").is_none());
    }

    #[test]
    fn followers_see_each_change_and_nothing_else() {
        let index = Index::default();
        let mut follower = index.follow("one");
        assert_eq!(follower.borrow_and_update().phase, StreamPhase::Absent);
        index.take(record("one", "uid-1", 1, 1), Change::Apply);
        assert_eq!(follower.borrow_and_update().phase, StreamPhase::Wanted);
        index.take(record("one", "uid-1", 2, 1), Change::Apply);
        assert!(!follower.has_changed().unwrap());
        remove(&index, "one", "uid-1", 3);
        assert_eq!(follower.borrow_and_update().phase, StreamPhase::Absent);
        assert!(index.stream("uid-1").is_none());
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let index = Index::default();
        index.take(record("one", "uid-1", 5, 0), Change::Apply);
        index.apply(record("one", "uid-1", 6, 1));
        // The watch is behind the answer to our own patch.
        index.take(record("one", "uid-1", 5, 0), Change::Apply);
        assert_eq!(phase(&index, "one"), StreamPhase::Wanted);
        remove(&index, "one", "uid-1", 7);
        index.apply(record("one", "uid-1", 6, 1));
        assert_eq!(phase(&index, "one"), StreamPhase::Absent);
    }

    #[test]
    fn the_removal_of_a_former_stream_does_not_touch_its_successor() {
        let index = Index::default();
        index.take(record("one", "uid-1", 5, 1), Change::Apply);
        index.apply(record("one", "uid-2", 9, 1));
        remove(&index, "one", "uid-1", 8);
        assert_eq!(phase(&index, "one"), StreamPhase::Wanted);
        assert!(index.stream("uid-1").is_none() && index.stream("uid-2").is_some());
    }

    #[test]
    fn what_a_new_list_lacks_is_gone_and_nothing_flickers_before_it_is_complete() {
        let index = Index::default();
        index.take(record("one", "uid-1", 1, 1), Change::Apply);
        index.take(record("two", "uid-2", 2, 1), Change::Apply);
        let one = index.follow("one");
        index.begin_list();
        index.take(record("one", "uid-1", 1, 1), Change::List);
        index.take(record("three", "uid-3", 4, 0), Change::List);
        assert_eq!(phase(&index, "two"), StreamPhase::Wanted);
        index.end_list();
        assert_eq!(phase(&index, "two"), StreamPhase::Absent);
        assert_eq!(phase(&index, "three"), StreamPhase::Stopped);
        assert!(!one.has_changed().unwrap());
    }

    #[test]
    fn names_that_were_only_asked_for_are_not_kept_for_ever() {
        let index = Index::default();
        index.take(record("one", "uid-1", 1, 1), Change::Apply);
        let kept = index.follow("kept");
        for number in 0..3 * SLACK {
            let _ = index.follow(&format!("name-{number}"));
        }
        assert!(index.read().slots.len() <= SLACK + 4);
        assert!(index.read().slots.contains_key("one") && index.read().slots.contains_key("kept"));
        drop(kept);
    }
}
