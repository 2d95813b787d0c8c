//! The segments that were decided, by ordinal: where each starts and ends, what it is called, which audio it has.
//! Renditions follow this list; it never looks at pictures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::io::{AudioPlan, GenerationId, REMEMBERED};
use crate::time::Ticks;
use crate::unit::AccessUnit;

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
    pub(super) ordinal: u64,
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
    /// Half of what a frame lasted when it was decided: pictures this near before it are behind it, in every rendition.
    pub(super) half_frame: Ticks,
    /// Unix milliseconds of its start, frozen with the end.
    pub(super) date: i64,
    /// When it was decided.
    pub(super) decided: Moment,
    /// It closes its generation: nothing of that timeline comes after it.
    pub(super) closes: bool,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Plan {
    segments: VecDeque<Planned>,
    next_ordinal: u64,
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
    /// Opens the next segment.
    pub(super) fn open(&mut self, start: Start) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.segments.push_back(Planned {
            ordinal,
            generation: start.generation,
            start: start.at,
            end: None,
            offset: start.offset,
            opens: start.opens,
            discontinuity: start.discontinuity,
            announced: start.announced,
            began: start.began,
            audio: None,
        });
        ordinal
    }

    /// Gives up the last segment, of which nothing is published: its ordinal is given to the next one, and its generation ends with
    /// the one before, where that has one. Answers the ordinal; `None`, and nothing happens, where it could not be done unseen.
    pub(super) fn take_back(&mut self) -> Option<u64> {
        let last = self.segments.back()?;
        if last.audio.is_some() || last.discontinuity && !last.opens {
            return None;
        }
        let ordinal = last.ordinal;
        if !last.opens {
            let before = self.segments.iter_mut().rev().nth(1)?;
            before.end.as_mut()?.closes = true;
        }
        self.segments.pop_back();
        self.next_ordinal = ordinal;
        Some(ordinal)
    }

    pub(super) fn get(&self, ordinal: u64) -> Option<&Planned> {
        self.segments.get(self.index(ordinal)?)
    }

    pub(super) fn get_mut(&mut self, ordinal: u64) -> Option<&mut Planned> {
        let index = self.index(ordinal)?;
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

    /// The oldest ordinal that is remembered; the next one when there is none.
    pub(super) fn first_ordinal(&self) -> u64 {
        self.segments
            .front()
            .map_or(self.next_ordinal, |planned| planned.ordinal)
    }

    /// The ordinal that the next segment gets.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// Forgets the oldest segments below `published` beyond what is remembered.
    pub(super) fn prune(&mut self, published: u64) {
        while self.segments.len() > REMEMBERED
            && self
                .segments
                .front()
                .is_some_and(|oldest| oldest.ordinal < published)
        {
            self.segments.pop_front();
        }
    }

    /// Whether so many segments wait that the oldest must be given up.
    pub(super) fn is_full(&self) -> bool {
        self.segments.len() > REMEMBERED
    }

    fn index(&self, ordinal: u64) -> Option<usize> {
        let first = self.segments.front()?.ordinal;
        usize::try_from(ordinal.checked_sub(first)?).ok()
    }
}
