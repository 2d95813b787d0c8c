//! Whose turn it is, by a Lease: pure. Judged by when *we* saw the record change, so clocks that differ between nodes do no harm
//! (as client-go does it).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// How patient an election is. `lease` > `renew` > `retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// A holder that has not renewed for so long has lost the lease.
    pub(crate) lease: Duration,
    /// A leader that could not renew for so long stops by itself, well before another one may begin.
    pub(crate) renew: Duration,
    /// Between two looks at the lease.
    pub(crate) retry: Duration,
}

/// What to do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it any more: take it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// What follows from a lease that we have seen unchanged for so long.
pub(super) fn step(lease: &Lease, unchanged_for: Duration, me: &str) -> Step {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let lasts = Duration::from_secs(seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0));
    match holder {
        Some(holder) if holder == me => Step::Renew,
        None | Some("") => Step::Take,
        Some(_) if unchanged_for >= lasts => Step::Take,
        Some(_) => Step::Wait,
    }
}

/// The lease as it is written when it is ours from now on. Its resourceVersion stays: whoever was faster wins.
pub(super) fn held(lease: &Lease, me: &str, timing: Timing, now: Timestamp) -> Lease {
    let before = lease.spec.clone().unwrap_or_default();
    let is_ours = before.holder_identity.as_deref() == Some(me);
    let transitions = before.lease_transitions.unwrap_or(0);
    let seconds = i32::try_from(timing.lease.as_secs()).unwrap_or(i32::MAX);
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: Some(seconds),
            acquire_time: before
                .acquire_time
                .clone()
                .filter(|_| is_ours)
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_ours))),
            ..before
        }),
        ..lease.clone()
    }
}

/// The lease as it is written when we give it up: the next one need not wait.
pub(super) fn released(lease: &Lease, now: Timestamp) -> Lease {
    let before = lease.spec.clone().unwrap_or_default();
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(String::new()),
            renew_time: Some(MicroTime(now)),
            ..before
        }),
        ..lease.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        lease: Duration::from_secs(15),
        renew: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: Option<&str>) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(4),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_or_its_holder_was_not_seen_to_renew() {
        for (holder, unchanged_for, expected) in [
            (None, 0, Step::Take),
            (Some(""), 0, Step::Take),
            (Some("me"), 0, Step::Renew),
            (Some("me"), 60, Step::Renew),
            (Some("other"), 0, Step::Wait),
            (Some("other"), 14, Step::Wait),
            (Some("other"), 15, Step::Take),
        ] {
            let lease = lease(holder);
            assert_eq!(
                step(&lease, seconds(unchanged_for), "me"),
                expected,
                "{holder:?} {unchanged_for}"
            );
        }
        assert_eq!(step(&Lease::default(), seconds(0), "me"), Step::Take);
    }

    #[test]
    fn a_new_holder_counts_as_a_transition_and_a_renewal_does_not() {
        let now = Timestamp::UNIX_EPOCH;
        let taken = held(&lease(Some("other")), "me", TIMING, now).spec.unwrap();
        assert_eq!(taken.holder_identity.as_deref(), Some("me"));
        assert_eq!(taken.lease_transitions, Some(5));
        assert_eq!(taken.acquire_time, Some(MicroTime(now)));
        let mut ours = lease(Some("me"));
        let acquired = MicroTime(now);
        ours.spec.as_mut().unwrap().acquire_time = Some(acquired.clone());
        let later = now + k8s_openapi::jiff::SignedDuration::from_secs(5);
        let renewed = held(&ours, "me", TIMING, later).spec.unwrap();
        assert_eq!(renewed.lease_transitions, Some(4));
        assert_eq!(renewed.acquire_time, Some(acquired));
        assert_eq!(renewed.renew_time, Some(MicroTime(later)));
        let left = released(&ours, later);
        assert_eq!(step(&left, seconds(0), "other"), Step::Take);
    }
}
