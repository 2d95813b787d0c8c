//! The Providers as the watch, and the operator's own writes, have shown them; and which streams wait for a connection of which.
//! What is kept here may be old: connections are given and taken by conditional updates only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::Provider;
use api::provider::{ProviderSlot, ProviderSpec};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::slots;

/// A Provider, or what of it could be read.
pub(crate) type GuardedProvider = DeserializeGuard<Provider>;

type Found = Result<Arc<Provider>, String>;

/// The Providers of the namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderIndex {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    current: HashMap<String, Found>,
    /// What a list that is under way has brought so far.
    listed: Option<HashMap<String, Found>>,
    /// Names of streams that wait, by Provider and by uid.
    waiting: BTreeMap<String, BTreeMap<String, String>>,
    /// Uids of streams that are giving a connection up, by Provider.
    yielding: BTreeMap<String, BTreeSet<String>>,
}

/// A stream that has a connection, or waits for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Concerned {
    pub(crate) stream: String,
    pub(crate) stream_uid: String,
}

/// What a watch event means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct News {
    /// Providers whose streams are to be looked at, since what they are made from has changed.
    pub(crate) changed: BTreeSet<String>,
    /// Streams that wait for a connection that may be free now.
    pub(crate) woken: BTreeSet<String>,
}

impl ProviderIndex {
    /// Takes a watch event in.
    pub(crate) fn take(&self, event: &Event<GuardedProvider>) -> News {
        let mut known = self.lock();
        let mut news = News::default();
        match event {
            Event::Init => known.listed = Some(HashMap::new()),
            Event::InitApply(provider) => {
                let listed = known.listed.get_or_insert_default();
                listed.insert(provider.name_any(), found(provider));
            }
            Event::InitDone => {
                let listed = known.listed.take().unwrap_or_default();
                let names: BTreeSet<_> = known.current.keys().chain(listed.keys()).collect();
                let names: Vec<_> = names.into_iter().cloned().collect();
                for name in names {
                    known.set(&name, listed.get(&name).cloned(), &mut news);
                }
            }
            Event::Apply(provider) => {
                known.set(&provider.name_any(), Some(found(provider)), &mut news);
            }
            Event::Delete(provider) => known.set(&provider.name_any(), None, &mut news),
        }
        news
    }

    /// Takes in what a request of the operator's own has shown; answers who is to be woken by it.
    pub(crate) fn learn(&self, provider: &Provider) -> BTreeSet<String> {
        let mut news = News::default();
        let found = Ok(Arc::new(provider.clone()));
        self.lock()
            .set(&provider.name_any(), Some(found), &mut news);
        news.woken
    }

    /// What is known of a Provider.
    pub(crate) fn get(&self, name: &str) -> Option<Found> {
        self.lock().current.get(name).cloned()
    }

    /// Every Provider that can be read.
    pub(crate) fn all(&self) -> Vec<Arc<Provider>> {
        let known = self.lock();
        let found = known
            .current
            .values()
            .filter_map(|found| found.as_ref().ok());
        found.cloned().collect()
    }

    /// The Providers of which a stream has entries.
    pub(crate) fn held_by(&self, stream_uid: &str) -> Vec<Arc<Provider>> {
        let mut all = self.all();
        all.retain(|provider| !slots::attempts(slots_of(provider), stream_uid).is_empty());
        all
    }

    /// The streams that have entries.
    pub(crate) fn holders(&self) -> BTreeSet<Concerned> {
        let concerned = |slot: &ProviderSlot| Concerned {
            stream: slot.stream.clone(),
            stream_uid: slot.stream_uid.clone(),
        };
        let all = self.all();
        let slots = all.iter().flat_map(|provider| slots_of(provider));
        slots.map(concerned).collect()
    }

