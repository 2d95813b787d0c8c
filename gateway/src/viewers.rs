//! Who is watching, as this gateway sees it: the last request of each stream and the sessions in use. Counting never waits
//! for the presence store; a flush tells it what was seen.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use presence::Touch;
use presence::reports::SessionId;
use tokio::time::Instant;

use crate::audience::{About, shown_id};
use crate::keys::Signature;
use crate::session::ClientKey;

/// How long a session counts as in use after its last playlist, at the least.
const SESSION_MINIMUM: Duration = Duration::from_secs(15);

/// How long a stream that nobody asks for is remembered: longer than it takes to tell the presence store.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// Sessions that are counted per stream; more watch uncounted.
const SESSIONS_MAXIMUM: usize = 100_000;

/// One who watches: the session, and a number that is the same for all sessions of one viewer, see [`viewer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watcher {
    /// The session.
    pub session: Signature,
    /// The viewer.
    pub viewer: u64,
}

/// A number for a user who comes from somewhere. Two that share one are told apart by nothing else, and lose nothing by it but a moment's count.
#[must_use]
pub fn viewer(user: &str, client: ClientKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (user, client).hash(&mut hasher);
    hasher.finish()
}

/// How long a session counts as in use after its last playlist, of that target duration.
pub(crate) fn in_use_for(target: Duration) -> Duration {
    SESSION_MINIMUM.max(3 * target)
}

/// What this gateway saw of every stream.
#[derive(Debug)]
pub struct Viewers {
    epoch: Instant,
    streams: RwLock<HashMap<String, Arc<Seen>>>,
    /// The stream of each viewer's last session.
    places: RwLock<HashMap<u64, String>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Milliseconds since the epoch, as all moments here.
    last: AtomicU64,
    session_milliseconds: AtomicU64,
    sessions: RwLock<HashMap<Signature, Session>>,
}

#[derive(Debug, Default)]
struct Session {
    viewer: u64,
    last: AtomicU64,
    /// The last playlist it was answered, as the caller numbers them.
    answered: AtomicU64,
    /// What administrators are shown of it.
    about: OnceLock<(SessionId, Arc<About>)>,
}

/// What a flush tells, and what the gauges show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The streams that were asked for since the last flush that arrived, and those with sessions in use: where targets are long, more
    /// than a flush passes between two requests of a player that is there.
    pub touches: Vec<Touch>,
    /// Sessions in use, over all streams.
    pub sessions: usize,
}

