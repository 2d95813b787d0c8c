//! Where a transcoder pod may run, and how soon it leaves a node that is lost.

use std::collections::BTreeMap;

use api::names::LABEL_INSTANCE;
use api::stream_class::OutputMode;
use k8s_openapi::api::core::v1::{Affinity, PodAffinity, PodAffinityTerm, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Fleet;

/// Label on every pod that mounts the output volume.
pub(super) const LABEL_OUTPUT_VOLUME: &str = "headend.dev/output-volume";

/// How long a pod stays on a node that is not ready or not reachable, in seconds; Kubernetes would wait for 300.
const LOST_NODE_SECONDS: i64 = 10;

/// With a volume that one node at a time can mount, everything that mounts it stays together.
pub(super) fn affinity(fleet: &Fleet, output: OutputMode) -> Option<Affinity> {
    if !fleet.transcoder.output_affinity || output == OutputMode::PodLocal {
        return None;
    }
    let labels = [
        (LABEL_INSTANCE.to_owned(), fleet.instance.clone()),
        (LABEL_OUTPUT_VOLUME.to_owned(), "true".to_owned()),
    ];
    let term = PodAffinityTerm {
        topology_key: "kubernetes.io/hostname".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from(labels)),
            match_expressions: None,
        }),
        ..PodAffinityTerm::default()
    };
    let pod_affinity = PodAffinity {
        required_during_scheduling_ignored_during_execution: Some(vec![term]),
        ..PodAffinity::default()
    };
    Some(Affinity {
        pod_affinity: Some(pod_affinity),
        ..Affinity::default()
    })
}

pub(super) fn tolerations(of_class: &[Toleration]) -> Vec<Toleration> {
    let lost = |condition: &str| Toleration {
        key: Some(format!("node.kubernetes.io/{condition}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(LOST_NODE_SECONDS),
        ..Toleration::default()
    };
    let mut tolerations = vec![lost("not-ready"), lost("unreachable")];
    tolerations.extend_from_slice(of_class);
    tolerations
}