    /// A stream waits for a connection of these Providers, and of no others; answers who has those that it has not waited for before.
    pub(crate) fn wait(&self, waits: &Concerned, providers: &[String]) -> BTreeSet<String> {
        let mut known = self.lock();
        let mut holders = BTreeSet::new();
        let uid = &waits.stream_uid;
        known.waiting.retain(|provider, streams| {
            if !providers.contains(provider) {
                streams.remove(uid);
            }
            !streams.is_empty()
        });
        for provider in providers {
            let streams = known.waiting.entry(provider.clone()).or_default();
            let is_new = streams.insert(uid.clone(), waits.stream.clone()).is_none();
            if let Some(Ok(found)) = known.current.get(provider).filter(|_| is_new) {
                let slots = slots_of(found).iter().map(|slot| slot.stream.clone());
                holders.extend(slots);
            }
        }
        holders
    }

    /// Whether any other stream waits for a connection of a Provider that this one has one of, and more do than give theirs up already.
    pub(crate) fn is_waited_for(&self, stream_uid: &str) -> bool {
        let held = self.held_by(stream_uid);
        let known = self.lock();
        let waits = |provider: &Arc<Provider>| {
            let name = provider.name_any();
            let waiting = known.waiting.get(&name).into_iter().flatten();
            let waiting = waiting.filter(|(uid, _)| *uid != stream_uid).count();
            // Of two that begin at the same moment both know which one goes on.
            let yielding = known.yielding.get(&name).into_iter().flatten();
            yielding.filter(|uid| uid.as_str() < stream_uid).count() < waiting
        };
        held.iter().any(waits)
    }

    /// A stream is giving its connections up, or is not.
    pub(crate) fn yields(&self, stream_uid: &str, yields: bool) {
        let held = self.held_by(stream_uid);
        let mut known = self.lock();
        known.yielding.retain(|_, streams| {
            streams.remove(stream_uid);
            !streams.is_empty()
        });
        for provider in held.iter().filter(|_| yields) {
            let streams = known.yielding.entry(provider.name_any()).or_default();
            streams.insert(stream_uid.to_owned());
        }
    }

