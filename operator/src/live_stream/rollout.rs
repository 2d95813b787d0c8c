//! Whose pod is replaced next because class, sources or Provider have changed: one stream at a time, those that nobody watches first.
//! All of it may be lost at any moment: what is outdated asks again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::job::StreamIdentity;

use super::Triggers;

/// How long those that are outdated are collected before the first of them is chosen.
const COLLECT: Duration = Duration::from_secs(2);
/// How long a stream may have the turn before the others say that they wait for it.
const HALTED_AFTER: Duration = Duration::from_secs(60);

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It plays what it should, or is not to play.
    Settled,
    /// It is on its way there.
    Underway,
    /// It plays, from what has been changed since.
    Outdated {
        /// Somebody watches it.
        watched: bool,
    },
}

/// Who waits, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Rollout {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whose turn it is, until it is settled: what went wrong with one must not go wrong with the next.
    current: Option<Turn>,
    waiting: HashMap<String, Waiting>,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Turn {
    uid: String,
    name: String,
    since: Instant,
}

#[derive(Debug)]
struct Waiting {
    name: String,
    watched: bool,
}

impl Rollout {
    /// Whether this stream's pod is to be replaced now.
    pub(crate) fn has_turn(&self, stream_uid: &str) -> bool {
        self.lock().is_current(stream_uid)
    }

    /// Name of the stream that this one would wait for, where that has had the turn for so long that somebody should look at it.
    pub(crate) fn halted_by(&self, stream_uid: &str, now: Instant) -> Option<String> {
        let queue = self.lock();
        let turn = queue.current.as_ref()?;
        let halts = now.saturating_duration_since(turn.since) >= HALTED_AFTER;
        (halts && turn.uid != stream_uid).then(|| turn.name.clone())
    }

    /// Takes in where a stream stands. Whoever has the turn then is triggered; answers when to ask again, where nobody may have it yet.
    pub(crate) fn tell(
        &self,
        stream: &StreamIdentity,
        stand: Stand,
        now: Instant,
        triggers: &Triggers,
    ) -> Option<Duration> {
        let mut queue = self.lock();
        let uid = stream.uid.as_str();
        match (stand, queue.is_current(uid)) {
            (Stand::Outdated { watched }, false) => {
                let name = stream.name.clone();
                queue
                    .waiting
                    .insert(uid.to_owned(), Waiting { name, watched });
            }
            (Stand::Settled, true) => queue.current = None,
            (Stand::Settled | Stand::Underway, false) => drop(queue.waiting.remove(uid)),
            (Stand::Outdated { .. } | Stand::Underway, true) => return None,
        }
        match queue.next(now) {
            Next::Nobody => None,
            Next::In(left) => queue.waiting.contains_key(uid).then_some(left),
            Next::Stream(name) => {
                triggers.send(&name);
                None
            }
        }
    }

    /// Drops everything: another operator has gone on meanwhile.
    pub(crate) fn clear(&self) {
        *self.lock() = Queue::default();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next {
    Nobody,
    In(Duration),
    Stream(String),
}

impl Queue {
    fn is_current(&self, stream_uid: &str) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|turn| turn.uid == stream_uid)
    }

    fn next(&mut self, now: Instant) -> Next {
        if self.current.is_some() {
            return Next::Nobody;
        }
        let waiting = self.waiting.iter();
        let first = waiting.min_by_key(|(_, one)| (one.watched, &one.name));
        let Some((uid, name)) = first.map(|(uid, one)| (uid.clone(), one.name.clone())) else {
            self.since = None;
            return Next::Nobody;
        };
        let since = *self.since.get_or_insert(now);
        let left = COLLECT.saturating_sub(now.saturating_duration_since(since));
        if !left.is_zero() {
            return Next::In(left);
        }
        self.waiting.remove(&uid);
        self.current = Some(Turn {
            uid,
            name: name.clone(),
            since: now,
        });
        Next::Stream(name)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::live_stream::Guarded;

    struct World {
        rollout: Rollout,
        triggers: Triggers,
        triggered: UnboundedReceiver<ObjectRef<Guarded>>,
        began: Instant,
    }

    impl World {
        fn new() -> Self {
            let (triggers, triggered) = Triggers::new("tv");
            Self {
                rollout: Rollout::default(),
                triggers,
                triggered,
                began: Instant::now(),
            }
        }

        /// The stream's uid is its name.
        fn tell(&self, name: &str, stand: Stand, second: u64) -> Option<Duration> {
            let now = self.began + Duration::from_secs(second);
            let stream = StreamIdentity {
                namespace: "tv".to_owned(),
                name: name.to_owned(),
                uid: name.to_owned(),
            };
            self.rollout.tell(&stream, stand, now, &self.triggers)
        }

        fn triggered(&mut self) -> Option<String> {
            Some(self.triggered.try_recv().ok()?.name)
        }
    }

    const WATCHED: Stand = Stand::Outdated { watched: true };
    const UNWATCHED: Stand = Stand::Outdated { watched: false };

    #[test]
    fn one_at_a_time_and_those_that_nobody_watches_first() {
        let mut world = World::new();
        assert_eq!(world.tell("a", WATCHED, 0), Some(COLLECT));
        assert_eq!(
            world.tell("c", UNWATCHED, 1),
            Some(Duration::from_secs(1)),
            "others may come that nobody watches"
        );
        world.tell("b", WATCHED, 1);
        assert_eq!(world.triggered(), None);
        world.tell("a", WATCHED, 2);
        assert_eq!(world.triggered().as_deref(), Some("c"));
        assert!(world.rollout.has_turn("c") && !world.rollout.has_turn("a"));
        assert_eq!(world.tell("b", WATCHED, 100), None, "somebody has the turn");
        for stand in [UNWATCHED, Stand::Underway] {
            world.tell("c", stand, 100);
            assert!(world.rollout.has_turn("c"), "it is not through with it");
        }
        world.tell("c", Stand::Settled, 101);
        assert_eq!(world.triggered().as_deref(), Some("a"));
        world.tell("a", Stand::Settled, 102);
        assert_eq!(world.triggered().as_deref(), Some("b"));
        world.tell("b", Stand::Settled, 103);
        assert_eq!(world.triggered(), None);
    }

    #[test]
    fn who_keeps_the_turn_for_long_is_named_to_the_others() {
        let world = World::new();
        let halted_by = |name: &str, second| {
            let now = world.began + Duration::from_secs(second);
            world.rollout.halted_by(name, now)
        };
        world.tell("a", WATCHED, 0);
        world.tell("b", WATCHED, 2);
        assert_eq!(halted_by("b", 61), None, "it has had the turn for less");
        assert_eq!(halted_by("b", 62).as_deref(), Some("a"));
        assert_eq!(halted_by("a", 62), None, "it does not wait for itself");
        world.tell("a", Stand::Settled, 70);
        assert_eq!(halted_by("a", 70), None);
    }

    #[test]
    fn who_stops_or_goes_gives_the_turn_on_and_waits_no_more() {
        let mut world = World::new();
        for name in ["a", "b", "c"] {
            world.tell(name, WATCHED, 0);
        }
        world.tell("a", WATCHED, 2);
        assert_eq!(world.triggered().as_deref(), Some("a"));
        world.tell("b", Stand::Settled, 3);
        world.tell("a", Stand::Settled, 3);
        assert_eq!(world.triggered().as_deref(), Some("c"));
        world.rollout.clear();
        assert!(!world.rollout.has_turn("c"));
    }
}
