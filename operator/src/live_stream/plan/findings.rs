//! The four conditions of a stream: what holds, why, and a sentence for the person who reads `kubectl describe`. Pure.
//! What is not known now is left as it was: readers keep what they believed.

use api::LiveStreamStatus;
use api::condition::{ConditionStatus, ConditionType, Finding, Reason, find_condition};
use api::control::{JobPhase, JobStatus};
use api::live_stream::WhenIdle;
use api::names::ANNOTATION_HOLD;

use super::course::{Cause, Course, Rest};
use super::describe::Case;
use super::succession;
use crate::live_stream::backoff::Failure;
use crate::live_stream::collect::Collect;
use crate::live_stream::observed::UNREACHABLE_AFTER;
use crate::text::clipped;

impl Case<'_> {
    pub(super) fn findings(&self, fresh: &LiveStreamStatus) -> Vec<Finding> {
        [
            Some(self.provisioned()),
            self.ready(fresh),
            self.source(),
            Some(self.idle(fresh)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn ready(&self, fresh: &LiveStreamStatus) -> Option<Finding> {
        let (status, reason, message) = match self.course {
            Course::Rest(rest) => (
                ConditionStatus::False,
                rest_reason(*rest),
                rest_message(*rest).to_owned(),
            ),
            Course::Refused(refusal) => (
                ConditionStatus::False,
                refusal.reason,
                refusal.message.clone(),
            ),
            Course::BackOff
            | Course::Start { .. }
            | Course::Create(_)
            | Course::Wait(_)
            | Course::Finish(_) => self.not_yet(fresh),
            Course::Held => {
                let (status, reason, message) = self.not_yet(fresh);
                (status, reason, not_replaced(&message))
            }
            Course::Keep(pod) if succession::waits(self.observed, pod) => return None,
            Course::Keep(_) | Course::Prepare { .. } | Course::Await(_) | Course::TakeOver(_) => {
                self.ready_by_job(fresh)?
            }
        };
        Some(finding(ConditionType::Ready, status, reason, message))
    }

    /// Why nothing is playable yet. Until an attempt is live, the failure of the one before it stays in sight.
    fn not_yet(&self, fresh: &LiveStreamStatus) -> (ConditionStatus, Reason, String) {
        let fresh_run = matches!(
            self.course,
            Course::Start {
                cause: Cause::Wanted | Cause::HandOver | Cause::Changed,
                ..
            }
        );
        let before = self.observed.recollection.failures.as_ref();
        let failures = self.failures.or(before.filter(|_| !fresh_run));
        if let Some(failures) = failures {
            let Failure { reason, message } = failures.last.clone();
            return (ConditionStatus::False, reason, message);
        }
        let (reason, message) = if fresh.first_segment_milliseconds.is_some() {
            (Reason::Replacing, "the pod is being replaced")
        } else {
            (
                Reason::WaitingForFirstSegment,
                "no segment is published yet",
            )
        };
        let message = match self.obstacle() {
            Some(obstacle) => format!("{message}: {obstacle}"),
            None => message.to_owned(),
        };
        (ConditionStatus::False, reason, message)
    }

    /// What another condition says is in the way: one message column has to do for `kubectl get`.
    fn obstacle(&self) -> Option<String> {
        let provisioned = self.provisioned();
        let usual = matches!(
            provisioned.reason,
            Reason::PodRunning | Reason::PodPending | Reason::PodFailed
        );
        if !usual {
            return Some(provisioned.message);
        }
        let source = &self.job()?.source;
        (source.healthy == Some(false)).then(|| clipped(&source.message))
    }

    fn ready_by_job(&self, fresh: &LiveStreamStatus) -> Option<(ConditionStatus, Reason, String)> {
        let polled = &self.observed.polled;
        if polled.unreachable_for >= UNREACHABLE_AFTER {
            let others = match self.observed.blind {
                true => {
                    "; many others do not either, so none is replaced for it: look at the network of the operator"
                }
                false => "",
            };
            let message = format!(
                "the pod has not answered for {} s; what was known before may still hold{others}",
                UNREACHABLE_AFTER.as_secs()
            );
            return Some((
                ConditionStatus::Unknown,
                Reason::TranscoderUnreachable,
                message,
            ));
        }
        match polled.status.as_ref() {
            // What an operator before this one wrote stands until the pod says something newer.
            None if self.is_known_ready() => None,
            None => Some(self.not_yet(fresh)),
            Some(job) => Some(ready_by_phase(job).unwrap_or_else(|| self.not_yet(fresh))),
        }
    }

    fn is_known_ready(&self) -> bool {
        let ready = find_condition(&self.old().conditions, ConditionType::Ready);
        let true_now = ready.is_some_and(|ready| ready.status == ConditionStatus::True.as_str());
        let intent = self.old().pod.as_ref();
        true_now && intent.is_some_and(|intent| intent.endpoint.is_some())
    }

    fn source(&self) -> Option<Finding> {
        let kind = ConditionType::SourceHealthy;
        let unknown = |reason, message: &str| {
            finding(kind, ConditionStatus::Unknown, reason, message.to_owned())
        };
        match self.course {
            Course::Rest(rest) => return Some(unknown(rest_reason(*rest), rest_message(*rest))),
            Course::Refused(refusal) => {
                return Some(unknown(refusal.reason, "the stream is not started"));
            }
            Course::Start {
                cause: Cause::Wanted | Cause::Changed,
                ..
            } => {
                return Some(unknown(Reason::Connecting, "nothing is known yet"));
            }
            _ => {}
        }
        let source = self.job().map(|job| &job.source);
        let healthy = source.and_then(|source| source.healthy);
        let (Some(source), Some(healthy)) = (source, healthy) else {
            // What was known of it stands until the pod knows better.
            let known = find_condition(&self.old().conditions, kind).is_some();
            return (!known).then(|| unknown(Reason::Connecting, "nothing is known yet"));
        };
        let status = if healthy {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        let long_gop = self.trouble(&[Reason::LongGop]).filter(|_| healthy);
        Some(match long_gop {
            Some((reason, message)) => finding(kind, status, reason, message),
            None => finding(kind, status, source.reason, clipped(&source.message)),
        })
    }

    fn trouble(&self, reasons: &[Reason]) -> Option<(Reason, String)> {
        let troubles = self.job()?.troubles.iter();
        let mut troubles = troubles.filter(|trouble| reasons.contains(&trouble.reason));
        troubles
            .next()
            .map(|trouble| (trouble.reason, clipped(&trouble.message)))
    }

    fn keeps(&self) -> bool {
        self.observed.stream.idle.when_idle == WhenIdle::KeepRunning
    }

    /// That a person has said that it is not to be collected.
    fn spared(&self) -> Option<Finding> {
        let (status, reason, message) = match (self.course, &self.observed.stream.hold) {
            (Course::Rest(_), _) => return None,
            (_, Some(why)) => (
                ConditionStatus::False,
                Reason::Held,
                clipped(&format!(
                    "neither collected nor replaced while the annotation {ANNOTATION_HOLD} is set: {why}"
                )),
            ),
            (_, None) if !self.observed.collects && !self.keeps() => (
                ConditionStatus::Unknown,
                Reason::CollectionPaused,
                "nothing is collected while the release is told not to: set operator.collect of the chart to true again"
                    .to_owned(),
            ),
            _ => return None,
        };
        Some(finding(ConditionType::Idle, status, reason, message))
    }

    fn idle(&self, fresh: &LiveStreamStatus) -> Finding {
        if let Some(spared) = self.spared() {
            return spared;
        }
        let seconds = self.observed.stream.idle.timeout.as_secs();
        let keeps = self.keeps();
        let watched = fresh.viewers > 0;
        let (status, reason, message) = match (self.course, self.collect) {
            (Course::Rest(Rest::Suspended), _) => (
                ConditionStatus::True,
                Reason::Suspended,
                "viewers are told that the stream is suspended".to_owned(),
            ),
            (Course::Rest(_), _) => (
                ConditionStatus::True,
                Reason::ScaledToZero,
                "the next viewer wakes the stream".to_owned(),
            ),
            (_, Collect::Away { reason }) => (
                ConditionStatus::Unknown,
                Reason::CollectionPaused,
                format!(
                    "nothing is collected while the presence store does not answer: {}",
                    clipped(reason)
                ),
            ),
            (_, Collect::Paused { gateways }) => (
                ConditionStatus::Unknown,
                Reason::CollectionPaused,
                format!(
                    "gateway {} has not said who is watching: let it reach Redis, or delete its pod, with --force if its node is lost",
                    gateways.join(", ")
                ),
            ),
            _ if watched => (
                ConditionStatus::False,
                Reason::Watched,
                "somebody is watching".to_owned(),
            ),
            _ if keeps => (
                ConditionStatus::True,
                Reason::KeptRunning,
                "nobody is watching; the stream runs on because spec.whenIdle is KeepRunning"
                    .to_owned(),
            ),
            _ => (
                ConditionStatus::False,
                Reason::Unwatched,
                format!("nobody is watching; collected {seconds} s after the last viewer"),
            ),
        };
        finding(ConditionType::Idle, status, reason, message)
    }
}

pub(super) fn finding(
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: String,
) -> Finding {
    Finding {
        kind,
        status,
        reason,
        message,
    }
}

/// What the job's phase means for viewers, if it means anything yet.
fn ready_by_phase(job: &JobStatus) -> Option<(ConditionStatus, Reason, String)> {
    let mut stalls = job.troubles.iter();
    let stalls = stalls.find(|trouble| {
        matches!(
            trouble.reason,
            Reason::OutputStalled | Reason::EncoderTooSlow
        )
    });
    Some(match (job.phase, stalls) {
        (JobPhase::Live, Some(trouble)) => (
            ConditionStatus::True,
            trouble.reason,
            clipped(&trouble.message),
        ),
        (JobPhase::Live, None) => (
            ConditionStatus::True,
            Reason::Streaming,
            "segments are published".to_owned(),
        ),
        (JobPhase::Interrupted, _) => (
            ConditionStatus::False,
            job.source.reason,
            clipped(&job.source.message),
        ),
        _ => return None,
    })
}

pub(super) fn not_replaced(failure: &str) -> String {
    clipped(&format!(
        "{failure}; not replaced while the annotation {ANNOTATION_HOLD} is set"
    ))
}

pub(super) fn rest_reason(rest: Rest) -> Reason {
    match rest {
        Rest::Suspended => Reason::Suspended,
        Rest::Deleted | Rest::NotWanted => Reason::NotWanted,
    }
}

pub(super) fn rest_message(rest: Rest) -> &'static str {
    match rest {
        Rest::Suspended => "spec.suspend is set",
        Rest::Deleted | Rest::NotWanted => "spec.replicas is 0",
    }
}
