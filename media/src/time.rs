//! The 90 kHz clock of MPEG systems, unwrapped. Never reads a wall clock.

use std::ops::{Add, AddAssign, Neg, Sub};
use std::time::Duration;

/// Ticks of the 90 kHz system clock per second (ISO/IEC 13818-1 §2.4.2.1).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// The span after which a 33-bit timestamp starts again at zero.
pub const WRAP: i64 = 1 << 33;

/// A point or a span on the 90 kHz clock, unwrapped: it may exceed 33 bits and be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Zero ticks.
    pub const ZERO: Self = Self(0);

    /// Whole seconds as ticks.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * TICKS_PER_SECOND)
    }

    /// Milliseconds as ticks.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds * TICKS_PER_SECOND / 1000)
    }

    /// A duration as ticks, rounded down.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos() * 9 / 100_000).unwrap_or(i64::MAX))
    }

    /// Seconds, for display and for playlists.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 ticks are three thousand years"
    )]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / TICKS_PER_SECOND as f64
    }

    /// The span as a duration; negative spans are zero.
    #[must_use]
    pub fn to_duration(self) -> Duration {
        let ticks = self.0.max(0).cast_unsigned();
        let second = TICKS_PER_SECOND.cast_unsigned();
        Duration::from_secs(ticks / second) + Duration::from_nanos(ticks % second * 100_000 / 9)
    }

    /// The 33 bits that go on the wire.
    #[must_use]
    pub const fn wrapped(self) -> u64 {
        self.0.rem_euclid(WRAP).cast_unsigned()
    }

    /// Places a 33-bit wire value on the unwrapped clock, as near to `reference` as it can be.
    #[must_use]
    pub fn unwrap_near(wire: u64, reference: Self) -> Self {
        let wire = i64::try_from(wire & 0x1_FFFF_FFFF).unwrap_or(0);
        let base = reference.0 - reference.0.rem_euclid(WRAP);
        let candidate = base + wire;
        let difference = candidate - reference.0;
        if difference > WRAP / 2 {
            Self(candidate - WRAP)
        } else if difference < -WRAP / 2 {
            Self(candidate + WRAP)
        } else {
            Self(candidate)
        }
    }
}

impl Add for Ticks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Ticks {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Neg for Ticks {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_value_just_after_the_wrap_continues_the_clock() {
        let before = Ticks(WRAP - 10);
        assert_eq!(Ticks::unwrap_near(5, before), Ticks(WRAP + 5));
        assert_eq!(
            Ticks::unwrap_near((WRAP - 3) as u64, Ticks(WRAP + 5)),
            Ticks(WRAP - 3)
        );
    }

    #[test]
    fn durations_and_ticks_convert_both_ways() {
        assert_eq!(Ticks::from_duration(Duration::from_millis(40)), Ticks(3600));
        assert_eq!(Ticks(3600).to_duration(), Duration::from_millis(40));
        assert_eq!(Ticks(1).to_duration(), Duration::from_nanos(11_111));
        assert_eq!(Ticks(-1).wrapped(), (WRAP - 1) as u64);
    }

    #[test]
    fn no_span_is_too_long_for_a_duration() {
        // A source that jumps with every packet gets this far within some megabytes.
        let seconds = 1 << 40;
        let long = Ticks::from_seconds(seconds).to_duration();
        assert_eq!(long, Duration::from_secs(seconds.cast_unsigned()));
        let longest = Ticks(i64::MAX).to_duration();
        assert_eq!(longest.as_secs(), 102_481_911_520_608);
        assert_eq!(Ticks(i64::MIN).to_duration(), Duration::ZERO);
    }
}
