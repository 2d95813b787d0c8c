//! Does what a plan says, in the one order that is safe at every moment a process can die:
//! the old pod is told to finish, the status names the new pod, which is told to publish if it waits for that, old pods go, connections of
//! providers are given back and entered (see `slots` for why in this place), and a pod that asked for one is told, the new pod is
//! created, or one that waited is taken and given its job, an idle stream is removed.

mod collection;
mod start;

use std::time::{Duration, Instant};

use api::LiveStream;
use api::control::{FinishAnswer, GrantRequest};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use self::collection::Collected;
use super::backoff::Failures;
use super::cluster::{Removal, status_change};
use super::connections;
use super::control::{self, ControlError, Target};
use super::memory::Finish;
use super::observed::{Account, Observed, StreamFacts};
use super::plan::{Claiming, Dismissal, Plan, Publication};
use super::pods::PodFacts;
use super::{Context, Error, slots};

/// How soon something in the middle is gone on with.
const AT_ONCE: Duration = Duration::ZERO;

/// What came of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Done; the status may be told, and this is when to look again.
    Done { requeue: Duration },
    /// The status was written before anything else was done.
    Told { requeue: Duration },
    /// It is to be observed and planned anew.
    Again,
    /// The stream is being removed: there is nothing more to say of it.
    Collected,
}

