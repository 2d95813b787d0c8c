//! The numbers that players see, given in the order of listing: media sequence and discontinuity sequence.
//! They never go back, a number is given once, and nothing else in the process gives any.

use std::collections::VecDeque;

use api::job::ResumeFloor;

use crate::segmenter::io::{FinishedSegment, LateSegment, REMEMBERED, RenditionSegment};
use crate::time::Ticks;
use crate::ts::seam;

/// A segment with everything that a playlist says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedSegment {
    /// EXT-X-MEDIA-SEQUENCE of the segment. Numbers follow each other without holes.
    pub number: u64,
    /// EXTINF.
    pub duration: Ticks,
    /// EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Discontinuities up to and with the one before this segment.
    pub discontinuity_sequence: u64,
    /// In every rendition it starts with a picture that needs nothing before it.
    pub independent: bool,
    /// EXT-X-PROGRAM-DATE-TIME, Unix milliseconds.
    pub program_date_time: i64,
    /// Its bytes. A rendition that is not here has a gap (EXT-X-GAP).
    pub renditions: Vec<RenditionSegment>,
}

/// A rendition of a number that was listed without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedLate {
    /// The number.
    pub number: u64,
    /// It starts with a picture that needs nothing before it.
    pub independent: bool,
    /// Its bytes.
    pub segment: RenditionSegment,
}

/// Gives the numbers of one attempt.
#[derive(Debug)]
pub struct Numbers {
    next: u64,
    discontinuity_sequence: u64,
    /// The next segment follows something that it does not go on from, whatever it says itself.
    joins: bool,
    /// Where the last segment has ended, Unix milliseconds.
    date: Option<i64>,
    /// What was given of late, oldest first.
    given: VecDeque<Given>,
}

#[derive(Debug)]
struct Given {
    /// The segmenter's.
    ordinal: u64,
    number: u64,
    /// It stands behind a discontinuity that its maker did not know of.
    joins: bool,
}

impl Numbers {
    /// Numbers from `start` on. `follows_another` says that another process has published on the same URLs before: a discontinuity
    /// stands before the first segment.
    #[must_use]
    pub fn new(start: ResumeFloor, follows_another: bool) -> Self {
        Self {
            next: unsigned(start.media_sequence),
            discontinuity_sequence: unsigned(start.discontinuity_sequence),
            joins: follows_another,
            date: None,
            given: VecDeque::new(),
        }
    }

    /// The next number, and the discontinuity sequence so far: where another attempt may go on.
    #[must_use]
    pub fn next(&self) -> ResumeFloor {
        ResumeFloor {
            media_sequence: signed(self.next),
            discontinuity_sequence: signed(self.discontinuity_sequence),
        }
    }

    /// Goes on behind another attempt, which has ended at this date (Unix milliseconds), if that is known: with `floor` or above it,
    /// behind a discontinuity. Before any number is given.
    pub fn go_on(&mut self, floor: ResumeFloor, end: Option<i64>) {
        self.next = self.next.max(unsigned(floor.media_sequence));
        let sequence = unsigned(floor.discontinuity_sequence);
        self.discontinuity_sequence = self.discontinuity_sequence.max(sequence);
        self.joins = true;
        self.date = self.date.max(end);
    }

    /// Gives the next number to a segment. Its date is never before the end of the one before. Where it stands behind a discontinuity that
    /// its maker did not know of, its bytes say so too.
    pub fn give(&mut self, segment: FinishedSegment) -> NumberedSegment {
        let number = self.next;
        self.next += 1;
        let joins = std::mem::take(&mut self.joins);
        let discontinuity = joins || segment.discontinuity;
        let joins = joins && !segment.discontinuity;
        self.given.push_back(Given {
            ordinal: segment.ordinal,
            number,
            joins,
        });
        if self.given.len() > REMEMBERED {
            self.given.pop_front();
        }
        self.discontinuity_sequence += u64::from(discontinuity);
        let date = segment.program_date_time;
        let date = self.date.map_or(date, |end| end.max(date));
        self.date = Some(date + segment.duration.0.div_euclid(90));
        let mut renditions = segment.renditions;
        if joins {
            for rendition in &mut renditions {
                rendition.bytes = seam::mark(&rendition.bytes);
            }
        }
        NumberedSegment {
            number,
            duration: segment.duration,
            discontinuity,
            discontinuity_sequence: self.discontinuity_sequence,
            independent: segment.independent,
            program_date_time: date,
            renditions,
        }
    }

