//! The one place where it is decided what happens to a stream. Pure and synchronous: what is observed and the time go in, a plan comes out.
//! To see what a LiveStream becomes, start here.

mod course;
mod describe;
mod findings;
mod grants;
mod phase;
mod provisioned;
mod rollout;
mod succession;
mod warm;
mod wishes;

use std::time::Duration;

use api::LiveStreamStatus;
use api::control::JobPhase;
use api::job::ResumeFloor;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use runtime::trace::TraceContext;

use self::course::{Cause, Course, Decision, Rest};
use self::grants::Grant;
pub(crate) use self::grants::{Claiming, Released};
pub(crate) use self::succession::Publication;
use self::warm::Choice;
pub(crate) use self::wishes::Leaving;
use super::backoff::Failures;
use super::collect::{self, Collect, PresenceView, Spared};
use super::observed::{MOUNTS_SUSPECT_AFTER, Observed, UNREACHABLE_AFTER, age};
use super::pod::{self, Order};
use super::pods::{PodFacts, PodState};
use super::resync::ROUND;
use super::rollout::Stand;
use super::warm::Assigning;
use crate::class::Effective;

/// How soon a pod that was told to publish is looked at again.
const TOLD_RECHECK: Duration = Duration::from_secs(1);
/// How soon coarse viewers are looked at again.
const VIEWERS_RECHECK: Duration = Duration::from_secs(60);
/// How soon the first viewer of a stream that runs is looked for: a read of the presence store, and two flushes of a gateway.
const FIRST_VIEWER_RECHECK: Duration = Duration::from_secs(10);

/// How long nobody must have asked for a stream that nobody watches before it gives its connection up to one that waits for it: longer
/// than a gateway holds a request of somebody who is not counted yet.
const YIELD_AFTER: Duration = Duration::from_secs(10);
/// How soon a stream whose connection another one waits for is looked at again: one flush of a gateway.
const WAITED_FOR_RECHECK: Duration = Duration::from_secs(5);

/// What is to be done, one field per object. Applied by `apply`, told by `report`.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The pod that is told to finish, so that its successor knows its numbers and its list; nothing else happens before.
    pub(crate) finish: Option<PodFacts>,
    /// The status names a new pod: it is written before anything else is done.
    pub(crate) names_pod: bool,
    /// The pod whose turn it is.
    pub(crate) publish: Option<Publication>,
    /// Whether its pod plays what class and sources say.
    pub(crate) stand: Stand,
    /// Pods that go.
    pub(crate) dismiss: Vec<Dismissal>,
    /// The connection that is entered before the pod is created, or goes on with it.
    pub(crate) claim: Option<Claiming>,
    /// Connections that are given back.
    pub(crate) release: Released,
    /// Those that an attempt has exchanged for another one.
    pub(crate) leave: Option<Leaving>,
    /// Providers of which a connection is waited for.
    pub(crate) waits_for: Vec<String>,
    /// It gives its connection up to one that waits.
    pub(crate) yields: bool,
    /// The pod to create.
    pub(crate) create: Option<Box<Pod>>,
    /// The pod that waited, to be taken or given its job.
    pub(crate) assign: Option<Box<Assigning>>,
    /// The next step of the collection.
    pub(crate) collect: Collect,
    /// The status that the stream is to have.
    pub(crate) status: LiveStreamStatus,
    /// The failures in a row, when an attempt has failed.
    pub(crate) failures: Option<Failures>,
    /// When to look again, if nothing happens before.
    pub(crate) requeue: Duration,
}

/// A pod that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dismissal {
    pub(crate) pod: PodFacts,
    /// It is told to stop first: else it would produce until shortly before its grace ends.
    pub(crate) stop: bool,
    /// It is deleted; else it is being deleted already.
    pub(crate) delete: bool,
    /// It goes because the status does not name it, so the status is read once more before.
    pub(crate) unnamed: bool,
}

/// Decides.
pub(crate) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let Decision { course, failures } = course::decide(observed, now);
    let collect = collection(observed, &course, now);
    let status = describe::status(observed, &course, failures.as_ref(), &collect, now);
    let finish = match &course {
        Course::Finish(pod) => Some(pod.clone()),
        _ => None,
    };
    let claim = grants::claiming(observed, &course);
    Plan {
        finish,
        names_pod: names_pod(observed, &course),
        publish: succession::publication(observed, &course, status.resume),
        stand: rollout::stand(observed, &course),
        release: grants::released(observed, &course, claim.as_ref()),
        leave: wishes::leaving(observed),
        waits_for: grants::waits_for(observed, &course),
        yields: yields(observed)
            && matches!(
                collect,
                Collect::Begin { .. }
                    | Collect::Flushing
                    | Collect::Paused { .. }
                    | Collect::Seal { .. }
            ),
        claim,
        dismiss: dismissals(observed, &course),
        create: create(observed, &course, &status),
        assign: warm::assigning(observed, &course, status.resume),
        requeue: requeue(observed, &course, failures.as_ref(), &collect, now),
        collect,
        status,
        failures,
    }
}

