//! Takes the events of the watch of LiveStreams into the store, and says which of them are to be looked at. The store has the only copy of an
//! object; it shows what was before until a list is complete, so nothing is looked at before that.

use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::{Guarded, Triggers};

/// Where events go.
pub(super) struct Intake {
    store: Store<Guarded>,
    writer: reflector::store::Writer<Guarded>,
    triggers: Triggers,
    /// A list has been complete: since then the controller works.
    works: bool,
    /// Names of what the list that is under way has brought.
    listed: Vec<String>,
}

impl Intake {
    /// An empty store, and what fills it.
    pub(super) fn new(triggers: Triggers) -> (Store<Guarded>, Self) {
        let (store, writer) = reflector::store();
        let intake = Self {
            store: store.clone(),
            writer,
            triggers,
            works: false,
            listed: Vec::new(),
        };
        (store, intake)
    }

    /// Takes an event in; answers the stream that is to be looked at.
    pub(super) fn take(&mut self, event: Event<Guarded>) -> Option<Guarded> {
        let is_news = is_news(&self.store, &event);
        self.writer.apply_watcher_event(&event);
        match event {
            Event::InitApply(stream) if self.works => {
                self.listed.extend(is_news.then(|| stream.name_any()));
                None
            }
            Event::InitApply(stream) | Event::Apply(stream) => is_news.then_some(stream),
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitDone => {
                self.works = true;
                let listed = std::mem::take(&mut self.listed);
                listed.iter().for_each(|name| self.triggers.send(name));
                None
            }
            Event::Delete(_) => None,
        }
    }
}

/// Whether somebody changed a stream since it was last seen: what the operator itself writes, its status, is nothing to look at. Compared with
/// the store and not by a predicate of the runtime's, which would keep all names a second time.
fn is_news(known: &Store<Guarded>, event: &Event<Guarded>) -> bool {
    let (Event::InitApply(stream) | Event::Apply(stream)) = event else {
        return false;
    };
    let before = known.get(&ObjectRef::from_obj(stream));
    before.is_none_or(|before| {
        let (meta, texts) = (stream.meta(), (stream.labels(), stream.annotations()));
        (&meta.uid, meta.generation) != (&before.meta().uid, before.meta().generation)
            || texts != (before.labels(), before.annotations())
    })
}

#[cfg(test)]
mod tests {
    use api::LiveStream;
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::live_stream::fixtures::{NAMESPACE, spec};

    fn stream(name: &str, generation: i64) -> Guarded {
        let mut stream = LiveStream::new(name, spec());
        stream.metadata.namespace = Some(NAMESPACE.to_owned());
        stream.metadata.generation = Some(generation);
        DeserializeGuard(Ok(stream))
    }

    #[test]
    fn what_a_list_brings_is_looked_at_once_it_is_in_the_store() {
        let (triggers, mut triggered) = Triggers::new(NAMESPACE);
        let (store, mut intake) = Intake::new(triggers);
        let mut look = |event| intake.take(event).map(|stream| stream.name_any());
        assert_eq!(look(Event::Init), None);
        for name in ["a", "b"] {
            // The controller waits for the first list by itself.
            let looked = look(Event::InitApply(stream(name, 1)));
            assert_eq!(looked.as_deref(), Some(name));
        }
        assert_eq!(look(Event::InitDone), None);
        let broken_off = [Event::Init, Event::InitApply(stream("a", 2))];
        let list = [
            Event::Init,
            Event::InitApply(stream("a", 2)),
            Event::InitApply(stream("b", 1)),
            Event::InitApply(stream("c", 1)),
        ];
        for event in broken_off.into_iter().chain(list) {
            assert_eq!(look(event), None);
            assert!(triggered.try_recv().is_err(), "the store is as it was");
        }
        assert_eq!(look(Event::InitDone), None);
        for name in ["a", "c"] {
            let stream = triggered.try_recv().unwrap();
            assert_eq!(stream.name, name);
            assert!(store.get(&stream).is_some());
        }
        assert!(triggered.try_recv().is_err(), "b is what it was");
    }

    #[test]
    fn what_people_write_is_news_and_what_the_operator_writes_is_not() {
        type Case = (&'static str, fn(&mut LiveStream), bool);
        let mut stream = LiveStream::new("news-one", spec());
        stream.metadata.namespace = Some(NAMESPACE.to_owned());
        stream.metadata.uid = Some("uid".to_owned());
        stream.metadata.generation = Some(1);
        let event = |stream: &LiveStream| Event::Apply(DeserializeGuard(Ok(stream.clone())));
        let (store, mut writer) = reflector::store();
        assert!(is_news(&store, &event(&stream)), "nobody has seen it");
        writer.apply_watcher_event(&event(&stream));
        assert!(!is_news(&store, &event(&stream)), "it is the same");
        let changes: [Case; 6] = [
            (
                "uid",
                |one| one.metadata.uid = Some("other".to_owned()),
                true,
            ),
            ("generation", |one| one.metadata.generation = Some(2), true),
            (
                "label",
                |one| drop(one.labels_mut().insert("a".into(), "b".into())),
                true,
            ),
            (
                "annotation",
                |one| drop(one.annotations_mut().insert("a".into(), "b".into())),
                true,
            ),
            (
                "version",
                |one| one.metadata.resource_version = Some("7".to_owned()),
                false,
            ),
            (
                "status",
                |one| one.status = Some(api::LiveStreamStatus::default()),
                false,
            ),
        ];
        for (case, change, expected) in changes {
            let mut changed = stream.clone();
            change(&mut changed);
            assert_eq!(is_news(&store, &event(&changed)), expected, "{case}");
        }
        writer.apply_watcher_event(&Event::Delete(DeserializeGuard(Ok(stream.clone()))));
        assert!(is_news(&store, &event(&stream)), "it is made anew");
    }
}
