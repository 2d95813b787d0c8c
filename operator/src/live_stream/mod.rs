//! LiveStreams: observe → plan → apply → report, and what triggers it. Only `plan` decides, only `apply` and `report` write.
//! Nothing here remembers anything that a restart must not lose.

mod accounts;
mod apply;
mod backoff;
mod classes;
mod cluster;
mod collect;
mod connections;
mod control;
#[cfg(test)]
pub(crate) mod fixtures;
mod gauges;
mod intake;
mod memory;
mod observe;
mod observed;
mod orphans;
mod plan;
pub(crate) mod pod;
mod pods;
mod poller;
mod providers;
mod removals;
mod report;
mod resync;
mod rollout;
mod slots;
mod takeover;
#[cfg(test)]
mod tests;
mod warm;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::LiveStream;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use presence::Presence;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::classes::Classes;
use self::cluster::Cluster;
use self::memory::Memory;
use self::pod::Fleet;
use self::pods::PodIndex;
use self::poller::Polls;
use self::providers::ProviderIndex;
use self::removals::Removals;
use self::rollout::Rollout;
use self::warm::signer::Signer;
use crate::events::Events;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::settings::CollectionSettings;

pub(crate) use self::warm::signer;
pub(crate) use self::watches::{WATCHES, start};

/// Streams that are reconciled at once; one stream never is twice.
const CONCURRENCY: u16 = 32;
/// How soon a stream is looked at again of which the watch is behind: no event of a status triggers it. While the watch is away it is looked at
/// more and more rarely.
const BEHIND_RECHECK: Duration = Duration::from_millis(20);
const LONGEST_BEHIND_RECHECK: Duration = Duration::from_secs(2);

/// A LiveStream, or what of it could be read: a malformed object must not stop the watch.
pub(crate) type Guarded = DeserializeGuard<LiveStream>;

/// What every reconcile is given.
pub(crate) struct Context {
    pub(crate) cluster: Cluster,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) pods: PodIndex,
    pub(crate) classes: Classes,
    pub(crate) providers: ProviderIndex,
    pub(crate) triggers: Triggers,
    pub(crate) polls: Polls,
    pub(crate) memory: Memory,
    pub(crate) rollout: Rollout,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) fleet: Arc<Fleet>,
    /// What jobs of pods that wait are signed with, if there is a key.
    pub(crate) signer: Option<Signer>,
    pub(crate) leadership: Leadership,
    /// Whether streams that nobody watches are collected.
    pub(crate) collects: bool,
    /// How fast they are.
    pub(crate) removals: Removals,
}

impl Context {
    /// The context of one release; nothing runs yet.
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        presence: Arc<dyn Presence>,
        (fleet, signer): (Fleet, Option<Signer>),
        (triggers, events, metrics): (Triggers, Events, Metrics),
        (leadership, collecting): (Leadership, &CollectionSettings),
    ) -> Self {
        Self {
            cluster: Cluster::new(client, namespace, metrics.clone()),
            polls: Polls::new(triggers.clone(), metrics.clone()),
            presence,
            pods: PodIndex::default(),
            classes: Classes::default(),
            providers: ProviderIndex::default(),
            triggers,
            memory: Memory::default(),
            rollout: Rollout::default(),
            events,
            metrics,
            fleet: Arc::new(fleet),
            signer,
            leadership,
            collects: collecting.collect,
            removals: Removals::new(collecting.per_second),
        }
    }
}

/// Why a reconcile did not get through. What a user must correct is no error: it is said in the status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused, or could not be reached.
    #[error("failed to {operation} {object}: {source}")]
    Cluster {
        operation: &'static str,
        object: String,
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("failed to {operation} {object} in time")]
    Slow {
        operation: &'static str,
        object: String,
    },
    /// What was observed is not current any more: it is observed again.
    #[error("failed to act on {stream}: it changed meanwhile")]
    Changed { stream: String },
    /// The object lacks what every stored object has.
    #[error("failed to read the LiveStream {stream}: it has no uid or resourceVersion")]
    Incomplete { stream: String },
}

impl Error {
    fn answer(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Cluster { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_conflict(&self) -> bool {
        self.answer().is_some_and(kube::core::Status::is_conflict)
    }

    fn is_not_found(&self) -> bool {
        self.answer().is_some_and(kube::core::Status::is_not_found)
    }

    fn is_already_exists(&self) -> bool {
        self.answer()
            .is_some_and(kube::core::Status::is_already_exists)
    }

    /// Why, as a metric's label.
    fn reason(&self) -> &'static str {
        match self {
            Self::Cluster { .. } => self
                .answer()
                .map_or("unreachable", |status| status_reason(status.code)),
            Self::Slow { .. } => "timeout",
            Self::Changed { .. } => "changed",
            Self::Incomplete { .. } => "incomplete",
        }
    }
}

/// What a status code of the API server means.
fn status_reason(code: u16) -> &'static str {
    match code {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        409 => "conflict",
        422 => "invalid",
        429 => "throttled",
        500..=599 => "server",
        _ => "refused",
    }
}