fn names_pod(observed: &Observed, course: &Course) -> bool {
    match course {
        Course::Start { .. } | Course::TakeOver(_) => true,
        Course::Prepare { .. } => observed.stream.status.successor.is_none(),
        _ => false,
    }
}

fn collection(observed: &Observed, course: &Course, now: Timestamp) -> Collect {
    use api::live_stream::WhenIdle;
    let stream = &observed.stream;
    if stream.idle.when_idle == WhenIdle::KeepRunning {
        return Collect::Nothing;
    }
    let timeout = match yields(observed) {
        true => stream.idle.timeout.min(YIELD_AFTER),
        false => stream.idle.timeout,
    };
    match course {
        Course::Start {
            cause: Cause::Wanted,
            ..
        } => Collect::Open,
        Course::Rest(_) | Course::Start { .. } | Course::Create(_) | Course::Finish(_) => {
            Collect::Nothing
        }
        Course::Refused(_)
        | Course::Wait(_)
        | Course::BackOff
        | Course::Held
        | Course::Keep(_)
        | Course::Prepare { .. }
        | Course::Await(_)
        | Course::TakeOver(_) => {
            if let Some(spared) = spared(observed) {
                return collect::spare(&observed.presence, spared);
            }
            let began = stream.status.started_time.as_ref();
            let began = began.map_or(stream.created, |time| time.0);
            let run_age = age(began, now);
            collect::decide(&observed.presence, timeout, run_age, &observed.gateways)
        }
    }
}

/// Whether somebody has said that it is not to be collected.
fn spared(observed: &Observed) -> Option<Spared> {
    match (&observed.stream.hold, observed.collects) {
        (Some(_), _) => Some(Spared::Held),
        (None, false) => Some(Spared::Off),
        (None, true) => None,
    }
}

/// Whether it is one that gives way to a stream that waits for its connection, once nobody watches it.
fn may_yield(observed: &Observed) -> bool {
    use api::live_stream::WhenIdle;
    let is_kept = observed.stream.idle.when_idle == WhenIdle::KeepRunning;
    observed.is_waited_for && !is_kept && spared(observed).is_none()
}

fn yields(observed: &Observed) -> bool {
    let unwatched =
        matches!(&observed.presence, PresenceView::Known(facts) if facts.stream.viewers == 0);
    may_yield(observed) && unwatched
}

fn dismissals(observed: &Observed, course: &Course) -> Vec<Dismissal> {
    let status = &observed.stream.status;
    let named = [&status.pod, &status.successor];
    let named = named.into_iter().flatten();
    let is_named = |pod: &PodFacts| named.clone().any(|intent| intent.name == pod.name);
    let pods = observed.pods.iter().filter(|pod| observed.owns(pod));
    pods.filter_map(|pod| dismissal(observed, course, pod, is_named(pod)))
        .collect()
}

fn dismissal(
    observed: &Observed,
    course: &Course,
    pod: &PodFacts,
    is_named: bool,
) -> Option<Dismissal> {
    let told = observed.recollection.stopped.contains(&pod.uid);
    if pod.terminating {
        // Its successor plays, or nothing is to run: it would produce for nobody until its grace ends.
        let useless = matches!(course, Course::Rest(_)) || !is_named && is_live(observed, course);
        return (useless && pod.listens() && !told).then(|| Dismissal {
            pod: pod.clone(),
            stop: true,
            delete: false,
            unnamed: false,
        });
    }
    let goes = match course {
        Course::Rest(_) | Course::Start { .. } => true,
        // What ended by itself is kept until it is replaced, so that its log can be read.
        Course::BackOff => !is_named || !pod.ended(),
        // It goes on playing while it ends, and what takes over is made from what is said now.
        Course::Keep(_) if is_named && rollout::is_due(observed, course) => {
            return Some(Dismissal {
                pod: pod.clone(),
                stop: false,
                delete: true,
                unnamed: false,
            });
        }
        Course::Create(_)
        | Course::Wait(_)
        | Course::Held
        | Course::Keep(_)
        | Course::Refused(_)
        | Course::Prepare { .. }
        | Course::Await(_)
        | Course::TakeOver(_) => !is_named,
        Course::Finish(_) => false,
    };
    goes.then(|| Dismissal {
        pod: pod.clone(),
        stop: pod.listens() && !told,
        delete: true,
        unnamed: !is_named,
    })
}

fn is_live(observed: &Observed, course: &Course) -> bool {
    let job = observed.polled.status.as_ref();
    matches!(course, Course::Keep(_)) && job.is_some_and(|job| job.phase == JobPhase::Live)
}

