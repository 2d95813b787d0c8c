//! The stream directory of a cluster: LiveStreams, followed by one watch and changed by one call each. Only here and below is the API
//! server known. Reading never asks it, and what it said last stands while it is away.

mod decide;
mod index;
mod record;
mod requests;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use api::LiveStream;
use api::job::StreamIdentity;
use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use runtime::trace::TraceContext;
use tokio::sync::watch;

use crate::directory::{
    Channel, EnsureError, OwnChannel, SteerError, Steering, StreamDirectory, StreamSummary,
    StreamView, Urgency,
};
use crate::tls;
use decide::{Action, Waking, decide};
use index::{Change, Index};
use record::Record;
use requests::{Failure, Requests};

/// How often an answer that overtook the watch is taken in and decided upon again.
const ROUNDS: usize = 4;

/// How long a wish waits for the first list of streams.
const SYNC_TIME: Duration = Duration::from_secs(5);

/// LiveStreams of one namespace.
pub struct KubernetesDirectory {
    index: Arc<Index>,
    requests: Requests,
    synced: watch::Receiver<bool>,
}

/// The task that keeps a [`KubernetesDirectory`] up to date.
pub struct Watch {
    api: Api<DeserializeGuard<LiveStream>>,
    index: Arc<Index>,
    synced: watch::Sender<bool>,
}

/// Why the cluster cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing says where it is.
    #[error("failed to find the cluster: neither a kubeconfig nor a service account is there")]
    Find(#[source] Box<kube::config::InferConfigError>),
    /// What says where it is makes no client.
    #[error("failed to make a client for the cluster")]
    Client(#[source] Box<kube::Error>),
}

/// A client for the cluster this process runs in, or that the kubeconfig names. It never repeats a call by itself: a viewer waits
/// for it, and the server's load is not to be multiplied.
///
/// # Errors
/// When nothing says where the cluster is. A server that is away is no error here.
pub async fn connect() -> Result<Client, ConnectError> {
    tls::choose_provider();
    let found = kube::Config::infer().await;
    let mut config = found.map_err(|error| ConnectError::Find(Box::new(error)))?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

impl KubernetesDirectory {
    /// A directory of the namespace, and the watch that has to run for it. `instance` labels the streams that it makes.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, instance: &str) -> (Self, Watch) {
        let index = Arc::new(Index::default());
        let (sender, synced) = watch::channel(false);
        let watch = Watch {
            api: Api::namespaced(client.clone(), namespace),
            index: index.clone(),
            synced: sender,
        };
        let requests = Requests::new(Api::namespaced(client.clone(), namespace), instance);
        let directory = Self {
            index,
            requests,
            synced,
        };
        (directory, watch)
    }

    /// Becomes true when the first list of streams is there, and stays true.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.clone()
    }

    async fn is_listed(&self) -> bool {
        let mut synced = self.synced.clone();
        let listed = tokio::time::timeout(SYNC_TIME, synced.wait_for(|synced| *synced)).await;
        matches!(listed, Ok(Ok(_)))
    }

    /// Carries one decision out; `None` says that the answer showed something else, and has to be decided upon.
    async fn act(&self, channel: &Channel, action: Action) -> Option<Result<(), EnsureError>> {
        let slug = &channel.slug;
        let outcome = match &action {
            Action::Nothing => return Some(Ok(())),
            Action::Refuse(error) => return Some(Err(error.clone())),
            Action::Create(spec, annotations) => {
                self.requests.create(slug, spec, annotations).await
            }
            Action::Patch(patch) => self.requests.patch(slug, patch).await,
        };
        match outcome {
            Ok(object) => {
                self.index.apply(Record::read(&object)?);
                Some(Ok(()))
            }
            Err(Failure::Exists) => match self.requests.get(slug).await {
                Ok(object) => {
                    self.index.apply(Record::read(&object)?);
                    None
                }
                Err(Failure::Gone) => None,
                Err(failure) => Some(Err(failure.of(slug))),
            },
            Err(Failure::Gone) => {
                self.index.remove_name(slug);
                None
            }
            Err(failure) => Some(Err(failure.of(slug))),
        }
    }
}

#[async_trait]
impl StreamDirectory for KubernetesDirectory {
    async fn ensure(
        &self,
        channel: &Channel,
        urgency: Urgency,
        trace: Option<TraceContext>,
    ) -> Result<(), EnsureError> {
        let unavailable = |reason: &str| EnsureError::Unavailable {
            slug: channel.slug.clone(),
            reason: reason.to_owned(),
        };
        if !self.is_listed().await {
            return Err(unavailable("the streams are not listed yet"));
        }
        for _ in 0..ROUNDS {
            let record = self.index.record(&channel.slug);
            let waking = Waking {
                now: Timestamp::now(),
                trace,
            };
            let action = decide(record.as_deref(), channel, urgency, waking);
            if let Some(outcome) = self.act(channel, action).await {
                return outcome;
            }
        }
        Err(unavailable("it is changed faster than it can be asked for"))
    }

    fn follow(&self, slug: &str) -> watch::Receiver<Arc<StreamView>> {
        self.index.follow(slug)
    }

    fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>> {
        self.index.stream(uid)
    }

    fn own_channel(&self, slug: &str) -> Option<OwnChannel> {
        let record = self.index.record(slug)?;
        record.own_channel()
    }

    fn own_channels(&self) -> Vec<OwnChannel> {
        self.index.own_channels()
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.index.streams()
    }

    async fn steer(&self, slug: &str, steering: Steering) -> Result<(), SteerError> {
        if self.index.record(slug).is_none() {
            return Err(SteerError::Unknown);
        }
        let patch = decide::steering(steering);
        match self.requests.patch(slug, &patch).await {
            Ok(object) => {
                if let Some(record) = Record::read(&object) {
                    self.index.apply(record);
                }
                Ok(())
            }
            Err(Failure::Gone) => {
                self.index.remove_name(slug);
                Err(SteerError::Unknown)
            }
            Err(Failure::Rejected(reason) | Failure::Passing(reason)) => {
                Err(SteerError::Unavailable { reason })
            }
            Err(Failure::Exists) => Err(SteerError::Unavailable {
                reason: "it exists".to_owned(),
            }),
        }
    }
}

impl Watch {
    /// Follows the streams for ever; an API server that is away is waited for.
    pub async fn run(self) {
        let events = watcher(self.api.clone(), watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    tracing::warn!(%error, "failed to follow the LiveStreams; what is known stands");
                }
            }
        }
    }

    fn take(&self, event: watcher::Event<DeserializeGuard<LiveStream>>) {
        match event {
            watcher::Event::Apply(object) => self.read(&object, Change::Apply),
            watcher::Event::Delete(object) => {
                let metadata = object.meta();
                let name = metadata.name.as_deref().unwrap_or_default();
                self.index
                    .remove(name, metadata.uid.as_deref().unwrap_or_default(), metadata);
            }
            watcher::Event::Init => self.index.begin_list(),
            watcher::Event::InitApply(object) => self.read(&object, Change::List),
            watcher::Event::InitDone => {
                self.index.end_list();
                self.synced.send_replace(true);
            }
        }
    }

    fn read(&self, object: &DeserializeGuard<LiveStream>, change: Change) {
        let read = match &object.0 {
            Ok(object) => Record::read(object),
            Err(error) => {
                let name = error.metadata.name.as_deref().unwrap_or_default();
                tracing::warn!(stream.name = name, %error, "failed to read a LiveStream; it is left out");
                None
            }
        };
        if let Some(record) = read {
            self.index.take(record, change);
        }
    }
}
