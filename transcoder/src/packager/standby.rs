//! What a standby attempt keeps until it is told to publish: the last window of segments, in memory, and which of them comes first then.
//! Pure; gives no numbers and lists nothing.

use std::collections::VecDeque;

use media::segmenter::io::FinishedSegment;
use media::time::Ticks;

use super::rates::RenditionFacts;

/// The segments of an attempt that publishes nothing yet.
#[derive(Debug)]
pub(crate) struct Reserve {
    limits: ReserveLimits,
    kept: VecDeque<Kept>,
    /// What was said since the last segment.
    facts: Option<Vec<RenditionFacts>>,
    /// Told to go on: behind what ended at this date, Unix milliseconds, if that is known.
    told: Option<Option<i64>>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReserveLimits {
    /// Media in all.
    pub(crate) duration: Ticks,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// By how much the dates of two attempts may differ; segments are waited for no longer than this.
    pub(crate) skew: Ticks,
}

/// A segment, and what the master says from it on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Absent where nothing has changed.
    pub(crate) facts: Option<Vec<RenditionFacts>>,
    /// The segment.
    pub(crate) segment: FinishedSegment,
}

impl Reserve {
    /// Nothing is kept yet.
    pub(crate) fn new(limits: ReserveLimits) -> Self {
        Self {
            limits,
            kept: VecDeque::new(),
            facts: None,
            told: None,
        }
    }

    /// The renditions of what follows.
    pub(crate) fn renditions(&mut self, facts: Vec<RenditionFacts>) {
        self.facts = Some(facts);
    }

    /// Keeps a segment, and lets go of what is older than is needed.
    pub(crate) fn keep(&mut self, segment: FinishedSegment) {
        let facts = self.facts.take();
        self.kept.push_back(Kept { facts, segment });
        while self.kept.len() > 1 && self.is_too_much() {
            self.drop_first();
        }
    }

    /// To go on behind what ended at `end`, as soon as there is what follows on it.
    pub(crate) fn tell(&mut self, end: Option<i64>) {
        self.told = Some(end);
    }

    /// Whether it is told to go on.
    pub(crate) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Everything to be listed, once it is told and has what follows.
    pub(crate) fn take(&mut self) -> Option<VecDeque<Kept>> {
        let first = self.first_after(self.told?)?;
        for _ in 0..first {
            self.drop_first();
        }
        Some(std::mem::take(&mut self.kept))
    }

    /// The first segment of which more than half lies behind `end`.
    fn first_after(&self, end: Option<i64>) -> Option<usize> {
        let newest = self.kept.back()?;
        let last = self.kept.len() - 1;
        // Not known: better something lost than something twice.
        let Some(end) = end else { return Some(last) };
        let mut kept = self.kept.iter();
        if let Some(index) = kept.position(|kept| middle(&kept.segment) >= end) {
            return Some(index);
        }
        let behind = end - newest.segment.program_date_time;
        (behind > milliseconds(self.limits.skew)).then_some(last)
    }

    /// What was said with a segment holds for the next one.
    fn drop_first(&mut self) {
        let facts = self.kept.pop_front().and_then(|kept| kept.facts);
        if let Some(next) = self.kept.front_mut() {
            next.facts = next.facts.take().or(facts);
        }
    }

    fn is_too_much(&self) -> bool {
        let rest = self.kept.iter().skip(1);
        let rest = rest.fold(Ticks::ZERO, |sum, kept| sum + kept.segment.duration);
        let renditions = self.kept.iter().flat_map(|kept| &kept.segment.renditions);
        let bytes: u64 = renditions.map(|one| one.bytes.len() as u64).sum();
        rest >= self.limits.duration || bytes > self.limits.bytes
    }
}

fn middle(segment: &FinishedSegment) -> i64 {
    segment.program_date_time + milliseconds(segment.duration) / 2
}

fn milliseconds(ticks: Ticks) -> i64 {
    ticks.0.div_euclid(90)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::segmenter::io::{GenerationId, RenditionId, RenditionSegment};

    use super::*;

    /// Two seconds from this second on.
    fn segment(second: i64) -> FinishedSegment {
        FinishedSegment {
            ordinal: 0,
            generation: GenerationId(0),
            duration: Ticks::from_seconds(2),
            discontinuity: false,
            independent: true,
            program_date_time: second * 1000,
            renditions: vec![RenditionSegment {
                rendition: RenditionId::new("source"),
                bytes: Bytes::from(vec![0; 10]),
            }],
        }
    }

    fn facts(id: &str) -> Vec<RenditionFacts> {
        vec![RenditionFacts {
            id: id.to_owned(),
            codecs: String::new(),
            resolution: None,
            frame_rate_thousandths: None,
            ceiling: None,
            on_request: false,
        }]
    }

    fn reserve(bytes: u64) -> Reserve {
        Reserve::new(ReserveLimits {
            duration: Ticks::from_seconds(12),
            bytes,
            skew: Ticks::from_seconds(4),
        })
    }

    fn seconds(kept: &VecDeque<Kept>) -> Vec<i64> {
        let dates = kept.iter().map(|kept| kept.segment.program_date_time);
        dates.map(|date| date / 1000).collect()
    }

    #[test]
    fn a_window_is_kept_and_no_more_bytes_than_allowed() {
        for (bytes, expected) in [(1000, vec![8, 10, 12, 14, 16, 18]), (30, vec![14, 16, 18])] {
            let mut reserve = reserve(bytes);
            reserve.renditions(facts("source"));
            for index in 0..10 {
                reserve.keep(segment(2 * index));
            }
            assert_eq!(seconds(&reserve.kept), expected);
            assert_eq!(reserve.kept[0].facts, Some(facts("source")));
            assert!(reserve.kept.iter().skip(1).all(|kept| kept.facts.is_none()));
        }
    }

    #[test]
    fn it_goes_on_with_the_segment_that_follows_on_the_end_of_the_other() {
        for (end, expected) in [
            // On a cut, nearer to one cut than to the next, and before everything.
            (Some(4_000), Some(vec![4, 6])),
            (Some(4_900), Some(vec![4, 6])),
            (Some(5_100), Some(vec![6])),
            (Some(-50_000), Some(vec![0, 2, 4, 6])),
            // What follows is yet to come; dates that say so for too long are of another clock.
            (Some(7_500), None),
            (Some(10_000), None),
            (Some(10_100), Some(vec![6])),
            (None, Some(vec![6])),
        ] {
            let mut reserve = reserve(1000);
            for index in 0..4 {
                reserve.keep(segment(2 * index));
            }
            assert_eq!(reserve.take(), None, "it is not told");
            reserve.tell(end);
            let taken = reserve.take();
            assert_eq!(taken.as_ref().map(seconds), expected, "{end:?}");
        }
    }

    #[test]
    fn what_comes_in_time_is_taken_with_what_was_said_of_it_before() {
        let mut reserve = reserve(1000);
        reserve.tell(Some(4_000));
        reserve.renditions(facts("source"));
        reserve.keep(segment(0));
        assert_eq!(reserve.take(), None);
        reserve.keep(segment(4));
        let taken = reserve.take().unwrap();
        assert_eq!(seconds(&taken), [4]);
        assert_eq!(taken[0].facts, Some(facts("source")));
    }
}
