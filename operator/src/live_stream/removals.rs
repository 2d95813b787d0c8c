//! How many idle streams are removed in a second, whoever has fallen idle: API server, nodes and providers are used by streams that are watched,
//! too. Those that have to wait stand in line and are told when to ask again; nobody sleeps here. What is lost with the process is the line.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The removals of one release.
#[derive(Debug)]
pub(crate) struct Removals {
    /// Between two of them, on average.
    interval: Duration,
    /// How far ahead of that they may be: a second's worth may go at once.
    ahead: Duration,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// When the removals so far are paid for.
    paid: Option<Instant>,
    /// Numbers of those that wait, by uid.
    numbers: HashMap<String, u64>,
    next_number: u64,
    /// How many have left the line, so about whose turn it is.
    left: u64,
}

impl Removals {
    /// So many in a second.
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / per_second.get();
        Self {
            interval,
            ahead: interval * (per_second.get() - 1),
            line: Mutex::default(),
        }
    }

    /// Whether a stream may be removed now, which counts as done; else it stands in line, and this is when to ask again.
    pub(crate) fn ask(&self, stream_uid: &str, now: Instant) -> Result<(), Duration> {
        let mut line = self.lock();
        let paid = line.paid.map_or(now, |paid| paid.max(now));
        let until_next = paid.saturating_duration_since(now + self.ahead);
        let stands_in_line = line.numbers.contains_key(stream_uid);
        // Who comes anew goes behind those who wait.
        if until_next.is_zero() && (stands_in_line || line.numbers.is_empty()) {
            line.paid = Some(paid + self.interval);
            line.leave(stream_uid);
            return Ok(());
        }
        let before = line.before(stream_uid);
        Err(until_next.max(self.interval) + self.interval * before)
    }

    /// A stream is not to be removed any more.
    pub(crate) fn leave(&self, stream_uid: &str) {
        self.lock().leave(stream_uid);
    }

    /// Nobody waits any more: another operator goes on.
    pub(crate) fn clear(&self) {
        let mut line = self.lock();
        line.numbers.clear();
        line.left = line.next_number;
    }

    /// How many streams wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().numbers.len()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn leave(&mut self, stream_uid: &str) {
        if self.numbers.remove(stream_uid).is_some() {
            self.left += 1;
        }
        if self.numbers.is_empty() {
            self.left = self.next_number;
        }
    }

    /// About how many stand before this one, which stands in line from now on.
    fn before(&mut self, stream_uid: &str) -> u32 {
        let number = match self.numbers.get(stream_uid) {
            Some(number) => *number,
            None => {
                let number = self.next_number;
                self.next_number += 1;
                self.numbers.insert(stream_uid.to_owned(), number);
                number
            }
        };
        u32::try_from(number.saturating_sub(self.left)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn removals(per_second: u32) -> Removals {
        Removals::new(NonZeroU32::new(per_second).unwrap())
    }

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_second_s_worth_goes_at_once_and_then_one_at_a_time() {
        let (removals, start) = (removals(4), Instant::now());
        for uid in ["a", "b", "c", "d"] {
            assert_eq!(removals.ask(uid, start), Ok(()));
        }
        assert_eq!(removals.ask("e", start), Err(milliseconds(250)));
        assert_eq!(removals.ask("f", start), Err(milliseconds(500)));
        assert_eq!(removals.waiting(), 2);
        let next = start + milliseconds(250);
        assert_eq!(removals.ask("e", next), Ok(()));
        assert_eq!(removals.ask("f", next), Err(milliseconds(250)));
        assert_eq!(removals.ask("f", start + milliseconds(500)), Ok(()));
        assert_eq!(removals.waiting(), 0);
    }

    #[test]
    fn who_comes_anew_goes_behind_those_who_wait() {
        let (removals, start) = (removals(1), Instant::now());
        assert_eq!(removals.ask("a", start), Ok(()));
        assert_eq!(removals.ask("b", start), Err(milliseconds(1000)));
        let next = start + milliseconds(1000);
        assert_eq!(removals.ask("c", next), Err(milliseconds(2000)));
        assert_eq!(removals.ask("b", next), Ok(()));
    }

    #[test]
    fn who_leaves_the_line_makes_room_and_who_asks_too_soon_loses_nothing() {
        let (removals, start) = (removals(1), Instant::now());
        assert_eq!(removals.ask("a", start), Ok(()));
        let line = ["b", "c"].map(|uid| removals.ask(uid, start));
        assert_eq!(line, [Err(milliseconds(1000)), Err(milliseconds(2000))]);
        assert_eq!(removals.ask("c", start), Err(milliseconds(2000)));
        removals.leave("b");
        removals.leave("b");
        assert_eq!(removals.ask("c", start), Err(milliseconds(1000)));
        removals.clear();
        assert_eq!(removals.waiting(), 0);
    }

    #[test]
    fn time_in_which_nobody_went_saves_no_more_than_a_second_s_worth() {
        let (removals, start) = (removals(2), Instant::now());
        assert_eq!(removals.ask("a", start), Ok(()));
        let later = start + Duration::from_secs(3600);
        let outcomes = ["b", "c", "d"].map(|uid| removals.ask(uid, later).is_ok());
        assert_eq!(outcomes, [true, true, false]);
    }

    #[test]
    fn ten_thousand_at_once_go_at_the_rate_whoever_asks_when() {
        let (removals, start) = (removals(20), Instant::now());
        let asks = (0..10_000).map(|stream| (Duration::ZERO, stream));
        let mut asks: BTreeSet<(Duration, u32)> = asks.collect();
        let (mut gone, mut looks) = (vec![0; 600], 0);
        while let Some((at, stream)) = asks.pop_first() {
            looks += 1;
            match removals.ask(&stream.to_string(), start + at) {
                Ok(()) => gone[usize::try_from(at.as_secs()).unwrap()] += 1,
                // Every stream is looked at each ten seconds anyhow.
                Err(wait) => {
                    asks.insert((at + wait.min(Duration::from_secs(10)), stream));
                }
            }
        }
        assert!(gone.iter().all(|count| *count <= 40), "{gone:?}");
        let last = gone.iter().rposition(|count| *count > 0).unwrap();
        assert!((490..=520).contains(&last), "{last}");
        assert!(looks < 10_000 * 60, "{looks}");
    }
}
