//! Pods that wait for a stream: what is known of them, and which of them a stream may take. Decides nothing; the API server has the last
//! word on who has one.

mod assign;
pub(crate) mod pool;
pub(crate) mod signer;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use api::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

pub(crate) use self::assign::{Assigning, Claim, assign};
use super::pods::{PodState, is_ready, state};

/// How long a pod is kept for the stream that it was offered to: a start takes it in far less.
const OFFERED_FOR: Duration = Duration::from_secs(10);

/// What is known of a pod that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingPod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    /// Name of the StreamClass in its label.
    pub(crate) class: String,
    /// Uid of the object that owns it.
    pub(crate) owner_uid: Option<String>,
    /// What it is made of, as [`super::pod::template`] says.
    pub(crate) template: Option<String>,
    pub(crate) terminating: bool,
    /// The kubelet has heard it say that it is ready.
    pub(crate) ready: bool,
    pub(crate) address: Option<IpAddr>,
    pub(crate) state: PodState,
}

impl WaitingPod {
    /// What there is to know of a pod that waits; `None` for any other.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref();
        let address = status.and_then(|status| status.pod_ip.as_ref());
        let template = pod.annotations().get(names::ANNOTATION_WARM_TEMPLATE);
        let owner = pod.owner_references().first();
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid()?,
            resource_version: pod.resource_version()?,
            class: pod.labels().get(names::LABEL_WARM_POOL)?.clone(),
            owner_uid: owner.map(|owner| owner.uid.clone()),
            template: template.cloned(),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            ready: is_ready(pod),
            address: address.and_then(|address| address.parse().ok()),
            state: state(pod),
        })
    }

    /// Of its control HTTP.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, names::CONTROL_PORT))
    }

    /// Whether it could take a job.
    pub(crate) fn is_available(&self) -> bool {
        let runs = self.state == PodState::Running && self.address.is_some();
        runs && self.ready && !self.terminating
    }

    /// Whether it will never run again.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, PodState::Ended { .. })
    }
}

/// What a stream may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WarmView {
    /// What its class says of pods that wait; `None` where it has none.
    pub(crate) pool: Option<PoolView>,
    /// Pods that wait for streams of its class, those first that nobody else is about to take.
    pub(crate) waiting: Vec<WaitingPod>,
    /// The pod that the status names, while it still waits.
    pub(crate) named: Option<WaitingPod>,
}

/// What a class says of pods that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolView {
    pub(crate) class: String,
    /// The Provider whose login they have.
    pub(crate) provider: Option<String>,
    /// What they are made of, or why there can be none.
    pub(crate) template: Result<String, String>,
}

/// Which pods were offered to whom of late. Only spares streams that start at once from wanting the same one.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    offered: HashMap<String, (String, Instant)>,
}

impl Offers {
    /// Puts those last that others were offered, and offers the first of the others.
    pub(crate) fn order(&mut self, pods: &mut [WaitingPod], stream_uid: &str, now: Instant) {
        self.offered
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < OFFERED_FOR);
        let is_others = |pod: &WaitingPod| {
            let offer = self.offered.get(&pod.name);
            offer.is_some_and(|(to, _)| to != stream_uid)
        };
        let is_own = |pod: &WaitingPod| self.offered.contains_key(&pod.name) && !is_others(pod);
        pods.sort_by_cached_key(|pod| (is_others(pod), !is_own(pod), pod.name.clone()));
        if let Some(first) = pods.first().filter(|pod| !is_others(pod)) {
            let offer = (stream_uid.to_owned(), now);
            self.offered.insert(first.name.clone(), offer);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A pod that waits for a stream of the class `sport`.
    pub(crate) fn waiting(name: &str) -> WaitingPod {
        WaitingPod {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            resource_version: "5".to_owned(),
            class: "sport".to_owned(),
            owner_uid: Some("uid-of-sport".to_owned()),
            template: Some("template".to_owned()),
            terminating: false,
            ready: true,
            address: Some("10.0.0.9".parse().unwrap()),
            state: PodState::Running,
        }
    }

    #[test]
    fn a_pod_waits_as_long_as_it_has_the_label_of_its_class() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "warm-1", "uid": "uid-of-warm-1", "resourceVersion": "5",
                "labels": {"headend.dev/warm-pool": "sport"},
                "annotations": {"headend.dev/warm-template": "template"},
                "ownerReferences": [{"apiVersion": "headend.dev/v1alpha1", "kind": "StreamClass", "name": "sport", "uid": "uid-of-sport"}],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        let facts = WaitingPod::of(&pod).unwrap();
        assert_eq!(facts, waiting("warm-1"));
        assert!(facts.is_available());
        pod.labels_mut().clear();
        assert_eq!(WaitingPod::of(&pod), None);
    }

    #[test]
    fn streams_that_start_at_once_are_offered_different_pods() {
        let mut offers = Offers::default();
        let now = Instant::now();
        let mut first = |stream: &str, seconds: u64| {
            let mut pods = ["b", "a", "c"].map(waiting);
            let then = now + Duration::from_secs(seconds);
            offers.order(&mut pods, stream, then);
            pods[0].name.clone()
        };
        assert_eq!(first("one", 0), "a");
        assert_eq!(first("two", 0), "b");
        assert_eq!(first("one", 1), "a", "the same again");
        assert_eq!(first("three", 1), "c");
        assert_eq!(first("four", 2), "a", "there are no others");
        assert_eq!(first("four", 12), "a", "nobody has taken it");
    }
}