/// Makes a stream be reconciled.
#[derive(Clone)]
pub(crate) struct Triggers {
    namespace: Arc<str>,
    sender: mpsc::UnboundedSender<ObjectRef<Guarded>>,
}

impl Triggers {
    /// Triggers, and what the controller listens to.
    pub(crate) fn new(namespace: &str) -> (Self, mpsc::UnboundedReceiver<ObjectRef<Guarded>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let namespace = namespace.into();
        (Self { namespace, sender }, receiver)
    }

    /// Triggers one stream. Once the controller has ended there is nobody to tell.
    pub(crate) fn send(&self, stream: &str) {
        let stream = ObjectRef::new(stream).within(&self.namespace);
        let _ = self.sender.send(stream);
    }
}

async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    if !context.leadership.leads() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    let outcome = match &guarded.0 {
        Ok(stream) => {
            let reconciling = Box::pin(reconcile_stream(stream, &context, Timestamp::now));
            let Some(outcome) = context.leadership.while_leading(reconciling).await else {
                return Ok(Action::await_change());
            };
            outcome.map(again)
        }
        Err(invalid) => {
            context
                .events
                .malformed(&guarded.object_ref(&()), &invalid.error);
            Ok(Action::await_change())
        }
    };
    let reason = outcome.as_ref().err().map(Error::reason);
    context.metrics.reconciled(started.elapsed(), reason);
    outcome
}

/// Since when there is something that the watch has not brought yet: whatever followed from what it shows would be refused. A pod that has just
/// been asked for the first time often answers sooner.
fn behind_since(stream: &LiveStream, context: &Context) -> Option<Timestamp> {
    let (uid, version) = stream.uid().zip(stream.resource_version())?;
    context.memory.replaced_at(&uid, &version)
}

/// After so long it is looked whether the watch has caught up: after half as long again as it has been behind.
fn behind_recheck(since: Timestamp, now: Timestamp) -> Duration {
    let behind = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (behind / 2).clamp(BEHIND_RECHECK, LONGEST_BEHIND_RECHECK)
}

/// What is due no sooner than a round of `resync` takes is left to that.
fn again(due: Duration) -> Action {
    match due < resync::ROUND {
        true => Action::requeue(due),
        false => Action::await_change(),
    }
}

/// One round of the four steps; answers when to look again. The clock is read once all is observed.
async fn reconcile_stream(
    stream: &LiveStream,
    context: &Context,
    clock: impl FnOnce() -> Timestamp,
) -> Result<Duration, Error> {
    if let Some(since) = behind_since(stream, context) {
        return Ok(behind_recheck(since, clock()));
    }
    let observed = observe::observe(context, stream).await?;
    let now = clock();
    let plan = plan::plan(&observed, now);
    let applied = apply::apply(context, &observed, &plan, now).await?;
    let requeue = report::report(context, &observed, &plan, applied, now).await?;
    let uid = &observed.stream.identity.uid;
    context.memory.update(uid, |stream| stream.errors = 0);
    Ok(requeue)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form the controller calls"
)]
fn error_policy(guarded: Arc<Guarded>, _: &Error, context: Arc<Context>) -> Action {
    let uid = guarded.uid().unwrap_or_default();
    let errors = context.memory.update(&uid, |stream| {
        stream.errors = stream.errors.saturating_add(1);
        stream.errors
    });
    Action::requeue(backoff::error_delay(errors))
}

async fn control_streams(
    streams: watches::Streams,
    triggers: mpsc::UnboundedReceiver<ObjectRef<Guarded>>,
    context: Arc<Context>,
    shutdown: CancellationToken,
) {
    let triggers = futures::stream::unfold(triggers, |mut triggers| async {
        let stream = triggers.recv().await?;
        Some((stream, triggers))
    });
    Controller::for_stream(streams.changes, streams.store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(triggers)
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(reconcile, error_policy, context)
        .for_each(|outcome| async move { log(&outcome) })
        .await;
}

type Outcome =
    Result<(ObjectRef<Guarded>, Action), controller::Error<Error, kube::runtime::watcher::Error>>;

/// Every failure is logged here, once.
fn log(outcome: &Outcome) {
    match outcome {
        Ok(_) => {}
        // Pods and polls outlive their stream by a moment.
        Err(controller::Error::ObjectNotFound(stream)) => {
            tracing::debug!(
                stream.name = stream.name,
                "triggered for a stream that is gone"
            );
        }
        Err(controller::Error::ReconcilerFailed(error @ Error::Changed { .. }, stream)) => {
            tracing::debug!(stream.name = stream.name, %error, "reconcile starts over");
        }
        Err(controller::Error::ReconcilerFailed(error, stream)) => {
            tracing::warn!(stream.name = stream.name, %error, "failed to reconcile");
        }
        Err(error) => tracing::warn!(%error, "failed to watch LiveStreams"),
    }
}
