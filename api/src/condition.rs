//! The conditions of our resources: their types, their reasons, and how one is set. Never reads a clock.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The only condition types: a LiveStream has the first four, a Provider `Ready` and `Available`. Everything else that may be said is a
/// [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
pub enum ConditionType {
    /// A viewer gets a playable stream.
    Ready,
    /// What the stream needs to run (class, slots, pod) is there.
    Provisioned,
    /// The upstream source delivers.
    SourceHealthy,
    /// Nobody is watching.
    Idle,
    /// Of a Provider: one of its connections is free.
    Available,
}

impl ConditionType {
    /// The name in `status.conditions[].type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a condition has its status. Stable: alerts and scripts match on these names.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, Serialize, Deserialize,
)]
pub enum Reason {
    /// Ready: segments are published.
    Streaming,
    /// Ready, Provisioned: nothing runs because nobody watches.
    NotWanted,
    /// Ready: the pod runs and no segment is published yet.
    WaitingForFirstSegment,
    /// Ready: the pod is being replaced.
    Replacing,
    /// Ready, Provisioned: `spec.suspend` is set.
    Suspended,
    /// Ready: the output volume does not take segments; they are served from the pod's memory.
    OutputStalled,
    /// Ready: the encoder cannot keep up; encoded renditions have gaps.
    EncoderTooSlow,
    /// Ready: the pod reported that it gave up.
    TranscoderFailed,
    /// Ready: the pod cannot be reached.
    TranscoderUnreachable,
    /// Provisioned: the pod is scheduled and its container runs.
    PodRunning,
    /// Provisioned: the pod is created and not running yet.
    PodPending,
    /// Provisioned: no node has room for the pod.
    PodUnschedulable,
    /// Provisioned: the pod's image cannot be pulled.
    ImageUnavailable,
    /// Provisioned: the pod ended and a new attempt waits for its backoff.
    PodFailed,
    /// Provisioned: the class named in the spec does not exist.
    ClassNotFound,
    /// Provisioned: a Secret or Provider named in the spec does not exist or lacks the key.
    ReferenceNotFound,
    /// Provisioned: the spec cannot be run as it is.
    InvalidSpec,
    /// Provisioned, Available: every connection slot of the provider is taken.
    ProviderSlotsExhausted,
    /// Available: a connection slot of the provider is free.
    ProviderSlotFree,
    /// Ready, of a Provider: its channels can be played.
    Usable,
    /// SourceHealthy: bytes arrive and make sense.
    Receiving,
    /// SourceHealthy: being connected, nothing known yet.
    Connecting,
    /// SourceHealthy: address lookup or connection failed.
    ConnectFailed,
    /// SourceHealthy: the class does not allow the source: its egress policy refuses the address, or it has no `files`.
    EgressRefused,
    /// SourceHealthy: the source answered with an HTTP error; the message has the status.
    HttpError,
    /// SourceHealthy: the provider refuses the account (login, expiry, ban); the message says what to do.
    AccountRefused,
    /// SourceHealthy: all connections that the provider allows the account are in use, ours or others'.
    NoFreeConnection,
    /// SourceHealthy: the file of the source is missing, empty or cannot be read; the message has its path.
    FileUnavailable,
    /// SourceHealthy: the source closed the stream.
    EndOfStream,
    /// SourceHealthy: no bytes, or no new segment in its playlist, for longer than allowed.
    Silent,
    /// SourceHealthy: the answer is not MPEG-TS.
    NotTransportStream,
    /// SourceHealthy: the transport stream has neither video nor audio.
    NoTracks,
    /// SourceHealthy: no keyframe came within the start deadline.
    NoKeyframe,
    /// SourceHealthy: keyframes are too far apart; segments are cut without them.
    LongGop,
    /// SourceHealthy: the source's codec, or how its segments are packed or encrypted, cannot be used.
    UnsupportedMedia,
    /// SourceHealthy: the source would have to be decoded and has more lines than the class's `maxDecodeHeight`.
    SourceTooLargeToTranscode,
    /// Idle: somebody watches.
    Watched,
    /// Idle: nobody has watched for less than the idle timeout.
    Unwatched,
    /// Idle: collection waits, because a gateway has not said who is watching, the presence store is away, or the release does not collect.
    CollectionPaused,
    /// Idle: the annotation `headend.dev/hold` is set; the stream is neither collected nor is its pod replaced.
    Held,
    /// Idle: `spec.whenIdle` is `KeepRunning`.
    KeptRunning,
    /// Idle: scaled to zero.
    ScaledToZero,
    /// Any: a newer version gave a reason that this one does not know; its name stands before the message.
    #[serde(other)]
    Unrecognised,
}

impl Reason {
    /// The name in `status.conditions[].reason` and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The three values of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known now; readers keep what they believed.
    Unknown,
}

impl ConditionStatus {
    /// The name in `status.conditions[].status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What is to be said about one condition type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The condition.
    pub kind: ConditionType,
    /// Its value.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// One sentence for the person who reads `kubectl describe`: what, on what, what to do.
    pub message: String,
}

/// Puts `finding` into `conditions`, sorted by type. `lastTransitionTime` moves only when the status flips, so that writing
/// the same finding again changes nothing.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    finding: &Finding,
    observed_generation: Option<i64>,
    now: &Time,
) {
    let fresh = Condition {
        type_: finding.kind.as_str().to_owned(),
        status: finding.status.as_str().to_owned(),
        reason: finding.reason.as_str().to_owned(),
        message: finding.message.clone(),
        observed_generation,
        last_transition_time: now.clone(),
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == fresh.type_)
    {
        Some(old) if old.status == fresh.status => {
            let since = old.last_transition_time.clone();
            *old = Condition {
                last_transition_time: since,
                ..fresh
            };
        }
        Some(old) => *old = fresh,
        None => {
            conditions.push(fresh);
            conditions.sort_by(|left, right| left.type_.cmp(&right.type_));
        }
    }
}

/// The condition of that type, if it is set.
#[must_use]
pub fn find_condition(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let mut conditions = Vec::new();
        let mut finding = Finding {
            kind: ConditionType::Ready,
            status: ConditionStatus::False,
            reason: Reason::WaitingForFirstSegment,
            message: "no segment yet".to_owned(),
        };
        set_condition(&mut conditions, &finding, Some(1), &at(10));
        finding.reason = Reason::Replacing;
        set_condition(&mut conditions, &finding, Some(2), &at(20));
        assert_eq!(conditions[0].last_transition_time, at(10));
        assert_eq!(conditions[0].reason, "Replacing");
        finding.status = ConditionStatus::True;
        finding.reason = Reason::Streaming;
        set_condition(&mut conditions, &finding, Some(2), &at(30));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, at(30));
        assert_eq!(conditions[0].status, "True");
    }
}
