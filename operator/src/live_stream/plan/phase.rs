//! The phase: one word, derived from the conditions and from nothing else. Pure.

use api::condition::{ConditionStatus, ConditionType, Reason, find_condition};
use api::live_stream::Phase;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The phase that the conditions come to.
pub(super) fn phase(conditions: &[Condition]) -> Phase {
    let is = |kind, status: ConditionStatus| {
        find_condition(conditions, kind).is_some_and(|one| one.status == status.as_str())
    };
    let because = |kind, reason: Reason| {
        find_condition(conditions, kind).is_some_and(|one| one.reason == reason.as_str())
    };
    let provisioned = is(ConditionType::Provisioned, ConditionStatus::True);
    if because(ConditionType::Ready, Reason::Suspended) {
        return if provisioned {
            Phase::Stopping
        } else {
            Phase::Suspended
        };
    }
    if because(ConditionType::Ready, Reason::NotWanted) {
        return if provisioned {
            Phase::Stopping
        } else {
            Phase::Idle
        };
    }
    if is(ConditionType::Ready, ConditionStatus::True) {
        let sound = because(ConditionType::Ready, Reason::Streaming)
            && !is(ConditionType::SourceHealthy, ConditionStatus::False);
        return if sound { Phase::Live } else { Phase::Degraded };
    }
    let somebody_must_act = [
        Reason::ClassNotFound,
        Reason::ReferenceNotFound,
        Reason::InvalidSpec,
    ]
    .iter()
    .any(|reason| because(ConditionType::Provisioned, *reason));
    if somebody_must_act {
        return Phase::Failed;
    }
    if because(ConditionType::Provisioned, Reason::ProviderSlotsExhausted) {
        return Phase::Pending;
    }
    match because(ConditionType::Ready, Reason::WaitingForFirstSegment) {
        true if provisioned => Phase::Starting,
        true => Phase::Pending,
        false => Phase::Degraded,
    }
}

#[cfg(test)]
mod tests {
    use ConditionStatus::{False, True, Unknown};
    use api::condition::{Finding, set_condition};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn the_phase_of_every_kind_of_conditions() {
        for (ready, provisioned, source, expected) in [
            (
                (False, Reason::NotWanted),
                (False, Reason::NotWanted),
                Unknown,
                Phase::Idle,
            ),
            (
                (False, Reason::NotWanted),
                (True, Reason::NotWanted),
                Unknown,
                Phase::Stopping,
            ),
            (
                (False, Reason::Suspended),
                (False, Reason::Suspended),
                Unknown,
                Phase::Suspended,
            ),
            (
                (False, Reason::Suspended),
                (True, Reason::Suspended),
                Unknown,
                Phase::Stopping,
            ),
            (
                (False, Reason::WaitingForFirstSegment),
                (False, Reason::PodPending),
                Unknown,
                Phase::Pending,
            ),
            (
                (False, Reason::WaitingForFirstSegment),
                (False, Reason::PodUnschedulable),
                Unknown,
                Phase::Pending,
            ),
            (
                (False, Reason::WaitingForFirstSegment),
                (True, Reason::PodRunning),
                False,
                Phase::Starting,
            ),
            (
                (True, Reason::Streaming),
                (True, Reason::PodRunning),
                True,
                Phase::Live,
            ),
            (
                (True, Reason::Streaming),
                (True, Reason::PodRunning),
                False,
                Phase::Degraded,
            ),
            (
                (True, Reason::OutputStalled),
                (True, Reason::PodRunning),
                True,
                Phase::Degraded,
            ),
            (
                (False, Reason::Silent),
                (True, Reason::PodRunning),
                False,
                Phase::Degraded,
            ),
            (
                (False, Reason::Replacing),
                (False, Reason::PodPending),
                True,
                Phase::Degraded,
            ),
            (
                (False, Reason::TranscoderFailed),
                (False, Reason::PodFailed),
                False,
                Phase::Degraded,
            ),
            (
                (Unknown, Reason::TranscoderUnreachable),
                (True, Reason::PodRunning),
                True,
                Phase::Degraded,
            ),
            (
                (False, Reason::ClassNotFound),
                (False, Reason::ClassNotFound),
                Unknown,
                Phase::Failed,
            ),
            (
                (False, Reason::WaitingForFirstSegment),
                (False, Reason::ReferenceNotFound),
                Unknown,
                Phase::Failed,
            ),
            (
                (False, Reason::ProviderSlotsExhausted),
                (False, Reason::ProviderSlotsExhausted),
                Unknown,
                Phase::Pending,
            ),
        ] {
            let source_reason = Reason::Receiving;
            let mut conditions = Vec::new();
            for (kind, (status, reason)) in [
                (ConditionType::Ready, ready),
                (ConditionType::Provisioned, provisioned),
                (ConditionType::SourceHealthy, (source, source_reason)),
            ] {
                let message = String::new();
                let finding = Finding {
                    kind,
                    status,
                    reason,
                    message,
                };
                let now = Time(Timestamp::UNIX_EPOCH);
                set_condition(&mut conditions, &finding, None, &now);
            }
            assert_eq!(
                phase(&conditions),
                expected,
                "{ready:?} {provisioned:?} {source:?}"
            );
        }
    }

    #[test]
    fn a_stream_without_conditions_is_being_repaired_at_worst() {
        assert_eq!(phase(&[]), Phase::Degraded);
    }
}
