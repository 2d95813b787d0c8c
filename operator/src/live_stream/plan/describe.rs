//! What the status says of a stream: the fields that people and columns read, around the conditions of `findings`. Pure.
//! Never says what changes by itself with time, so that nothing is written while nothing happens.

use api::LiveStreamStatus;
use api::condition::set_condition;
use api::control::{JobPhase, JobStatus};
use api::job::ResumeFloor;
use api::live_stream::{MediaSummary, PodIntent, SourceInUse, WarmAttempt};
use api::names::{LABEL_STREAM_UID, is_warm_pod_name, pod_name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::course::{Cause, Course, Rest};
use super::warm::Choice;
use super::{phase, warm};
use crate::live_stream::backoff::Failures;
use crate::live_stream::collect::{Collect, PresenceView};
use crate::live_stream::observed::{Observed, age};
use crate::text::clipped;

/// Everything that the findings are drawn from.
pub(super) struct Case<'a> {
    pub(super) observed: &'a Observed,
    pub(super) course: &'a Course,
    pub(super) failures: Option<&'a Failures>,
    pub(super) collect: &'a Collect,
}

/// The status that the stream is to have.
pub(super) fn status(
    observed: &Observed,
    course: &Course,
    failures: Option<&Failures>,
    collect: &Collect,
    now: Timestamp,
) -> LiveStreamStatus {
    let mut status = observed.stream.status.clone();
    if matches!(course, Course::Finish(_) | Course::Rest(Rest::Deleted)) {
        return status;
    }
    let case = Case {
        observed,
        course,
        failures,
        collect,
    };
    status.observed_generation = observed.stream.generation;
    let uid = &observed.stream.identity.uid;
    status.selector = Some(format!("{LABEL_STREAM_UID}={uid}"));
    case.pod(&mut status);
    case.run(&mut status, now);
    case.played(&mut status);
    status.viewers = case.viewers();
    // Whole seconds are what the API keeps: more would differ from what is read back.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    for finding in case.findings(&status) {
        let generation = observed.stream.generation;
        set_condition(&mut status.conditions, &finding, generation, &now);
    }
    status.phase = Some(phase::phase(&status.conditions));
    status
}

