//! The source's side of the clock: drops what was already seen, and judges whether a new connection goes on where the last one broke off.
//! An overlap counts only if the pictures are the same, for a restarted source may reuse the same times.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::time::Ticks;
use crate::unit::{AccessUnit, Track};

/// So many units of the leading track are remembered to recognise an overlap: a minute at 60 frames per second.
const REMEMBERED: usize = 3600;
/// A new connection may leave out this much.
const GAP: Ticks = Ticks::from_milliseconds(1000);
/// A forward step longer than this is not the same timeline.
const LONGEST_STEP: Ticks = Ticks::from_milliseconds(5000);
/// So many units in a row that lie in the past mean that the clock was set back.
const STALE_UNITS: u32 = 100;
/// Of each picture, this much of its start and of its end is compared.
const COMPARED_BYTES: usize = 512;

/// What is done with a unit of the source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// New: use it.
    Take(AccessUnit),
    /// Already seen, or of no use.
    Drop,
    /// The clock jumped without anybody saying so: a new generation starts with this unit, given back as it came.
    Jump(AccessUnit),
}

/// How the first unit of a new connection relates to what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejoin {
    /// The same timeline.
    Continues,
    /// Another one.
    Breaks,
}

/// What was seen of one timeline.
#[derive(Debug, Default)]
pub(super) struct SourceTimeline {
    /// Added to the units of the present connection: its times may have been unwrapped from another start.
    shift: Ticks,
    video: Option<Ticks>,
    audio: Option<Ticks>,
    recent: VecDeque<(Ticks, u64)>,
    stale: u32,
    /// Units are expected to be repeated, until the first new one.
    overlaps: bool,
    /// Pictures shown before this one cannot be decoded.
    floor: Option<Ticks>,
}

impl SourceTimeline {
    /// Judges a new connection by its first unit of the leading track.
    pub(super) fn rejoin(&mut self, first: &AccessUnit) -> Rejoin {
        let Some(last) = self.last(first.track) else {
            return Rejoin::Breaks;
        };
        let near = Ticks::unwrap_near(first.dts.wrapped(), last);
        let fingerprint = fingerprint(first);
        let is_known = self
            .recent
            .iter()
            .any(|&(dts, known)| dts == near && known == fingerprint);
        let follows = near > last && near - last <= GAP;
        if !is_known && !follows {
            return Rejoin::Breaks;
        }
        self.shift = near - first.dts;
        self.overlaps = is_known;
        self.stale = 0;
        if follows {
            self.floor = Some(first.pts + self.shift);
        }
        Rejoin::Continues
    }

    /// Takes the next unit of the connection. `leads` says whether its track decides the cuts.
    pub(super) fn admit(&mut self, unit: AccessUnit, leads: bool) -> Admission {
        let original = unit;
        let unit = self.shifted(&original);
        if let Some(last) = self.last(unit.track) {
            if unit.dts <= last {
                return self.past(original, leads);
            }
            if leads && unit.dts - last > LONGEST_STEP {
                return Admission::Jump(original);
            }
        }
        match unit.track {
            Track::Video => self.video = Some(unit.dts),
            Track::Audio => self.audio = Some(unit.dts),
        }
        if leads {
            self.stale = 0;
            self.overlaps = false;
            self.remember(&unit);
        }
        let is_undecodable =
            unit.track == Track::Video && self.floor.is_some_and(|floor| unit.pts < floor);
        if is_undecodable {
            return Admission::Drop;
        }
        Admission::Take(unit)
    }

    /// Pictures shown before this time are dropped: leading pictures of the key that a decoder starts with.
    pub(super) fn starts_at(&mut self, pts: Ticks) {
        self.floor = Some(pts);
    }

    /// A time of the present connection on the timeline.
    pub(super) fn time(&self, time: Ticks) -> Ticks {
        time + self.shift
    }

    fn past(&mut self, unit: AccessUnit, leads: bool) -> Admission {
        if !leads || self.overlaps {
            return Admission::Drop;
        }
        self.stale += 1;
        if self.stale > STALE_UNITS {
            Admission::Jump(unit)
        } else {
            Admission::Drop
        }
    }

    /// The latest time seen.
    pub(super) fn latest(&self) -> Option<Ticks> {
        self.video.max(self.audio)
    }

    fn shifted(&self, unit: &AccessUnit) -> AccessUnit {
        AccessUnit {
            pts: unit.pts + self.shift,
            dts: unit.dts + self.shift,
            arrival: unit.arrival + self.shift,
            ..unit.clone()
        }
    }

    fn last(&self, track: Track) -> Option<Ticks> {
        match track {
            Track::Video => self.video,
            Track::Audio => self.audio,
        }
    }

    fn remember(&mut self, unit: &AccessUnit) {
        self.recent.push_back((unit.dts, fingerprint(unit)));
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }
}

fn fingerprint(unit: &AccessUnit) -> u64 {
    let payload = &unit.payload;
    let mut hasher = DefaultHasher::new();
    payload.len().hash(&mut hasher);
    payload[..payload.len().min(COMPARED_BYTES)].hash(&mut hasher);
    payload[payload.len().saturating_sub(COMPARED_BYTES)..].hash(&mut hasher);
    hasher.finish()
}
