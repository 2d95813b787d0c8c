//! How long to wait before something that failed is tried again. Pure.

use std::time::Duration;

use api::condition::Reason;
use k8s_openapi::jiff::Timestamp;

/// The longest wait before a new attempt at a stream.
const ATTEMPT_LONGEST: Duration = Duration::from_secs(60);
/// The waits before an object is reconciled again after an error of the cluster.
const ERROR_FIRST: Duration = Duration::from_millis(200);
const ERROR_LONGEST: Duration = Duration::from_secs(60);
/// An attempt that was live for this long owes nothing to the failures before it.
pub(crate) const HEALED_AFTER: Duration = Duration::from_secs(60);

/// Why an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// The failures in a row of one stream, up to the last attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) attempt: i32,
    pub(crate) at: Timestamp,
    pub(crate) last: Failure,
}

impl Failures {
    /// Counts the failure of an attempt, once; an attempt that was live for long enough starts the count anew.
    pub(crate) fn counting(
        before: Option<&Self>,
        attempt: i32,
        failure: Failure,
        live_for: Duration,
        now: Timestamp,
    ) -> Self {
        let row = match before {
            Some(counted) if counted.attempt == attempt => return counted.clone(),
            Some(before) if live_for < HEALED_AFTER => before.count,
            _ => 0,
        };
        Self {
            count: row.saturating_add(1),
            attempt,
            at: now,
            last: failure,
        }
    }

    /// How long to wait until the next attempt, from now.
    pub(crate) fn left(&self, now: Timestamp) -> Duration {
        let passed = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        attempt_delay(self.count).saturating_sub(passed)
    }
}

/// Before the next attempt, after so many failures in a row: 0, 1, 2, 4 … 60 s.
pub(crate) fn attempt_delay(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => doubled(Duration::from_secs(1), more - 2, ATTEMPT_LONGEST),
    }
}

/// Before an object is reconciled again, after so many errors in a row.
pub(crate) fn error_delay(errors: u32) -> Duration {
    doubled(ERROR_FIRST, errors.saturating_sub(1), ERROR_LONGEST)
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failure(message: &str) -> Failure {
        Failure {
            reason: Reason::PodFailed,
            message: message.to_owned(),
        }
    }

    fn counting(before: Option<&Failures>, attempt: i32, live: u64, now: i64) -> Failures {
        let live = Duration::from_secs(live);
        Failures::counting(before, attempt, failure("gone"), live, at(now))
    }

    #[test]
    fn attempts_wait_longer_each_time_and_never_longer_than_a_minute() {
        let delays: Vec<_> = (1..=9)
            .map(|count| attempt_delay(count).as_secs())
            .collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(attempt_delay(u32::MAX), ATTEMPT_LONGEST);
    }

    #[test]
    fn errors_wait_longer_each_time() {
        let delays: Vec<_> = (1..=4)
            .map(|count| error_delay(count).as_millis())
            .collect();
        assert_eq!(delays, [200, 400, 800, 1600]);
        assert_eq!(error_delay(u32::MAX), ERROR_LONGEST);
    }

    #[test]
    fn an_attempt_fails_once_however_often_it_is_looked_at() {
        let first = counting(None, 1, 0, 100);
        assert_eq!((first.count, first.left(at(100))), (1, Duration::ZERO));
        assert_eq!(counting(Some(&first), 1, 0, 105), first);
        let second = counting(Some(&first), 2, 0, 110);
        let third = counting(Some(&second), 3, 0, 120);
        assert_eq!(
            (third.count, third.left(at(120))),
            (3, Duration::from_secs(2))
        );
        assert_eq!(third.left(at(121)), Duration::from_secs(1));
        assert_eq!(third.left(at(130)), Duration::ZERO);
    }

    #[test]
    fn an_attempt_that_was_live_for_a_minute_starts_the_row_anew() {
        let before = counting(Some(&counting(None, 1, 0, 0)), 2, 0, 1);
        assert_eq!(counting(Some(&before), 3, 59, 90).count, 3);
        assert_eq!(counting(Some(&before), 3, 60, 90).count, 1);
    }

    #[test]
    fn a_clock_that_went_back_does_not_make_the_wait_longer() {
        let second = counting(Some(&counting(None, 1, 0, 50)), 2, 0, 50);
        assert_eq!(second.left(at(10)), Duration::from_secs(1));
    }
}
