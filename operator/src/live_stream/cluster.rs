//! Every request that the operator makes of the API server, each bounded in time, with the preconditions that keep it safe.
//! Decides nothing: an answer is a value, not a choice.

use std::future::Future;
use std::time::Duration;

use api::names::{
    ANNOTATION_KEPT_AT, LABEL_ATTEMPT, LABEL_INSTANCE, LABEL_STREAM_UID, LABEL_WARM_POOL,
};
use api::provider::ProviderStatus;
use api::{LiveStream, LiveStreamStatus, Provider};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Map, Value, json};

use super::Error;
use super::observed::StreamFacts;
use super::pods::PodFacts;
use super::warm::WaitingPod;
use crate::metrics::Metrics;

/// How long one request may take, with its retries.
const LIMIT: Duration = Duration::from_secs(10);
/// Who writes, in managedFields.
pub(crate) const MANAGER: &str = "headend-operator";

/// The namespace of the release, as far as the operator may touch it.
#[derive(Clone)]
pub(crate) struct Cluster {
    namespace: String,
    streams: Api<LiveStream>,
    providers: Api<Provider>,
    pods: Api<Pod>,
    events: Api<Event>,
    metrics: Metrics,
}

/// How a removal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is going, or was gone already.
    Done,
    /// The object is not the one that was meant: it changed, or there is another of its name.
    Changed,
}

