//! Where the numbers of an attempt start: above everything that was published before, as far as anybody knows. Pure.

use api::job::ResumeFloor;
use media::playlist::numbers::Numbers;

/// The numbers of an attempt that may not go below `floor`, nor below what a former run has left (`state`).
pub(crate) fn numbers(
    floor: ResumeFloor,
    state: Option<ResumeFloor>,
    unix_seconds: i64,
) -> Numbers {
    let follows_another = state.is_some() || floor != ResumeFloor::default();
    let state = state.unwrap_or_default();
    let start = ResumeFloor {
        media_sequence: unix_seconds
            .max(floor.media_sequence)
            .max(state.media_sequence),
        discontinuity_sequence: first_discontinuity(unix_seconds)
            .max(floor.discontinuity_sequence)
            .max(state.discontinuity_sequence),
    };
    Numbers::new(start, follows_another)
}

/// The numbers of an attempt that waits for its turn: those to begin with are told then.
pub(crate) fn of_standby(floor: ResumeFloor, state: Option<ResumeFloor>) -> Numbers {
    let mut numbers = Numbers::new(floor, true);
    numbers.go_on(state.unwrap_or_default(), None);
    numbers
}

/// What a standby is told to begin with; the time where that says nothing.
pub(crate) fn handed_over(floor: ResumeFloor, unix_seconds: i64) -> ResumeFloor {
    match floor == ResumeFloor::default() {
        true => numbers(floor, None, unix_seconds).next(),
        false => floor,
    }
}

/// Where EXT-X-DISCONTINUITY-SEQUENCE starts when nothing is known of a former attempt: whole hours since 2026. It grows over a stream
/// that was deleted and made anew, and stays small: hls.js keeps an array as long as that number and walks it, so that Unix seconds
/// hold a browser up for most of a minute.
fn first_discontinuity(unix_seconds: i64) -> i64 {
    const YEAR_2026: i64 = 1_767_225_600;
    (unix_seconds - YEAR_2026).max(0) / 3600
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(media_sequence: i64, discontinuity_sequence: i64) -> ResumeFloor {
        ResumeFloor {
            media_sequence,
            discontinuity_sequence,
        }
    }

    #[test]
    fn the_highest_of_clock_floor_and_state_is_taken_for_each_number() {
        let now = 1_790_000_000;
        let none = ResumeFloor::default();
        for (given, state, expected) in [
            (none, None, floor(now, 6326)),
            (floor(5, 7000), None, floor(now, 7000)),
            (floor(now + 9, 5), Some(floor(7, 8)), floor(now + 9, 6326)),
            (none, Some(floor(now + 3, 9000)), floor(now + 3, 9000)),
        ] {
            let found = numbers(given, state, now).next();
            assert_eq!(found, expected, "{given:?} {state:?}");
        }
    }

    #[test]
    fn the_first_discontinuity_sequence_grows_with_time_and_stays_small_for_players() {
        let year = 365 * 24 * 3600;
        assert_eq!(first_discontinuity(1_767_225_600), 0);
        assert_eq!(first_discontinuity(1_767_225_600 + year), 8760);
        assert!(first_discontinuity(1_767_225_600 + 20 * year) < 200_000);
        assert_eq!(first_discontinuity(0), 0, "a clock that is not set");
    }
}