impl Case<'_> {
    pub(super) fn old(&self) -> &LiveStreamStatus {
        &self.observed.stream.status
    }

    pub(super) fn job(&self) -> Option<&JobStatus> {
        self.observed.polled.status.as_ref()
    }

    /// The pod that the status names, and what its successor needs to know.
    fn pod(&self, status: &mut LiveStreamStatus) {
        match self.course {
            Course::Start { attempt, cause, .. } => {
                let intent = self.intent(*attempt);
                let never_had = status.pod.as_ref().map(|before| before.attempt);
                let never_had = never_had.filter(|_| *cause == Cause::Lost);
                let warm = is_warm_pod_name(&intent.name).then(|| WarmAttempt {
                    attempt: *attempt,
                    pod: intent.name.clone(),
                });
                status.warm_attempts = warm::attempts(&status.warm_attempts, never_had, warm);
                status.pod = Some(intent);
                status.successor = None;
                status.last_attempt = *attempt;
                status.resume = self.resume();
            }
            Course::Prepare { attempt, .. } => {
                status.successor = Some(self.intent(*attempt));
                status.last_attempt = *attempt;
            }
            Course::TakeOver(pod) => {
                status.pod = Some(PodIntent {
                    name: pod.name.clone(),
                    uid: Some(pod.uid.clone()),
                    attempt: pod.attempt,
                    endpoint: pod.endpoint().map(|endpoint| endpoint.to_string()),
                });
                status.successor = None;
                status.resume = self.resume();
            }
            Course::Rest(_) => {
                if !self.pods_left() {
                    status.pod = None;
                    status.successor = None;
                }
                status.resume = self.resume();
            }
            Course::BackOff | Course::Held => status.resume = self.resume(),
            Course::Keep(pod) => {
                status.successor = None;
                // What is not known to have a job plays nothing, and nobody is to ask it.
                let endpoint = pod.endpoint();
                let endpoint = endpoint.filter(|_| !warm::is_ungiven(self.observed, pod));
                if let Some(intent) = status.pod.as_mut().filter(|_| endpoint.is_some()) {
                    intent.uid = Some(pod.uid.clone());
                    intent.endpoint = endpoint.map(|endpoint| endpoint.to_string());
                }
            }
            Course::Refused(_)
            | Course::Create(_)
            | Course::Wait(_)
            | Course::Finish(_)
            | Course::Await(_) => {}
        }
        let runs = match self.course {
            Course::Keep(pod)
            | Course::Prepare { old: pod, .. }
            | Course::Await(pod)
            | Course::TakeOver(pod) => pod.endpoint().is_some(),
            _ => false,
        };
        status.replicas = i32::from(runs);
    }

    fn intent(&self, attempt: i32) -> PodIntent {
        let identity = &self.observed.stream.identity;
        let name = match warm::choice(self.observed, self.course) {
            Choice::Warm(pod) => pod.name.clone(),
            Choice::Cold(_) => pod_name(&identity.name, &identity.uid, attempt),
        };
        PodIntent {
            name,
            uid: None,
            attempt,
            endpoint: None,
        }
    }

    pub(super) fn pods_left(&self) -> bool {
        let mut pods = self.observed.pods.iter();
        pods.any(|pod| self.observed.owns(pod))
    }

    /// Numbers never go back: the greatest that anybody ever said.
    fn resume(&self) -> Option<ResumeFloor> {
        let finish = self.observed.recollection.finish.as_ref();
        let said = [
            self.old().resume,
            self.job().map(|job| job.next),
            finish.and_then(|finish| Some(finish.answer.as_ref()?.next)),
        ];
        said.into_iter().flatten().reduce(|one, other| ResumeFloor {
            media_sequence: one.media_sequence.max(other.media_sequence),
            discontinuity_sequence: one.discontinuity_sequence.max(other.discontinuity_sequence),
        })
    }

    /// When the run began, and how long it took to the first segment.
    fn run(&self, status: &mut LiveStreamStatus, now: Timestamp) {
        match self.course {
            Course::Start {
                cause: Cause::Wanted,
                ..
            } => {
                status.started_time = Some(Time(now));
                status.first_segment_milliseconds = None;
            }
            Course::Rest(_) => {
                status.started_time = None;
                status.first_segment_milliseconds = None;
            }
            _ => {}
        }
        let live = self.job().is_some_and(|job| job.phase == JobPhase::Live);
        if live && status.first_segment_milliseconds.is_none() {
            let began = self.observed.recollection.named;
            let began = began.or(status.started_time.as_ref().map(|time| time.0));
            let took = began.map(|began| age(began, now).as_millis());
            status.first_segment_milliseconds = took.and_then(|took| i64::try_from(took).ok());
        }
    }

    /// The source and the media, as the pod says them.
    fn played(&self, status: &mut LiveStreamStatus) {
        if matches!(self.course, Course::Rest(_)) {
            status.source = None;
            status.media = None;
            return;
        }
        let Some(job) = self.job() else { return };
        let index = job.source.index;
        if status.source.as_ref().is_none_or(|old| old.index != index) {
            let since = Timestamp::from_millisecond(job.source.since_unix_milliseconds);
            status.source = since.ok().map(|since| SourceInUse {
                index,
                since: Time(since),
            });
        }
        if let Some(media) = &job.media {
            status.media = Some(MediaSummary {
                video: media.video.as_deref().map(clipped),
                audio: media.audio.as_deref().map(clipped),
                mode: <&str>::from(media.mode).to_owned(),
                reason: clipped(&media.reason),
            });
        }
    }

    fn viewers(&self) -> i32 {
        match (&self.observed.presence, self.course) {
            (_, Course::Rest(_)) => 0,
            (PresenceView::Known(facts), _) => coarse(facts.stream.viewers),
            _ => self.old().viewers,
        }
    }
}

/// The lower bound of 0, 1, 10, 100 …, so that the status does not follow every viewer.
fn coarse(viewers: u32) -> i32 {
    match viewers.checked_ilog10() {
        None => 0,
        Some(power) => 10_i32.saturating_pow(power),
    }
}
