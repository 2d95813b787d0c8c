//! Which audio goes into which segment: decided once per segment, the same in every rendition. Waiting is in media time while
//! the source leads, in the caller's time for what an encoder owes; audio inside a generation is never dropped at a cut.

use std::collections::VecDeque;
use std::time::Duration;

use super::io::{GenerationId, Origin};
use super::plan::{Ended, Moment, Planned};
use super::silence::Silence;
use crate::time::Ticks;
use crate::unit::AccessUnit;

/// A segment is closed without its last bit of audio up to this length, which then opens the next: waiting for a whole PES
/// packet would delay every segment for nothing a viewer notices.
const TAIL: Ticks = Ticks::from_milliseconds(300);
/// Audio is waited for this much longer than it was ever late.
const MARGIN: Ticks = Ticks::from_milliseconds(200);
/// Nobody waits longer than this for late audio, whatever was learned.
const LONGEST_WAIT: Ticks = Ticks::from_milliseconds(3000);
/// Announced audio that does not start within this time is left out.
const START_WAIT: Ticks = Ticks::from_milliseconds(1500);
/// Sound that ended so long before its segment has stopped, and the segment is silent from there on.
pub(super) const STOPPED: Ticks = Ticks::from_milliseconds(1000);
/// An encoder may take this long in the caller's time.
const ENCODER_WAIT: Duration = Duration::from_secs(3);
/// An encoder that is given audio may take this long to bring the first of it: on a busy node it starts slowly.
const ENCODER_START: Duration = Duration::from_secs(8);
/// What may be held for segments to come, in bytes: a minute of the fattest audio there is.
const MAX_BYTES: usize = 16 << 20;
/// What a unit costs besides its payload.
const UNIT_COST: usize = 128;
/// Steps longer than this are a hole, not the length of a unit.
const LONGEST_UNIT: Ticks = Ticks::from_milliseconds(700);

/// What is known about the audio of a generation when one of its segments asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prospect {
    /// No more of it can come.
    pub(super) is_over: bool,
    /// When the last of what the source has sent of its own sounds.
    pub(super) source_audio: Option<Ticks>,
    /// Where the source had none for a while, and has again.
    pub(super) source_pause: Option<Pause>,
}

/// A hole in the sound, from its last unit before to its first one after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) from: Ticks,
    pub(super) to: Ticks,
}

/// Whether sound that is missing at the end of a segment may come yet.
#[derive(Debug, Clone, Copy)]
struct Expectation {
    has_stopped: bool,
    may_be_late: bool,
}

/// The answer to a segment that asks for its audio.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not yet.
    Wait,
    /// This is it.
    Take(Vec<AccessUnit>),
    /// It was announced and does not come.
    Absent,
}

/// Audio that is not yet in a segment.
#[derive(Debug, Default)]
pub(super) struct AudioQueue {
    units: VecDeque<(GenerationId, AccessUnit)>,
    bytes: usize,
    /// The generation whose audio came last, and what was learned of it.
    generation: GenerationId,
    last: Option<Ticks>,
    step: Ticks,
    /// The least by which its end was ahead of the source's clock when it arrived; negative when it comes late.
    lead: Option<Ticks>,
    /// Wire time of the last unit in a segment: after a seam audio must not go back.
    written: Option<Ticks>,
    silence: Silence,
}

impl AudioQueue {
    /// Takes a unit; `false` when it repeats or goes back.
    pub(super) fn push(&mut self, generation: GenerationId, unit: AccessUnit) -> bool {
        if generation > self.generation {
            self.generation = generation;
            (self.last, self.step, self.lead) = (None, Ticks::ZERO, None);
        }
        if generation < self.generation || self.last.is_some_and(|last| unit.pts <= last) {
            return false;
        }
        if let Some(last) = self.last.replace(unit.pts)
            && unit.pts - last <= LONGEST_UNIT
        {
            self.step = unit.pts - last;
        }
        let lead = unit.pts + self.step - unit.arrival;
        self.lead = Some(self.lead.map_or(lead, |least| least.min(lead)));
        self.bytes += unit.payload.len() + UNIT_COST;
        self.units.push_back((generation, unit));
        while self.bytes > MAX_BYTES && self.pop().is_some() {}
        true
    }

    fn count(&mut self) {
        let sizes = self.units.iter().map(|(_, unit)| unit.payload.len());
        self.bytes = sizes.map(|size| size + UNIT_COST).sum();
    }

    fn pop(&mut self) -> Option<AccessUnit> {
        let (_, unit) = self.units.pop_front()?;
        self.bytes -= unit.payload.len() + UNIT_COST;
        Some(unit)
    }

    /// Whether audio of this generation has come.
    pub(super) fn has_started(&self, generation: GenerationId) -> bool {
        self.generation > generation || (self.generation == generation && self.last.is_some())
    }

