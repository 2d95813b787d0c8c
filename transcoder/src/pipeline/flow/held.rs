//! What the source has sent ahead of its time, held back until it is due: our playlists grow steadily however bursty it is.
//! Bounded because nothing more is read while anything is held.

use std::collections::VecDeque;
use std::time::Duration;

use media::front_end::FrontEvent;
use media::pacer::{Pacer, Pacing};
use upstream::input::Pace;

use super::Flow;

/// Of what is there as soon as it is read so much passes at once, as of a long playlist: what is encoded has to catch up with it.
const BURST: Duration = Duration::from_secs(4);

/// The pacer of a connection and what it holds back.
#[derive(Debug)]
pub(super) struct Held {
    pacer: Pacer,
    events: VecDeque<(Duration, FrontEvent)>,
    /// When what comes next may pass.
    at: Duration,
    /// Nothing but the clock has come yet: what a list repeats is not waited for.
    repeats: bool,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            pacer: Pacer::new(Pacing::continuous()),
            events: VecDeque::new(),
            at: Duration::ZERO,
            repeats: false,
        }
    }
}

impl Held {
    /// The event, if it may pass at once; else it is held.
    pub(super) fn offer(&mut self, event: FrontEvent, now: Duration) -> Option<FrontEvent> {
        match event {
            FrontEvent::RandomAccessPoint(_) | FrontEvent::Unit(_) => self.repeats = false,
            FrontEvent::Clock(clock) if !self.repeats => {
                self.at = self.at.max(self.pacer.release_at(clock, now));
            }
            _ => {}
        }
        if self.at <= now && self.events.is_empty() {
            return Some(event);
        }
        self.events.push_back((self.at, event));
        None
    }

    /// Takes what is due.
    pub(super) fn due(&mut self, now: Duration) -> Vec<FrontEvent> {
        let count = self.events.iter().take_while(|(at, _)| *at <= now).count();
        self.events.drain(..count).map(|(_, event)| event).collect()
    }

    /// What comes from now on comes in segments.
    fn pace(&mut self, pacing: Pacing) {
        self.pacer = Pacer::new(pacing);
        self.repeats = true;
    }

    /// What comes from now on is there as soon as it is read.
    fn pace_at_will(&mut self) {
        self.pacer = Pacer::new(Pacing::at_will(BURST));
    }

    /// Takes everything: the connection is gone, and the next one has a pace of its own.
    pub(super) fn all(&mut self) -> Vec<FrontEvent> {
        let events = std::mem::take(self).events;
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// When something is due.
    pub(super) fn until(&self) -> Option<Duration> {
        self.events.front().map(|(at, _)| *at)
    }

    /// The media time of the start burst.
    pub(super) fn burst(&self) -> Duration {
        self.pacer.burst()
    }
}

impl Flow {
    /// What comes from now on over this connection comes in segments; what is held already keeps its time.
    pub(crate) fn pace(&mut self, pace: Pace) {
        self.held.pace(Pacing::segmented(pace.target, pace.burst));
        if pace.is_live {
            self.front.expect_repetition();
        }
    }

    /// What comes from now on over this connection is there as soon as it is read, and begins again when it ends.
    pub(crate) fn pace_at_will(&mut self) {
        self.held.pace_at_will();
        self.front.expect_rounds();
    }
}

#[cfg(test)]
mod tests {
    use media::front_end::RandomAccessPoint;
    use media::time::Ticks;
    use media::unit::RandomAccess;

    use super::*;

    fn clock(milliseconds: i64) -> FrontEvent {
        FrontEvent::Clock(Ticks::from_milliseconds(milliseconds))
    }

    #[test]
    fn what_comes_too_early_passes_in_its_order_at_its_time() {
        let mut held = Held::default();
        for step in 0..30 {
            let now = Duration::from_millis(40 * step);
            assert!(held.offer(clock(40 * step.cast_signed()), now).is_some());
        }
        let now = Duration::from_millis(1200);
        assert!(held.offer(clock(1600), now).is_none());
        assert!(held.offer(clock(2000), now).is_none());
        let first = held.until().unwrap();
        assert!(
            (350..=400).contains(&(first - now).as_millis()),
            "{first:?}"
        );
        assert_eq!(held.due(first - Duration::from_millis(1)), []);
        assert_eq!(held.due(first), [clock(1600)]);
        assert_eq!(held.all(), [clock(2000)]);
        assert_eq!(held.until(), None);
    }

    #[test]
    fn what_a_list_repeats_is_not_waited_for_and_no_part_of_the_burst() {
        let mut held = Held::default();
        let second = Duration::from_secs(1);
        held.pace(Pacing::segmented(second * 10, second * 2));
        for step in 0..300 {
            assert!(held.offer(clock(100 * step), second).is_some(), "{step}");
        }
        let key = FrontEvent::RandomAccessPoint(RandomAccessPoint {
            pts: Ticks::from_seconds(30),
            dts: Ticks::from_seconds(30),
            random_access: RandomAccess::Full,
        });
        assert!(held.offer(key, second).is_some());
        let passed = (300..400).filter(|step| held.offer(clock(100 * step), second).is_some());
        assert!((19..=22).contains(&passed.count()));
    }
}
