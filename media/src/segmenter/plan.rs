//! The segments that were decided, by number: where each starts and ends, what it is called, which audio it has.
//! Renditions follow this list; it never looks at pictures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::io::{AudioPlan, GenerationId};
use crate::time::Ticks;
use crate::unit::AccessUnit;

/// So many segments are remembered for renditions that lag or start late.
const REMEMBERED: usize = 64;

/// The time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The source's clock.
    pub(super) clock: Ticks,
    /// The caller's clock.
    pub(super) now: Duration,
}

impl Moment {
    /// Before anything of a timeline has come.
    pub(super) fn before_all(now: Duration) -> Self {
        Self {
            clock: Ticks(i64::MIN / 4),
            now,
        }
    }
}

/// One segment. While it has no end, it is the open one.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) generation: GenerationId,
    /// Presentation time of its first picture, on the source's clock.
    pub(super) start: Ticks,
    /// Where it ends, once that is known.
    pub(super) end: Option<Ended>,
    /// What is added to source times to get wire times.
    pub(super) offset: Ticks,
    /// It opens its generation.
    pub(super) opens: bool,
    pub(super) discontinuity: bool,
    pub(super) discontinuity_sequence: u64,
    /// The audio that its tables announce.
    pub(super) announced: Option<Arc<AudioPlan>>,
    /// When its first picture came.
    pub(super) began: Moment,
    /// Its audio, once that is decided.
    pub(super) audio: Option<Arc<[AccessUnit]>>,
}

/// The end of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) at: Ticks,
    /// Unix milliseconds of its start, frozen with the end.
    pub(super) date: i64,
    /// When it was decided.
    pub(super) decided: Moment,
    /// It closes its generation: nothing of that timeline comes after it.
    pub(super) closes: bool,
}

/// The list.
#[derive(Debug)]
pub(super) struct Plan {
    segments: VecDeque<Planned>,
    next_number: u64,
    discontinuity_sequence: u64,
}

/// What a new segment starts with.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) generation: GenerationId,
    pub(super) at: Ticks,
    pub(super) offset: Ticks,
    pub(super) opens: bool,
    pub(super) discontinuity: bool,
    pub(super) announced: Option<Arc<AudioPlan>>,
    pub(super) began: Moment,
}

impl Plan {
    pub(super) fn new(media_sequence: u64, discontinuity_sequence: u64) -> Self {
        Self {
            segments: VecDeque::new(),
            next_number: media_sequence,
            discontinuity_sequence,
        }
    }

    /// Opens the next number.
    pub(super) fn open(&mut self, start: Start) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.discontinuity_sequence += u64::from(start.discontinuity);
        self.segments.push_back(Planned {
            number,
            generation: start.generation,
            start: start.at,
            end: None,
            offset: start.offset,
            opens: start.opens,
            discontinuity: start.discontinuity,
            discontinuity_sequence: self.discontinuity_sequence,
            announced: start.announced,
            began: start.began,
            audio: None,
        });
        number
    }

    /// Gives up the open segment, of which nothing is published: its number is given to the next one, and its generation ends with
    /// the one before. Answers the number; `None`, and nothing happens, where it could not be done unseen.
    pub(super) fn take_back(&mut self) -> Option<u64> {
        let open = self.segments.back()?;
        if open.end.is_some() || open.opens || open.discontinuity {
            return None;
        }
        let number = open.number;
        let before = self.segments.iter_mut().rev().nth(1)?;
        before.end.as_mut()?.closes = true;
        self.segments.pop_back();
        self.next_number = number;
        Some(number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Planned> {
        self.segments.get(self.index(number)?)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Planned> {
        let index = self.index(number)?;
        self.segments.get_mut(index)
    }

    /// The open segment, or the last one that was closed.
    pub(super) fn last_mut(&mut self) -> Option<&mut Planned> {
        self.segments.back_mut()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Planned> {
        self.segments.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Planned> {
        self.segments.iter_mut()
    }

    /// The oldest number that is remembered; the next one when there is none.
    pub(super) fn first_number(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.next_number, |planned| planned.number)
    }

    /// The number that the next segment gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Forgets the oldest segments below `published` beyond what is remembered.
    pub(super) fn prune(&mut self, published: u64) {
        while self.segments.len() > REMEMBERED
            && self
                .segments
                .front()
                .is_some_and(|oldest| oldest.number < published)
        {
            self.segments.pop_front();
        }
    }

    /// Whether so many segments wait that the oldest must be given up.
    pub(super) fn is_full(&self) -> bool {
        self.segments.len() > REMEMBERED
    }

    fn index(&self, number: u64) -> Option<usize> {
        let first = self.segments.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }
}
