//! The pacer over any clock and any arrival: it never reorders, never holds longer than it may, and lets go of nothing early.

use std::time::Duration;

use media::pacer::{Pacer, Pacing};
use media::time::Ticks;
use proptest::collection::vec;
use proptest::prelude::*;

use super::one_in;

/// Steps of the source's clock in milliseconds, usual and absurd.
fn step() -> impl Strategy<Value = (i64, u64)> {
    let clock = prop_oneof![
        20 => 0..200_i64,
        3 => 200..12_000_i64,
        1 => -20_000..0_i64,
        1 => any::<i32>().prop_map(i64::from),
    ];
    let arrival = prop_oneof![10 => Just(0_u64), 10 => 0..200_u64, 1 => 0..30_000_u64];
    (clock, arrival)
}

fn milliseconds(value: u64) -> Duration {
    Duration::from_millis(value)
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn nothing_is_held_longer_than_it_may_be(
        steps in vec(step(), 1..200),
        segmented in proptest::option::of((0..20_000_u64, 0..30_000_u64)),
        waits in any::<bool>(),
    ) {
        let (pacing, bound) = match segmented {
            None => (Pacing::continuous(), 1000),
            Some((longest, burst)) => (
                Pacing::segmented(milliseconds(longest), milliseconds(burst)),
                longest.max(1000),
            ),
        };
        let mut pacer = Pacer::new(pacing);
        let (mut clock, mut now) = (0, Duration::ZERO);
        for (step, arrival) in steps {
            clock += step;
            now += milliseconds(arrival);
            let release = pacer.release_at(Ticks::from_milliseconds(clock), now);
            prop_assert!(release >= now);
            prop_assert!(release <= now + milliseconds(bound), "{release:?} at {now:?}");
            if waits {
                now = release;
            }
        }
        prop_assert!(pacer.burst() < Duration::from_secs(1 << 32));
    }

    #[test]
    fn what_runs_at_real_time_is_not_held_up(start in any::<i32>(), pieces in vec(1..120_u64, 1..300)) {
        let mut pacer = Pacer::new(Pacing::continuous());
        let mut elapsed = 0;
        for piece in pieces {
            elapsed += piece;
            let clock = i64::from(start) + i64::try_from(elapsed).unwrap();
            let now = milliseconds(elapsed);
            prop_assert_eq!(pacer.release_at(Ticks::from_milliseconds(clock), now), now);
        }
    }
}
