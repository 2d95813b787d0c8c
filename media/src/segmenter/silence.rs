//! Silence where sound is missing: frames of AAC that say nothing. Players play no picture without the sound that was announced with
//! it, so a track that stops would stop them all. Pure; knows no format but AAC, which is what we encode and nearly all that we pass.

use bytes::Bytes;

use super::io::GenerationId;
use crate::codec::aac::{HEADER, silent_frame};
use crate::codec::audio::{frames_from, parse_header};
use crate::time::Ticks;
use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track};

/// Frames that one segment is given at most: more than a minute.
const MOST_FRAMES: usize = 4096;
/// Times are rounded by no more than this.
const ROUNDING: Ticks = Ticks::from_milliseconds(2);

/// Where the sound of a generation stands.
#[derive(Debug, Default)]
pub(super) struct Silence {
    sounding: Option<Sounding>,
}

/// What was heard last.
#[derive(Debug, Clone)]
struct Sounding {
    generation: GenerationId,
    /// Where it ends, on the source's clock.
    until: Ticks,
    /// It was silence of ours.
    is_silence: bool,
    /// The same format, saying nothing.
    frame: Option<Bytes>,
    duration: Ticks,
}

impl Silence {
    /// The units of a segment, with silence wherever sound is missing behind what was heard before, and up to `to`, where more of it
    /// is not expected: at least one frame then, however short the segment is. What comes after its time was given away is left out.
    pub(super) fn fill(
        &mut self,
        generation: GenerationId,
        units: Vec<AccessUnit>,
        to: Option<Ticks>,
    ) -> Vec<AccessUnit> {
        if let Some(before) = &self.sounding
            && before.generation != generation
        {
            self.sounding = None;
        }
        let mut filled = Vec::with_capacity(units.len());
        for unit in units {
            if let Some(unit) = self.new_part(unit) {
                self.silent_to(unit.pts, &mut filled);
                self.hear(generation, &unit);
                filled.push(unit);
            }
        }
        if let Some(to) = to {
            self.silent_to(to, &mut filled);
            if filled.is_empty() {
                filled.extend(self.sounding.as_mut().and_then(Sounding::say_nothing));
            }
        }
        filled
    }

    /// What of a unit sounds behind our own silence.
    fn new_part(&self, unit: AccessUnit) -> Option<AccessUnit> {
        let silent = self.sounding.as_ref().filter(|last| last.is_silence);
        let Some(from) = silent.map(|last| last.until - ROUNDING) else {
            return Some(unit);
        };
        if unit.pts >= from || parse_header(AudioCodec::Aac, &unit.payload).is_none() {
            return Some(unit);
        }
        let (pts, payload, _) = frames_from(AudioCodec::Aac, &unit.payload, unit.pts, from)?;
        Some(AccessUnit {
            pts,
            dts: pts,
            payload,
            ..unit
        })
    }

    fn hear(&mut self, generation: GenerationId, unit: &AccessUnit) {
        let header = parse_header(AudioCodec::Aac, &unit.payload);
        let whole = frames_from(AudioCodec::Aac, &unit.payload, unit.pts, unit.pts);
        self.sounding = header.zip(whole).map(|(header, (_, _, until))| Sounding {
            generation,
            until,
            is_silence: false,
            frame: unit.payload.get(..HEADER).and_then(silent_frame),
            duration: header.duration(),
        });
    }

    /// Says nothing until `to`, where that is longer than times are wrong by.
    fn silent_to(&mut self, to: Ticks, filled: &mut Vec<AccessUnit>) {
        let Some(last) = &mut self.sounding else {
            return;
        };
        if to - last.until <= Ticks(last.duration.0 * 3 / 2) {
            return;
        }
        for _ in 0..MOST_FRAMES {
            if last.until + last.duration > to {
                break;
            }
            let Some(unit) = last.say_nothing() else {
                break;
            };
            filled.push(unit);
        }
    }
}

