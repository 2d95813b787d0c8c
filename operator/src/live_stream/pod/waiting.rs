//! A pod that waits for a stream of its class: what any pod of the class has, with a key instead of a job. Pure.
//! A stream takes only a pod that is made of exactly what its own would be made of, its job apart.

use std::collections::BTreeMap;

use api::names;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Fleet, Order, annotations, common_labels, container, labels_of_stream, named, spec};
use crate::class::Effective;

/// Whose pods wait.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pool {
    /// Name of the StreamClass.
    pub(crate) class: String,
    pub(crate) namespace: String,
    pub(crate) owner: OwnerReference,
    /// What a stream of the class has that says nothing of its own.
    pub(crate) effective: Effective,
}

/// A hash of what a pod is made of that has no job yet; `None` where none can wait, for want of a key.
pub(crate) fn template(fleet: &Fleet, effective: &Effective) -> Option<String> {
    let job_key = fleet.job_key.as_deref()?;
    let environment = container::waiting(fleet, job_key);
    let spec = spec(fleet, effective, environment, "");
    // Serialization of plain data into memory does not fail; if it did, templates would merely look alike.
    let document = serde_json::to_vec(&spec).unwrap_or_default();
    Some(hex::encode(&Sha256::digest(document)[..8]))
}

/// A pod that waits; `None` where none can.
pub(crate) fn waiting(fleet: &Fleet, pool: &Pool, name: &str) -> Option<Pod> {
    let job_key = fleet.job_key.as_deref()?;
    let template = template(fleet, &pool.effective)?;
    let mut labels = common_labels(fleet, &pool.effective);
    labels.insert(names::LABEL_WARM_POOL.to_owned(), pool.class.clone());
    let annotations = [(names::ANNOTATION_WARM_TEMPLATE.to_owned(), template)];
    let environment = container::waiting(fleet, job_key);
    Some(Pod {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from(annotations)),
            labels: Some(labels),
            namespace: Some(pool.namespace.clone()),
            owner_references: Some(vec![pool.owner.clone()]),
            ..named(name)
        },
        spec: Some(spec(fleet, &pool.effective, environment, name)),
        status: None,
    })
}

/// What makes a pod that waits the pod of a stream: its metadata as a merge patch. Nobody waits in it any more, and nobody else owns it.
pub(crate) fn claim(fleet: &Fleet, order: &Order<'_>) -> Value {
    let mut labels: BTreeMap<_, _> = labels_of_stream(order)
        .map(|(name, value)| (name, Value::from(value)))
        .into();
    labels.insert(names::LABEL_WARM_POOL.to_owned(), Value::Null);
    json!({
        "labels": labels,
        "annotations": annotations(fleet, order),
        "ownerReferences": [order.owner],
    })
}
