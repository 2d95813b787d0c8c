//! What a transcoder pod is made of. Pure: the same order gives the same pod, byte for byte.
//! No secret is ever in it; Secrets are mounted as files.

mod container;
mod placement;
mod resources;
mod security;
mod volumes;
mod waiting;

pub(crate) use volumes::SOURCES;
pub(crate) use waiting::{Pool, claim, template, waiting};

use std::collections::BTreeMap;

use api::job::{JOB_VERSION, JobOutput, ResumeFloor, StandbyJob, StreamIdentity, TranscodeJob};
use api::names;
use api::stream_class::OutputMode;
use k8s_openapi::api::core::v1::{EnvVar, LocalObjectReference, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use runtime::trace::TraceContext;
use sha2::{Digest, Sha256};

use crate::class::Effective;
use crate::settings::TranscoderSettings;

/// How long a pod may take to end, in seconds; its supervisor produces until shortly before, unless it is told to stop.
pub(crate) const GRACE_SECONDS: i64 = 30;

/// What all transcoder pods of the release share.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) instance: String,
    pub(crate) transcoder: TranscoderSettings,
    pub(crate) log_filter: String,
    pub(crate) log_format: &'static str,
    /// The public key by which pods that wait know their job, in hexadecimal digits; without it none waits.
    pub(crate) job_key: Option<String>,
    /// The collector that is sent spans.
    pub(crate) otlp_endpoint: Option<String>,
}

/// One pod that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Order<'a> {
    pub(crate) stream: StreamIdentity,
    pub(crate) owner: OwnerReference,
    pub(crate) attempt: i32,
    pub(crate) resume: ResumeFloor,
    /// The Provider of whose connections it gets one.
    pub(crate) provider: Option<&'a str>,
    /// It waits until it is told to publish.
    pub(crate) standby: bool,
    /// The trace of the start that it belongs to.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) effective: &'a Effective,
}

/// The pod for an order.
pub(crate) fn build(fleet: &Fleet, order: &Order<'_>) -> Pod {
    let name = names::pod_name(&order.stream.name, &order.stream.uid, order.attempt);
    Pod {
        metadata: ObjectMeta {
            annotations: Some(annotations(fleet, order)),
            labels: Some(labels(fleet, order)),
            namespace: Some(order.stream.namespace.clone()),
            owner_references: Some(vec![order.owner.clone()]),
            ..named(&name)
        },
        spec: Some(spec_of(fleet, order, &name)),
        status: None,
    }
}

/// A hash of what the order makes of a stream, whichever attempt it is: another one means another class, other sources or another release.
pub(crate) fn hash(fleet: &Fleet, order: &Order<'_>) -> String {
    let order = Order {
        attempt: 0,
        resume: ResumeFloor::default(),
        standby: false,
        trace: None,
        ..order.clone()
    };
    // Serialization of plain data into memory does not fail; if it did, orders would merely look alike.
    let document =
        serde_json::to_vec(&spec_of(fleet, &order, &order.stream.name)).unwrap_or_default();
    hex::encode(&Sha256::digest(document)[..8])
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn annotations(fleet: &Fleet, order: &Order<'_>) -> BTreeMap<String, String> {
    let revision = order.effective.revision.clone();
    let annotations = [
        Some((names::ANNOTATION_ORDER_HASH, hash(fleet, order))),
        Some((names::ANNOTATION_REVISION, revision)),
        revisions_of_providers(order.effective)
            .map(|revisions| (names::ANNOTATION_PROVIDER_REVISIONS, revisions)),
        order
            .provider
            .map(|provider| (names::ANNOTATION_PROVIDER, provider.to_owned())),
    ];
    let annotations = annotations.into_iter().flatten();
    annotations
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn revisions_of_providers(effective: &Effective) -> Option<String> {
    let revisions = effective.provider_revisions.iter();
    let revisions: Vec<_> = revisions
        .map(|(name, revision)| format!("{name}={revision}"))
        .collect();
    (!revisions.is_empty()).then(|| revisions.join(","))
}

/// The hashes of Providers that a pod was made with, by name; none where another version made it.
pub(crate) fn provider_revisions(pod: &Pod) -> BTreeMap<String, String> {
    let said = pod.annotations().get(names::ANNOTATION_PROVIDER_REVISIONS);
    let revisions = said.into_iter().flat_map(|said| said.split(','));
    let revisions = revisions.filter_map(|revision| revision.split_once('='));
    revisions
        .map(|(name, hash)| (name.to_owned(), hash.to_owned()))
        .collect()
}

fn labels(fleet: &Fleet, order: &Order<'_>) -> BTreeMap<String, String> {
    let mut labels = common_labels(fleet, order.effective);
    labels.extend(labels_of_stream(order));
    labels
}

/// The labels of every transcoder pod of the release.
fn common_labels(fleet: &Fleet, effective: &Effective) -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/name", "headend"),
        ("app.kubernetes.io/managed-by", "headend-operator"),
        (names::LABEL_INSTANCE, &fleet.instance),
        (names::LABEL_COMPONENT, names::COMPONENT_TRANSCODER),
    ];
    let on_volume = effective.output == OutputMode::SharedVolume;
    let on_volume = on_volume.then_some((placement::LABEL_OUTPUT_VOLUME, "true"));
    let labels = labels.into_iter().chain(on_volume);
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whose pod it is.
fn labels_of_stream(order: &Order<'_>) -> [(String, String); 3] {
    [
        (names::LABEL_STREAM, order.stream.name.clone()),
        (names::LABEL_STREAM_UID, order.stream.uid.clone()),
        (names::LABEL_ATTEMPT, order.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn spec_of(fleet: &Fleet, order: &Order<'_>, name: &str) -> PodSpec {
    let environment = container::environment(fleet, order);
    spec(fleet, order.effective, environment, name)
}

fn spec(fleet: &Fleet, effective: &Effective, environment: Vec<EnvVar>, name: &str) -> PodSpec {
    let class = &effective.pod;
    PodSpec {
        affinity: placement::affinity(fleet, effective.output),
        automount_service_account_token: Some(false),
        containers: vec![container::container(fleet, effective, environment, name)],
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(fleet),
        node_selector: Some(class.node_selector.clone()).filter(|labels| !labels.is_empty()),
        priority_class_name: class.priority_class_name.clone(),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: class.runtime_class_name.clone(),
        security_context: Some(security::pod()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        tolerations: Some(placement::tolerations(&class.tolerations)),
        volumes: Some(volumes::volumes(fleet, effective)),
        ..PodSpec::default()
    }
}

fn pull_secrets(fleet: &Fleet) -> Option<Vec<LocalObjectReference>> {
    let secrets = fleet.transcoder.image_pull_secrets.iter();
    let secrets = secrets.map(|name| LocalObjectReference { name: name.clone() });
    Some(secrets.collect()).filter(|secrets: &Vec<_>| !secrets.is_empty())
}

/// The document that the transcoder is given.
pub(crate) fn job(order: &Order<'_>) -> TranscodeJob {
    TranscodeJob {
        version: JOB_VERSION,
        stream: order.stream.clone(),
        attempt: order.attempt,
        sources: order.effective.sources.clone(),
        reserve: order.effective.reserve.clone(),
        class: order.effective.class.clone(),
        resume: order.resume,
        output: JobOutput {
            directory: names::OUTPUT_MOUNT.to_owned(),
            byte_limit: order.effective.byte_limit,
        },
        standby: order.standby.then_some(StandbyJob {
            second_connection: true,
        }),
        traceparent: order.trace.map(|trace| trace.to_string()),
    }
}

#[cfg(test)]
mod tests;
