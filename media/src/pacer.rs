//! Lets a source's bytes through at the speed of its own clock. The start burst passes at once; later bursts are spread, each
//! byte by a bounded time. Pure: it says when, the caller waits.

use std::time::Duration;

use crate::time::Ticks;

/// The start burst is over when the source has not gained on real time for this long.
const BURST_PAUSE: Duration = Duration::from_millis(500);
/// Gaining less than this is jitter. Nothing is held back for less: a wait for each picture costs more than an even flow is worth.
const JITTER: Ticks = Ticks::from_milliseconds(100);
/// A step of the clock longer than this, or backwards, starts a new count: where bytes may have been lost on the way, and where
/// they follow each other in segments.
const LONGEST_STEP: Duration = Duration::from_secs(11);
const LONGEST_STEP_WITHIN: Duration = Duration::from_secs(2);
/// A source that sends by its own clock is spread over this at most.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// What is read at will comes in pieces of so much at the most; a piece is held back for as long.
const LONGEST_PIECE: Duration = Duration::from_secs(60);

/// How the media of a source come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Nothing is held back for longer.
    longest_delay: Duration,
    /// The most that passes at once at the start.
    burst: Option<Duration>,
    /// The pace is no further ahead of real time than the burst was.
    is_even: bool,
    /// How fast the pace follows a source that is ahead of it, as a part of the time passed.
    drift_divisor: i64,
    longest_step: Duration,
}

impl Pacing {
    /// A source that sends by its own clock, after a start burst.
    #[must_use]
    pub fn continuous() -> Self {
        Self {
            longest_delay: LONGEST_DELAY,
            burst: None,
            is_even: false,
            drift_divisor: 200,
            longest_step: LONGEST_STEP,
        }
    }

    /// A source that is fetched segment by segment. At the start so much passes at once; what is there beyond that bridges the
    /// time until the next segment, so it is spent only as slowly as clocks differ.
    #[must_use]
    pub fn segmented(longest_segment: Duration, burst: Duration) -> Self {
        Self {
            longest_delay: longest_segment.max(LONGEST_DELAY),
            burst: Some(burst),
            is_even: false,
            drift_divisor: 5000,
            longest_step: LONGEST_STEP_WITHIN,
        }
    }

    /// A source that is there as soon as it is read, such as a file. After so much at once it is as fast as real time, for however long:
    /// nothing but its pace says when its media are due.
    #[must_use]
    pub fn at_will(burst: Duration) -> Self {
        Self {
            longest_delay: LONGEST_PIECE,
            burst: Some(burst),
            is_even: true,
            drift_divisor: 200,
            longest_step: LONGEST_STEP,
        }
    }

    /// Where everything is held back, it is let go in portions: each costs a timer.
    fn rounded(&self, release: Duration) -> Duration {
        let portion = JITTER.to_duration().as_millis();
        let excess = release.as_millis() % portion;
        match self.burst {
            Some(_) => {
                release.saturating_sub(Duration::from_millis(u64::try_from(excess).unwrap_or(0)))
            }
            None => release,
        }
    }
}

/// The pace of one connection.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    start: Option<Start>,
}

#[derive(Debug)]
struct Start {
    clock: Ticks,
    now: Duration,
    last_clock: Ticks,
    last_now: Duration,
    /// The most that the source was ever ahead of real time, and when that last grew.
    highest_lead: Ticks,
    grown_at: Duration,
    /// What is let through: media up to this far ahead of real time. Absent during the start burst.
    pace: Option<Ticks>,
    /// Time that has passed and is too short to raise the pace by a tick.
    drifted: i64,
    /// When the last bytes may pass.
    released: Duration,
}