    /// Whether some of this generation's audio is there for what begins at `start`, or is left from before it.
    pub(super) fn has_for(&self, generation: GenerationId, start: Ticks, is_left: bool) -> bool {
        self.units
            .iter()
            .any(|(of, unit)| *of == generation && (is_left || unit.pts + self.step > start))
    }

    /// Decides the audio of a segment that has ended.
    pub(super) fn decide(
        &mut self,
        planned: &Planned,
        prospect: Prospect,
        moment: Moment,
    ) -> Answer {
        let Some(end) = planned.end else {
            return Answer::Wait;
        };
        let Some(announced) = &planned.announced else {
            return Answer::Take(Vec::new());
        };
        let origin = announced.origin;
        let is_over = prospect.is_over || self.generation > planned.generation;
        let starts_within = self
            .units
            .iter()
            .any(|(generation, unit)| *generation == planned.generation && unit.pts < end.at);
        if planned.opens && !starts_within && !is_over {
            let waits_for_source = origin == Origin::Source || prospect.source_audio.is_none();
            return self.decide_first(planned, waits_for_source, moment);
        }
        if is_over || self.reaches(end.at - TAIL) || self.is_overdue(end, origin, moment) {
            let own = self.last.filter(|_| self.generation == planned.generation);
            let heard = match (origin, prospect.source_pause) {
                (Origin::Source, _) => own,
                // What an encoder owes is waited for so long that the source may have sound again.
                (Origin::Encoded, Some(pause)) if pause.to >= end.at => Some(pause.from),
                (Origin::Encoded, _) => prospect.source_audio,
            };
            let expects = Expectation {
                has_stopped: heard.is_some_and(|heard| heard + STOPPED < end.at),
                // An encoder that is being replaced brings later what it owes.
                may_be_late: origin == Origin::Encoded && !is_over,
            };
            return Answer::Take(self.take(planned, end, expects));
        }
        Answer::Wait
    }

    /// The first segment must have audio, or none may be announced: players build their decoders from it.
    fn decide_first(
        &mut self,
        planned: &Planned,
        waits_for_source: bool,
        moment: Moment,
    ) -> Answer {
        if self.has_started(planned.generation) {
            let first = self
                .units
                .iter()
                .position(|(generation, _)| *generation == planned.generation);
            // Its turn comes although it sounds later; what is before it is of an older generation.
            self.units.drain(..first.unwrap_or(0));
            let unit = self.pop();
            self.count();
            if let Some(unit) = &unit {
                self.written = Some(unit.pts + planned.offset);
            }
            let first = unit.into_iter().collect();
            return Answer::Take(self.silence.fill(planned.generation, first, None));
        }
        let is_absent = if waits_for_source {
            moment.clock >= planned.began.clock + START_WAIT
        } else {
            moment.now >= planned.began.now + ENCODER_START
        };
        if is_absent {
            Answer::Absent
        } else {
            Answer::Wait
        }
    }

    fn reaches(&self, end: Ticks) -> bool {
        self.last.is_some_and(|last| last + self.step >= end)
    }

    fn is_overdue(&self, end: Ended, origin: Origin, moment: Moment) -> bool {
        match origin {
            Origin::Encoded => moment.now >= end.decided.now + ENCODER_WAIT,
            Origin::Source => {
                let learned = self.lead.map(|lead| end.at - lead + MARGIN);
                learned.is_some_and(|learned| moment.clock >= learned)
                    || moment.clock >= end.decided.clock + LONGEST_WAIT
            }
        }
    }

    fn take(&mut self, planned: &Planned, end: Ended, expects: Expectation) -> Vec<AccessUnit> {
        let mut taken = Vec::new();
        while let Some((generation, unit)) = self.units.front() {
            let is_older = *generation < planned.generation;
            let belongs = *generation == planned.generation && unit.pts < end.at;
            if !is_older && !belongs {
                break;
            }
            if let Some(unit) = self.pop()
                && belongs
            {
                taken.push(unit);
            }
        }
        if planned.opens || planned.discontinuity {
            drop_before(&mut taken, planned.start);
        }
        if end.closes {
            self.units
                .retain(|(generation, _)| *generation > planned.generation);
            self.count();
        }
        let is_silent = expects.has_stopped || taken.is_empty() && !expects.may_be_late;
        let to = is_silent.then_some(end.at);
        let mut taken = self.silence.fill(planned.generation, taken, to);
        let written = self.written;
        taken.retain(|unit| written.is_none_or(|written| unit.pts + planned.offset > written));
        if let Some(last) = taken.last() {
            self.written = Some(last.pts + planned.offset);
        }
        taken
    }
}

/// Leaves out what ends before the first picture.
fn drop_before(taken: &mut Vec<AccessUnit>, start: Ticks) {
    let early = taken
        .windows(2)
        .take_while(|pair| pair[1].pts <= start)
        .count();
    taken.drain(..early);
}
