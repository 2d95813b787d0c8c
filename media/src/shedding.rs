//! How many encoded renditions an encoder goes without that cannot keep up: one less at a time, the costliest first, and one more again
//! after a calm time. A pure decision over how far its pipes are behind; it knows of no source, so it can never blame one.

use std::time::Duration;

use crate::time::Ticks;

/// A pipe that is further behind the source than this cannot be waited for: it is what players bear without a new segment.
const BEHIND: Ticks = Ticks::from_seconds(4);
/// A pipe that is no further behind than this keeps up. Pictures on their way through an encoder are about one second.
const IN_TIME: Ticks = Ticks::from_seconds(2);
/// It is looked for so long whether an encoder that is behind catches up.
const PATIENCE: Duration = Duration::from_secs(6);
/// It does if it has made good one part in so many of the time that has passed: one that began with what is older is behind for a while.
const CATCHING_UP: u32 = 10;
/// All must have been well for so long before one rendition more is tried, at first.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// And at last: each return that fails doubles it.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A return has succeeded when it lasted this long.
const PROBATION: Duration = Duration::from_secs(5 * 60);

/// What could be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rungs {
    /// How many renditions there are to encode.
    pub encoded: usize,
    /// How many of them there must be: one, unless a picture is passed through besides.
    pub least: usize,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// One rendition less is encoded: the costliest of those that were.
    Fewer,
    /// One more is: the cheapest of those that were left out.
    More,
}

/// What is left out of one stream, and since when all has been well.
#[derive(Debug)]
pub struct Shedding {
    left_out: usize,
    /// When it was looked first, and how far the slowest pipe was behind then.
    behind: Option<(Duration, Ticks)>,
    calm_since: Option<Duration>,
    /// When the last rendition came back.
    returned: Option<Duration>,
    wait: Duration,
}

impl Default for Shedding {
    fn default() -> Self {
        Self {
            left_out: 0,
            behind: None,
            calm_since: None,
            returned: None,
            wait: FIRST_WAIT,
        }
    }
}

impl Shedding {
    /// How many renditions are left out, of the costliest.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Looks at how far the slowest pipe is `behind` the source at `now` (monotonic, from any origin); `None` where none is encoded.
    /// To be called several times a second.
    pub fn look(&mut self, behind: Option<Ticks>, rungs: Rungs, now: Duration) -> Option<Change> {
        self.left_out = self.left_out.min(rungs.encoded.saturating_sub(rungs.least));
        match behind {
            Some(behind) if behind > BEHIND => {
                self.calm_since = None;
                self.see_behind(behind, rungs, now)
            }
            Some(behind) if behind > IN_TIME => {
                (self.behind, self.calm_since) = (None, None);
                None
            }
            _ => {
                self.behind = None;
                self.see_calm(now)
            }
        }
    }

    /// The encoder has failed in a way that less work may mend.
    pub fn failed(&mut self, rungs: Rungs, now: Duration) -> Option<Change> {
        (self.behind, self.calm_since) = (None, None);
        if self.left_out + rungs.least >= rungs.encoded {
            return None;
        }
        self.left_out += 1;
        self.wait = match self.returned.take() {
            None => self.wait,
            Some(at) if now.saturating_sub(at) < PROBATION => (self.wait * 2).min(LONGEST_WAIT),
            Some(_) => FIRST_WAIT,
        };
        Some(Change::Fewer)
    }

    fn see_behind(&mut self, behind: Ticks, rungs: Rungs, now: Duration) -> Option<Change> {
        let (since, before) = *self.behind.get_or_insert((now, behind));
        let elapsed = now.saturating_sub(since);
        if elapsed < PATIENCE {
            return None;
        }
        self.behind = Some((now, behind));
        let enough = Ticks::from_duration(elapsed / CATCHING_UP);
        let catches_up = before - behind >= enough;
        if catches_up {
            None
        } else {
            self.failed(rungs, now)
        }
    }

