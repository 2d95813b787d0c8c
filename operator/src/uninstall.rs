//! Stops every stream of the namespace before the release goes: gateways first, since they make streams for whoever still watches; then
//! gateway-made streams are deleted, hand-made ones suspended, and their pods waited for. That needs the operator still running; it is
//! ended last, with the pods that wait for streams, which it would make again. Touches nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use api::LiveStream;
use api::names::{
    COMPONENT_GATEWAY, COMPONENT_OPERATOR, COMPONENT_TRANSCODER, LABEL_COMPONENT, LABEL_INSTANCE,
    LABEL_ORIGIN, LABEL_WARM_POOL, ORIGIN_GATEWAY,
};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::settings::UninstallSettings;

/// How long gateways may take to end: what they drain, and some more.
const GATEWAYS: Duration = Duration::from_secs(30);
/// How long operators may take to end: twice their grace.
const OPERATORS: Duration = Duration::from_secs(30);
/// Objects listed at once.
const PAGE: u32 = 500;

/// Why the streams are not all stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused, or could not be reached.
    #[error("failed to {operation}")]
    Cluster {
        operation: String,
        source: kube::Error,
    },
    /// Pods were still there when the time was up.
    #[error("failed to see the pods {pods:?} end within {seconds} s")]
    PodsLeft { pods: Vec<String>, seconds: u64 },
    /// The process was told to end.
    #[error("failed to stop every stream: interrupted")]
    Cancelled,
}

/// Stops every stream, and waits until their pods are gone.
pub(crate) async fn run(client: &Client, settings: &UninstallSettings) -> Result<(), Error> {
    let namespace = &settings.release.namespace;
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), namespace);
    let instance = &settings.release.instance;
    let labels =
        |component: &str| format!("{LABEL_INSTANCE}={instance},{LABEL_COMPONENT}={component}");
    if let Some(name) = &settings.gateway_deployment {
        let deployments = Api::namespaced(client.clone(), namespace);
        end(&deployments, name).await?;
        let ended = wait_for(pods.clone(), &labels(COMPONENT_GATEWAY), GATEWAYS).await;
        // Streams that such a gateway makes again are waited for with all others, and named when they do not end.
        if let Err(error) = ended {
            tracing::warn!(%error, "going on beside gateways that do not end");
        }
    }
    let streams: Api<LiveStream> = Api::namespaced(client.clone(), namespace);
    stop_all(&streams).await?;
    let transcoders = labels(COMPONENT_TRANSCODER);
    let of_streams = format!("{transcoders},!{LABEL_WARM_POOL}");
    wait_for(pods.clone(), &of_streams, settings.timeout).await?;
    if let Some(name) = &settings.operator_deployment {
        let deployments = Api::namespaced(client.clone(), namespace);
        end(&deployments, name).await?;
        wait_for(pods.clone(), &labels(COMPONENT_OPERATOR), OPERATORS).await?;
        remove_waiting(&pods, &format!("{transcoders},{LABEL_WARM_POOL}")).await?;
        wait_for(pods, &transcoders, settings.timeout).await?;
    }
    Ok(())
}

async fn remove_waiting(pods: &Api<PartialObjectMeta<Pod>>, labels: &str) -> Result<(), Error> {
    let of_pool = ListParams::default().labels(labels);
    let waiting = pods.list_metadata(&of_pool).await;
    let waiting = waiting.map_err(|source| failed("list the pods that wait", source))?;
    for pod in waiting.items {
        let name = pod.name_any();
        match pods.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(failed(&format!("delete the pod {name}"), source)),
        }
    }
    Ok(())
}

async fn end(deployments: &Api<Deployment>, name: &str) -> Result<(), Error> {
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match deployments
        .patch_scale(name, &PatchParams::default(), &none)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(failed(&format!("end the pods of {name}"), source)),
    }
}

async fn stop_all(streams: &Api<LiveStream>) -> Result<(), Error> {
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = match streams.list_metadata(&page).await {
            Ok(listed) => listed,
            // Without its definition there is no LiveStream.
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(source) => return Err(failed("list the LiveStreams", source)),
        };
        for stream in &listed.items {
            stop(streams, stream).await?;
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(()),
        }
    }
}

async fn stop(
    streams: &Api<LiveStream>,
    stream: &PartialObjectMeta<LiveStream>,
) -> Result<(), Error> {
    let name = stream.name_any();
    let origin = stream.labels().get(LABEL_ORIGIN);
    let (operation, outcome) = if origin.is_some_and(|origin| origin == ORIGIN_GATEWAY) {
        let delete = streams.delete(&name, &DeleteParams::background()).await;
        ("delete", delete.map(|_| ()))
    } else {
        let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
        let suspend = streams.patch(&name, &PatchParams::default(), &patch).await;
        ("suspend", suspend.map(|_| ()))
    };
    match outcome {
        Ok(()) => {
            tracing::info!(stream.name = name, operation, "LiveStream");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(failed(
            &format!("{operation} the LiveStream {name}"),
            source,
        )),
    }
}

fn failed(operation: &str, source: kube::Error) -> Error {
    Error::Cluster {
        operation: operation.to_owned(),
        source,
    }
}

/// Waits until there are no pods with these labels.
async fn wait_for(
    pods: Api<PartialObjectMeta<Pod>>,
    labels: &str,
    limit: Duration,
) -> Result<(), Error> {
    let events = watcher(pods, watcher::Config::default().labels(labels)).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut left = BTreeSet::new();
    let all_gone = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if none_left(&mut left, &event) {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "failed to watch pods"),
            }
        }
    };
    let ended = tokio::time::timeout(limit, all_gone).await;
    ended.map_err(|_| Error::PodsLeft {
        pods: left.into_iter().collect(),
        seconds: limit.as_secs(),
    })
}

/// Takes a watch event into what is left; whether that is nothing, and known to be.
fn none_left(left: &mut BTreeSet<String>, event: &Event<PartialObjectMeta<Pod>>) -> bool {
    match event {
        Event::Init => left.clear(),
        Event::InitApply(pod) | Event::Apply(pod) => {
            left.insert(pod.name_any());
        }
        Event::Delete(pod) => {
            left.remove(&pod.name_any());
        }
        Event::InitDone => {}
    }
    left.is_empty() && matches!(event, Event::Delete(_) | Event::InitDone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PartialObjectMeta<Pod> {
        serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
    }

    #[test]
    fn nothing_is_left_only_when_that_is_known() {
        let mut left = BTreeSet::new();
        let steps = [
            (Event::Init, false),
            (Event::InitApply(pod("one")), false),
            (Event::InitDone, false),
            (Event::Apply(pod("two")), false),
            (Event::Delete(pod("one")), false),
            (Event::Init, false),
            (Event::InitDone, true),
            (Event::Apply(pod("two")), false),
            (Event::Delete(pod("two")), true),
        ];
        for (step, (event, expected)) in steps.iter().enumerate() {
            assert_eq!(none_left(&mut left, event), *expected, "step {step}");
        }
    }
}