impl Viewers {
    /// Nobody seen yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            streams: RwLock::default(),
            places: RwLock::default(),
        }
    }

    /// A request for the stream.
    pub fn touch(&self, stream_uid: &str, now: Instant) {
        let moment = self.moment(now);
        self.seen(stream_uid)
            .last
            .fetch_max(moment, Ordering::Relaxed);
    }

    /// A playlist request of a session. `target` is the stream's target duration: a player that is still there asks again within it.
    /// Answers whether the session counts here from now on.
    pub fn touch_session(
        &self,
        stream_uid: &str,
        watcher: Watcher,
        target: Duration,
        now: Instant,
    ) -> bool {
        let moment = self.moment(now);
        let seen = self.seen(stream_uid);
        seen.last.fetch_max(moment, Ordering::Relaxed);
        let in_use = milliseconds(in_use_for(target));
        seen.session_milliseconds.store(in_use, Ordering::Relaxed);
        if let Some(session) = read(&seen.sessions).get(&watcher.session) {
            session.last.fetch_max(moment, Ordering::Relaxed);
            return false;
        }
        write(&self.places).insert(watcher.viewer, stream_uid.to_owned());
        let mut sessions = write(&seen.sessions);
        let is_counted = sessions.len() < SESSIONS_MAXIMUM;
        if is_counted {
            let session = Session {
                viewer: watcher.viewer,
                last: AtomicU64::new(moment),
                ..Session::default()
            };
            sessions.insert(watcher.session, session);
        }
        is_counted
    }

    /// What administrators are shown of a session. Not of one that is not counted.
    pub(crate) fn describe(&self, stream_uid: &str, id: &Signature, about: About) {
        let seen = self.seen(stream_uid);
        if let Some(session) = read(&seen.sessions).get(id) {
            // What came first stays.
            let _ = session.about.set((shown_id(id), Arc::new(about)));
        }
    }

    /// The sessions in use, as they were described: those that [`Self::count`] found last.
    pub(crate) fn described(&self) -> HashMap<SessionId, Arc<About>> {
        let mut described = HashMap::new();
        for seen in read(&self.streams).values() {
            for session in read(&seen.sessions).values() {
                if let Some((id, about)) = session.about.get() {
                    described.insert(*id, about.clone());
                }
            }
        }
        described
    }

    /// A viewer asks for another stream (`None` when there is none yet): what it watched before is watched by it no more, so that its
    /// place, and perhaps its source's connection, are free at once. If it goes on asking there all the same it counts there again.
    pub fn zaps(&self, viewer: u64, to: Option<&str>) {
        let place = read(&self.places).get(&viewer).cloned();
        let Some(before) = place.filter(|before| Some(before.as_str()) != to) else {
            return;
        };
        write(&self.places).remove(&viewer);
        if let Some(seen) = read(&self.streams).get(&before) {
            write(&seen.sessions).retain(|_, session| session.viewer != viewer);
        }
    }

    /// A session is over, which is not often known: it counts no more.
    pub fn leaves(&self, stream_uid: &str, session: &Signature) {
        if let Some(seen) = read(&self.streams).get(stream_uid) {
            write(&seen.sessions).remove(session);
        }
    }

    /// Remembers which playlist a session is answered; whether that was the last one that it got. Not of a session that is not counted.
    pub fn answers(&self, stream_uid: &str, id: &Signature, playlist: u64) -> bool {
        let seen = self.seen(stream_uid);
        let sessions = read(&seen.sessions);
        let before = sessions
            .get(id)
            .map(|session| session.answered.swap(playlist, Ordering::Relaxed));
        before == Some(playlist)
    }

    /// What was seen since `since`, the moment of the last flush that arrived, and what is in use. Drops what is over.
    #[must_use]
    pub fn count(&self, since: Option<Instant>, now: Instant) -> Count {
        let moment = self.moment(now);
        let since = since.map_or(0, |since| self.moment(since));
        let mut count = Count {
            touches: Vec::new(),
            sessions: 0,
        };
        write(&self.streams).retain(|stream_uid, seen| {
            let viewers = seen.in_use(moment);
            let last = seen.last.load(Ordering::Relaxed);
            let age = moment.saturating_sub(last);
            count.sessions += viewers;
            if last >= since || viewers > 0 {
                count.touches.push(Touch {
                    stream_uid: stream_uid.clone(),
                    age: Duration::from_millis(age),
                    viewers: u32::try_from(viewers).unwrap_or(u32::MAX),
                });
            }
            viewers > 0 || last >= since || age < milliseconds(FORGET_AFTER)
        });
        let streams = read(&self.streams);
        write(&self.places).retain(|_, stream_uid| streams.contains_key(stream_uid));
        count
    }

    fn seen(&self, stream_uid: &str) -> Arc<Seen> {
        if let Some(seen) = read(&self.streams).get(stream_uid) {
            return seen.clone();
        }
        let mut streams = write(&self.streams);
        streams.entry(stream_uid.to_owned()).or_default().clone()
    }

    fn moment(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.epoch))
    }
}

impl Seen {
    /// Sessions in use; forgets the others.
    fn in_use(&self, moment: u64) -> usize {
        let span = self.session_milliseconds.load(Ordering::Relaxed);
        let mut sessions = write(&self.sessions);
        sessions.retain(|_, session| {
            moment.saturating_sub(session.last.load(Ordering::Relaxed)) < span
        });
        sessions.len()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TARGET: Duration = Duration::from_secs(4);

    fn watcher(number: u8) -> Watcher {
        Watcher {
            session: [number; 16],
            viewer: u64::from(number),
        }
    }

    fn touch(stream_uid: &str, age: Duration, viewers: u32) -> Touch {
        Touch {
            stream_uid: stream_uid.to_owned(),
            age,
            viewers,
        }
    }

    #[test]
    fn a_flush_tells_the_age_of_the_last_request_and_the_sessions_in_use() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch_session("one", watcher(1), TARGET, start);
        viewers.touch_session("one", watcher(2), TARGET, start + SECOND);
        viewers.touch("one", start + 2 * SECOND);
        let count = viewers.count(None, start + 5 * SECOND);
        assert_eq!(
            count,
            Count {
                touches: vec![touch("one", 3 * SECOND, 2)],
                sessions: 2
            }
        );
    }