impl Sounding {
    /// One silent frame more, where there is one of this format.
    fn say_nothing(&mut self) -> Option<AccessUnit> {
        let payload = self.frame.clone()?;
        let at = self.until;
        self.until += self.duration;
        self.is_silence = true;
        Some(AccessUnit {
            track: Track::Audio,
            pts: at,
            dts: at,
            random_access: RandomAccess::Full,
            arrival: at,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 1920;
    const FIRST: GenerationId = GenerationId(0);

    /// So many frames of AAC at 48 kHz, ten bytes each.
    fn unit(at: i64, frames: usize) -> AccessUnit {
        let frame = [0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x5F, 0xFC, 1, 2, 3];
        AccessUnit {
            track: Track::Audio,
            pts: Ticks(at),
            dts: Ticks(at),
            random_access: RandomAccess::Full,
            arrival: Ticks(at),
            payload: Bytes::from(frame.repeat(frames)),
        }
    }

    /// Where each unit starts, how many frames it has, and whether it is of the source.
    fn told(units: &[AccessUnit]) -> Vec<(i64, usize, bool)> {
        let frames = |unit: &AccessUnit| {
            let (mut rest, mut count) = (&unit.payload[..], 0);
            while let Some(header) = parse_header(AudioCodec::Aac, rest) {
                (rest, count) = (&rest[header.length..], count + 1);
            }
            count
        };
        let is_heard = |unit: &AccessUnit| unit.payload[7..10] == [1, 2, 3];
        let told = units
            .iter()
            .map(|unit| (unit.pts.0, frames(unit), is_heard(unit)));
        told.collect()
    }

    #[test]
    fn sound_without_a_hole_stays_as_it_is() {
        let mut silence = Silence::default();
        let units = vec![unit(0, 4), unit(4 * FRAME, 4), unit(8 * FRAME + 2000, 1)];
        assert_eq!(silence.fill(FIRST, units.clone(), None), units);
        assert_eq!(silence.fill(FIRST, vec![], None), []);
    }

    #[test]
    fn a_hole_is_silent_within_a_segment_and_over_its_end() {
        let mut silence = Silence::default();
        let within = silence.fill(FIRST, vec![unit(0, 1), unit(3 * FRAME + 500, 1)], None);
        assert_eq!(
            told(&within),
            [
                (0, 1, true),
                (FRAME, 1, false),
                (2 * FRAME, 1, false),
                (3 * FRAME + 500, 1, true)
            ]
        );
        let end = 4 * FRAME + 500;
        let tail = silence.fill(FIRST, vec![], Some(Ticks(end + 2 * FRAME + 10)));
        assert_eq!(told(&tail), [(end, 1, false), (end + FRAME, 1, false)]);
        // Two frames of four have their time still.
        let next = silence.fill(FIRST, vec![unit(end, 4), unit(end + 4 * FRAME, 1)], None);
        let from = end + 2 * FRAME;
        assert_eq!(told(&next), [(from, 2, true), (from + 2 * FRAME, 1, true)]);
    }

    #[test]
    fn nothing_is_said_before_the_first_sound_nor_from_one_generation_to_the_next() {
        let mut silence = Silence::default();
        assert_eq!(silence.fill(FIRST, vec![], Some(Ticks(90_000))), []);
        silence.fill(FIRST, vec![unit(0, 1)], None);
        let short = silence.fill(FIRST, vec![], Some(Ticks(FRAME + 10)));
        assert_eq!(told(&short), [(FRAME, 1, false)]);
        let next = vec![unit(90_000, 1)];
        assert_eq!(silence.fill(GenerationId(1), next.clone(), None), next);
    }

    #[test]
    fn what_is_no_aac_is_left_alone_and_silence_is_bounded() {
        let mut silence = Silence::default();
        let other = |at| AccessUnit {
            payload: Bytes::from_static(&[0x0B, 0x77, 0, 0, 0x40, 0x2F, 0x84, 0x2B]),
            ..unit(at, 0)
        };
        let units = vec![other(0), other(90_000)];
        assert_eq!(
            silence.fill(FIRST, units.clone(), Some(Ticks(1 << 40))),
            units
        );
        silence.fill(FIRST, vec![unit(0, 1)], None);
        let filled = silence.fill(FIRST, vec![], Some(Ticks(i64::MAX / 4)));
        assert_eq!(filled.len(), MOST_FRAMES);
    }
}
