//! Which pod a stream is to have: the table of pod states against what is wanted. Pure.
//! Attempts come from the status only, so that neither a crash nor a second operator makes two writers.

use std::time::Duration;

use api::condition::{ConditionStatus, ConditionType, Reason, find_condition};
use api::control::JobPhase;
use api::live_stream::PodIntent;
use api::names::is_warm_pod_name;
use k8s_openapi::jiff::Timestamp;

use super::grants::{self, Grant};
use super::{order, succession, warm};
use crate::class::{Effective, Refusal};
use crate::live_stream::backoff::{Failure, Failures};
use crate::live_stream::observed::{Observed, UNREACHABLE_AFTER, age};
use crate::live_stream::pods::{PodFacts, PodState};

/// What is to happen with a stream's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Course {
    /// Nothing is to run.
    Rest(Rest),
    /// It should run and cannot be started.
    Refused(Refusal),
    /// Another pod is to go on from here: this one is asked for its last numbers and its list first.
    Finish(PodFacts),
    /// The named pod is being deleted and plays on meanwhile: the pod that takes over is named and created, with a connection of this Provider.
    Prepare {
        old: PodFacts,
        attempt: i32,
        provider: Option<String>,
    },
    /// The named pod is being deleted and plays on until the other one is ready.
    Await(PodFacts),
    /// This pod, which waits for its turn, is named.
    TakeOver(PodFacts),
    /// A new pod is named, and created if its connection is granted.
    Start {
        attempt: i32,
        cause: Cause,
        grant: Grant,
    },
    /// The named pod was never created: it is, with a connection of this Provider.
    Create(Option<String>),
    /// The named pod is not created yet.
    Wait(String),
    /// The named pod failed; the next one waits.
    BackOff,
    /// The named pod failed, and a person wants it left as it is.
    Held,
    /// The named pod is there.
    Keep(PodFacts),
}

/// Why nothing is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Deleted,
    Suspended,
    NotWanted,
}

/// Why a new pod is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing ran before.
    Wanted,
    /// The pod before it failed.
    Failed,
    /// The pod before it gave its sources up.
    SourcesFailed,
    /// The pod before it is being deleted.
    HandOver,
    /// The pod before it has nothing to play yet, and was made from what has been changed since.
    Changed,
    /// The pod before it waited for a stream when it was named, and was not to be had then.
    Lost,
    /// The pod before it had waited for a stream, and did not take its job.
    Refused,
}

/// The course, with the failures in a row where an attempt has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) course: Course,
    pub(super) failures: Option<Failures>,
}

pub(super) fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let without_failure = |course| Decision {
        course,
        failures: None,
    };
    if let Some(rest) = rest(observed) {
        return without_failure(Course::Rest(rest));
    }
    let Some(intent) = &observed.stream.status.pod else {
        return without_failure(start(observed, Cause::Wanted));
    };
    let named = observed.pods.iter().find(|pod| pod.name == intent.name);
    if let Some(course) = succession::go_on(observed, named) {
        return without_failure(course);
    }
    if let Some(course) = unassigned(observed, intent, named) {
        let failures = observed.recollection.failures.clone();
        return Decision { course, failures };
    }
    if let Some(failure) = failed(observed, intent, named, now) {
        return after_failure(observed, intent, failure, now);
    }
    without_failure(match named {
        None => match &observed.effective {
            Ok(effective) => create(observed, effective, intent.attempt),
            Err(refusal) => Course::Refused(refusal.clone()),
        },
        Some(pod) if let Some(other) = succession::unfinished(observed, pod) => {
            Course::Finish(other.clone())
        }
        Some(pod) if observed.stream.hold.is_some() => Course::Keep(pod.clone()),
        Some(pod) if pod.terminating => succession::begin(observed, pod),
        Some(pod) if plays_nothing(observed, pod) && is_outdated(observed, pod) => {
            start(observed, Cause::Changed)
        }
        Some(pod) => Course::Keep(pod.clone()),
    })
}

/// What follows where the named pod waited for a stream and is not this one's yet, or does not take its job.
fn unassigned(observed: &Observed, intent: &PodIntent, named: Option<&PodFacts>) -> Option<Course> {
    if let Some(pod) = named.filter(|pod| observed.owns(pod)) {
        return warm::refused(observed, pod).then(|| start(observed, Cause::Refused));
    }
    if !is_warm_pod_name(&intent.name) || intent.uid.is_some() {
        return None;
    }
    let effective = match &observed.effective {
        Err(refusal) => return Some(Course::Refused(refusal.clone())),
        Ok(effective) => effective,
    };
    let course = create(observed, effective, intent.attempt);
    let is_lost = match &course {
        Course::Create(provider) => !warm::is_to_be_had(observed, provider.as_deref()),
        _ => observed.warm.named.is_none(),
    };
    Some(match is_lost {
        true => start(observed, Cause::Lost),
        false => course,
    })
}

fn rest(observed: &Observed) -> Option<Rest> {
    let stream = &observed.stream;
    match (stream.deleting, stream.suspend, stream.replicas) {
        (true, _, _) => Some(Rest::Deleted),
        (false, true, _) => Some(Rest::Suspended),
        (false, false, 0) => Some(Rest::NotWanted),
        (false, false, _) => None,
    }
}

pub(super) fn start(observed: &Observed, cause: Cause) -> Course {
    let effective = match &observed.effective {
        Err(refusal) => return Course::Refused(refusal.clone()),
        Ok(effective) => effective,
    };
    let attempt = next_attempt(observed);
    match grants::choose(observed, effective, attempt, cause == Cause::SourcesFailed) {
        Grant::Refused(refusal) => Course::Refused(refusal),
        grant => Course::Start {
            attempt,
            cause,
            grant,
        },
    }
}

