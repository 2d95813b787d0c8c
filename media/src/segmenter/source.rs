//! The source's side of the clock: drops what lies in the past or cannot be decoded, and notices a jump that nobody announced.
//! The front end does this first and better; what passes here wrongly would break every rendition.

use super::audio::{Pause, STOPPED};
use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess, Track};

/// So many units in a row that lie in the past mean that the clock was set back.
const STALE_UNITS: u32 = 100;
/// A step of so many times the one before is a hole: pictures were lost.
const HOLE: i64 = 3;

/// No picture waits longer than this for those shown before it: sixteen frames at the slowest usual rate.
const LONGEST_REORDERING: Ticks = Ticks::from_milliseconds(1500);

/// What is done with a unit of the source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// New: use it.
    Take,
    /// Already seen, or of no use.
    Drop,
    /// The clock jumped: a new generation starts with this unit.
    Jump,
}

/// What was seen of one timeline.
#[derive(Debug)]
pub(super) struct SourceTimeline {
    /// A forward step of the leading track longer than this is a jump: no segment could hold it.
    longest_step: Ticks,
    video: Option<Ticks>,
    audio: Option<Ticks>,
    audio_pause: Option<Pause>,
    step: Option<Ticks>,
    stale: u32,
    /// Pictures shown before this one cannot be decoded.
    floor: Option<Ticks>,
}

impl SourceTimeline {
    /// A timeline of which nothing was seen.
    pub(super) fn new(longest_step: Ticks) -> Self {
        Self {
            longest_step,
            video: None,
            audio: None,
            audio_pause: None,
            step: None,
            stale: 0,
            floor: None,
        }
    }

    /// Judges the next unit. `leads` says whether its track decides the cuts.
    pub(super) fn admit(&mut self, unit: &AccessUnit, leads: bool) -> Admission {
        let last = match unit.track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        };
        if let Some(last) = *last {
            let step = unit.dts - last;
            if step <= Ticks::ZERO {
                return self.past(leads);
            }
            if leads && step > self.longest_step {
                return Admission::Jump;
            }
            match unit.track {
                Track::Video => self.see_step(unit, step),
                Track::Audio if step > STOPPED => {
                    self.audio_pause = Some(Pause {
                        from: unit.dts - step,
                        to: unit.dts,
                    });
                }
                Track::Audio => {}
            }
        }
        match unit.track {
            Track::Video => self.video = Some(unit.dts),
            Track::Audio => self.audio = Some(unit.dts),
        }
        if leads {
            self.stale = 0;
        }
        let is_undecodable =
            unit.track == Track::Video && self.floor.is_some_and(|floor| unit.pts < floor);
        if is_undecodable {
            Admission::Drop
        } else {
            Admission::Take
        }
    }

    /// The picture with a presentation time that can be believed: one wrong bit there would hold up every cut.
    pub(super) fn believable(unit: AccessUnit) -> AccessUnit {
        let reordering = unit.pts - unit.dts;
        if (Ticks::ZERO..=LONGEST_REORDERING).contains(&reordering) {
            unit
        } else {
            AccessUnit {
                pts: unit.dts,
                ..unit
            }
        }
    }

    /// A decoder starts here: pictures shown before this time are dropped, as they refer to what it has not got.
    pub(super) fn starts_at(&mut self, pts: Ticks) {
        self.floor = Some(pts);
    }

    /// Whether a picture decoded at this time would be dropped.
    pub(super) fn is_past(&self, dts: Ticks) -> bool {
        self.video
            .is_none_or(|last| dts <= last || dts - last > self.longest_step)
    }

    /// When the last audio sounds that has come.
    pub(super) fn latest_audio(&self) -> Option<Ticks> {
        self.audio
    }

    /// Where audio was missing the last time.
    pub(super) fn audio_pause(&self) -> Option<Pause> {
        self.audio_pause
    }

    /// The latest time seen.
    pub(super) fn latest(&self) -> Option<Ticks> {
        self.video.max(self.audio)
    }

    /// After a hole the leading pictures of an open group refer to what was lost.
    fn see_step(&mut self, unit: &AccessUnit, step: Ticks) {
        let is_hole = self
            .step
            .is_some_and(|usual| step.0 >= usual.0.saturating_mul(HOLE));
        if is_hole && unit.random_access == RandomAccess::Recovery {
            self.floor = Some(unit.pts);
        }
        self.step = Some(step);
    }

    fn past(&mut self, leads: bool) -> Admission {
        if !leads {
            return Admission::Drop;
        }
        self.stale += 1;
        if self.stale > STALE_UNITS {
            Admission::Jump
        } else {
            Admission::Drop
        }
    }
}
