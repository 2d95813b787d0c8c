//! Clears up after LiveStreams that are gone: their pods are told to stop, so that they do not linger until their grace ends, their
//! connections of providers are given back, and what presence and memory hold of them is dropped. Kubernetes itself
//! removes the pods; nothing but these connections depends on this running.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use api::job::StreamIdentity;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::connections;
use super::control::{self, Target};
use super::memory::Recollection;
use super::pods::{Belongs, PodFacts};
use super::rollout::Stand;
use super::{Context, Error, Guarded, watches};

/// How often pods are compared with LiveStreams, for deletions that the watch did not see.
const COMPARE: Duration = Duration::from_secs(300);

/// A LiveStream that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    name: String,
    uid: String,
}

impl Gone {
    pub(super) fn of(stream: &Guarded) -> Self {
        Self {
            name: stream.name_any(),
            uid: stream.uid().unwrap_or_default(),
        }
    }
}

/// Runs until it is dropped.
pub(super) async fn run(
    context: Arc<Context>,
    streams: Store<Guarded>,
    (mut gone, mut left): (
        mpsc::UnboundedReceiver<Gone>,
        mpsc::UnboundedReceiver<Belongs>,
    ),
    synced: Vec<watch::Receiver<bool>>,
) {
    watches::all(synced).await;
    let mut leadership = context.leadership.clone();
    let mut compare = interval(COMPARE);
    compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stream = gone.recv() => match stream {
                Some(stream) if leadership.leads() => clear(&context, &stream).await,
                // Whoever leads clears it up.
                Some(_) => {}
                None => return,
            },
            belongs = left.recv() => match belongs {
                Some(belongs) if leadership.leads() => look(&context, &streams, belongs).await,
                Some(_) => {}
                None => return,
            },
            leads = leadership.changed() => if leads {
                compare_all(&context, &streams).await;
            },
            _ = compare.tick(), if leadership.leads() => compare_all(&context, &streams).await,
        }
    }
}

async fn compare_all(context: &Context, streams: &Store<Guarded>) {
    let of_pods = context.pods.streams().into_iter();
    let of_connections = context.providers.holders().into_iter();
    let of_connections = of_connections.map(|holder| Belongs {
        stream: holder.stream,
        stream_uid: holder.stream_uid,
    });
    for belongs in of_pods.chain(of_connections) {
        look(context, streams, belongs).await;
    }
}

/// Clears up after a stream if it is gone.
async fn look(context: &Context, streams: &Store<Guarded>, belongs: Belongs) {
    match is_gone(context, streams, &belongs).await {
        Ok(true) => {
            let gone = Gone {
                name: belongs.stream,
                uid: belongs.stream_uid,
            };
            clear(context, &gone).await;
        }
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(stream.name = belongs.stream, %error, "failed to look for a LiveStream");
        }
    }
}

/// The watch may be behind, so the API server has the last word.
async fn is_gone(
    context: &Context,
    streams: &Store<Guarded>,
    belongs: &Belongs,
) -> Result<bool, Error> {
    let namespace = context.cluster.namespace();
    let key = ObjectRef::new(&belongs.stream).within(namespace);
    let is_it = |uid: Option<String>| uid.as_ref() == Some(&belongs.stream_uid);
    if streams.get(&key).is_some_and(|stream| is_it(stream.uid())) {
        return Ok(false);
    }
    let uid = context.cluster.stream_uid(&belongs.stream).await?;
    Ok(!is_it(uid))
}

async fn clear(context: &Context, stream: &Gone) {
    context.polls.leave(&stream.uid);
    let pods = context.pods.of_stream(&stream.uid);
    for pod in &pods {
        if let Err(error) = end(context, stream, pod).await {
            tracing::warn!(stream.name = stream.name, pod.name = pod.name, %error, "failed to end a pod without a LiveStream");
        }
    }
    let identity = StreamIdentity {
        namespace: context.cluster.namespace().to_owned(),
        name: stream.name.clone(),
        uid: stream.uid.clone(),
    };
    connections::wait(context, &identity, &[]);
    context.providers.yields(&stream.uid, false);
    let closed = context.memory.recall(&stream.uid).closed;
    let released = connections::release_gone(context, &identity, &pods, &closed).await;
    if let Err(error) = released {
        tracing::warn!(stream.name = stream.name, %error, "failed to give back the connections of a LiveStream that is gone");
    }
    if let Err(error) = context.presence.forget(&stream.uid).await {
        // What the store keeps of it outlives its time at most.
        tracing::warn!(stream.name = stream.name, %error, "failed to forget who watched");
    }
    context.memory.forget(&stream.uid);
    context.removals.leave(&stream.uid);
    let (now, triggers) = (Instant::now(), &context.triggers);
    context
        .rollout
        .tell(&identity, Stand::Settled, now, triggers);
    tracing::info!(
        stream.name = stream.name,
        stream.uid = stream.uid,
        "LiveStream is gone"
    );
}

async fn end(context: &Context, stream: &Gone, pod: &PodFacts) -> Result<(), Error> {
    let told = context
        .memory
        .recall(&stream.uid)
        .stopped
        .contains(&pod.uid);
    let mut ends = false;
    if let Some(endpoint) = pod.endpoint().filter(|_| pod.listens() && !told) {
        let target = Target {
            stream: stream.name.clone(),
            stream_uid: stream.uid.clone(),
            attempt: pod.attempt,
            endpoint,
        };
        match control::stop(&target).await {
            Ok(()) => {
                ends = true;
                let told = |stream: &mut Recollection| {
                    stream.stopped.insert(pod.uid.clone());
                    stream.closed.insert(pod.uid.clone());
                };
                context.memory.update(&stream.uid, told);
            }
            Err(error) => {
                tracing::info!(stream.name = stream.name, pod.name = pod.name, %error, "pod did not stop");
            }
        }
    }
    // One that has just said that it ends goes with its owner: no write of ours. If it does not, it is found when all are compared.
    let goes = ends && pod.owner_uid.as_ref() == Some(&stream.uid);
    if !pod.terminating && !goes {
        let _ = context.cluster.delete_pod(pod).await?;
    }
    Ok(())
}
