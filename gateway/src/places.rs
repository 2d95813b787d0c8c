//! Which sessions have one of their user's places, as this gateway knows it. Looked up with every playlist, so it never waits for the
//! store: that is asked once for each session ([`claim`]), and told every few seconds what became of them ([`settle`]).
//! Users without a limit have no places, and cost nothing here.

mod claim;
mod settle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use presence::places::{Change, Held, Place};
use tokio::time::Instant;

use crate::keys::Signature;
use crate::viewers::in_use_for;

pub(crate) use settle::Settling;

/// How long a session is answered after its place was taken: what its player asked for before it zapped is on its way.
const LINGERS: Duration = Duration::from_secs(2);

/// How long it is remembered here that a place was taken. The store remembers it for longer, and is asked then.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Sessions that are known at most; those that come while there are more are answered uncounted.
const SESSIONS_MAXIMUM: usize = 500_000;

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of it.
    Unknown,
    /// It has a place.
    Seated,
    /// Its place was taken a moment ago: it is answered still, and counts no more.
    Lingering,
    /// Its place was taken.
    Ended,
}

/// What this gateway knows.
#[derive(Debug)]
pub struct Places {
    epoch: Instant,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    seats: HashMap<Place, Arc<Seat>>,
    sessions: HashMap<Signature, Session>,
}

#[derive(Debug)]
struct Session {
    seat: Arc<Seat>,
    issued_at: u64,
}

/// One place. Moments are milliseconds since the epoch; sessions are told apart by when they began, in Unix seconds.
#[derive(Debug, Default)]
struct Seat {
    /// The last session that has had it; 0 for none.
    issued_at: AtomicU64,
    /// The moment of its last playlist.
    last: AtomicU64,
    /// How long it is in use after that.
    span: AtomicU64,
    /// The last session that it was taken from; 0 for none.
    taken_from: AtomicU64,
    /// When that was.
    taken: AtomicU64,
    /// The store knows of it.
    is_told: AtomicBool,
    /// It is no longer in use, of which the store does not know yet.
    is_left: AtomicBool,
}