    /// Nobody waits any more: whoever does will say so anew.
    pub(crate) fn forget_waiting(&self) {
        let mut known = self.lock();
        known.waiting.clear();
        known.yielding.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn set(&mut self, name: &str, fresh: Option<Found>, news: &mut News) {
        let before = self.current.get(name);
        if let (Some(Ok(before)), Some(Ok(fresh))) = (before, &fresh)
            && is_older(fresh, before)
        {
            return;
        }
        if spec(before) != spec(fresh.as_ref()) {
            news.changed.insert(name.to_owned());
        }
        if entries(before) != entries(fresh.as_ref()) {
            let streams = self.waiting.get(name);
            news.woken
                .extend(streams.iter().flat_map(|streams| streams.values()).cloned());
        }
        match fresh {
            Some(fresh) => self.current.insert(name.to_owned(), fresh),
            None => self.current.remove(name),
        };
    }
}

/// Whether one is the same object in an earlier version: a watch shows what the operator itself has written later than its answer.
fn is_older(one: &Provider, other: &Provider) -> bool {
    let version = |provider: &Provider| -> Option<u64> {
        provider.metadata.resource_version.as_ref()?.parse().ok()
    };
    match (version(one), version(other)) {
        (Some(one_version), Some(other_version)) => {
            one.metadata.uid == other.metadata.uid && one_version < other_version
        }
        _ => false,
    }
}

fn spec(found: Option<&Found>) -> Option<Result<&ProviderSpec, &String>> {
    found.map(|found| found.as_ref().map(|provider| &provider.spec))
}

fn entries(found: Option<&Found>) -> &[ProviderSlot] {
    match found {
        Some(Ok(provider)) => slots_of(provider),
        _ => &[],
    }
}

fn found(provider: &GuardedProvider) -> Found {
    match &provider.0 {
        Ok(provider) => Ok(Arc::new(provider.clone())),
        Err(invalid) => Err(invalid.error.clone()),
    }
}

/// The entries of a Provider.
pub(crate) fn slots_of(provider: &Provider) -> &[ProviderSlot] {
    provider
        .status
        .as_ref()
        .map_or(&[], |status| &status.slots[..])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn provider(version: u64, spec: &Value, holders: &[&str]) -> GuardedProvider {
        let slots = holders.iter().map(
            |name| json!({ "streamUid": format!("uid-{name}"), "attempt": 1, "stream": name }),
        );
        serde_json::from_value(json!({
            "metadata": { "name": "panel", "uid": "p", "resourceVersion": version.to_string() },
            "spec": spec, "status": { "slots": slots.collect::<Vec<_>>() },
        }))
        .unwrap()
    }

    fn usual() -> Value {
        json!({ "type": "Xtream", "url": "http://panel.example" })
    }

    fn stream(name: &str) -> Concerned {
        Concerned {
            stream: name.to_owned(),
            stream_uid: format!("uid-{name}"),
        }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn those_who_wait_are_woken_when_the_entries_change_and_only_then() {
        let index = ProviderIndex::default();
        let seen = |version, spec: &Value, holders: &[&str]| {
            index.take(&Event::Apply(provider(version, spec, holders)))
        };
        assert_eq!(seen(1, &usual(), &["a"]).changed, names(&["panel"]));
        let panel = ["panel".to_owned()];
        assert_eq!(index.wait(&stream("b"), &panel), names(&["a"]));
        assert_eq!(index.wait(&stream("b"), &panel), names(&[]), "told once");
        assert!(index.is_waited_for("uid-a") && !index.is_waited_for("uid-b"));
        assert_eq!(seen(2, &usual(), &["a"]), News::default());
        let free = seen(3, &usual(), &[]);
        assert_eq!((free.changed, free.woken), (names(&[]), names(&["b"])));
        assert_eq!(index.wait(&stream("b"), &[]), names(&[]));
        assert_eq!(seen(4, &usual(), &["b"]), News::default());
        assert_eq!(index.holders(), [stream("b")].into());
    }

    #[test]
    fn no_more_streams_give_way_than_wait() {
        let index = ProviderIndex::default();
        let held = provider(1, &usual(), &["a", "b", "c"]);
        index.take(&Event::Apply(held));
        let panel = ["panel".to_owned()];
        let asked = |index: &ProviderIndex| {
            ["a", "b", "c"].map(|name| index.is_waited_for(&format!("uid-{name}")))
        };
        assert_eq!(asked(&index), [false, false, false]);
        index.wait(&stream("x"), &panel);
        assert_eq!(asked(&index), [true, true, true]);
        // Two have begun at once: the first of them goes on.
        index.yields("uid-a", true);
        index.yields("uid-b", true);
        assert_eq!(asked(&index), [true, false, false]);
        index.wait(&stream("y"), &panel);
        assert_eq!(asked(&index), [true, true, false]);
        index.yields("uid-a", false);
        assert_eq!(asked(&index), [true, true, true]);
    }

    #[test]
    fn what_the_operator_wrote_is_not_undone_by_a_watch_that_is_behind() {
        let index = ProviderIndex::default();
        index.learn(provider(5, &usual(), &["a"]).0.as_ref().unwrap());
        index.take(&Event::Apply(provider(4, &usual(), &[])));
        assert_eq!(index.held_by("uid-a").len(), 1);
        index.take(&Event::Delete(provider(6, &usual(), &["a"])));
        assert!(index.get("panel").is_none());
    }

    #[test]
    fn a_list_replaces_everything_at_its_end_and_a_malformed_one_is_kept_as_such() {
        let index = ProviderIndex::default();
        index.take(&Event::Init);
        index.take(&Event::InitApply(provider(1, &json!({"type": 7}), &[])));
        assert!(index.get("panel").is_none());
        assert_eq!(index.take(&Event::InitDone).changed, names(&["panel"]));
        assert!(matches!(index.get("panel"), Some(Err(error)) if error.contains("7")));
        index.take(&Event::Init);
        assert_eq!(index.take(&Event::InitDone).changed, names(&["panel"]));
        assert!(index.get("panel").is_none());
    }
}