impl Pacer {
    /// A pacer for a source that has sent nothing yet.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        Self {
            pacing,
            start: None,
        }
    }

    /// When bytes may pass that arrived at `now` and end at this time of the source's clock (unwrapped). Never before `now`.
    pub fn release_at(&mut self, clock: Ticks, now: Duration) -> Duration {
        let longest_step = Ticks::from_duration(self.pacing.longest_step);
        let before = self.start.take();
        let follows = |start: &Start| {
            let step = clock - start.last_clock;
            (Ticks::ZERO..=longest_step).contains(&step)
        };
        let start = match before {
            Some(start) if follows(&start) => start,
            // Where segments jump, what bridges the time until the next one is still needed.
            Some(start) if self.pacing.burst.is_some() && start.pace.is_some() => Start {
                pace: Some(Ticks::ZERO),
                highest_lead: start.highest_lead,
                ..Start::new(clock, start.released.max(now))
            },
            _ => Start::new(clock, now),
        };
        let start = self.start.insert(start);
        let longest_delay = Ticks::from_duration(self.pacing.longest_delay);
        let delay = start.delay(clock, now, &self.pacing).min(longest_delay);
        start.released = now + delay.to_duration();
        if delay < JITTER {
            return now;
        }
        self.pacing.rounded(start.released).max(now)
    }

    /// How far the source has been ahead of real time: the media time of its start burst.
    #[must_use]
    pub fn burst(&self) -> Duration {
        self.start
            .as_ref()
            .map_or(Duration::ZERO, |start| start.highest_lead.to_duration())
    }
}

impl Start {
    fn new(clock: Ticks, now: Duration) -> Self {
        Self {
            clock,
            now,
            last_clock: clock,
            last_now: now,
            highest_lead: Ticks::ZERO,
            grown_at: now,
            pace: None,
            drifted: 0,
            released: now,
        }
    }

    fn delay(&mut self, clock: Ticks, now: Duration, pacing: &Pacing) -> Ticks {
        // The count may start in the future, where what came before it is still held back.
        let elapsed = Ticks::from_duration(now) - Ticks::from_duration(self.now);
        let lead = (clock - self.clock) - elapsed;
        let passed = Ticks::from_duration(now.saturating_sub(self.last_now));
        (self.last_clock, self.last_now) = (clock, now);
        match self.pace {
            None => self.watch_burst(lead, now, pacing.burst.map(Ticks::from_duration)),
            Some(pace) => {
                // Downwards at once, so that nothing is asked for before it can be there; upwards with the drift only.
                let risen = pace + self.drift(passed, pacing.drift_divisor);
                let risen = match pacing.burst.filter(|_| pacing.is_even) {
                    Some(burst) => risen.min(Ticks::from_duration(burst)),
                    None => risen,
                };
                let longest_delay = Ticks::from_duration(pacing.longest_delay);
                self.pace = Some(risen.min(lead).max(lead - longest_delay));
            }
        }
        self.pace.map_or(Ticks::ZERO, |pace| lead - pace)
    }

    /// What the pace rises in this time; what is less than a tick is kept for the next.
    fn drift(&mut self, passed: Ticks, divisor: i64) -> Ticks {
        self.drifted += passed.0;
        let risen = self.drifted / divisor;
        self.drifted %= divisor;
        Ticks(risen)
    }

