//! The StreamClasses as the watch has seen them. A class that cannot be read is kept as such, so that its streams say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{StreamClass, StreamClassSpec};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::class::ClassState;

/// A StreamClass, or what of it could be read.
pub(crate) type GuardedClass = DeserializeGuard<StreamClass>;

pub(crate) type Spec = Result<StreamClassSpec, String>;

/// The classes of the namespace, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classes {
    classes: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    current: HashMap<String, Class>,
    /// What a list that is under way has brought so far.
    listed: Option<HashMap<String, Class>>,
}

/// A class as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class {
    pub(crate) uid: String,
    /// What it says, or why that cannot be read.
    pub(crate) spec: Spec,
}

/// Which streams a change of classes concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Concerns {
    Nobody,
    /// The streams of this class.
    Class(String),
    /// A list may have brought, or taken, any class.
    Everybody,
}

impl Classes {
    /// Takes a watch event in.
    pub(crate) fn take(&self, event: &Event<GuardedClass>) -> Concerns {
        let mut known = self.lock();
        match event {
            Event::Init => known.listed = Some(HashMap::new()),
            Event::InitApply(class) => {
                let listed = known.listed.get_or_insert_default();
                listed.insert(class.name_any(), read(class));
            }
            Event::InitDone => {
                let listed = known.listed.take().unwrap_or_default();
                let before = std::mem::replace(&mut known.current, listed);
                if before != known.current {
                    return Concerns::Everybody;
                }
            }
            Event::Apply(class) => {
                let (name, fresh) = (class.name_any(), read(class));
                if known.current.insert(name.clone(), fresh.clone()) != Some(fresh) {
                    return Concerns::Class(name);
                }
            }
            Event::Delete(class) => {
                known.current.remove(&class.name_any());
                return Concerns::Class(class.name_any());
            }
        }
        Concerns::Nobody
    }

    /// What is known of a class.
    pub(crate) fn state(&self, name: &str) -> ClassState {
        match self.lock().current.get(name).map(|class| &class.spec) {
            None => ClassState::Missing,
            Some(Ok(spec)) => ClassState::Found(Box::new(spec.clone())),
            Some(Err(error)) => ClassState::Malformed(error.clone()),
        }
    }

    /// Every class there is, by name.
    pub(crate) fn all(&self) -> Vec<(String, Class)> {
        let known = self.lock();
        let classes = known.current.iter();
        classes
            .map(|(name, class)| (name.clone(), class.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(class: &GuardedClass) -> Class {
    let spec = class.0.as_ref();
    Class {
        uid: class.uid().unwrap_or_default(),
        spec: spec
            .map(|class| class.spec.clone())
            .map_err(|invalid| invalid.error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(name: &str, spec: &Value) -> GuardedClass {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_change_of_a_class_concerns_its_streams_and_the_same_again_nobody() {
        let classes = Classes::default();
        assert_eq!(classes.state("sport"), ClassState::Missing);
        let sport = class("sport", &json!({"idleTimeoutSeconds": 60}));
        let concerned = Concerns::Class("sport".to_owned());
        assert_eq!(classes.take(&Event::Apply(sport.clone())), concerned);
        assert_eq!(classes.take(&Event::Apply(sport.clone())), Concerns::Nobody);
        let ClassState::Found(spec) = classes.state("sport") else {
            panic!("the class must be known");
        };
        assert_eq!(spec.idle_timeout_seconds, 60);
        assert_eq!(classes.take(&Event::Delete(sport)), concerned);
        assert_eq!(classes.state("sport"), ClassState::Missing);
    }

    #[test]
    fn a_malformed_class_is_told_apart_from_a_missing_one() {
        let classes = Classes::default();
        let bad = class("bad", &json!({"idleTimeoutSeconds": "soon"}));
        classes.take(&Event::Apply(bad));
        let ClassState::Malformed(error) = classes.state("bad") else {
            panic!("the class must be malformed");
        };
        assert!(error.contains("soon"), "{error}");
    }

    #[test]
    fn a_list_replaces_everything_at_its_end() {
        let classes = Classes::default();
        let one = class("one", &json!({}));
        assert_eq!(classes.take(&Event::Init), Concerns::Nobody);
        classes.take(&Event::InitApply(one.clone()));
        assert_eq!(classes.state("one"), ClassState::Missing);
        assert_eq!(classes.take(&Event::InitDone), Concerns::Everybody);
        classes.take(&Event::Init);
        classes.take(&Event::InitApply(one));
        assert_eq!(classes.take(&Event::InitDone), Concerns::Nobody);
        assert!(matches!(classes.state("one"), ClassState::Found(_)));
    }
}
