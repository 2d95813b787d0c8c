//! When a process looks at what arrives all the time, instead of waking for each small piece of it: waking costs more than the work.
//! Pure: who looks has the clock.

use std::time::Duration;

/// For so long every piece is taken as it comes: a start is over by then.
pub const HURRY: Duration = Duration::from_secs(10);

/// How often is looked after that. Far less than a segment, and about a picture: an encoder that is given several at once has all its threads
/// at work at the same time, which costs more than to have them work by turns. Each is a multiple of the next, so that the rarer looks fall
/// together with the more frequent ones, and the process wakes up once for all of them.
const INTERVALS: [Duration; 4] = [
    Duration::from_millis(40),
    Duration::from_millis(20),
    Duration::from_millis(10),
    Duration::from_millis(5),
];

/// How long until the next look, after so many bytes in that time: the longest interval in which, at this rate, no more than `room` comes.
/// The moments follow from the time since the Unix epoch alone.
#[must_use]
pub fn pause(read: usize, within: Duration, room: usize, since_epoch: Duration) -> Duration {
    let fits = |interval: &&Duration| {
        (read as u128) * interval.as_nanos() <= (room as u128) * within.as_nanos()
    };
    let [.., shortest] = INTERVALS;
    let interval = *INTERVALS.iter().find(fits).unwrap_or(&shortest);
    let into_interval = since_epoch.as_nanos() % interval.as_nanos();
    interval.saturating_sub(Duration::from_nanos(
        u64::try_from(into_interval).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 40 << 10;

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_interval_is_the_longest_one_that_has_room_for_what_comes() {
        // Megabits per second, and milliseconds.
        for (rate, expected) in [(0, 40), (5, 40), (8, 40), (12, 20), (25, 10), (99, 5)] {
            for within in [5, 20, 40] {
                let read = rate * 125 * usize::try_from(within).unwrap();
                let pause = pause(read, milliseconds(within), ROOM, Duration::ZERO);
                assert_eq!(pause, milliseconds(expected), "{rate} in {within}");
            }
        }
        // Nothing is known of the rate yet.
        let first = pause(1000, Duration::ZERO, ROOM, Duration::ZERO);
        assert_eq!(first, milliseconds(5));
    }

    #[test]
    fn everything_is_looked_at_at_the_same_moments() {
        let pause = |read, at| pause(read, milliseconds(40), ROOM, milliseconds(at));
        assert_eq!(pause(0, 8_000_001), milliseconds(39));
        assert_eq!(pause(0, 8_000_039), milliseconds(1));
        assert_eq!(pause(50 << 10, 8_000_039), milliseconds(1));
        assert_eq!(pause(50 << 10, 8_000_019), milliseconds(1));
    }
}
