//! Lets units pass from a random access point on, each of them once. Holds a bounded piece of audio, for muxers that send it early.

use std::collections::VecDeque;

use crate::time::Ticks;
use crate::unit::{AccessUnit, Track};

/// The most audio that is held while the gate is closed.
const MAX_HELD_BYTES: usize = 256 * 1024;
const MAX_HELD_UNITS: usize = 256;

/// The gate between what a source sends and what is made of it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: bool,
    held: VecDeque<(AccessUnit, Ticks)>,
    held_bytes: usize,
    /// Audio that ends before this is not of the part that passes.
    audio_from: Option<Ticks>,
    /// Times of the last units that have passed.
    video_passed: Option<Ticks>,
    audio_passed: Option<Ticks>,
    /// What is not later than these has passed over an earlier connection.
    video_floor: Option<Ticks>,
    audio_floor: Option<Ticks>,
    /// The connection broke since the gate was open.
    resumes: bool,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Closes at a break of the time line: what passed before says nothing about what comes.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Closes because the connection broke; the next one may repeat what has passed.
    pub(super) fn break_off(&mut self) {
        self.resumes |= self.open;
        self.open = false;
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Where the last connection ended, if what comes next may continue it.
    pub(super) fn resumes_from(&self, leader: Track) -> Option<Ticks> {
        let passed = match leader {
            Track::Video => self.video_passed,
            Track::Audio => self.audio_passed,
        };
        passed.filter(|_| self.resumes)
    }

    /// Opens at a random access point shown at `pts` and returns the audio that was held for it.
    pub(super) fn open(&mut self, pts: Ticks, continues: bool) -> Vec<AccessUnit> {
        let held = std::mem::take(&mut self.held);
        let before = std::mem::take(self);
        self.open = true;
        if continues {
            self.video_passed = before.video_passed;
            self.audio_passed = before.audio_passed;
            self.video_floor = before.video_passed;
            self.audio_floor = before.audio_passed;
        } else {
            self.audio_from = Some(pts);
        }
        held.into_iter()
            .filter_map(|(unit, duration)| self.pass(unit, duration))
            .collect()
    }

    /// Whether what is decoded at `dts` has not passed yet.
    pub(super) fn is_new(&self, track: Track, dts: Ticks) -> bool {
        let floor = match track {
            Track::Video => self.video_floor,
            Track::Audio => self.audio_floor,
        };
        floor.is_none_or(|floor| dts > floor)
    }

    /// The unit, if it may pass now.
    pub(super) fn pass(&mut self, unit: AccessUnit, duration: Ticks) -> Option<AccessUnit> {
        if !self.open {
            self.hold(unit, duration);
            return None;
        }
        if !self.is_new(unit.track, unit.dts) {
            return None;
        }
        match unit.track {
            Track::Video => self.video_passed = Some(unit.dts),
            Track::Audio => {
                let end = unit.pts + duration.max(Ticks(1));
                if self.audio_from.is_some_and(|from| end <= from) {
                    return None;
                }
                self.audio_passed = Some(unit.dts);
            }
        }
        Some(unit)
    }

    fn hold(&mut self, unit: AccessUnit, duration: Ticks) {
        if unit.track == Track::Video {
            return;
        }
        self.held_bytes += unit.payload.len();
        self.held.push_back((unit, duration));
        while self.held_bytes > MAX_HELD_BYTES || self.held.len() > MAX_HELD_UNITS {
            let Some((oldest, _)) = self.held.pop_front() else {
                break;
            };
            self.held_bytes -= oldest.payload.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::RandomAccess;
    use bytes::Bytes;

    const FRAME: Ticks = Ticks(1920);

    fn unit(track: Track, time: i64) -> AccessUnit {
        AccessUnit {
            track,
            pts: Ticks(time),
            dts: Ticks(time),
            random_access: RandomAccess::None,
            arrival: Ticks(time),
            payload: Bytes::from_static(&[0; 1000]),
        }
    }

    fn times(units: &[AccessUnit]) -> Vec<i64> {
        units.iter().map(|unit| unit.pts.0).collect()
    }

    #[test]
    fn audio_that_sounds_at_the_random_access_point_was_held_for_it() {
        let mut gate = Gate::default();
        for time in [0, 1920, 3840, 5760] {
            assert_eq!(gate.pass(unit(Track::Audio, time), FRAME), None);
        }
        assert_eq!(gate.pass(unit(Track::Video, 3000), Ticks::ZERO), None);
        assert_eq!(times(&gate.open(Ticks(3840), false)), [3840, 5760]);
        assert_eq!(gate.pass(unit(Track::Audio, 1920), FRAME), None);
        assert!(gate.pass(unit(Track::Audio, 7680), FRAME).is_some());
        assert!(gate.pass(unit(Track::Video, 3840), Ticks::ZERO).is_some());
    }

    #[test]
    fn what_a_new_connection_repeats_passes_once() {
        let mut gate = Gate::default();
        gate.open(Ticks(0), false);
        for time in [0, 3600, 7200] {
            gate.pass(unit(Track::Video, time), Ticks::ZERO);
            gate.pass(unit(Track::Audio, time), FRAME);
        }
        gate.break_off();
        assert_eq!(gate.resumes_from(Track::Video), Some(Ticks(7200)));
        gate.open(Ticks(3600), true);
        let passed: Vec<_> = [3600, 7200, 10_800]
            .into_iter()
            .filter_map(|time| gate.pass(unit(Track::Video, time), Ticks::ZERO))
            .collect();
        assert_eq!(times(&passed), [10_800]);
        assert!(gate.pass(unit(Track::Audio, 7300), FRAME).is_some());
    }

    #[test]
    fn another_time_line_is_not_measured_by_the_last_one() {
        let mut gate = Gate::default();
        gate.open(Ticks(900_000), false);
        gate.pass(unit(Track::Video, 900_000), Ticks::ZERO);
        gate.break_off();
        gate.open(Ticks(5), false);
        assert!(gate.pass(unit(Track::Video, 5), Ticks::ZERO).is_some());
    }

    #[test]
    fn held_audio_is_bounded() {
        let mut gate = Gate::default();
        for time in 0..10_000 {
            gate.pass(unit(Track::Audio, time), FRAME);
        }
        assert!(gate.held_bytes <= MAX_HELD_BYTES && gate.held.len() <= MAX_HELD_UNITS);
        assert_eq!(
            gate.held.back().map(|(unit, _)| unit.pts),
            Some(Ticks(9999))
        );
    }
}