impl Cluster {
    pub(crate) fn new(client: &Client, namespace: &str, metrics: Metrics) -> Self {
        Self {
            namespace: namespace.to_owned(),
            streams: Api::namespaced(client.clone(), namespace),
            providers: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
            metrics,
        }
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A pod, whatever the watch has seen.
    pub(crate) async fn pod(&self, name: &str) -> Result<Option<Pod>, Error> {
        self.within("read the pod", name, self.pods.get_opt(name))
            .await
    }

    /// A stream, whatever the watch has seen.
    pub(crate) async fn stream(&self, name: &str) -> Result<Option<LiveStream>, Error> {
        let read = self.streams.get_opt(name);
        self.within("read the LiveStream", name, read).await
    }

    /// The uid of the stream of that name, whatever the watch has seen and whether the rest of it can be read.
    pub(crate) async fn stream_uid(&self, name: &str) -> Result<Option<String>, Error> {
        let read = self.streams.get_metadata_opt(name);
        let stream = self.within("read the LiveStream", name, read).await?;
        Ok(stream.and_then(|stream| stream.metadata.uid))
    }

    /// Changes the status of the very version of the stream that was observed; `None` when that is not the current one.
    pub(crate) async fn write_status(
        &self,
        stream: &StreamFacts,
        change: &Value,
    ) -> Result<Option<LiveStream>, Error> {
        let name = &stream.identity.name;
        self.metrics.wrote("patch", "livestreams/status");
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": stream.resource_version, "uid": stream.identity.uid},
            "status": change,
        }));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let write = self.streams.patch_status(name, &parameters, &patch);
        let written = self
            .within("write the status of the LiveStream", name, write)
            .await;
        match written {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A Provider, whatever the watch has seen.
    pub(crate) async fn provider(&self, name: &str) -> Result<Option<Provider>, Error> {
        let read = self.providers.get_opt(name);
        self.within("read the Provider", name, read).await
    }

    /// Writes the status of the very version of the Provider that was looked at; `None` when that is not the current one.
    pub(crate) async fn write_provider_status(
        &self,
        provider: &Provider,
        status: &ProviderStatus,
    ) -> Result<Option<Provider>, Error> {
        let name = provider.name_any();
        self.metrics.wrote("patch", "providers/status");
        let mut status = json!(status);
        // An empty list is left out of what is written, and would be left as it was.
        if status["slots"].is_null() {
            status["slots"] = json!([]);
        }
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": provider.resource_version(), "uid": provider.uid()},
            "status": status,
        }));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let write = self.providers.patch_status(&name, &parameters, &patch);
        let written = self
            .within("write the status of the Provider", &name, write)
            .await;
        match written {
            Ok(provider) => Ok(Some(provider)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a pod; false when there is one of that name already, which is then the caller's to judge.
    pub(crate) async fn create_pod(&self, pod: &Pod) -> Result<bool, Error> {
        self.metrics.wrote("create", "pods");
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let create = self.pods.create(&parameters, pod);
        match self.within("create the pod", &pod.name_any(), create).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a pod that waits somebody's by its metadata, if nobody has changed it since it was seen; false where it is gone or another's.
    pub(crate) async fn claim_pod(
        &self,
        name: &str,
        resource_version: &str,
        metadata: &Value,
    ) -> Result<bool, Error> {
        self.metrics.wrote("patch", "pods");
        let mut metadata = metadata.clone();
        metadata["resourceVersion"] = json!(resource_version);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let claim = self.pods.patch_metadata(name, &parameters, &patch);
        match self.within("take the pod", name, claim).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The pods of the release that wait, whatever the watch has seen.
    pub(crate) async fn waiting_pods(&self, instance: &str) -> Result<Vec<WaitingPod>, Error> {
        let labels = format!("{LABEL_INSTANCE}={instance},{LABEL_WARM_POOL}");
        let parameters = ListParams::default().labels(&labels);
        let list = self.pods.list(&parameters);
        let pods = self
            .within("list the pods that wait", instance, list)
            .await?;
        Ok(pods.iter().filter_map(WaitingPod::of).collect())
    }

    /// Whether an attempt of a stream has a pod, whatever the watch has seen and whatever the pod is called.
    pub(crate) async fn has_pod(&self, stream_uid: &str, attempt: i32) -> Result<bool, Error> {
        let labels = format!("{LABEL_STREAM_UID}={stream_uid},{LABEL_ATTEMPT}={attempt}");
        let parameters = ListParams::default().labels(&labels).limit(1);
        let list = self.pods.list_metadata(&parameters);
        let pods = self.within("list the pods of", stream_uid, list).await?;
        Ok(!pods.items.is_empty())
    }

    /// Deletes this very pod, if it waits as it was seen to.
    pub(crate) async fn delete_waiting_pod(&self, pod: &WaitingPod) -> Result<Removal, Error> {
        self.metrics.wrote("delete", "pods");
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: Some(pod.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let delete = self.pods.delete(&pod.name, &parameters);
        removal(self.within("delete the pod", &pod.name, delete).await)
    }

    /// Deletes this very pod.
    pub(crate) async fn delete_pod(&self, pod: &PodFacts) -> Result<Removal, Error> {
        self.metrics.wrote("delete", "pods");
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let delete = self.pods.delete(&pod.name, &parameters);
        removal(self.within("delete the pod", &pod.name, delete).await)
    }

    /// Deletes the stream, if nobody has changed it since it was observed.
    pub(crate) async fn delete_stream(&self, stream: &StreamFacts) -> Result<Removal, Error> {
        self.metrics.wrote("delete", "livestreams");
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(stream.identity.uid.clone()),
                resource_version: Some(stream.resource_version.clone()),
            }),
            ..DeleteParams::background()
        };
        let name = &stream.identity.name;
        let delete = self.streams.delete(name, &parameters);
        removal(self.within("delete the LiveStream", name, delete).await)
    }

    /// Scales the stream to zero, if nobody has changed it since it was observed.
    pub(crate) async fn scale_to_zero(&self, stream: &StreamFacts) -> Result<Removal, Error> {
        self.metrics.wrote("patch", "livestreams");
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": stream.resource_version, "uid": stream.identity.uid},
            "spec": {"replicas": 0},
        }));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let name = &stream.identity.name;
        let scale = self.streams.patch(name, &parameters, &patch);
        removal(
            self.within("scale the LiveStream to zero", name, scale)
                .await,
        )
    }

    /// Changes the stream so that nobody removes it who has looked at it before; one that is gone needs nothing.
    pub(crate) async fn keep_stream(&self, stream: &StreamFacts) -> Result<(), Error> {
        self.metrics.wrote("patch", "livestreams");
        let now = Timestamp::now().to_string();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": stream.identity.uid, "annotations": {ANNOTATION_KEPT_AT: now}},
        }));
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let name = &stream.identity.name;
        let keep = self.streams.patch(name, &parameters, &patch);
        removal(self.within("keep the LiveStream", name, keep).await).map(|_| ())
    }

    /// What the kubelet last said about the volumes of a pod, if it said anything that can be read.
    pub(crate) async fn mount_trouble(&self, pod_uid: &str) -> Option<String> {
        let parameters = ListParams::default()
            .fields(&format!("involvedObject.uid={pod_uid},reason=FailedMount"))
            .limit(20);
        let list = self.events.list(&parameters);
        let events = self
            .within("list the events of the pod", pod_uid, list)
            .await;
        let events = events
            .inspect_err(|error| tracing::debug!(%error, "events cannot be read"))
            .ok()?;
        let newest = events.into_iter().max_by_key(|event| {
            let time = event.last_timestamp.as_ref().map(|time| time.0);
            time.or(event.event_time.as_ref().map(|time| time.0))
        });
        newest?.message
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        object: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let object = object.to_owned();
        match tokio::time::timeout(LIMIT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Cluster {
                operation,
                object,
                source: Box::new(source),
            }),
            Err(_) => Err(Error::Slow { operation, object }),
        }
    }
}

