//! Decides where segments end, from the one track that leads: the source's video, the first rung of a full ladder, or the audio of radio.
//! Every rendition follows these points; nothing else in the crate decides a cut.

use std::collections::VecDeque;

use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess};

/// Room above the target duration that still rounds down to it (RFC 8216 §4.3.3.1).
const ROUNDING: Ticks = Ticks::from_milliseconds(490);
/// Without burst, the first group of pictures is cut in parts of this length.
const FIRST_PART: Ticks = Ticks::from_milliseconds(1000);
/// A key this soon after such a part does not end the next one: a segment of a few frames costs more than it brings.
const SHORTEST_PART: Ticks = Ticks::from_milliseconds(200);
/// No segment grows beyond this many bytes, whatever a source sends.
const MAX_SEGMENT_BYTES: usize = 48 << 20;
/// What a frame lasts while nothing is known.
const DEFAULT_FRAME: Ticks = Ticks::from_milliseconds(40);
/// So many steps are remembered to estimate it.
const RECENT_STEPS: usize = 8;
/// Steps outside these are not the distance of two frames.
const FRAME_RANGE: std::ops::RangeInclusive<Ticks> =
    Ticks::from_milliseconds(8)..=Ticks::from_milliseconds(200);

/// The lengths that a class sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutRules {
    /// What segments aim at.
    pub segment_duration: Ticks,
    /// EXT-X-TARGETDURATION.
    pub target_duration: Ticks,
}

impl CutRules {
    /// No segment is longer.
    pub(super) fn limit(&self) -> Ticks {
        self.target_duration + ROUNDING
    }
}

/// Why a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// A random access point.
    Key,
    /// The first group of pictures is cut early so that playing can begin.
    FirstPart,
    /// No key came in time.
    Forced,
}

/// A point where one segment ends and the next starts, on the source's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Presentation time of the first picture after it.
    pub(super) at: Ticks,
    /// Why.
    pub(super) reason: CutReason,
}

/// The state between two cuts of one generation.
#[derive(Debug)]
pub(super) struct Cutter {
    rules: CutRules,
    /// The first group of pictures is being cut in parts.
    in_first_group: bool,
    generation_start: Ticks,
    start: Ticks,
    starts_with_key: bool,
    last_key: Ticks,
    highest: Ticks,
    frame: FrameDuration,
    bytes: usize,
}

impl Cutter {
    /// Begins at the random access point that opens a generation.
    pub(super) fn new(rules: CutRules, first: &AccessUnit, split_first_group: bool) -> Self {
        let mut frame = FrameDuration::default();
        frame.observe(first.dts);
        Self {
            rules,
            in_first_group: split_first_group,
            generation_start: first.pts,
            start: first.pts,
            starts_with_key: true,
            last_key: first.pts,
            highest: first.pts,
            frame,
            bytes: first.payload.len(),
        }
    }

    /// Takes the next unit of the leading track and says whether a segment ends before it.
    pub(super) fn observe(&mut self, unit: &AccessUnit) -> Option<Cut> {
        self.frame.observe(unit.dts);
        let cut = self.decide(unit);
        if let Some(cut) = cut {
            self.start = cut.at;
            self.starts_with_key = unit.random_access != RandomAccess::None;
            self.bytes = 0;
        }
        if unit.random_access != RandomAccess::None {
            self.last_key = unit.pts;
            self.in_first_group &= self.start == self.generation_start && cut.is_none();
        }
        self.highest = self.highest.max(unit.pts);
        self.add_bytes(unit.payload.len());
        cut
    }

    /// Counts the bytes of a unit that was shown without them.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The source brings a burst after all: the first group needs no parts.
    pub(super) fn stop_splitting(&mut self) {
        self.in_first_group = false;
    }

    /// Up to here every cut is decided.
    pub(super) fn highest(&self) -> Ticks {
        self.highest
    }

    /// Where the open segment would end if nothing more came.
    pub(super) fn end(&self) -> Ticks {
        self.boundary().min(self.start + self.rules.limit())
    }

    /// What one frame lasts.
    pub(super) fn frame(&self) -> Ticks {
        self.frame.estimate()
    }

    /// Whether the open segment has no room for another unit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > 2 * MAX_SEGMENT_BYTES
    }

    fn boundary(&self) -> Ticks {
        self.highest + self.frame.estimate()
    }

    fn decide(&self, unit: &AccessUnit) -> Option<Cut> {
        // Between an anchor and the pictures shown before it there is no clean place.
        if unit.pts <= self.highest {
            return None;
        }
        let latest = self.start + self.rules.limit();
        if unit.random_access != RandomAccess::None && self.ends_at_key(unit.pts) {
            return Some(Cut {
                at: unit.pts.min(latest),
                reason: CutReason::Key,
            });
        }
        let at = self.boundary().min(unit.pts).min(latest);
        if at <= self.start {
            return None;
        }
        if self.is_first_part(at) {
            return Some(Cut {
                at,
                reason: CutReason::FirstPart,
            });
        }
        let next_end = unit.pts + self.frame.estimate();
        let is_due = next_end > latest || self.bytes > MAX_SEGMENT_BYTES;
        is_due.then_some(Cut {
            at,
            reason: CutReason::Forced,
        })
    }

    /// Whether the segment ends at this key: when waiting for the next one would miss the aimed length by more, or break the limit.
    fn ends_at_key(&self, key: Ticks) -> bool {
        let elapsed = key - self.start;
        if !self.starts_with_key {
            // Back to segments that start with a key, as soon as it is not silly.
            return elapsed >= SHORTEST_PART;
        }
        if self.in_first_group && elapsed >= FIRST_PART {
            return true;
        }
        let group = key - self.last_key;
        elapsed + Ticks(group.0 / 2) >= self.rules.segment_duration
            || elapsed + group > self.rules.limit()
    }

    fn is_first_part(&self, at: Ticks) -> bool {
        self.in_first_group
            && self.last_key == self.generation_start
            && at - self.start >= FIRST_PART
            && at - self.generation_start <= self.rules.limit()
    }
}

/// The distance of two frames: the shortest recent step of the decoding time.
#[derive(Debug, Default)]
struct FrameDuration {
    last: Option<Ticks>,
    steps: VecDeque<Ticks>,
}

impl FrameDuration {
    fn observe(&mut self, dts: Ticks) {
        if let Some(last) = self.last.replace(dts) {
            let step = dts - last;
            if FRAME_RANGE.contains(&step) {
                self.steps.push_back(step);
                if self.steps.len() > RECENT_STEPS {
                    self.steps.pop_front();
                }
            }
        }
    }

    fn estimate(&self) -> Ticks {
        self.steps.iter().min().copied().unwrap_or(DEFAULT_FRAME)
    }
}