    #[test]
    fn only_what_was_asked_for_since_the_last_flush_is_told_again() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch("one", start + SECOND);
        viewers.touch("two", start + SECOND);
        let first = start + 5 * SECOND;
        assert_eq!(viewers.count(None, first).touches.len(), 2);
        viewers.touch("two", start + 7 * SECOND);
        let second = start + 10 * SECOND;
        assert_eq!(
            viewers.count(Some(first), second).touches,
            [touch("two", 3 * SECOND, 0)]
        );
        // The second flush did not arrive: what it told is told again, and older by now.
        let third = start + 15 * SECOND;
        assert_eq!(
            viewers.count(Some(first), third).touches,
            [touch("two", 8 * SECOND, 0)]
        );
    }

    #[test]
    fn a_touch_at_the_very_moment_of_a_flush_is_told_by_the_next_one_too() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        let flush = start + 5 * SECOND;
        let _ = viewers.count(None, flush);
        viewers.touch("one", flush);
        assert_eq!(
            viewers.count(Some(flush), flush + SECOND).touches,
            [touch("one", SECOND, 0)]
        );
    }

    #[test]
    fn a_session_is_in_use_for_three_targets_and_fifteen_seconds_at_the_least() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch_session("short", watcher(1), TARGET, start);
        viewers.touch_session("long", watcher(1), 10 * SECOND, start);
        assert_eq!(viewers.count(None, start + 14 * SECOND).sessions, 2);
        assert_eq!(viewers.count(None, start + 15 * SECOND).sessions, 1);
        assert_eq!(viewers.count(None, start + 29 * SECOND).sessions, 1);
        assert_eq!(viewers.count(None, start + 30 * SECOND).sessions, 0);
    }

    #[test]
    fn a_session_is_answered_a_playlist_again_when_it_was_its_last_one() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        let (one, two) = ([1; 16], [2; 16]);
        assert!(!viewers.answers("one", &one, 7) && !viewers.answers("one", &one, 7));
        for id in [&one, &two] {
            let watcher = Watcher {
                session: *id,
                viewer: 0,
            };
            viewers.touch_session("one", watcher, TARGET, start);
        }
        let answers = [(one, 7), (one, 7), (two, 7), (one, 8), (one, 7)];
        let answers = answers.map(|(id, playlist)| viewers.answers("one", &id, playlist));
        assert_eq!(answers, [false, true, false, false, false]);
    }

    #[test]
    fn a_session_between_two_playlists_is_told_with_the_age_of_the_last_one() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch_session("one", watcher(1), 10 * SECOND, start + SECOND);
        let told = |seconds: u32| {
            let flush = start + seconds * SECOND;
            viewers.count(Some(flush - 5 * SECOND), flush).touches
        };
        assert_eq!(told(5), [touch("one", 4 * SECOND, 1)]);
        assert_eq!(told(10), [touch("one", 9 * SECOND, 1)]);
        assert_eq!(told(30), [touch("one", 29 * SECOND, 1)]);
        assert_eq!(told(35), []);
    }

    #[test]
    fn a_viewer_who_zaps_leaves_what_it_watched_and_nothing_else() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch_session("one", watcher(1), TARGET, start);
        viewers.touch_session("one", watcher(2), TARGET, start);
        viewers.touch_session("two", watcher(3), TARGET, start);
        let counted = |viewers: &Viewers| {
            let mut touches = viewers.count(None, start + SECOND).touches;
            touches.sort_by(|one, other| one.stream_uid.cmp(&other.stream_uid));
            touches
                .iter()
                .map(|touch| touch.viewers)
                .collect::<Vec<_>>()
        };
        viewers.zaps(1, Some("one"));
        assert_eq!(counted(&viewers), [2, 1], "the same again is no zap");
        viewers.zaps(1, Some("two"));
        assert_eq!(counted(&viewers), [1, 1]);
        viewers.zaps(3, None);
        assert_eq!(counted(&viewers), [1, 0]);
        // It was another player of the same viewer, which goes on.
        viewers.touch_session("two", watcher(3), TARGET, start);
        assert_eq!(counted(&viewers), [1, 1]);
    }

    #[test]
    fn a_session_that_leaves_counts_no_more() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        for number in [1, 2] {
            viewers.touch_session("one", watcher(number), TARGET, start);
        }
        viewers.leaves("one", &watcher(1).session);
        viewers.leaves("two", &watcher(2).session);
        assert_eq!(
            viewers.count(None, start).touches,
            [touch("one", Duration::ZERO, 1)]
        );
    }

    #[test]
    fn a_session_is_described_once_and_as_long_as_it_is_in_use() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        let about = |address: [u8; 4]| About {
            user: "1".to_owned(),
            channel: "one".to_owned(),
            since: 7,
            address: address.into(),
            agent: None,
        };
        viewers.describe("one", &[1; 16], about([192, 0, 2, 1]));
        assert!(viewers.described().is_empty());
        assert!(viewers.touch_session("one", watcher(1), TARGET, start));
        assert!(!viewers.touch_session("one", watcher(1), TARGET, start));
        viewers.describe("one", &[1; 16], about([192, 0, 2, 1]));
        viewers.describe("one", &[1; 16], about([192, 0, 2, 2]));
        let described = viewers.described();
        let first = Arc::new(about([192, 0, 2, 1]));
        assert_eq!(described, HashMap::from([(shown_id(&[1; 16]), first)]));
        let _ = viewers.count(None, start + 20 * SECOND);
        assert!(viewers.described().is_empty());
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let start = Instant::now();
        let viewers = Viewers::new(start);
        viewers.touch("one", start);
        let _ = viewers.count(Some(start + SECOND), start + FORGET_AFTER);
        assert!(read(&viewers.streams).is_empty());
    }
}