fn removal<T>(outcome: Result<T, Error>) -> Result<Removal, Error> {
    match outcome {
        Ok(_) => Ok(Removal::Done),
        Err(error) if error.is_not_found() => Ok(Removal::Done),
        Err(error) if error.is_conflict() => Ok(Removal::Changed),
        Err(error) => Err(error),
    }
}

/// The merge patch that turns one status into the other; `None` when they are equal. Fields of versions to come are not touched.
pub(crate) fn status_change(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Option<Value> {
    let object = |status| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let change = merge_patch(&object(old), &object(new));
    (!change.is_empty()).then_some(Value::Object(change))
}

fn merge_patch(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let mut patch: Map<_, _> = gone.map(|name| (name.clone(), Value::Null)).collect();
    for (name, value) in new {
        match (old.get(name), value) {
            (Some(before), _) if before == value => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = merge_patch(before, after);
                patch.insert(name.clone(), Value::Object(inner));
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use api::job::ResumeFloor;
    use api::live_stream::{Phase, PodIntent};

    use super::*;

    fn pod(attempt: i32, endpoint: Option<&str>) -> PodIntent {
        PodIntent {
            name: format!("news-one-0f9c2a41-{attempt}"),
            uid: endpoint.map(|_| "pod-uid".to_owned()),
            attempt,
            endpoint: endpoint.map(str::to_owned),
        }
    }

    #[test]
    fn a_change_of_status_names_what_changed_and_takes_away_what_is_gone() {
        let old = LiveStreamStatus {
            phase: Some(Phase::Live),
            pod: Some(pod(1, Some("10.0.0.1:8080"))),
            viewers: 10,
            last_attempt: 1,
            ..LiveStreamStatus::default()
        };
        let new = LiveStreamStatus {
            phase: Some(Phase::Degraded),
            pod: Some(pod(2, None)),
            viewers: 10,
            last_attempt: 2,
            resume: Some(ResumeFloor {
                media_sequence: 7,
                discontinuity_sequence: 1,
            }),
            ..LiveStreamStatus::default()
        };
        assert_eq!(
            status_change(&old, &new),
            Some(json!({
                "phase": "Degraded",
                "pod": {"name": "news-one-0f9c2a41-2", "uid": null, "attempt": 2, "endpoint": null},
                "lastAttempt": 2,
                "resume": {"mediaSequence": 7, "discontinuitySequence": 1},
            }))
        );
        let idle = LiveStreamStatus {
            pod: None,
            ..new.clone()
        };
        assert_eq!(status_change(&new, &idle), Some(json!({"pod": null})));
        assert_eq!(status_change(&new, &new), None);
    }
}