    fn see_calm(&mut self, now: Duration) -> Option<Change> {
        let since = *self.calm_since.get_or_insert(now);
        if self.left_out == 0 || now.saturating_sub(since) < self.wait {
            return None;
        }
        self.calm_since = Some(now);
        self.returned = Some(now);
        self.left_out -= 1;
        Some(Change::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: Rungs = Rungs {
        encoded: 3,
        least: 1,
    };
    const BELOW_THE_SOURCE: Rungs = Rungs {
        encoded: 2,
        least: 0,
    };

    /// Looks once a second; the seconds at which something changed, and how many were left out then. How far it is behind is said for
    /// a second and the number of renditions that are encoded.
    fn follow(
        rungs: Rungs,
        seconds: u64,
        behind: impl Fn(u64, usize) -> Option<f64>,
    ) -> Vec<(u64, usize)> {
        let mut shedding = Shedding::default();
        let mut changes = Vec::new();
        for second in 0..seconds {
            let encoded = rungs.encoded - shedding.left_out();
            let behind = behind(second, encoded);
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let behind = behind.map(|seconds| Ticks((seconds * 90_000.0) as i64));
            let change = shedding.look(behind, rungs, Duration::from_secs(second));
            if change.is_some() {
                changes.push((second, shedding.left_out()));
            }
        }
        changes
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn float(seconds: u64) -> f64 {
        seconds as f64
    }

    #[test]
    fn an_encoder_that_falls_behind_loses_its_costliest_rendition_after_some_patience() {
        // Half as fast as the source: four seconds behind after eight.
        let found = follow(LADDER, 20, |second, encoded| {
            Some(if encoded == 3 {
                float(second) / 2.0
            } else {
                1.0
            })
        });
        assert_eq!(found, [(15, 1)]);
    }

    #[test]
    fn what_is_behind_for_a_moment_or_catches_up_loses_nothing() {
        for (name, behind) in [
            ("a moment", (|second| second % 8) as fn(u64) -> u64),
            ("from the oldest on", |second| 12 - second.min(12)),
            ("never quite well", |_| 3),
        ] {
            let found = follow(LADDER, 200, |second, _| Some(float(behind(second))));
            assert_eq!(found, [], "{name}");
        }
    }

    #[test]
    fn who_stays_as_far_behind_as_it_is_does_not_catch_up() {
        let found = follow(LADDER, 30, |_, encoded| (encoded == 3).then_some(9.0));
        assert_eq!(found, [(6, 1)]);
    }

    #[test]
    fn a_full_ladder_keeps_its_cheapest_rendition_and_none_is_needed_beside_the_source() {
        let stuck = |second, _| Some(float(second));
        assert_eq!(follow(LADDER, 50, stuck), [(11, 1), (18, 2)]);
        assert_eq!(follow(BELOW_THE_SOURCE, 50, stuck), [(11, 1), (18, 2)]);
    }

    #[test]
    fn after_a_calm_time_one_comes_back_and_each_return_in_vain_is_waited_for_twice_as_long() {
        // Two are too many, however often it is tried.
        let found = follow(BELOW_THE_SOURCE, 2400, |_, encoded| match encoded {
            2 => Some(8.0),
            1 => Some(0.5),
            _ => None,
        });
        let (fewer, more): (Vec<_>, Vec<_>) = found.iter().partition(|change| change.1 == 1);
        let times = |changes: Vec<(u64, usize)>| changes.into_iter().map(|one| one.0);
        let waits: Vec<u64> = times(more)
            .zip(times(fewer))
            .map(|(more, fewer)| more - fewer)
            .collect();
        assert_eq!(waits, [61, 121, 241, 481, 901]);
    }

    #[test]
    fn all_come_back_one_by_one_and_what_was_left_alone_for_long_counts_no_more() {
        let is_slow = |second| second < 20 || second == 1000 || (1000..1007).contains(&second);
        let found = follow(BELOW_THE_SOURCE, 1200, |second, _| {
            is_slow(second).then_some(8.0)
        });
        let expected = [(6, 1), (13, 2), (80, 1), (140, 0), (1006, 1), (1067, 0)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_failure_costs_a_rendition_at_once_as_long_as_there_is_one_to_spare() {
        let mut shedding = Shedding::default();
        let mut fail = || shedding.failed(LADDER, Duration::ZERO);
        assert_eq!(
            [fail(), fail(), fail()],
            [Some(Change::Fewer), Some(Change::Fewer), None]
        );
        assert_eq!(shedding.left_out(), 2);
        let single = Rungs {
            encoded: 1,
            least: 1,
        };
        assert_eq!(shedding.look(None, single, Duration::ZERO), None);
        assert_eq!(shedding.left_out(), 0);
    }
}
