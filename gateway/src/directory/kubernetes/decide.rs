//! What to do about a wish for a channel, given its LiveStream. Pure: the moment is passed in, nothing is asked or changed.

use std::collections::BTreeMap;

use api::LiveStreamSpec;
use api::names;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::record::Record;
use crate::directory::{Channel, EnsureError, Entry, StreamPhase, Urgency};

/// A stream that was woken within this time is not woken again for the same fence: one flush of the presence store.
const WOKEN_RECENTLY: SignedDuration = SignedDuration::from_secs(5);

/// One call at most.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// All is well, or the watch will say when there is something to do.
    Nothing,
    /// Make the stream, with these annotations.
    Create(Box<LiveStreamSpec>, BTreeMap<String, String>),
    /// Change the stream by a merge patch.
    Patch(Value),
    /// It is not to be.
    Refuse(EnsureError),
}

/// Decides.
pub(super) fn decide(
    record: Option<&Record>,
    channel: &Channel,
    urgency: Urgency,
    now: Timestamp,
) -> Action {
    let slug = channel.slug.clone();
    let Some(record) = record else {
        return match &channel.entry {
            Some(entry) => create(entry, now),
            None => Action::Refuse(EnsureError::Unknown { slug }),
        };
    };
    let edited = edited(record, channel);
    match record.view.phase {
        StreamPhase::Suspended => Action::Refuse(EnsureError::Suspended { slug }),
        StreamPhase::Stopped => Action::Patch(patch(Some(now), edited)),
        StreamPhase::Wanted if urgency == Urgency::Fenced && !woken_recently(record, now) => {
            Action::Patch(patch(Some(now), edited))
        }
        StreamPhase::Wanted if edited.is_some() => Action::Patch(patch(None, edited)),
        StreamPhase::Wanted | StreamPhase::Ending | StreamPhase::Absent => Action::Nothing,
    }
}

fn create(entry: &Entry, now: Timestamp) -> Action {
    let annotations = BTreeMap::from([
        (names::ANNOTATION_WOKEN_AT.to_owned(), now.to_string()),
        (
            names::ANNOTATION_CHANNEL_REVISION.to_owned(),
            entry.revision.clone(),
        ),
    ]);
    Action::Create(Box::new(entry.spec.clone()), annotations)
}

/// The entry that the stream has to follow: its own spec wins where it was made by hand.
fn edited<'a>(record: &Record, channel: &'a Channel) -> Option<&'a Entry> {
    let entry = channel.entry.as_deref()?;
    let same = record.revision.as_ref() == Some(&entry.revision);
    (record.gateway_made && !same).then_some(entry)
}

fn woken_recently(record: &Record, now: Timestamp) -> bool {
    record
        .woken_at
        .is_some_and(|woken_at| now.duration_since(woken_at) < WOKEN_RECENTLY)
}

/// One merge patch: a wake-up always changes the object, so that a concurrent scale-down fails its precondition.
fn patch(woken_at: Option<Timestamp>, entry: Option<&Entry>) -> Value {
    let mut annotations = serde_json::Map::new();
    let mut spec = serde_json::Map::new();
    if let Some(woken_at) = woken_at {
        annotations.insert(
            names::ANNOTATION_WOKEN_AT.to_owned(),
            json!(woken_at.to_string()),
        );
        spec.insert("replicas".to_owned(), json!(1));
    }
    if let Some(entry) = entry {
        annotations.insert(
            names::ANNOTATION_CHANNEL_REVISION.to_owned(),
            json!(entry.revision),
        );
        spec.insert("sources".to_owned(), json!(entry.spec.sources));
    }
    json!({ "metadata": { "annotations": annotations }, "spec": spec })
}
