//! How one pod takes over from another that is being deleted: the next one waits beside it until it could play at once. Pure.
//! Where its provider has no second connection, the old one closes its own first: the next one is an ordinary start then.
//! Every step is told by the status, the pods and what they say, so that any operator can go on with it.

use api::condition::{ConditionStatus, ConditionType, find_condition};
use api::control::{JobPhase, PublishRequest};
use api::job::ResumeFloor;
use api::live_stream::PodIntent;

use super::course::{Cause, Course, next_attempt, start};
use super::grants;
use crate::live_stream::observed::Observed;
use crate::live_stream::pods::PodFacts;

/// How far above its last word the numbers of a pod may be that did not answer: a long poll and its pauses, at a segment a second.
const UNHEARD: ResumeFloor = ResumeFloor {
    media_sequence: 64,
    discontinuity_sequence: 8,
};

/// A pod that is told to publish.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publication {
    pub(crate) pod: PodFacts,
    pub(crate) request: PublishRequest,
}

/// What follows from the deletion of a pod: one that plays gets a successor, any other is replaced.
pub(super) fn begin(observed: &Observed, pod: &PodFacts) -> Course {
    if !can_be_told(observed, pod) || observed.effective.is_err() {
        return start(observed, Cause::HandOver);
    }
    match plays(observed, pod) {
        true => prepare(observed, pod, next_attempt(observed)),
        false => Course::Finish(pod.clone()),
    }
}

/// The next one beside the old one, where it can have what it connects to at once. Else the old one ends first.
fn prepare(observed: &Observed, old: &PodFacts, attempt: i32) -> Course {
    let old = old.clone();
    match grants::beside(observed, attempt) {
        Some(provider) => Course::Prepare {
            old,
            attempt,
            provider,
        },
        None => Course::Finish(old),
    }
}

/// Whether it plays: as it says itself, or as is written of it while this operator has not heard it yet. A drain may take the operator that
/// led along with the pod.
fn plays(observed: &Observed, pod: &PodFacts) -> bool {
    match &observed.polled.status {
        Some(job) => job.attempt == pod.attempt && job.phase == JobPhase::Live,
        None => is_ready(observed),
    }
}

fn is_ready(observed: &Observed) -> bool {
    let ready = find_condition(&observed.stream.status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True.as_str())
}

/// What comes next where a successor is named; `None` where there is none, or nothing for it to do.
pub(super) fn go_on(observed: &Observed, named: Option<&PodFacts>) -> Option<Course> {
    let next = observed.stream.status.successor.as_ref()?;
    if named.is_some_and(|pod| !pod.terminating && !pod.ended() && observed.owns(pod)) {
        return None;
    }
    let old = named.filter(|pod| can_be_told(observed, pod));
    Some(match (old, successor(observed, next)) {
        (Some(old), Successor::Absent) if observed.effective.is_ok() => {
            prepare(observed, old, next.attempt)
        }
        (Some(old), Successor::Ready(_)) => Course::Finish(old.clone()),
        // A successor that failed is not tried again beside what still plays: most likely the next would, too.
        (Some(old), Successor::Waits(_) | Successor::Failed | Successor::Absent) => {
            Course::Await(old.clone())
        }
        (None, Successor::Ready(pod) | Successor::Waits(pod)) => Course::TakeOver(pod.clone()),
        (None, Successor::Failed | Successor::Absent) => start(observed, Cause::HandOver),
    })
}

/// Where the pod stands that is to take over.
enum Successor<'a> {
    Absent,
    Failed,
    Waits(&'a PodFacts),
    Ready(&'a PodFacts),
}

fn successor<'a>(observed: &'a Observed, next: &PodIntent) -> Successor<'a> {
    let named = |pod: &&PodFacts| pod.name == next.name;
    let Some(pod) = observed.pods.iter().find(named) else {
        return Successor::Absent;
    };
    let job = observed.successor.as_ref();
    let job = job.filter(|job| job.attempt == pod.attempt);
    let phase = job.map(|job| job.phase);
    let over = matches!(phase, Some(JobPhase::Failed | JobPhase::Finished));
    if over || pod.ended() || pod.terminating || !observed.owns(pod) {
        return Successor::Failed;
    }
    // A transcoder of a version that knows no standby publishes at once.
    let ready = job.is_some_and(|job| job.ready || job.phase == JobPhase::Live);
    match ready {
        true => Successor::Ready(pod),
        false => Successor::Waits(pod),
    }
}

/// Whether it may still play, and has not been told to end that.
fn can_be_told(observed: &Observed, pod: &PodFacts) -> bool {
    let recollection = &observed.recollection;
    let finish = recollection.finish.as_ref();
    let asked = finish.is_some_and(|finish| finish.pod_uid == pod.uid);
    pod.listens() && !asked && !recollection.stopped.contains(&pod.uid)
}

/// The pod that must be told to finish before the named one publishes, as far as nobody knows that it was.
pub(super) fn unfinished<'a>(observed: &'a Observed, named: &PodFacts) -> Option<&'a PodFacts> {
    let mut others = observed.pods.iter().filter(|pod| observed.owns(pod));
    waits(observed, named)
        .then(|| others.find(|pod| pod.name != named.name && can_be_told(observed, pod)))
        .flatten()
}

/// What the course's pod is told, if it is its turn.
pub(super) fn publication(
    observed: &Observed,
    course: &Course,
    resume: Option<ResumeFloor>,
) -> Option<Publication> {
    let pod = match course {
        Course::TakeOver(pod) if pod.listens() => pod,
        Course::Keep(pod) if waits(observed, pod) => pod,
        _ => return None,
    };
    let finish = observed.recollection.finish.as_ref();
    let answer = finish.and_then(|finish| finish.answer.as_ref());
    let mut floor = resume.unwrap_or_default();
    if answer.is_none() && floor != ResumeFloor::default() {
        let above = |said: i64, unheard: i64| said.saturating_add(unheard);
        floor = ResumeFloor {
            media_sequence: above(floor.media_sequence, UNHEARD.media_sequence),
            discontinuity_sequence: above(
                floor.discontinuity_sequence,
                UNHEARD.discontinuity_sequence,
            ),
        };
    }
    Some(Publication {
        pod: pod.clone(),
        request: PublishRequest {
            floor,
            previous: answer.and_then(|answer| answer.listed.clone()),
        },
    })
}

/// Whether the named pod publishes nothing because nobody has told it to.
pub(super) fn waits(observed: &Observed, named: &PodFacts) -> bool {
    let job = observed.polled.status.as_ref();
    job.is_some_and(|job| job.attempt == named.attempt && job.phase == JobPhase::Standby)
}
