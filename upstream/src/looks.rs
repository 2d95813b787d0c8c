//! When a process looks at what arrives all the time, instead of waking for each small piece of it: waking costs more than the work.
//! Pure: who looks has the clock.

use std::time::Duration;

/// For so long every piece is taken as it comes: a start is over by then.
pub const HURRY: Duration = Duration::from_secs(10);
/// How often is looked after that. Far less than a segment, and seldom enough that waking up costs next to nothing.
const INTERVAL: Duration = Duration::from_millis(40);
/// How often, when there is so much that a buffer could fill up meanwhile.
const SHORT_INTERVAL: Duration = Duration::from_millis(5);
/// So much in one interval is much: half of what a receive window starts with, and of what a pipe has.
const MUCH: usize = 32 << 10;

/// How long until the next look, after so many bytes. The moments follow from the time since the Unix epoch alone: all that is looked at is
/// looked at together, and the process wakes up once for all of it.
#[must_use]
pub fn pause(read: usize, since_epoch: Duration) -> Duration {
    let interval = if read < MUCH {
        INTERVAL
    } else {
        SHORT_INTERVAL
    };
    let into_interval = since_epoch.as_nanos() % interval.as_nanos();
    interval.saturating_sub(Duration::from_nanos(
        u64::try_from(into_interval).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at_at_the_same_moments() {
        let pause =
            |read, milliseconds| pause(read, Duration::from_millis(milliseconds)).as_millis();
        assert_eq!(pause(10, 0), 40);
        assert_eq!(pause(10, 1_000_001), 39);
        assert_eq!(pause(10, 1_000_039), 1);
        assert_eq!(pause(MUCH, 1_000_039), 1);
        assert_eq!(pause(MUCH, 1_000_036), 4);
    }
}