    fn watch_burst(&mut self, lead: Ticks, now: Duration, most: Option<Ticks>) {
        if let Some(most) = most.filter(|most| lead >= *most) {
            self.highest_lead = most;
            self.pace = Some(most);
        } else if now.saturating_sub(self.grown_at) >= BURST_PAUSE {
            self.pace = Some(lead);
        } else if lead > self.highest_lead + JITTER {
            self.highest_lead = lead;
            self.grown_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Feeds (media, arrival) in milliseconds and returns the delays in milliseconds.
    fn delays(pacer: &mut Pacer, arrivals: &[(i64, u64)]) -> Vec<u128> {
        arrivals
            .iter()
            .map(|&(media, arrival)| {
                let now = milliseconds(arrival);
                let release = pacer.release_at(Ticks::from_milliseconds(media), now);
                (release - now).as_millis()
            })
            .collect()
    }

    #[test]
    fn a_steady_source_passes_without_delay() {
        let mut pacer = Pacer::new(Pacing::continuous());
        let arrivals: Vec<_> = (0..200_i64)
            .map(|index| (index * 40, index.unsigned_abs() * 40))
            .collect();
        assert!(
            delays(&mut pacer, &arrivals)
                .iter()
                .all(|&delay| delay <= 1)
        );
        assert_eq!(pacer.burst(), Duration::ZERO);
    }

    #[test]
    fn small_bursts_are_not_worth_a_wait() {
        let mut pacer = Pacer::new(Pacing::continuous());
        // Two pictures at once every 80 ms, for longer than a start burst may take; then a second of media at once.
        let mut arrivals: Vec<_> = (0..100_i64)
            .map(|index| (index * 40, index.unsigned_abs() / 2 * 80))
            .collect();
        arrivals.push((5000, 4000));
        let delays = delays(&mut pacer, &arrivals);
        assert!(delays[..100].iter().all(|&delay| delay == 0), "{delays:?}");
        assert!(delays[100] >= 900, "{delays:?}");
    }

    #[test]
    fn the_start_burst_passes_at_once_and_is_measured() {
        let mut pacer = Pacer::new(Pacing::continuous());
        let mut arrivals: Vec<_> = (0..=40_i64)
            .map(|index| (index * 100, index.unsigned_abs()))
            .collect();
        arrivals
            .extend((1..60_i64).map(|index| (4000 + index * 40, 40 + index.unsigned_abs() * 40)));
        assert!(
            delays(&mut pacer, &arrivals)
                .iter()
                .all(|&delay| delay <= 1)
        );
        let burst = pacer.burst().as_millis();
        assert!((3800..=4000).contains(&burst), "{burst}");
    }

    #[test]
    fn segments_of_an_upstream_playlist_are_spread_over_their_duration() {
        let mut pacer = Pacer::new(Pacing::segmented(milliseconds(6000), milliseconds(18_000)));
        // Three segments of 6 s at once, then one each 6 s, in chunks of half a second.
        let mut arrivals: Vec<_> = (0..=36).map(|index| (index * 500, 10)).collect();
        for segment in 0_u32..3 {
            let at = 6000 * u64::from(segment + 1);
            let media = 18_000 + 6000 * i64::from(segment);
            arrivals.extend((1..=12).map(|index| (media + index * 500, at)));
        }
        let delays = delays(&mut pacer, &arrivals);
        assert!(delays[..37].iter().all(|&delay| delay == 0));
        let second = &delays[37 + 12..37 + 24];
        let expected: Vec<u128> = (1..=12).map(|index| (index - 1) * 500).collect();
        for (delay, expected) in second.iter().zip(expected) {
            assert!(delay.abs_diff(expected) <= 100, "{second:?}");
        }
    }

    #[test]
    fn nothing_is_held_longer_than_the_bound() {
        let mut pacer = Pacer::new(Pacing::continuous());
        delays(&mut pacer, &[(0, 0), (40, 700)]);
        let late = delays(&mut pacer, &[(80, 740), (9000, 780), (9040, 820)]);
        assert_eq!(late, [0, 1000, 999]);
    }

    #[test]
    fn after_a_stall_the_source_may_catch_up_within_the_bound() {
        let mut pacer = Pacer::new(Pacing::continuous());
        let steady: Vec<_> = (0..50_i64)
            .map(|index| (index * 40, index.unsigned_abs() * 40))
            .collect();
        delays(&mut pacer, &steady);
        // Two seconds of silence, then everything that was missed at once.
        let missed: Vec<_> = (50..100).map(|index| (index * 40, 4000)).collect();
        let delays = delays(&mut pacer, &missed);
        assert!(delays.iter().all(|&delay| delay <= 1000), "{delays:?}");
        assert_eq!(delays[0], 0);
    }

    #[test]
    fn a_jump_of_the_clock_starts_anew() {
        let mut pacer = Pacer::new(Pacing::continuous());
        delays(&mut pacer, &[(0, 0), (40, 40), (80, 700)]);
        assert_eq!(
            delays(&mut pacer, &[(900_000, 740), (903_000, 741)]),
            [0, 0]
        );
        assert_eq!(delays(&mut pacer, &[(5, 800), (45, 840)]), [0, 0]);
    }

    #[test]
    fn a_source_whose_clock_runs_fast_is_not_delayed_more_and_more() {
        let mut pacer = Pacer::new(Pacing::continuous());
        // 0.1 % fast for two hours
        let last = (0..180_000_u32)
            .map(|index| {
                let now = milliseconds(u64::from(index) * 40);
                let clock = Ticks(i64::from(index) * 3603 + i64::from(index / 2));
                (pacer.release_at(clock, now) - now).as_millis()
            })
            .last()
            .unwrap();
        assert!(last <= 1, "{last}");
    }

    /// Reads a playlist's segments of ten seconds as they are there, and nothing more while anything is held back.
    fn segmented(pacer: &mut Pacer, listed: &[(i64, u64)], part: i64) -> Vec<(i64, u64)> {
        let (mut passed, mut now) = (Vec::new(), 0_u64);
        for &(end, there_at) in listed {
            now = now.max(there_at);
            for media in ((end - 10_000 + part)..=end).step_by(part.unsigned_abs() as usize) {
                let release = pacer.release_at(Ticks::from_milliseconds(media), milliseconds(now));
                now = u64::try_from(release.as_millis()).unwrap();
                passed.push((media, now));
            }
        }
        passed
    }

    #[test]
    fn segments_of_ten_seconds_come_out_evenly_although_each_comes_at_once_and_late() {
        // Three are listed at the start, the others as late as reloads may make them.
        let mut listed = vec![(10_000, 0), (20_000, 300), (30_000, 600)];
        listed.extend((1..40_i64).map(|index| {
            let late = if index % 3 == 0 { 14_500 } else { 10_400 };
            (
                30_000 + index * 10_000,
                (index - 1).unsigned_abs() * 10_000 + late,
            )
        }));
        for part in [40, 500, 2000] {
            let pacing = Pacing::segmented(milliseconds(10_000), milliseconds(14_000));
            let mut pacer = Pacer::new(pacing);
            let passed = segmented(&mut pacer, &listed, part);
            let at_start = passed
                .iter()
                .filter(|(_, at)| *at < 700)
                .map(|(media, _)| *media);
            let burst = at_start.max().unwrap();
            assert!((14_000..=14_900 + part).contains(&burst), "{burst}");
            let longest = passed
                .windows(2)
                .filter(|pair| pair[0].1 >= 700)
                .map(|pair| pair[1].1 - pair[0].1)
                .max()
                .unwrap();
            assert!(longest <= part.unsigned_abs() + 200, "{part}: {longest}");
            let (half, end) = (passed[passed.len() / 2], passed[passed.len() - 1]);
            let rate = (end.0 - half.0) as f64 / (end.1 - half.1) as f64;
            assert!((0.999..=1.001).contains(&rate), "{rate}");
        }
    }

    #[test]
    fn what_is_read_at_will_is_as_fast_as_real_time_for_however_long() {
        let mut pacer = Pacer::new(Pacing::at_will(milliseconds(6000)));
        let mut now = 0;
        // In pieces of eight seconds, of which nothing more is read while anything is held back; once they come ten seconds late.
        for piece in 0..10_000_i64 {
            if piece == 5000 {
                now += 10_000;
            }
            for step in 0..80 {
                let media = piece * 8000 + step * 100;
                let at = pacer.release_at(Ticks::from_milliseconds(media), milliseconds(now));
                now = u64::try_from(at.as_millis()).unwrap();
                let ahead = media - now.cast_signed();
                assert!(ahead <= 6100, "{media}: {ahead}");
                // What was lost is made up for in time.
                let is_late = (5000..5300).contains(&piece);
                assert!(ahead >= 5800 || is_late || media < 6000, "{media}: {ahead}");
            }
        }
    }

    #[test]
    fn a_segment_that_comes_too_late_leaves_more_in_reserve() {
        let pacing = Pacing::segmented(milliseconds(10_000), milliseconds(4000));
        let mut pacer = Pacer::new(pacing);
        // Due after 6 s and there after 8 s; the next one comes as late and is not missed any more.
        let passed = segmented(
            &mut pacer,
            &[(10_000, 0), (20_000, 8000), (30_000, 17_900)],
            100,
        );
        let gaps: Vec<_> = passed
            .windows(2)
            .map(|pair| pair[1].1 - pair[0].1)
            .filter(|gap| *gap > 300)
            .collect();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert!(gaps[0].abs_diff(2000) < 300, "{gaps:?}");
    }

    #[test]
    fn a_jump_between_segments_spends_nothing_of_the_reserve() {
        for jump in [-3_600_000, 5000, 60_000] {
            let pacing = Pacing::segmented(milliseconds(10_000), milliseconds(14_000));
            let mut pacer = Pacer::new(pacing);
            segmented(&mut pacer, &[(10_000, 0), (20_000, 0), (30_000, 0)], 100);
            let before = segmented(&mut pacer, &[(40_000, 10_500)], 100)
                .last()
                .unwrap()
                .1;
            let first = 40_000 + jump;
            let after: Vec<_> = (1..=100)
                .scan(before, |now, index| {
                    let clock = Ticks::from_milliseconds(first + index * 100);
                    let release = pacer.release_at(clock, milliseconds(*now));
                    *now = u64::try_from(release.as_millis()).unwrap();
                    Some(*now)
                })
                .collect();
            assert!((25_000..=27_000).contains(&before), "{before}");
            let took = after[99] - before;
            assert!((9_700..=10_000).contains(&took), "{jump}: {took}");
        }
    }
}