pub(super) fn next_attempt(observed: &Observed) -> i32 {
    let status = &observed.stream.status;
    let named = status.pod.as_ref().map_or(0, |intent| intent.attempt);
    status.last_attempt.max(named).saturating_add(1)
}

fn create(observed: &Observed, effective: &Effective, attempt: i32) -> Course {
    match grants::choose(observed, effective, attempt, false) {
        Grant::Now(provider) => Course::Create(provider),
        Grant::AfterOwn { provider, attempt } => Course::Wait(format!(
            "attempt {attempt} of the stream is closing the connection of Provider {provider} that the next one needs"
        )),
        Grant::Refused(refusal) => Course::Refused(refusal),
    }
}

fn after_failure(
    observed: &Observed,
    intent: &PodIntent,
    failure: Failure,
    now: Timestamp,
) -> Decision {
    let before = observed.recollection.failures.as_ref();
    let live_for = live_for(observed, now);
    let failures = Failures::counting(before, intent.attempt, failure, live_for, now);
    let named = observed.pods.iter().find(|pod| pod.name == intent.name);
    let has_changed = named.is_some_and(|pod| is_outdated(observed, pod));
    let cause = match failures.last.reason {
        Reason::TranscoderFailed => Cause::SourcesFailed,
        _ => Cause::Failed,
    };
    let course = if observed.stream.hold.is_some() {
        Course::Held
    } else if has_changed || failures.left(now).is_zero() {
        start(observed, cause)
    } else {
        Course::BackOff
    };
    Decision {
        course,
        failures: Some(failures),
    }
}

/// Whether a pod made now would be another one: somebody has changed class, sources or release.
fn is_outdated(observed: &Observed, pod: &PodFacts) -> bool {
    let (Ok(effective), Some(hash)) = (&observed.effective, &pod.order_hash) else {
        return false;
    };
    let provider = pod.provider.as_deref();
    // One that waited has nothing in reserve.
    let effective = match is_warm_pod_name(&pod.name) {
        true => effective.granted(provider),
        false => effective.mounted(provider),
    };
    *hash != super::pod::hash(&observed.fleet, &order(observed, &effective, pod.attempt))
}

/// Whether nobody loses anything when the pod goes: it does not run yet, or says that it has published nothing.
fn plays_nothing(observed: &Observed, pod: &PodFacts) -> bool {
    let job = observed.polled.status.as_ref();
    match pod.state {
        PodState::Pending { .. } => true,
        PodState::Running => {
            job.is_some_and(|job| job.attempt == pod.attempt && job.phase == JobPhase::Starting)
        }
        PodState::Ended { .. } => false,
    }
}

/// How long the stream has been ready, as far as its status says.
fn live_for(observed: &Observed, now: Timestamp) -> Duration {
    let ready = find_condition(&observed.stream.status.conditions, ConditionType::Ready);
    ready
        .filter(|ready| ready.status == ConditionStatus::True.as_str())
        .map_or(Duration::ZERO, |ready| {
            age(ready.last_transition_time.0, now)
        })
}

/// Why the named attempt is over, if it is.
fn failed(
    observed: &Observed,
    intent: &PodIntent,
    named: Option<&PodFacts>,
    now: Timestamp,
) -> Option<Failure> {
    let counted = observed.recollection.failures.as_ref();
    if let Some(counted) = counted.filter(|failures| failures.attempt == intent.attempt) {
        return Some(counted.last.clone());
    }
    let Some(pod) = named else {
        // A pod without a uid in the status may never have been created.
        let was_there = intent.uid.is_some();
        return was_there.then(|| pod_failed(format!("pod {} is gone", intent.name)));
    };
    if !observed.owns(pod) {
        let name = &intent.name;
        return Some(pod_failed(format!(
            "the pod name {name} is taken by another owner"
        )));
    }
    if pod.terminating {
        return None;
    }
    if let PodState::Ended { message } = &pod.state {
        return Some(pod_failed(format!("pod {} ended: {message}", pod.name)));
    }
    gave_up(observed).or_else(|| unreachable(observed, pod, now))
}

fn pod_failed(message: String) -> Failure {
    Failure {
        reason: Reason::PodFailed,
        message,
    }
}

fn gave_up(observed: &Observed) -> Option<Failure> {
    let job = observed.polled.status.as_ref()?;
    let message = match job.phase {
        JobPhase::Failed => format!("the transcoder gave up: {}", job.source.message),
        JobPhase::Finished => "the transcoder was told to finish by somebody else".to_owned(),
        JobPhase::Standby
        | JobPhase::Starting
        | JobPhase::Live
        | JobPhase::Interrupted
        | JobPhase::Unrecognised => return None,
    };
    Some(Failure {
        reason: Reason::TranscoderFailed,
        message: crate::text::clipped(&message),
    })
}

/// Not knowing is no failure: the kubelet and the poll must both have found it unwell for long enough, while most others are heard.
/// One that is held may come back, as it would not if its attempt had failed.
fn unreachable(observed: &Observed, pod: &PodFacts, now: Timestamp) -> Option<Failure> {
    if observed.blind || observed.stream.hold.is_some() {
        return None;
    }
    let unready_for = pod
        .unready_since
        .map_or(Duration::ZERO, |since| age(since, now));
    let both = unready_for.min(observed.polled.unreachable_for);
    let running = pod.state == PodState::Running;
    (running && both >= UNREACHABLE_AFTER).then(|| Failure {
        reason: Reason::TranscoderUnreachable,
        message: format!(
            "pod {} is neither ready nor reachable for {} s",
            pod.name,
            UNREACHABLE_AFTER.as_secs()
        ),
    })
}
