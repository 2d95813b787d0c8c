//! What to do about a wish for a channel, given its LiveStream. Pure: the moment is passed in, nothing is asked or changed.

use std::collections::BTreeMap;

use api::LiveStreamSpec;
use api::names;
use jiff::{SignedDuration, Timestamp};
use runtime::trace::TraceContext;
use serde_json::{Value, json};

use super::record::Record;
use crate::directory::{Channel, EnsureError, Entry, Steering, StreamPhase, Urgency};

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

/// What a wake-up says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waking {
    pub(super) now: Timestamp,
    /// The trace that whoever starts the stream goes on with.
    pub(super) trace: Option<TraceContext>,
}

impl Waking {
    fn annotations(self) -> BTreeMap<String, String> {
        let trace = self.trace.map(|trace| trace.to_string());
        let trace = trace.map(|trace| (names::ANNOTATION_TRACEPARENT, trace));
        let woken_at = (names::ANNOTATION_WOKEN_AT, self.now.to_string());
        let all = [Some(woken_at), trace].into_iter().flatten();
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Decides.
pub(super) fn decide(
    record: Option<&Record>,
    channel: &Channel,
    urgency: Urgency,
    waking: Waking,
) -> Action {
    let slug = channel.slug.clone();
    let Some(record) = record else {
        return match &channel.entry {
            Some(entry) => create(entry, waking),
            None => Action::Refuse(EnsureError::Unknown { slug }),
        };
    };
    let edited = edited(record, channel);
    match record.view.phase {
        StreamPhase::Suspended => Action::Refuse(EnsureError::Suspended { slug }),
        StreamPhase::Stopped => Action::Patch(patch(Some(waking), edited)),
        StreamPhase::Wanted
            if urgency == Urgency::Fenced && !woken_recently(record, waking.now) =>
        {
            Action::Patch(patch(Some(waking), edited))
        }
        StreamPhase::Wanted if edited.is_some() => Action::Patch(patch(None, edited)),
        StreamPhase::Wanted | StreamPhase::Ending | StreamPhase::Absent => Action::Nothing,
    }
}

fn create(entry: &Entry, waking: Waking) -> Action {
    let mut annotations = waking.annotations();
    annotations.insert(
        names::ANNOTATION_CHANNEL_REVISION.to_owned(),
        entry.revision.clone(),
    );
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
fn patch(waking: Option<Waking>, entry: Option<&Entry>) -> Value {
    let mut annotations = waking.map(Waking::annotations).unwrap_or_default();
    let mut spec = serde_json::Map::new();
    if waking.is_some() {
        spec.insert("replicas".to_owned(), json!(1));
    }
    if let Some(entry) = entry {
        annotations.insert(
            names::ANNOTATION_CHANNEL_REVISION.to_owned(),
            entry.revision.clone(),
        );
        spec.insert("sources".to_owned(), json!(entry.spec.sources));
    }
    json!({ "metadata": { "annotations": annotations }, "spec": spec })
}

/// What an administrator's word changes of a stream, whoever made it.
pub(super) fn steering(steering: Steering) -> Value {
    match steering {
        Steering::Stop => json!({ "spec": { "replicas": 0 } }),
        Steering::Suspend => json!({ "spec": { "suspend": true } }),
        Steering::Resume => json!({ "spec": { "suspend": false } }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::live_stream::Source;

    use super::*;
    use crate::directory::kubernetes::testing::{channel, object};

    fn now() -> Timestamp {
        "2026-06-01T12:00:10Z".parse().unwrap()
    }

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn waking() -> Waking {
        Waking {
            now: now(),
            trace: TRACE.parse().ok(),
        }
    }

    fn decided(change: impl FnOnce(&mut api::LiveStream), urgency: Urgency) -> Action {
        let mut object = object("news-one", "uid-1", 7);
        change(&mut object);
        let record = Record::read(&object).unwrap();
        decide(Some(&record), &channel("news-one"), urgency, waking())
    }

    fn wake() -> Value {
        json!({
            "metadata": { "annotations": {
                "headend.dev/woken-at": "2026-06-01T12:00:10Z", "headend.dev/traceparent": TRACE,
            } },
            "spec": { "replicas": 1 }
        })
    }

    #[test]
    fn a_stream_that_is_not_there_is_made_as_the_catalog_has_it() {
        let channel = channel("news-one");
        let entry = channel.entry.clone().unwrap();
        let annotations = BTreeMap::from([
            (
                "headend.dev/channel-revision".to_owned(),
                entry.revision.clone(),
            ),
            (
                "headend.dev/woken-at".to_owned(),
                "2026-06-01T12:00:10Z".to_owned(),
            ),
            ("headend.dev/traceparent".to_owned(), TRACE.to_owned()),
        ]);
        assert_eq!(
            decide(None, &channel, Urgency::Normal, waking()),
            Action::Create(Box::new(entry.spec.clone()), annotations)
        );
        let unknown = Channel {
            entry: None,
            ..channel
        };
        assert!(matches!(
            decide(None, &unknown, Urgency::Normal, waking()),
            Action::Refuse(EnsureError::Unknown { .. })
        ));
    }

    #[test]
    fn a_stream_that_runs_is_left_alone() {
        assert_eq!(decided(|_| {}, Urgency::Normal), Action::Nothing);
    }

    #[test]
    fn a_stream_at_zero_is_woken_by_one_patch_that_always_changes_it() {
        assert_eq!(
            decided(|object| object.spec.replicas = 0, Urgency::Normal),
            Action::Patch(wake())
        );
    }

    #[test]
    fn a_stream_that_is_being_deleted_is_waited_for() {
        let ending = |object: &mut api::LiveStream| {
            object.metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
            object.spec.replicas = 0;
        };
        assert_eq!(decided(ending, Urgency::Normal), Action::Nothing);
        assert_eq!(decided(ending, Urgency::Fenced), Action::Nothing);
    }

    #[test]
    fn nothing_wakes_a_stream_that_somebody_switched_off() {
        let suspended = |object: &mut api::LiveStream| {
            object.spec.suspend = true;
            object.spec.replicas = 0;
        };
        for urgency in [Urgency::Normal, Urgency::Fenced] {
            assert!(matches!(
                decided(suspended, urgency),
                Action::Refuse(EnsureError::Suspended { .. })
            ));
        }
    }

    #[test]
    fn a_fence_is_answered_by_waking_once_within_a_flush() {
        assert_eq!(decided(|_| {}, Urgency::Fenced), Action::Patch(wake()));
        let woken = |at: &'static str| {
            move |object: &mut api::LiveStream| {
                let annotations = object.metadata.annotations.get_or_insert_default();
                annotations.insert(names::ANNOTATION_WOKEN_AT.to_owned(), at.to_owned());
            }
        };
        assert_eq!(
            decided(woken("2026-06-01T12:00:06Z"), Urgency::Fenced),
            Action::Nothing
        );
        assert_eq!(
            decided(woken("2026-06-01T12:00:05Z"), Urgency::Fenced),
            Action::Patch(wake())
        );
        assert_eq!(
            decided(woken("yesterday"), Urgency::Fenced),
            Action::Patch(wake())
        );
    }

    #[test]
    fn an_edited_channel_changes_the_sources_of_a_stream_that_a_gateway_made_and_nothing_else() {
        let mut edited = channel("news-one");
        let mut entry = edited.entry.as_deref().unwrap().clone();
        entry.revision = "another".to_owned();
        entry.spec.class_name = "sport".to_owned();
        entry.spec.sources = vec![Source {
            url: Some("http://source.example/two.ts".to_owned()),
            ..Source::default()
        }];
        edited.entry = Some(Arc::new(entry));
        let mut object = object("news-one", "uid-1", 7);
        let expected = json!({
            "metadata": { "annotations": { "headend.dev/channel-revision": "another" } },
            "spec": { "sources": [{ "url": "http://source.example/two.ts" }] }
        });
        let record = Record::read(&object).unwrap();
        assert_eq!(
            decide(Some(&record), &edited, Urgency::Normal, waking()),
            Action::Patch(expected)
        );
        object.metadata.labels = None;
        let by_hand = Record::read(&object).unwrap();
        assert_eq!(
            decide(Some(&by_hand), &edited, Urgency::Normal, waking()),
            Action::Nothing
        );
        object.spec.replicas = 0;
        let by_hand = Record::read(&object).unwrap();
        assert_eq!(
            decide(Some(&by_hand), &edited, Urgency::Normal, waking()),
            Action::Patch(wake())
        );
    }
}