fn create(observed: &Observed, course: &Course, status: &LiveStreamStatus) -> Option<Box<Pod>> {
    let (intent, provider) = match course {
        Course::Start {
            grant: Grant::Now(provider),
            ..
        }
        | Course::Create(provider) => (&status.pod, provider.as_deref()),
        Course::Prepare { provider, .. } => (&status.successor, provider.as_deref()),
        _ => return None,
    };
    if matches!(warm::choice(observed, course), Choice::Warm(_)) {
        return None;
    }
    let (Ok(effective), Some(intent)) = (&observed.effective, intent) else {
        return None;
    };
    let effective = effective.mounted(provider);
    let order = order(observed, &effective, intent.attempt);
    let order = Order {
        standby: matches!(course, Course::Prepare { .. }),
        ..order_for(order, status.resume, provider)
    };
    Some(Box::new(pod::build(&observed.fleet, &order)))
}

/// The order with what this attempt goes on from, and the connection it has.
fn order_for<'a>(
    order: Order<'a>,
    resume: Option<ResumeFloor>,
    provider: Option<&'a str>,
) -> Order<'a> {
    Order {
        resume: resume.unwrap_or_default(),
        provider,
        ..order
    }
}

fn order<'a>(observed: &Observed, effective: &'a Effective, attempt: i32) -> Order<'a> {
    Order {
        stream: observed.stream.identity.clone(),
        owner: observed.stream.owner.clone(),
        attempt,
        resume: ResumeFloor::default(),
        provider: None,
        standby: false,
        trace: awaited_trace(observed),
        effective,
    }
}

/// The trace that a start belongs to: somebody waits for the first segment of this run.
fn awaited_trace(observed: &Observed) -> Option<TraceContext> {
    let status = &observed.stream.status;
    let has_played = status.pod.is_some() && status.first_segment_milliseconds.is_some();
    observed.stream.trace.filter(|_| !has_played)
}

fn requeue(
    observed: &Observed,
    course: &Course,
    failures: Option<&Failures>,
    collect: &Collect,
    now: Timestamp,
) -> Duration {
    let of_course = match course {
        Course::Keep(pod) => Some(keep_recheck(observed, pod, now)),
        Course::BackOff => failures.map(|failures| failures.left(now)),
        Course::Rest(Rest::Deleted | Rest::Suspended | Rest::NotWanted)
        | Course::Refused(_)
        | Course::Finish(_)
        | Course::Start {
            grant: Grant::Now(_) | Grant::Refused(_),
            ..
        }
        | Course::Wait(_)
        | Course::Held
        | Course::Create(_)
        | Course::Prepare { .. }
        | Course::Await(_) => None,
        // Its connection may be closed by now.
        Course::Start {
            grant: Grant::AfterOwn { .. },
            ..
        } => Some(Duration::ZERO),
        // What it was told may not have reached it.
        Course::TakeOver(_) => Some(TOLD_RECHECK),
    };
    let waited_for = may_yield(observed).then_some(WAITED_FOR_RECHECK);
    [of_course, collect.recheck(), waited_for]
        .into_iter()
        .flatten()
        .fold(ROUND, Duration::min)
}

/// When a pod that is left as it is may have become a case for something.
fn keep_recheck(observed: &Observed, pod: &PodFacts, now: Timestamp) -> Duration {
    let unreachable_for = observed.polled.unreachable_for;
    match &pod.state {
        PodState::Running if unreachable_for > Duration::ZERO => {
            let left = UNREACHABLE_AFTER.saturating_sub(unreachable_for);
            left.clamp(Duration::from_secs(1), VIEWERS_RECHECK)
        }
        PodState::Running if is_told(observed, pod) => TOLD_RECHECK,
        PodState::Running => viewers_recheck(observed),
        PodState::Ended { .. } => VIEWERS_RECHECK,
        PodState::Pending { .. } => {
            let scheduled_for = pod.scheduled_since.map(|since| age(since, now));
            let left = scheduled_for.map(|passed| MOUNTS_SUSPECT_AFTER.saturating_sub(passed));
            let left = left.filter(|left| !left.is_zero());
            left.unwrap_or(VIEWERS_RECHECK)
        }
    }
}

/// Whether a pod is told something that may not reach it.
fn is_told(observed: &Observed, pod: &PodFacts) -> bool {
    wishes::is_underway(observed, pod) || succession::waits(observed, pod)
}

/// Nobody triggers the stream of a viewer who comes to one that runs already.
fn viewers_recheck(observed: &Observed) -> Duration {
    match &observed.presence {
        PresenceView::Known(facts) if facts.stream.viewers == 0 => FIRST_VIEWER_RECHECK,
        PresenceView::Known(_) | PresenceView::NotAsked | PresenceView::Away(_) => VIEWERS_RECHECK,
    }
}

#[cfg(test)]
mod tests;
