//! Where a generation lies on the wire and in the calendar. Wire times run on over seams and dates never go back.

use crate::time::Ticks;
use crate::unit::AccessUnit;

/// Wire time of the very first picture: away from zero, so that clock references before it are positive.
const FIRST_WIRE_TIME: Ticks = Ticks::from_seconds(10);
/// An encoder may reorder by this many frames more than the source.
const ENCODER_REORDER: i64 = 3;

/// The end of everything so far.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Wire time at which the last segment ends.
    end: Option<Ticks>,
    /// The highest wire decoding time of the leading track.
    decoded: Option<Ticks>,
    /// Unix milliseconds of the end.
    date: Option<i64>,
}

/// The place of one generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// What is added to source times to get wire times.
    pub(super) offset: Ticks,
    /// Presentation time of its first picture, on the source's clock.
    pub(super) start: Ticks,
}

impl Timeline {
    /// Finds the place of a generation that starts with `first`.
    pub(super) fn place(&self, first: &AccessUnit, frame: Ticks, is_mixed: bool) -> Placed {
        let reorder = (first.pts - first.dts).max(Ticks::ZERO);
        let start = match self.end {
            None => FIRST_WIRE_TIME + reorder,
            Some(end) => {
                let after_decoding = self
                    .decoded
                    .map_or(end, |decoded| decoded + frame + reorder);
                let room = if is_mixed {
                    Ticks(frame.0 * (ENCODER_REORDER - 1))
                } else {
                    Ticks::ZERO
                };
                end.max(after_decoding).max(end + room)
            }
        };
        Placed {
            offset: start - first.pts,
            start: first.pts,
        }
    }

    /// Remembers how far the leading track is on the wire.
    pub(super) fn decoded(&mut self, wire: Ticks) {
        self.decoded = Some(self.decoded.map_or(wire, |highest| highest.max(wire)));
    }

    /// The date at which a generation starts that asks for `wanted`.
    pub(super) fn anchor(&self, wanted: i64) -> i64 {
        self.date.map_or(wanted, |end| end.max(wanted))
    }

    /// Remembers the end of a segment.
    pub(super) fn ended(&mut self, wire: Ticks, date: i64) {
        self.end = Some(self.end.map_or(wire, |end| end.max(wire)));
        self.date = Some(self.date.map_or(date, |end| end.max(date)));
    }
}

/// The date of a time on the source's clock, given that of the generation's start.
pub(super) fn date_at(anchor: i64, start: Ticks, at: Ticks) -> i64 {
    anchor + (at - start).0.div_euclid(90)
}
