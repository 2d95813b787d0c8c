//! Reads the cluster, the presence store and the pod's own status into one value. Writes nothing and decides nothing;
//! what cannot be read is told as unknown where that is no error.

use std::time::Instant;

use api::LiveStream;
use api::condition::Reason;
use api::control::JobStatus;
use api::job::StreamIdentity;
use api::live_stream::PodIntent;
use api::names::{ANNOTATION_HOLD, ANNOTATION_TRACEPARENT, is_warm_pod_name};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use presence::{Fence, PresenceError};
use runtime::trace::TraceContext;

use super::cluster::Cluster;
use super::collect::{PresenceFacts, PresenceView};
use super::connections;
use super::control::Target;
use super::observed::{
    MOUNTS_SUSPECT_AFTER, Observed, Polled, StreamFacts, UNREACHABLE_AFTER, age,
};
use super::pods::{PodFacts, PodState};
use super::warm::{self, PoolView, WaitingPod, WarmView};
use super::{Context, Error};
use crate::class::{self, ClassState, IdleRule, Refusal};
use crate::text::clipped;

/// Observes a stream.
pub(crate) async fn observe(context: &Context, stream: &LiveStream) -> Result<Observed, Error> {
    let class = context.classes.state(&stream.spec.class_name);
    let named_providers = connections::named(&context.providers, &stream.spec);
    let stream_facts = facts(stream, class::idle_rule(&stream.spec, &class))?;
    let uid = &stream_facts.identity.uid;
    let (pods, waiting) = pods(context, &stream_facts).await?;
    let intent = stream_facts.status.pod.as_ref();
    let mount_trouble = match intent.and_then(|intent| named(intent, &pods)) {
        Some(pod) => mount_trouble(&context.cluster, pod).await,
        None => None,
    };
    let (polled, successor) = polled(context, &stream_facts, &pods);
    Ok(Observed {
        effective: class::effective(&stream.spec, &class, &named_providers),
        warm: warm(
            context,
            &stream_facts,
            (&stream.spec.class_name, &class),
            &pods,
            waiting,
        ),
        accounts: connections::accounts(&context.providers, &named_providers, uid),
        is_waited_for: context.providers.is_waited_for(uid),
        // It looks at every pod, so it is asked only where something follows from it.
        blind: polled.unreachable_for >= UNREACHABLE_AFTER && context.polls.is_blind(),
        has_turn: context.rollout.has_turn(uid),
        halted_by: context.rollout.halted_by(uid, Instant::now()),
        polled,
        successor,
        mount_trouble,
        presence: presence(context, &stream_facts).await,
        gateways: context.pods.gateways(),
        collects: context.collects,
        recollection: context.memory.recall(uid),
        fleet: context.fleet.clone(),
        pods,
        stream: stream_facts,
    })
}

fn facts(stream: &LiveStream, idle: IdleRule) -> Result<StreamFacts, Error> {
    let incomplete = || Error::Incomplete {
        stream: stream.name_any(),
    };
    let identity = StreamIdentity {
        namespace: stream.namespace().ok_or_else(incomplete)?,
        name: stream.name_any(),
        uid: stream.uid().ok_or_else(incomplete)?,
    };
    let created = stream.creation_timestamp().ok_or_else(incomplete)?;
    Ok(StreamFacts {
        identity,
        owner: stream.controller_owner_ref(&()).ok_or_else(incomplete)?,
        object: stream.object_ref(&()),
        generation: stream.metadata.generation,
        resource_version: stream.resource_version().ok_or_else(incomplete)?,
        created: created.0,
        deleting: stream.metadata.deletion_timestamp.is_some(),
        suspend: stream.spec.suspend,
        replicas: stream.spec.replicas,
        hold: hold(stream),
        trace: trace(stream),
        idle,
        status: stream.status.clone().unwrap_or_default(),
    })
}

/// What the annotation says. Taking it back by `false` works as well as removing it.
fn hold(stream: &LiveStream) -> Option<String> {
    let said = stream.annotations().get(ANNOTATION_HOLD)?;
    (said != "false").then(|| clipped(said))
}

/// What is no context is none.
fn trace(stream: &LiveStream) -> Option<TraceContext> {
    let said = stream.annotations().get(ANNOTATION_TRACEPARENT)?;
    said.parse().ok()
}

/// The index may not have seen yet what the status names: the API server has the last word on whether a named pod is there.
/// A named pod may also still wait for a stream, or be another's by now.
async fn pods(
    context: &Context,
    stream: &StreamFacts,
) -> Result<(Vec<PodFacts>, Option<WaitingPod>), Error> {
    let uid = &stream.identity.uid;
    let (mut pods, mut waiting) = (context.pods.of_stream(uid), None);
    let Some(intent) = &stream.status.pod else {
        return Ok((pods, waiting));
    };
    for intent in std::iter::once(intent).chain(&stream.status.successor) {
        if named(intent, &pods).is_none() {
            let unseen = context.cluster.pod(&intent.name).await?;
            let found = unseen.as_ref().and_then(PodFacts::of);
            let is_others = |pod: &PodFacts| is_warm_pod_name(&pod.name) && pod.stream_uid != *uid;
            pods.extend(found.filter(|pod| !is_others(pod)));
            waiting = waiting.or(unseen.as_ref().and_then(WaitingPod::of));
        }
    }
    Ok((pods, waiting))
}

