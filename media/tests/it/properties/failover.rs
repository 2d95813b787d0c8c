//! Fail-over under any failures: it ends in bounded time, every source has its turn, and one failure costs one entry at most.

use std::collections::BTreeSet;
use std::time::Duration;

use media::failover::{Decision, Failure, History, next};
use proptest::collection::vec;
use proptest::prelude::*;

use super::one_in;

const GIVE_UP: Duration = Duration::from_secs(60);
/// The longest that one attempt takes to fail in these runs.
const LONGEST_ATTEMPT: u64 = 10_000;
/// Delays and attempts of one source at the most, in seconds: five reconnects, six attempts.
const LONGEST_TURN: u64 = 15 + 6 * LONGEST_ATTEMPT / 1000;

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Connect),
        Just(Failure::EgressRefused),
        prop::sample::select(vec![401, 403, 404, 408, 410, 429, 500, 503]).prop_map(Failure::Http),
        Just(Failure::EndOfStream),
        Just(Failure::Silent),
        Just(Failure::Stalled),
        Just(Failure::NotTransportStream),
        Just(Failure::NoTracks),
        Just(Failure::NoKeyframe),
        Just(Failure::UnsupportedMedia),
    ]
}

fn accounts() -> impl Strategy<Value = Vec<Option<String>>> {
    let account = prop::sample::select(vec![None, Some("a".to_owned()), Some("b".to_owned())]);
    vec(account, 1..=16)
}

/// How an attempt ends: what fails, how long it took, and whether it delivered meanwhile.
fn attempt() -> impl Strategy<Value = (Failure, u64, bool)> {
    (failure(), 0..LONGEST_ATTEMPT, prop::bool::weighted(0.05))
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn nothing_goes_on_for_ever_and_every_source_has_its_turn(
        accounts in accounts(),
        attempts in vec((failure(), 0..LONGEST_ATTEMPT), 1..20),
    ) {
        let count = accounts.len();
        let mut history = History::new(accounts, GIVE_UP);
        let mut now = Duration::from_secs(1000);
        let mut first_failure = None;
        let mut tried = BTreeSet::new();
        let bound = GIVE_UP + Duration::from_secs(30 + LONGEST_TURN * count as u64);
        for (failure, took) in attempts.iter().cycle() {
            tried.insert(history.current());
            now += Duration::from_millis(*took);
            let first = *first_failure.get_or_insert(now);
            let decision = next(&history, *failure, now);
            history.record(decision, now);
            match decision {
                Decision::Reconnect { at } | Decision::Switch { at, .. } => {
                    prop_assert!(at >= now && at <= now + Duration::from_secs(30));
                    // Nothing spins: a whole round through all sources waits a second at the least.
                    now = at;
                }
                Decision::GiveUp => break,
            }
            prop_assert!(history.current() < count);
            prop_assert!(now <= first + bound, "still trying after {:?}", now - first);
        }
        prop_assert_eq!(tried.len(), count);
    }

    #[test]
    fn a_switch_forgets_the_health_of_the_source_before(accounts in accounts(), attempts in vec(attempt(), 1..60)) {
        let mut history = History::new(accounts, GIVE_UP);
        let mut now = Duration::from_secs(1000);
        for (failure, took, delivers) in attempts {
            if delivers {
                history.delivers(now);
            }
            now += Duration::from_millis(took);
            let before = history.current();
            let decision = next(&history, failure, now);
            history.record(decision, now);
            match decision {
                Decision::Switch { source, at } => {
                    prop_assert_eq!(history.current(), source);
                    let fresh = next(&history, Failure::EndOfStream, at);
                    prop_assert_eq!(fresh, Decision::Reconnect { at });
                    now = at;
                }
                Decision::Reconnect { at } => {
                    prop_assert_eq!(history.current(), before);
                    now = at;
                }
                Decision::GiveUp => break,
            }
        }
    }

    #[test]
    fn one_stall_uses_up_one_entry(count in 1..=16_usize) {
        let mut history = History::new(vec![None; count], GIVE_UP);
        let mut now = Duration::from_secs(1000);
        let mut order = vec![history.current()];
        for _ in 1..count {
            let decision = next(&history, Failure::Stalled, now);
            history.record(decision, now);
            let source = history.current();
            prop_assert_eq!(decision, Decision::Switch { source, at: now });
            order.push(history.current());
            now += Duration::from_secs(5);
        }
        prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
    }
}