    /// A rendition of a segment that has a number already; `None` where it has none or is forgotten.
    #[must_use]
    pub fn late(&self, late: LateSegment) -> Option<NumberedLate> {
        let mut given = self.given.iter();
        let given = given.find(|given| given.ordinal == late.ordinal)?;
        let mut segment = late.segment;
        if given.joins {
            segment.bytes = seam::mark(&segment.bytes);
        }
        Some(NumberedLate {
            number: given.number,
            independent: late.independent,
            segment,
        })
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segmenter::io::{GenerationId, RenditionId};

    fn floor(media_sequence: i64, discontinuity_sequence: i64) -> ResumeFloor {
        ResumeFloor {
            media_sequence,
            discontinuity_sequence,
        }
    }

    fn segment(ordinal: u64, discontinuity: bool) -> FinishedSegment {
        FinishedSegment {
            ordinal,
            generation: GenerationId(0),
            duration: Ticks::from_seconds(2),
            discontinuity,
            independent: true,
            program_date_time: 1_000,
            renditions: Vec::new(),
        }
    }

    /// Number, discontinuity and discontinuity sequence of segments with these seams.
    fn given(numbers: &mut Numbers, seams: &[bool]) -> Vec<(u64, bool, u64)> {
        let segments = (0..).zip(seams);
        let give = |(ordinal, seam): (u64, &bool)| {
            let given = numbers.give(segment(ordinal, *seam));
            (
                given.number,
                given.discontinuity,
                given.discontinuity_sequence,
            )
        };
        segments.map(give).collect()
    }

    #[test]
    fn numbers_run_on_and_discontinuities_are_counted() {
        let mut numbers = Numbers::new(floor(100, 7), false);
        assert_eq!(
            given(&mut numbers, &[false, false, true, false]),
            [
                (100, false, 7),
                (101, false, 7),
                (102, true, 8),
                (103, false, 8)
            ]
        );
        assert_eq!(numbers.next(), floor(104, 8));
    }

    #[test]
    fn the_first_segment_of_a_successor_stands_behind_one_discontinuity() {
        for seam in [false, true] {
            let mut numbers = Numbers::new(floor(100, 7), true);
            let expected = [(100, true, 8), (101, false, 8)];
            assert_eq!(given(&mut numbers, &[seam, false]), expected);
        }
    }

    #[test]
    fn another_attempt_is_followed_above_its_numbers_and_not_before_its_end() {
        let mut numbers = Numbers::new(floor(0, 9), false);
        numbers.go_on(floor(100, 7), Some(1_500));
        let segments = [0, 1, 2].map(|ordinal| {
            let mut segment = segment(ordinal, false);
            segment.program_date_time = [1_000, 3_000, 9_000][usize::try_from(ordinal).unwrap()];
            numbers.give(segment)
        });
        let said = segments.map(|one| (one.number, one.discontinuity, one.program_date_time));
        assert_eq!(
            said,
            [(100, true, 1_500), (101, false, 3_500), (102, false, 9_000)]
        );
        assert_eq!(numbers.next(), floor(103, 10));
    }

    #[test]
    fn a_late_rendition_finds_the_number_of_its_segment() {
        let mut numbers = Numbers::new(floor(100, 7), false);
        given(&mut numbers, &[false; REMEMBERED + 2]);
        let found = |ordinal| numbers.late(late(ordinal)).map(|late| late.number);
        assert_eq!((found(1), found(2)), (None, Some(102)));
        assert_eq!(found(REMEMBERED as u64 + 2), None);
    }

    #[test]
    fn a_late_rendition_behind_a_discontinuity_that_its_maker_did_not_know_of_says_so_too() {
        let mut numbers = Numbers::new(floor(100, 7), true);
        given(&mut numbers, &[false, false]);
        let bytes = |ordinal| numbers.late(late(ordinal)).unwrap().segment.bytes;
        let plain = late(0).segment.bytes;
        assert_eq!((bytes(0), bytes(1)), (seam::mark(&plain), plain.clone()));
        assert_ne!(bytes(0), plain);
    }

    fn late(ordinal: u64) -> LateSegment {
        let mut packet = vec![0x47, 0x41, 0, 0x30, 1, 0];
        packet.resize(188, 0xFF);
        LateSegment {
            ordinal,
            independent: true,
            segment: RenditionSegment {
                rendition: RenditionId::new("480p"),
                bytes: packet.into(),
            },
        }
    }
}