impl Places {
    /// Nothing known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            known: RwLock::default(),
        }
    }

    /// How the session stands.
    #[must_use]
    pub fn standing(&self, id: &Signature, now: Instant) -> Standing {
        let known = self.read();
        let Some(session) = known.sessions.get(id) else {
            return Standing::Unknown;
        };
        let seat = &session.seat;
        let lingers_until = seat.taken.load(Relaxed) + milliseconds(LINGERS);
        if session.issued_at > seat.taken_from.load(Relaxed) {
            Standing::Seated
        } else if self.moment(now) < lingers_until {
            Standing::Lingering
        } else {
            Standing::Ended
        }
    }

    /// The session was answered a playlist of that target duration.
    pub fn used(&self, id: &Signature, target: Duration, now: Instant) {
        if let Some(session) = self.read().sessions.get(id) {
            session.seat.last.fetch_max(self.moment(now), Relaxed);
            let span = milliseconds(in_use_for(target));
            session.seat.span.store(span, Relaxed);
        }
    }

    /// The session is over, which is not often known: its place is free with the next flush, unless a later session has it or uses it.
    pub fn leaves(&self, id: &Signature) {
        if let Some(session) = self.read().sessions.get(id)
            && session.issued_at == session.seat.issued_at.load(Relaxed)
        {
            session.seat.span.store(0, Relaxed);
        }
    }

    /// When a session that begins now is to say that it began, in Unix seconds: later than those that the place was taken from.
    #[must_use]
    pub fn begins(&self, place: &Place, unix_seconds: u64) -> u64 {
        let known = self.read();
        let seat = known.seats.get(place);
        seat.map_or(unix_seconds, |seat| {
            unix_seconds.max(seat.taken_from.load(Relaxed) + 1)
        })
    }

    /// The session has a place, of which the store knows or not.
    fn seat(&self, id: Signature, held: &Held, is_told: bool, now: Instant) {
        let mut known = self.write();
        if known.sessions.len() >= SESSIONS_MAXIMUM {
            return;
        }
        let seat = known.seats.entry(held.place.clone()).or_default().clone();
        seat.issued_at.fetch_max(held.issued_at, Relaxed);
        seat.last.fetch_max(self.moment(now), Relaxed);
        let span = milliseconds(in_use_for(Duration::ZERO));
        seat.span.fetch_max(span, Relaxed);
        seat.is_told.store(is_told, Relaxed);
        seat.is_left.store(false, Relaxed);
        let issued_at = held.issued_at;
        known.sessions.insert(id, Session { seat, issued_at });
    }

    /// The place was taken from the sessions that had begun there by then. Told once more, nothing changes.
    fn end(&self, ended: &Held, now: Instant) {
        let mut known = self.write();
        let seat = known.seats.entry(ended.place.clone()).or_default();
        if seat.taken_from.fetch_max(ended.issued_at, Relaxed) < ended.issued_at {
            seat.taken.store(self.moment(now), Relaxed);
        }
    }

    /// How many places of the user are in use here.
    fn in_use(&self, user: &str) -> usize {
        let known = self.read();
        let of_user = known.seats.iter().filter(|(place, _)| place.user == user);
        of_user.filter(|(_, seat)| seat.is_seated()).count()
    }

    /// Forgets what is over, and answers what the store is to be told. Until [`Self::told`] it is answered again.
    fn changes(&self, now: Instant) -> Vec<Change> {
        let moment = self.moment(now);
        let mut known = self.write();
        let mut changes = Vec::new();
        known.seats.retain(|place, seat| {
            if !seat.is_seated() && !seat.is_left.load(Relaxed) {
                let age = moment.saturating_sub(seat.taken.load(Relaxed));
                let is_over = age >= milliseconds(REMEMBERED);
                seat.is_left.store(is_over, Relaxed);
                return !is_over;
            }
            let idle = moment.saturating_sub(seat.last.load(Relaxed));
            if idle >= seat.span.load(Relaxed) {
                seat.is_left.store(true, Relaxed);
            }
            if seat.is_left.load(Relaxed) {
                changes.push(Change::Left(place.clone()));
            } else if !seat.is_told.load(Relaxed) {
                changes.push(Change::Kept(Held {
                    place: place.clone(),
                    issued_at: seat.issued_at.load(Relaxed),
                }));
            }
            true
        });
        // One that asks again claims its place again.
        let sessions = &mut known.sessions;
        sessions.retain(|_, session| !session.seat.is_left.load(Relaxed));
        changes
    }

    /// The store knows of these changes. A place that was claimed anew while the store was told of the contrary is told again.
    fn told(&self, changes: &[Change]) {
        let mut known = self.write();
        for change in changes {
            match change {
                Change::Kept(held) => {
                    if let Some(seat) = known.seats.get(&held.place) {
                        seat.is_told.store(true, Relaxed);
                    }
                }
                Change::Left(place) => {
                    let Some(seat) = known.seats.get(place) else {
                        continue;
                    };
                    if seat.is_left.load(Relaxed) {
                        known.seats.remove(place);
                    } else {
                        seat.is_told.store(false, Relaxed);
                    }
                }
            }
        }
    }

    /// The store may have lost what it knew.
    fn doubt(&self) {
        for seat in self.read().seats.values() {
            seat.is_told.store(false, Relaxed);
        }
    }

    fn moment(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.epoch))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether a session has it.
    fn is_seated(&self) -> bool {
        self.issued_at.load(Relaxed) > self.taken_from.load(Relaxed)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TARGET: Duration = Duration::from_secs(4);
    const ONE: Signature = [1; 16];
    const TWO: Signature = [2; 16];

    fn held(channel: &str, issued_at: u64) -> Held {
        Held {
            place: Place {
                user: "alice".to_owned(),
                client: [7; 8],
                channel: channel.to_owned(),
            },
            issued_at,
        }
    }

    fn left(channel: &str) -> Change {
        Change::Left(held(channel, 0).place)
    }

    #[test]
    fn a_session_has_its_place_until_that_is_taken_and_lingers_a_moment() {
        let start = Instant::now();
        let places = Places::new(start);
        assert_eq!(places.standing(&ONE, start), Standing::Unknown);
        places.seat(ONE, &held("one", 100), true, start);
        assert_eq!(places.standing(&ONE, start), Standing::Seated);
        let taken = start + 10 * SECOND;
        places.end(&held("one", 100), taken);
        places.end(&held("one", 100), taken + SECOND);
        let after = |seconds| places.standing(&ONE, taken + seconds * SECOND);
        assert_eq!(after(1), Standing::Lingering);
        assert_eq!(after(2), Standing::Ended);
        // What begins there later is another one, even within the same second.
        let begun = places.begins(&held("one", 0).place, 100);
        assert_eq!(begun, 101);
        places.seat(TWO, &held("one", begun), true, taken);
        assert_eq!(places.standing(&TWO, taken), Standing::Seated);
        assert_eq!(after(3), Standing::Ended);
        assert_eq!(places.begins(&held("two", 0).place, 100), 100);
    }

    #[test]
    fn a_place_is_left_when_none_of_its_sessions_is_in_use_and_told_so_until_it_arrives() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        places.seat(TWO, &held("one", 101), true, start);
        places.used(&ONE, TARGET, start + 10 * SECOND);
        assert_eq!(places.changes(start + 24 * SECOND), []);
        assert_eq!(places.in_use("alice"), 1);
        for _ in 0..2 {
            let changes = places.changes(start + 25 * SECOND);
            assert_eq!(changes, [left("one")]);
        }
        assert_eq!(places.standing(&ONE, start), Standing::Unknown);
        places.told(&[left("one")]);
        assert_eq!(places.changes(start + 26 * SECOND), []);
        assert_eq!(places.in_use("alice"), 0);
    }

    #[test]
    fn a_long_target_keeps_a_place_for_three_of_it() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        places.used(&ONE, 10 * SECOND, start);
        assert_eq!(places.changes(start + 29 * SECOND), []);
        assert_eq!(places.changes(start + 30 * SECOND), [left("one")]);
    }

    #[test]
    fn a_place_is_free_at_once_when_its_last_session_says_that_it_is_over() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        places.seat(TWO, &held("one", 101), true, start);
        places.leaves(&ONE);
        assert_eq!(places.changes(start + SECOND), []);
        places.leaves(&TWO);
        // Another player of the same session is there still.
        places.used(&TWO, TARGET, start + SECOND);
        assert_eq!(places.changes(start + SECOND), []);
        places.leaves(&TWO);
        assert_eq!(places.changes(start + SECOND), [left("one")]);
    }

    #[test]
    fn a_place_that_is_claimed_while_the_store_is_told_that_it_was_left_is_told_again() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        let told = places.changes(start + 20 * SECOND);
        places.seat(ONE, &held("one", 100), true, start + 20 * SECOND);
        places.told(&told);
        let kept = [Change::Kept(held("one", 100))];
        assert_eq!(places.changes(start + 21 * SECOND), kept);
        places.told(&kept);
        assert_eq!(places.changes(start + 22 * SECOND), []);
    }

    #[test]
    fn what_the_store_may_have_lost_is_told_again_but_for_what_was_taken() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        places.seat(TWO, &held("two", 101), true, start);
        places.end(&held("one", 100), start);
        places.doubt();
        let changes = places.changes(start + SECOND);
        assert_eq!(changes, [Change::Kept(held("two", 101))]);
    }

    #[test]
    fn nothing_is_remembered_for_ever() {
        let start = Instant::now();
        let places = Places::new(start);
        places.seat(ONE, &held("one", 100), true, start);
        places.end(&held("one", 100), start);
        places.end(&held("two", 100), start);
        assert_eq!(places.changes(start + REMEMBERED - SECOND), []);
        assert_eq!(places.read().seats.len(), 2);
        assert_eq!(places.changes(start + REMEMBERED), []);
        let known = places.read();
        assert!(known.seats.is_empty() && known.sessions.is_empty());
    }
}
