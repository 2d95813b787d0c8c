//! Whether a stream takes a pod that waits, which one, and if not, why: then it starts with a pod of its own. Pure.
//! The status names the pod and its attempt before it is taken; a pod that is not to be had is never waited for.

use api::live_stream::{WARM_ATTEMPTS, WarmAttempt};
use api::names::is_warm_pod_name;

use super::course::{Cause, Course};
use super::grants::Grant;
use super::{order, order_for};
use crate::class::Effective;
use crate::live_stream::observed::Observed;
use crate::live_stream::pod;
use crate::live_stream::pods::PodFacts;
use crate::live_stream::warm::{Assigning, Claim, PoolView, WaitingPod};

/// Which pod an attempt starts with.
pub(super) enum Choice<'a> {
    /// This one, which waits.
    Warm(&'a WaitingPod),
    /// One that is made for it; with the reason, where its class has pods that wait.
    Cold(Option<String>),
}

/// Which pod this course starts with, or goes on to start with.
pub(super) fn choice<'a>(observed: &'a Observed, course: &Course) -> Choice<'a> {
    let (cause, provider) = match course {
        Course::Start {
            cause,
            grant: Grant::Now(provider),
            ..
        } => (*cause, provider.as_deref()),
        Course::Start {
            cause,
            grant: Grant::AfterOwn { provider, .. },
            ..
        } => (*cause, Some(provider.as_str())),
        Course::Create(_) => {
            let named = observed.warm.named.as_ref();
            return named.map_or(Choice::Cold(None), Choice::Warm);
        }
        _ => return Choice::Cold(None),
    };
    match (&observed.warm.pool, &observed.effective) {
        (Some(_), _) if cause == Cause::Refused => Choice::Cold(Some(
            "the one that was named did not take its job".to_owned(),
        )),
        (Some(pool), Ok(effective)) => {
            offered(observed, pool, &effective.granted(provider), provider)
        }
        _ => Choice::Cold(None),
    }
}

fn offered<'a>(
    observed: &'a Observed,
    pool: &PoolView,
    granted: &Effective,
    provider: Option<&str>,
) -> Choice<'a> {
    let of_pool = match &pool.template {
        Ok(template) => template,
        Err(reason) => return Choice::Cold(Some(reason.clone())),
    };
    let own = pod::template(&observed.fleet, granted);
    if own.as_ref() != Some(of_pool) {
        return Choice::Cold(Some(difference(pool, granted, provider)));
    }
    let named = observed.stream.status.pod.as_ref();
    let mut waiting = observed.warm.waiting.iter();
    // The watch may still show those that were not to be had, the one that is named among them.
    let lost = &observed.recollection.lost;
    let is_lost = |pod: &WaitingPod| {
        lost.contains(&pod.name) || named.is_some_and(|intent| intent.name == pod.name)
    };
    let other = waiting.find(|pod| pod.template == own && !is_lost(pod));
    match other {
        Some(pod) => Choice::Warm(pod),
        None => Choice::Cold(Some("none is ready".to_owned())),
    }
}

/// Why a pod that waits is not what the stream's own would be.
fn difference(pool: &PoolView, granted: &Effective, provider: Option<&str>) -> String {
    if granted.files.iter().any(|file| file.provider.is_none()) {
        return "its sources have Secrets of their own".to_owned();
    }
    match (provider, pool.provider.as_deref()) {
        (Some(needed), other) if other != Some(needed) => {
            format!("they do not have the login of Provider {needed}")
        }
        (None, Some(provider)) => format!("they are kept for streams of Provider {provider}"),
        _ => "the stream's own preset needs another pod".to_owned(),
    }
}

/// Whether the pod that the status names still waits and is what the attempt needs.
pub(super) fn is_to_be_had(observed: &Observed, provider: Option<&str>) -> bool {
    let (Some(pod), Ok(effective)) = (&observed.warm.named, &observed.effective) else {
        return false;
    };
    let own = pod::template(&observed.fleet, &effective.granted(provider));
    pod.is_available() && own.is_some() && pod.template == own
}

/// Whether a pod that waited has said that it does not take its job.
pub(super) fn refused(observed: &Observed, pod: &PodFacts) -> bool {
    is_ungiven(observed, pod) && observed.recollection.refused.as_ref() == Some(&pod.uid)
}

/// Whether a pod of the stream is not known to have been given its job: it waited, and the status has not said that it has it.
pub(super) fn is_ungiven(observed: &Observed, pod: &PodFacts) -> bool {
    let intent = observed.stream.status.pod.as_ref();
    let known = intent.is_some_and(|intent| intent.uid.as_ref() == Some(&pod.uid));
    let says = observed.polled.status.as_ref();
    let says = says.is_some_and(|job| job.attempt == pod.attempt);
    let given = observed.recollection.given.as_ref() == Some(&pod.uid);
    is_warm_pod_name(&pod.name) && !known && !says && !given
}

/// The pod that is taken, or that is the stream's and has no job yet.
pub(super) fn assigning(
    observed: &Observed,
    course: &Course,
    resume: Option<api::job::ResumeFloor>,
) -> Option<Box<Assigning>> {
    let effective = observed.effective.as_ref().ok()?;
    let (attempt, provider) = match course {
        Course::Start {
            attempt,
            grant: Grant::Now(provider),
            ..
        } => (*attempt, provider.as_deref()),
        Course::Create(provider) => {
            let intent = observed.stream.status.pod.as_ref()?;
            (intent.attempt, provider.as_deref())
        }
        Course::Keep(pod) => (pod.attempt, pod.provider.as_deref()),
        _ => return None,
    };
    let effective = effective.granted(provider);
    let order = order_for(order(observed, &effective, attempt), resume, provider);
    let (pod, pod_uid, endpoint, claim) = match (course, choice(observed, course)) {
        (Course::Keep(pod), _) => {
            let needs = is_ungiven(observed, pod) && pod.listens() && !pod.terminating;
            needs.then_some((&pod.name, &pod.uid, pod.endpoint()?, None))?
        }
        (_, Choice::Warm(pod)) => {
            let claim = Claim {
                resource_version: pod.resource_version.clone(),
                metadata: pod::claim(&observed.fleet, &order),
            };
            (&pod.name, &pod.uid, pod.endpoint()?, Some(claim))
        }
        (_, Choice::Cold(_)) => return None,
    };
    Some(Box::new(Assigning {
        pod: pod.clone(),
        pod_uid: pod_uid.clone(),
        endpoint,
        claim,
        job: pod::job(&order),
    }))
}

/// The attempts in pods that had waited, with one that is named now; without one whose pod was never had.
pub(super) fn attempts(
    before: &[WarmAttempt],
    never_had: Option<i32>,
    named: Option<WarmAttempt>,
) -> Vec<WarmAttempt> {
    let before = before.iter().filter(|one| Some(one.attempt) != never_had);
    let mut attempts: Vec<_> = before.cloned().chain(named).collect();
    let over = attempts.len().saturating_sub(WARM_ATTEMPTS);
    attempts.drain(..over);
    attempts
}
