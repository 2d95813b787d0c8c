//! When an attempt that failed is followed by the next. Pure: how long things took is passed in.

use std::time::Duration;

/// The longest pause.
const PAUSE_MAXIMUM: Duration = Duration::from_mins(1);

/// An attempt that ran for this long was a good one, whatever ended it.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures(u32);

impl Failures {
    /// After one more failure of an attempt that had published segments for `published`: the new count and the pause before the next.
    pub(crate) fn after(self, published: Duration) -> (Self, Duration) {
        let before = if published >= GOOD_RUN { 0 } else { self.0 };
        let pause = Duration::from_secs(1 << before.min(6));
        (Self(before + 1), pause.min(PAUSE_MAXIMUM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_a_good_run_starts_anew() {
        let mut failures = Failures::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let (next, pause) = failures.after(Duration::ZERO);
            failures = next;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let (failures, pause) = failures.after(GOOD_RUN);
        assert_eq!((failures, pause), (Failures(1), Duration::from_secs(1)));
    }
}