/// The pods that wait for streams of its class. Which of them it may take follows from its spec, too.
fn warm(
    context: &Context,
    stream: &StreamFacts,
    (name, class): (&str, &ClassState),
    pods: &[PodFacts],
    waiting: Option<WaitingPod>,
) -> WarmView {
    let (pool, offered) = match warm::pool::of_class(class) {
        None => (None, Vec::new()),
        Some((class, wanted)) => {
            let pool = PoolView {
                class: name.to_owned(),
                provider: wanted.provider.clone(),
                template: warm::pool::effective(context, class, wanted)
                    .and_then(|effective| warm::pool::template(context, &effective)),
            };
            let intent = stream.status.pod.as_ref();
            let runs = intent.and_then(|intent| named(intent, pods));
            let runs = runs.is_some_and(|pod| pod.listens() && !pod.terminating);
            // A stream that has a pod is about to take none, most likely.
            let since = (!runs).then(Instant::now);
            let uid = &stream.identity.uid;
            (Some(pool), context.pods.offer(name, uid, since))
        }
    };
    WarmView {
        pool,
        waiting: offered,
        named: waiting,
    }
}

fn named<'a>(intent: &PodIntent, pods: &'a [PodFacts]) -> Option<&'a PodFacts> {
    pods.iter().find(|pod| pod.name == intent.name)
}

/// What the named pod says of itself, and the one that takes over from it.
fn polled(
    context: &Context,
    stream: &StreamFacts,
    pods: &[PodFacts],
) -> (Polled, Option<JobStatus>) {
    let uid = &stream.identity.uid;
    let Some(intent) = &stream.status.pod else {
        context.polls.leave(uid);
        return Default::default();
    };
    let successor = stream.status.successor.as_ref();
    let attempts = [Some(intent), successor].into_iter().flatten();
    let attempts: Vec<i32> = attempts.map(|intent| intent.attempt).collect();
    context.polls.keep(uid, &attempts);
    (
        ask(context, stream, intent, pods),
        successor.and_then(|intent| ask(context, stream, intent, pods).status),
    )
}

/// A pod that has ended, or is gone, is asked no more; its last word stands.
fn ask(context: &Context, stream: &StreamFacts, intent: &PodIntent, pods: &[PodFacts]) -> Polled {
    let uid = &stream.identity.uid;
    let endpoint = named(intent, pods)
        .filter(|pod| pod.listens())
        .and_then(PodFacts::endpoint);
    match endpoint {
        Some(endpoint) => context.polls.follow(Target {
            stream: stream.identity.name.clone(),
            stream_uid: uid.clone(),
            attempt: intent.attempt,
            endpoint,
        }),
        None => context.polls.last_word(uid, intent.attempt),
    }
}

async fn presence(context: &Context, stream: &StreamFacts) -> PresenceView {
    let wanted = stream.replicas != 0 && !stream.suspend && !stream.deleting;
    if !wanted {
        return PresenceView::NotAsked;
    }
    match ask_presence(context, &stream.identity.uid).await {
        Ok(facts) => PresenceView::Known(facts),
        Err(error) => {
            context.metrics.presence_failed();
            PresenceView::Away(error.to_string())
        }
    }
}

async fn ask_presence(context: &Context, uid: &str) -> Result<PresenceFacts, PresenceError> {
    let stream = context.presence.stream(uid).await?;
    let flushes = match stream.fence {
        Fence::Closing { .. } => context.presence.flushes().await?.1,
        Fence::Open | Fence::Closed { .. } => Default::default(),
    };
    Ok(PresenceFacts { stream, flushes })
}

/// A pod that has a node and no container after a while usually waits for a Secret that is not there; only its events say so.
async fn mount_trouble(cluster: &Cluster, pod: &PodFacts) -> Option<Refusal> {
    let waits =
        matches!(&pod.state, PodState::Pending { reason, .. } if *reason == Reason::PodPending);
    let scheduled_for = age(pod.scheduled_since?, Timestamp::now());
    if !waits || scheduled_for < MOUNTS_SUSPECT_AFTER {
        return None;
    }
    let message = cluster.mount_trouble(&pod.uid).await?;
    let of_sources = message.contains(&format!("volume \"{}\"", super::pod::SOURCES));
    Some(Refusal {
        reason: if of_sources {
            Reason::ReferenceNotFound
        } else {
            Reason::PodPending
        },
        message: clipped(&message),
    })
}
