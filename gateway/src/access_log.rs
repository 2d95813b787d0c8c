//! Which requests become lines of the access log: a share of those that succeed, and of those that do not only so many a second that no flood
//! of them fills a disk. Decides about nothing but that, and knows nothing of a request but its turn.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines a second about requests that are refused or fail: some 4 kB, a third of a gigabyte in a day of nothing else.
const FAILURES_PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// How often it is told at most how many lines are missing.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Which part of something is taken, from 0 (none of it) to 1 (all of it).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the share {0:?}: write a number from 0 to 1, such as 0.01")]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = text.trim().parse::<f64>().ok();
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.map(Self).ok_or_else(|| ShareError(text.to_owned()))
    }
}

impl Share {
    /// Whether it is this one's turn. Neighbours are as strangers: one of a hundred is not every hundredth, since players ask in a rhythm.
    fn takes(self, turn: u64) -> bool {
        let [a, b, c, d, ..] = mix(turn).to_be_bytes();
        let drawn = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(1 << 16).powi(2);
        drawn < self.0
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn mix(turn: u64) -> u64 {
    let mut mixed = turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What decides about the lines of a gateway.
#[derive(Debug)]
pub(crate) struct AccessLog {
    share: Share,
    turns: AtomicU64,
    failures: Mutex<Failures>,
}

impl AccessLog {
    /// That share of what succeeds, from now on.
    pub(crate) fn new(share: Share, now: Instant) -> Self {
        Self {
            share,
            turns: AtomicU64::new(0),
            failures: Mutex::new(Failures::new(now)),
        }
    }

    /// Whether a request that comes now becomes a line if it succeeds.
    pub(crate) fn samples(&self) -> bool {
        self.share.takes(self.turns.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a request becomes a line that was refused, or failed.
    pub(crate) fn admits_failure(&self, now: Instant) -> bool {
        self.lock().admit(now)
    }

    /// How many lines are missing since that was told last, where it is to be told again.
    pub(crate) fn left_out(&self, now: Instant) -> Option<u64> {
        self.lock().tell(now)
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines about requests that did not succeed.
#[derive(Debug)]
struct Failures {
    /// When the second began that is counted.
    second: Instant,
    written: u32,
    left_out: u64,
    told_at: Instant,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            written: 0,
            left_out: 0,
            told_at: now,
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= SECOND {
            self.second = now;
            self.written = 0;
        }
        let fits = self.written < FAILURES_PER_SECOND;
        self.written += u32::from(fits);
        self.left_out += u64::from(!fits);
        fits
    }

    fn tell(&mut self, now: Instant) -> Option<u64> {
        let is_due = now.saturating_duration_since(self.told_at) >= TELL_EVERY;
        if self.left_out == 0 || !is_due {
            return None;
        }
        self.told_at = now;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_from_none_to_all() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("0.01", Some(0.01)),
            (" 1 ", Some(1.0)),
            ("1e-05", Some(0.00001)),
            ("1.01", None),
            ("-0.1", None),
            ("NaN", None),
            ("1%", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected.map(Share), "{text}");
        }
    }

    #[test]
    fn so_many_are_taken_as_the_share_says_in_whatever_rhythm_they_come() {
        let taken = |share: f64, turns: &mut dyn Iterator<Item = u64>| {
            turns.filter(|turn| Share(share).takes(*turn)).count()
        };
        assert_eq!(taken(0.0, &mut (0..10_000)), 0);
        assert_eq!(taken(1.0, &mut (0..10_000)), 10_000);
        for share in [0.01, 0.1, 0.5] {
            for rhythm in [1, 2, 10, 100] {
                let every = taken(share, &mut (0..100_000 * rhythm).step_by(rhythm as usize));
                let expected = 100_000.0 * share;
                let most = expected * 1.15;
                let found = f64::from(u32::try_from(every).unwrap());
                assert!(
                    (expected * 0.85..most).contains(&found),
                    "{found} at {share}, every {rhythm}"
                );
            }
        }
    }

    #[test]
    fn a_flood_of_failures_is_so_many_lines_a_second_and_a_number() {
        let began = Instant::now();
        let log = AccessLog::new(Share(0.0), began);
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        let written = |now| (0..1000).filter(|_| log.admits_failure(now)).count();
        assert_eq!([0, 999, 1000].map(|time| written(at(time))), [10, 0, 10]);
        assert_eq!(log.left_out(at(9_999)), None);
        assert_eq!(log.left_out(at(10_000)), Some(2980));
        assert_eq!(log.left_out(at(60_000)), None, "it was told");
        assert_eq!(written(at(60_000)), 10);
        assert_eq!(log.left_out(at(60_000)), Some(990));
    }
}