/// Applies a plan.
pub(crate) async fn apply(
    context: &Context,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> Result<Applied, Error> {
    // No `..`: a field that is added to the plan and not applied does not compile.
    let Plan {
        finish,
        names_pod,
        publish,
        stand,
        dismiss,
        release,
        leave,
        claim,
        waits_for,
        yields,
        create,
        assign,
        collect,
        status: _,
        failures,
        requeue,
    } = plan;
    if let Some(pod) = finish {
        tell_to_finish(context, &observed.stream, pod).await;
        return Ok(Applied::Again);
    }
    if *names_pod {
        name_pod(context, observed, plan, now).await?;
    }
    if let Some(publication) = publish {
        tell_to_publish(&observed.stream, publication).await;
    }
    remember(context, observed, failures.as_ref(), *names_pod);
    let stream = &observed.stream;
    let closes = dismiss_pods(context, stream, dismiss).await?;
    connections::release(context, &stream.identity, &observed.pods, release).await?;
    if let Some(leaving) = leave {
        connections::leave(context, &stream.identity, leaving).await?;
    }
    enter(context, observed, claim.as_ref()).await?;
    connections::wait(context, &stream.identity, waits_for);
    context.providers.yields(&stream.identity.uid, *yields);
    if !start::start(context, stream, create.as_deref(), assign.as_deref(), now).await? {
        return Ok(Applied::Again);
    }
    let turn = context
        .rollout
        .tell(&stream.identity, *stand, Instant::now(), &context.triggers);
    let collected = collection::step(context, observed, collect, *names_pod).await?;
    // What has just been closed is given back at once.
    let gives_back = (closes && holds_connection(observed)).then_some(AT_ONCE);
    Ok(match collected {
        Collected::Removed => Applied::Collected,
        Collected::Waits(soon) => {
            let sooner = [soon, turn, gives_back].into_iter().flatten();
            let requeue = sooner.fold(*requeue, Duration::min);
            if *names_pod {
                Applied::Told { requeue }
            } else {
                Applied::Done { requeue }
            }
        }
    })
}

fn holds_connection(observed: &Observed) -> bool {
    let uid = &observed.stream.identity.uid;
    let holds = |account: &Account| !slots::attempts(&account.slots, uid).is_empty();
    observed.accounts.values().any(holds)
}

fn target(stream: &StreamFacts, pod: &PodFacts) -> Option<Target> {
    Some(Target {
        stream: stream.identity.name.clone(),
        stream_uid: stream.identity.uid.clone(),
        attempt: pod.attempt,
        endpoint: pod.endpoint()?,
    })
}

/// Whatever comes of it: a pod that does not answer must not hold its successor up.
async fn tell_to_finish(context: &Context, stream: &StreamFacts, pod: &PodFacts) {
    let answer = match target(stream, pod) {
        Some(target) => finish(&target).await,
        None => return,
    };
    if let Err(error) = &answer {
        tracing::info!(stream.name = stream.identity.name, pod.name = pod.name, %error, "pod did not finish");
    }
    let finish = Finish {
        pod_uid: pod.uid.clone(),
        answer: answer.ok(),
    };
    let uid = &stream.identity.uid;
    context.memory.update(uid, |stream| {
        if finish.answer.is_some() {
            stream.closed.insert(pod.uid.clone());
        }
        stream.finish = Some(finish);
    });
}

/// An answer that was lost or late is asked for once more, and is the same then: a pod that plays on beside its successor is worse than a
/// wait of seconds.
async fn finish(target: &Target) -> Result<FinishAnswer, ControlError> {
    match control::finish(target).await {
        Err(ControlError::Unreachable { .. }) => control::finish(target).await,
        answer => answer,
    }
}

/// Asked until it says that it does: what is lost on the way is said again.
async fn tell_to_publish(stream: &StreamFacts, publication: &Publication) {
    let Publication { pod, request } = publication;
    let Some(target) = target(stream, pod) else {
        return;
    };
    match control::publish(&target, request).await {
        Ok(()) => {
            tracing::info!(
                stream.name = stream.identity.name,
                pod.name = pod.name,
                "pod takes over"
            );
        }
        Err(error) => {
            tracing::info!(stream.name = stream.identity.name, pod.name = pod.name, %error, "pod did not take over yet");
        }
    }
}

/// Enters a connection, and tells the pod that asked for it.
async fn enter(
    context: &Context,
    observed: &Observed,
    claiming: Option<&Claiming>,
) -> Result<(), Error> {
    let Some(claiming) = claiming else {
        return Ok(());
    };
    connections::claim(context, observed, claiming).await?;
    if let Some(pod) = &claiming.told {
        tell_what_is_granted(&observed.stream, pod, claiming).await;
    }
    Ok(())
}

/// Nothing comes of it where the pod does not ask for it any more: its status says so, and what was entered is given back.
async fn tell_what_is_granted(stream: &StreamFacts, pod: &PodFacts, claiming: &Claiming) {
    let Some(target) = target(stream, pod) else {
        return;
    };
    let request = GrantRequest {
        provider: claiming.provider.clone(),
        request: claiming.request,
    };
    let provider = &request.provider;
    match control::grant(&target, &request).await {
        Ok(()) => {
            tracing::info!(
                stream.name = stream.identity.name,
                pod.name = pod.name,
                provider.name = provider,
                "pod goes on with another account"
            );
        }
        Err(error) => {
            tracing::info!(stream.name = stream.identity.name, pod.name = pod.name, provider.name = provider, %error, "pod did not take a connection yet");
        }
    }
}

/// The intent: from here on every operator knows which pod is meant.
async fn name_pod(
    context: &Context,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), Error> {
    let stream = &observed.stream;
    let changed = || Error::Changed {
        stream: stream.identity.name.clone(),
    };
    let change = status_change(&stream.status, &plan.status).ok_or_else(changed)?;
    let written = context.cluster.write_status(stream, &change).await?;
    let written = written.ok_or_else(changed)?;
    let anew = plan.status.started_time != stream.status.started_time;
    let seen = &stream.resource_version;
    context.memory.update(&stream.identity.uid, |stream| {
        stream.wrote(seen, &written, now);
        if anew {
            stream.named = Some(now);
        }
    });
    context
        .events
        .changed(&stream.object, &stream.status, &plan.status);
    Ok(())
}

fn remember(context: &Context, observed: &Observed, failures: Option<&Failures>, names_pod: bool) {
    let known = |uid: &String| observed.pods.iter().any(|pod| pod.uid == *uid);
    let uid = &observed.stream.identity.uid;
    let counted = observed.recollection.failures.as_ref();
    let counted = counted.map(|failures| failures.attempt);
    if let Some(news) = failures.filter(|failures| counted != Some(failures.attempt)) {
        context.metrics.attempt_failed(news.last.reason.as_str());
    }
    context.memory.update(uid, |stream| {
        stream.stopped.retain(known);
        stream.closed.retain(known);
        stream.finish.take_if(|finish| !known(&finish.pod_uid));
        stream.given.take_if(|pod| !known(pod));
        stream.refused.take_if(|pod| !known(pod));
        match failures {
            Some(failures) => stream.failures = Some(failures.clone()),
            // A run that starts for another reason than a failure owes nothing to those before it.
            None if names_pod => stream.failures = None,
            None => {}
        }
    });
}

/// Answers whether any of them has said that its source is closed.
async fn dismiss_pods(
    context: &Context,
    stream: &StreamFacts,
    dismiss: &[Dismissal],
) -> Result<bool, Error> {
    let mut closes = false;
    for dismissal in dismiss {
        closes |= dismiss_pod(context, stream, dismissal).await?;
    }
    Ok(closes)
}

/// Answers whether the pod has said that its source is closed.
async fn dismiss_pod(
    context: &Context,
    stream: &StreamFacts,
    dismissal: &Dismissal,
) -> Result<bool, Error> {
    let Dismissal {
        pod,
        stop,
        delete,
        unnamed,
    } = dismissal;
    if *unnamed && names(context, stream, pod).await? {
        return Err(Error::Changed {
            stream: stream.identity.name.clone(),
        });
    }
    let mut closed = false;
    if *stop && let Some(target) = target(stream, pod) {
        let stopped = control::stop(&target).await;
        closed = stopped.is_ok();
        if let Err(error) = stopped {
            tracing::info!(stream.name = stream.identity.name, pod.name = pod.name, %error, "pod did not stop");
        }
        let uid = &stream.identity.uid;
        context.memory.update(uid, |stream| {
            stream.stopped.insert(pod.uid.clone());
            if closed {
                stream.closed.insert(pod.uid.clone());
            }
        });
    }
    if *delete {
        // While it is not known to be gone there must not be another one.
        if context.cluster.delete_pod(pod).await? == Removal::Changed {
            return Err(Error::Changed {
                stream: stream.identity.name.clone(),
            });
        }
    }
    Ok(closed)
}

/// Whether the stream as it is now, not as the watch has seen it, names this pod.
async fn names(context: &Context, stream: &StreamFacts, pod: &PodFacts) -> Result<bool, Error> {
    let current = context.cluster.stream(&stream.identity.name).await?;
    let same = |current: &LiveStream| current.uid().as_ref() == Some(&stream.identity.uid);
    let status = current.filter(same).and_then(|current| current.status);
    let intents = status.map(|status| [status.pod, status.successor]);
    let mut intents = intents.into_iter().flatten().flatten();
    Ok(intents.any(|intent| intent.name == pod.name))
}
