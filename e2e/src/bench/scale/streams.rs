//! The LiveStreams of a measurement, spread over the namespaces: made, woken and put to rest as gateways and people do it, and waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use api::names::{COMPONENT_TRANSCODER, LABEL_COMPONENT};
use api::{LiveStream, crds};
use e2e::wait::{Seen, until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

/// Requests at once where there are many.
const CONCURRENCY: usize = 16;
/// How long a resource definition may take until it can be used.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);
/// Label of those that go by themselves.
const SHORT_LIVED: &str = "bench-short-lived=true";

/// The LiveStreams.
pub(super) struct Streams {
    pub(super) client: Client,
    namespaces: Vec<String>,
    count: usize,
    awake: BTreeSet<usize>,
}

impl Streams {
    /// Makes the namespaces, and what LiveStreams are known by.
    pub(super) async fn prepare(client: &Client, namespaces: &[String]) -> Result<Self> {
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in crds() {
            let name = definition.name_any();
            definitions
                .create(&PostParams::default(), &definition)
                .await?;
            let established = await_condition(definitions.clone(), &name, is_crd_established());
            timeout(ESTABLISHED_WITHIN, established)
                .await
                .with_context(|| format!("{name} cannot be used"))??;
        }
        for name in namespaces {
            let namespace = Namespace {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                },
                ..Namespace::default()
            };
            Api::all(client.clone())
                .create(&PostParams::default(), &namespace)
                .await?;
        }
        Ok(Self {
            client: client.clone(),
            namespaces: namespaces.to_vec(),
            count: 0,
            awake: BTreeSet::new(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Makes more of them, until there are so many; none of them runs.
    pub(super) async fn grow(&mut self, count: usize) -> Result<()> {
        let fresh = (self.count..count).map(|number| {
            let (name, api) = (name(number), self.of(number));
            async move {
                let stream = stream(&name, &json!({"idleTimeoutSeconds": 86_400}))?;
                api.create(&PostParams::default(), &stream).await?;
                anyhow::Ok(())
            }
        });
        all(fresh).await?;
        self.count = count;
        Ok(())
    }

    /// Waits until all of them have been told that they are idle.
    pub(super) async fn until_told(&self, limit: Duration) -> Result<()> {
        let streams = Api::<LiveStream>::all(self.client.clone());
        // One is enough to know: a list of all would cost the API server more than what is waited for.
        let others = ListParams::default().fields("status.phase!=Idle").limit(1);
        until("all are told", limit, async || {
            let others = streams.list_metadata(&others).await?;
            Ok(match others.items.first() {
                None => Seen::Yes(()),
                Some(one) => Seen::NotYet(one.name_any()),
            })
        })
        .await
    }

    /// Wakes one, or puts it to rest.
    pub(super) async fn scale(&mut self, number: usize, replicas: i32) -> Result<()> {
        match replicas {
            0 => self.awake.remove(&number),
            _ => self.awake.insert(number),
        };
        scale(&self.of(number), &name(number), replicas).await
    }

    /// Wakes all of them.
    pub(super) async fn wake_all(&mut self, count: usize) -> Result<()> {
        self.awake.extend(0..count);
        let wakes = (0..count).map(|number| {
            let api = self.of(number);
            async move { scale(&api, &name(number), 1).await }
        });
        all(wakes).await
    }

    /// Puts to rest whatever is awake.
    pub(super) async fn sleep_all(&mut self) -> Result<Vec<usize>> {
        let awake: Vec<usize> = self.awake.iter().copied().collect();
        for number in &awake {
            self.scale(*number, 0).await?;
        }
        Ok(awake)
    }

    /// Waits until one says that it is in this phase.
    pub(super) async fn until_phase(
        &self,
        number: usize,
        phase: &str,
        limit: Duration,
    ) -> Result<()> {
        let is_there = |stream: Option<&LiveStream>| {
            let status = stream.and_then(|stream| stream.status.as_ref());
            let said = status.and_then(|status| status.phase);
            said.is_some_and(|said| <&str>::from(said) == phase)
        };
        let name = name(number);
        let there = await_condition(self.of(number), &name, is_there);
        timeout(limit, there)
            .await
            .with_context(|| format!("{name} is not {phase}"))??;
        Ok(())
    }

    /// Waits until every one that is awake says that it is live.
    pub(super) async fn until_live(&self, limit: Duration) -> Result<()> {
        for number in &self.awake {
            self.until_phase(*number, "Live", limit).await?;
        }
        Ok(())
    }

    /// Waits until so many pods run.
    pub(super) async fn until_pods(&self, count: usize, limit: Duration) -> Result<()> {
        let pods = Api::<Pod>::all(self.client.clone());
        let running = ListParams::default().fields("status.phase=Running");
        until("pods run", limit, async || {
            let run = pods.list_metadata(&running).await?.items.len();
            Ok(if run >= count {
                Seen::Yes(())
            } else {
                Seen::NotYet(run.to_string())
            })
        })
        .await
    }

    /// Makes so many as gateways do, that go once nobody has watched for a short time, and waits until they are gone.
    pub(super) async fn live_and_go(&self, count: usize, limit: Duration) -> Result<()> {
        for number in 0..count {
            let more = json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 15});
            let mut stream = stream(&format!("short-{number}"), &more)?;
            let (label, value) = SHORT_LIVED.split_once('=').unwrap_or_default();
            stream
                .labels_mut()
                .insert(label.to_owned(), value.to_owned());
            self.of(number)
                .create(&PostParams::default(), &stream)
                .await?;
        }
        let streams = Api::<LiveStream>::all(self.client.clone());
        let theirs = ListParams::default().labels(SHORT_LIVED);
        until("they are gone", limit, async || {
            let left = streams.list_metadata(&theirs).await?.items.len();
            Ok(if left == 0 {
                Seen::Yes(())
            } else {
                Seen::NotYet(left.to_string())
            })
        })
        .await?;
        // What a garbage collector would do.
        for namespace in &self.namespaces {
            let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
            let left =
                ListParams::default().labels(&format!("{LABEL_COMPONENT}={COMPONENT_TRANSCODER}"));
            pods.delete_collection(&DeleteParams::default(), &left)
                .await?;
        }
        Ok(())
    }

    fn of(&self, number: usize) -> Api<LiveStream> {
        let namespace = &self.namespaces[number % self.namespaces.len()];
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn name(number: usize) -> String {
    format!("stream-{number:05}")
}

fn stream(name: &str, more: &serde_json::Value) -> Result<LiveStream> {
    let mut spec = json!({
        "className": "default", "displayName": format!("The Channel {name}"),
        "sources": [{"url": format!("http://source.example/live/{name}.ts")}],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let spec = serde_json::from_value(spec).context("failed to make a LiveStream")?;
    Ok(LiveStream::new(name, spec))
}

async fn scale(api: &Api<LiveStream>, name: &str, replicas: i32) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn all(requests: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    futures::stream::iter(requests)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}
