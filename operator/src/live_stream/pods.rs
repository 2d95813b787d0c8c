//! The release's pods as the operator needs them: a few facts each, by stream, kept up to date by one watch.
//! The index is as old as the watch; what must be unique is enforced by the API server, never by it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use api::condition::Reason;
use api::names;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use tokio::sync::Notify;

use super::warm::{Offers, WaitingPod};
use crate::text::clipped;

/// What is known of a transcoder pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Name of the LiveStream in its label.
    pub(crate) stream: String,
    /// Uid of the LiveStream in its label.
    pub(crate) stream_uid: String,
    /// Uid of the object that owns it.
    pub(crate) owner_uid: Option<String>,
    pub(crate) attempt: i32,
    /// What it was made from, as [`super::pod::hash`] says; `None` when another version made it.
    pub(crate) order_hash: Option<String>,
    /// The Provider of whose connections it has one.
    pub(crate) provider: Option<String>,
    /// Of what people wrote of its stream; `None` when a version made it that said nothing of that.
    pub(crate) revision: Option<String>,
    /// Likewise of the Providers whose logins it has, by name.
    pub(crate) provider_revisions: BTreeMap<String, String>,
    /// It has been deleted and is ending.
    pub(crate) terminating: bool,
    pub(crate) address: Option<IpAddr>,
    pub(crate) state: PodState,
    /// Since when it has not been ready; `None` while it is.
    pub(crate) unready_since: Option<Timestamp>,
    /// Since when it has a node.
    pub(crate) scheduled_since: Option<Timestamp>,
}

/// Where a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodState {
    /// Its container does not run yet.
    Pending {
        /// `PodPending`, `PodUnschedulable` or `ImageUnavailable`.
        reason: Reason,
        message: String,
    },
    /// Its container runs.
    Running,
    /// It will never run again.
    Ended { message: String },
}

impl PodFacts {
    /// What there is to know of a transcoder pod; `None` for a pod that is none of ours.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.labels();
        let label = |name: &str| labels.get(name).cloned();
        let status = pod.status.as_ref();
        let address = status.and_then(|status| status.pod_ip.as_ref());
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid()?,
            stream: label(names::LABEL_STREAM)?,
            stream_uid: label(names::LABEL_STREAM_UID)?,
            owner_uid: pod
                .owner_references()
                .first()
                .map(|owner| owner.uid.clone()),
            attempt: label(names::LABEL_ATTEMPT)?.parse().ok()?,
            order_hash: pod.annotations().get(names::ANNOTATION_ORDER_HASH).cloned(),
            provider: pod.annotations().get(names::ANNOTATION_PROVIDER).cloned(),
            revision: pod.annotations().get(names::ANNOTATION_REVISION).cloned(),
            provider_revisions: super::pod::provider_revisions(pod),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            address: address.and_then(|address| address.parse().ok()),
            state: state(pod),
            unready_since: unready_since(pod),
            scheduled_since: condition(pod, "PodScheduled")
                .filter(|condition| condition.status == "True")
                .and_then(since),
        })
    }

    /// Of its control HTTP.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, names::CONTROL_PORT))
    }

    /// Whether its container runs, so that it can be asked and told things.
    pub(crate) fn listens(&self) -> bool {
        self.state == PodState::Running && self.address.is_some()
    }

    /// Whether it will never run again.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, PodState::Ended { .. })
    }
}

pub(super) fn state(pod: &Pod) -> PodState {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    match phase {
        Some("Running") => PodState::Running,
        Some("Failed" | "Succeeded") => PodState::Ended {
            message: clipped(&end(pod)),
        },
        _ => pending(pod),
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn since(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn unready_since(pod: &Pod) -> Option<Timestamp> {
    match condition(pod, "Ready") {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => since(ready),
        None => pod.creation_timestamp().map(|time| time.0),
    }
}

/// Why the pod ended, in the words of whoever knows best.
fn end(pod: &Pod) -> String {
    let ended = container(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let status = pod.status.as_ref();
    let of_pod = status.and_then(|status| {
        let reason = status.reason.as_deref()?;
        Some(format!(
            "{reason}: {}",
            status.message.as_deref().unwrap_or("no message")
        ))
    });
    let of_container = ended.map(|ended| {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        let message = ended.message.as_deref().unwrap_or_default().trim();
        let separator = if message.is_empty() { "" } else { ": " };
        format!(
            "{reason} with exit code {}{separator}{message}",
            ended.exit_code
        )
    });
    of_pod
        .or(of_container)
        .unwrap_or_else(|| "it ended without a reason".to_owned())
}

fn pending(pod: &Pod) -> PodState {
    let waiting = container(pod).and_then(|container| container.state.as_ref()?.waiting.as_ref());
    let told = waiting.and_then(|waiting| {
        let reason = waiting.reason.as_deref()?;
        let message = waiting.message.as_deref().unwrap_or("no message");
        Some((reason, format!("{reason}: {message}")))
    });
    let (reason, message) = match (unschedulable(pod), told) {
        (Some(message), _) => (Reason::PodUnschedulable, message),
        (None, Some((reason, message))) if is_of_image(reason) => {
            (Reason::ImageUnavailable, message)
        }
        // What every container waits for at its start is no news.
        (None, Some((reason, message))) if reason != "ContainerCreating" => {
            (Reason::PodPending, message)
        }
        (None, _) => (Reason::PodPending, "the pod is being started".to_owned()),
    };
    PodState::Pending {
        reason,
        message: clipped(&message),
    }
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let scheduled = condition(pod, "PodScheduled")?;
    let message = || scheduled.message.clone().unwrap_or_default();
    (scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable"))
        .then(message)
}

fn is_of_image(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
    )
}

/// The pods of the release, by what they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodIndex {
    pods: Arc<Mutex<Pods>>,
    /// Told when pods that wait come, change or go.
    pub(crate) waiting_changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Pods {
    current: Known,
    /// What a list that is under way has brought so far.
    listed: Option<Known>,
    offers: Offers,
}

#[derive(Debug, Default, PartialEq)]
struct Known {
    /// Pods that wait for a stream, by name.
    waiting: BTreeMap<String, WaitingPod>,
    /// By uid of their stream, which has one nearly always; sorted by name.
    transcoders: HashMap<String, Vec<PodFacts>>,
    /// Gateways by name: whether they run, and so may have viewers.
    gateways: BTreeMap<String, bool>,
}

/// The stream that a pod belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Belongs {
    pub(crate) stream: String,
    pub(crate) stream_uid: String,
}

impl PodIndex {
    /// Takes a watch event in; answers whose pods changed.
    pub(crate) fn take(&self, event: &Event<Pod>) -> Vec<Belongs> {
        let mut pods = self.lock();
        let concerns_waiting = match event {
            Event::Init | Event::InitApply(_) => false,
            Event::InitDone => true,
            Event::Apply(pod) | Event::Delete(pod) => names::is_warm_pod_name(&pod.name_any()),
        };
        if concerns_waiting {
            self.waiting_changed.notify_one();
        }
        match event {
            Event::Init => pods.listed = Some(Known::default()),
            Event::InitApply(pod) => {
                pods.listed.get_or_insert_default().insert(pod);
            }
            Event::InitDone => {
                let listed = pods.listed.take().unwrap_or_default();
                let before = std::mem::replace(&mut pods.current, listed);
                return pods.current.changed_since(&before);
            }
            Event::Apply(pod) => return pods.current.insert(pod).into_iter().collect(),
            Event::Delete(pod) => return pods.current.remove(pod).into_iter().collect(),
        }
        Vec::new()
    }

    /// The transcoder pods labelled for a stream, by name.
    pub(crate) fn of_stream(&self, stream_uid: &str) -> Vec<PodFacts> {
        let pods = self.lock();
        let of_stream = pods.current.transcoders.get(stream_uid);
        of_stream.cloned().unwrap_or_default()
    }

    /// The pods that wait, whatever their class.
    pub(crate) fn waiting(&self) -> Vec<WaitingPod> {
        self.lock().current.waiting.values().cloned().collect()
    }

    /// The pods that wait for streams of a class and could take a job, in the order in which this stream had better try them.
    /// With a time the first of them is kept for it for a while.
    pub(crate) fn offer(
        &self,
        class: &str,
        stream_uid: &str,
        now: Option<Instant>,
    ) -> Vec<WaitingPod> {
        let mut pods = self.lock();
        let waiting = pods.current.waiting.values();
        let waiting = waiting.filter(|pod| pod.class == class && pod.is_available());
        let mut waiting: Vec<_> = waiting.cloned().collect();
        if let Some(now) = now {
            pods.offers.order(&mut waiting, stream_uid, now);
        }
        waiting
    }

    /// The gateways that run, and so may have viewers.
    pub(crate) fn gateways(&self) -> Vec<String> {
        let pods = self.lock();
        let running = pods.current.gateways.iter().filter(|(_, runs)| **runs);
        running.map(|(name, _)| name.clone()).collect()
    }

    /// The streams that transcoder pods are labelled for.
    pub(crate) fn streams(&self) -> Vec<Belongs> {
        let pods = self.lock();
        let firsts = pods.current.transcoders.values();
        let firsts = firsts.filter_map(|pods| pods.first());
        firsts.map(PodFacts::belongs).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodFacts {
    fn belongs(&self) -> Belongs {
        Belongs {
            stream: self.stream.clone(),
            stream_uid: self.stream_uid.clone(),
        }
    }
}

impl Known {
    /// The streams whose pods are not what they were; a list brings no word of what is gone.
    fn changed_since(&self, before: &Self) -> Vec<Belongs> {
        let fresh = self.transcoders.iter();
        let fresh = fresh.filter(|(uid, pods)| before.transcoders.get(*uid) != Some(*pods));
        let gone = before.transcoders.iter();
        let gone = gone.filter(|(uid, _)| !self.transcoders.contains_key(*uid));
        let pods = fresh.chain(gone).filter_map(|(_, pods)| pods.first());
        pods.map(PodFacts::belongs).collect()
    }

    fn insert(&mut self, pod: &Pod) -> Option<Belongs> {
        if is_gateway(pod) {
            let runs = state(pod) == PodState::Running;
            self.gateways.insert(pod.name_any(), runs);
            return None;
        }
        self.waiting.remove(&pod.name_any());
        if let Some(waiting) = WaitingPod::of(pod) {
            self.waiting.insert(pod.name_any(), waiting);
            return None;
        }
        let facts = PodFacts::of(pod)?;
        let belongs = facts.belongs();
        let of_stream = self
            .transcoders
            .entry(facts.stream_uid.clone())
            .or_default();
        match of_stream.binary_search_by(|pod| pod.name.cmp(&facts.name)) {
            Ok(at) => of_stream[at] = facts,
            Err(at) => {
                // No room for more: that would be most of what a pod costs here.
                of_stream.reserve_exact(1);
                of_stream.insert(at, facts);
            }
        }
        Some(belongs)
    }

    fn remove(&mut self, pod: &Pod) -> Option<Belongs> {
        if is_gateway(pod) {
            self.gateways.remove(&pod.name_any());
            return None;
        }
        self.waiting.remove(&pod.name_any());
        let facts = PodFacts::of(pod)?;
        let of_stream = self.transcoders.get_mut(&facts.stream_uid)?;
        of_stream.retain(|pod| pod.name != facts.name);
        if of_stream.is_empty() {
            self.transcoders.remove(&facts.stream_uid);
        }
        Some(facts.belongs())
    }
}

fn is_gateway(pod: &Pod) -> bool {
    let component = pod.labels().get(names::LABEL_COMPONENT);
    component.is_some_and(|component| component == names::COMPONENT_GATEWAY)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";

    fn pod(name: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "uid": format!("uid-of-{name}"), "creationTimestamp": "2026-03-01T10:00:00Z",
                "labels": {
                    "app.kubernetes.io/component": "transcoder", "headend.dev/stream": "news-one",
                    "headend.dev/stream-uid": UID, "headend.dev/attempt": "2",
                },
                "ownerReferences": [{"apiVersion": "headend.dev/v1alpha1", "kind": "LiveStream", "name": "news-one", "uid": UID}],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn gateway(name: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": {"app.kubernetes.io/component": "gateway"}},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn state_of(status: &Value) -> PodState {
        PodFacts::of(&pod("a", status)).unwrap().state
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "transcoder", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    }

    fn terminated(ended: &Value) -> Value {
        json!({"phase": "Failed", "containerStatuses": [{
            "name": "transcoder", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": ended},
        }]})
    }

    #[test]
    fn a_running_pod_is_known_by_its_address_and_readiness() {
        let status = json!({
            "phase": "Running", "podIP": "10.1.2.3",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T10:00:01Z"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T10:00:02Z"},
            ],
        });
        let facts = PodFacts::of(&pod("news-one-0f9c2a41-2", &status)).unwrap();
        assert_eq!(
            facts,
            PodFacts {
                name: "news-one-0f9c2a41-2".to_owned(),
                uid: "uid-of-news-one-0f9c2a41-2".to_owned(),
                stream: "news-one".to_owned(),
                stream_uid: UID.to_owned(),
                owner_uid: Some(UID.to_owned()),
                attempt: 2,
                order_hash: None,
                provider: None,
                revision: None,
                provider_revisions: BTreeMap::new(),
                terminating: false,
                address: Some("10.1.2.3".parse().unwrap()),
                state: PodState::Running,
                unready_since: Some("2026-03-01T10:00:02Z".parse().unwrap()),
                scheduled_since: Some("2026-03-01T10:00:01Z".parse().unwrap()),
            }
        );
        assert_eq!(facts.endpoint(), "10.1.2.3:8080".parse().ok());
    }

    #[test]
    fn an_address_of_version_6_stands_in_brackets() {
        let status = json!({"phase": "Running", "podIP": "fd00::7"});
        let facts = PodFacts::of(&pod("a", &status)).unwrap();
        assert_eq!(facts.endpoint(), "[fd00::7]:8080".parse().ok());
    }

    #[test]
    fn a_pod_that_waits_says_what_it_waits_for() {
        let unschedulable = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"},
        ]});
        for (status, reason, message) in [
            (json!({}), Reason::PodPending, "the pod is being started"),
            (
                unschedulable,
                Reason::PodUnschedulable,
                "0/2 nodes are available",
            ),
            (
                waiting("ImagePullBackOff", "not found"),
                Reason::ImageUnavailable,
                "ImagePullBackOff: not found",
            ),
            (
                waiting("ContainerCreating", ""),
                Reason::PodPending,
                "the pod is being started",
            ),
            (
                waiting("CreateContainerConfigError", "no user"),
                Reason::PodPending,
                "CreateContainerConfigError: no user",
            ),
        ] {
            let message = message.to_owned();
            assert_eq!(state_of(&status), PodState::Pending { reason, message });
        }
    }

    #[test]
    fn a_pod_that_ended_says_why() {
        for (status, expected) in [
            (
                terminated(
                    &json!({"exitCode": 1, "reason": "Error", "message": "every source failed\n"}),
                ),
                "Error with exit code 1: every source failed",
            ),
            (
                terminated(&json!({"exitCode": 137, "reason": "OOMKilled"})),
                "OOMKilled with exit code 137",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
                "Evicted: low on memory",
            ),
            (json!({"phase": "Succeeded"}), "it ended without a reason"),
        ] {
            let message = expected.to_owned();
            assert_eq!(state_of(&status), PodState::Ended { message });
        }
    }

    #[test]
    fn the_index_follows_the_watch() {
        let index = PodIndex::default();
        let one = pod("one", &json!({"phase": "Running"}));
        index.take(&Event::Init);
        index.take(&Event::InitApply(one.clone()));
        assert_eq!(
            index.of_stream(UID),
            [],
            "a list counts when it is complete"
        );
        index.take(&Event::InitDone);
        let two = pod("two", &json!({}));
        let news = Belongs {
            stream: "news-one".to_owned(),
            stream_uid: UID.to_owned(),
        };
        let belongs = vec![news];
        assert_eq!(index.take(&Event::Apply(two.clone())), belongs);
        let names = |index: &PodIndex| {
            let pods = index.of_stream(UID).into_iter();
            pods.map(|facts| facts.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&index), ["one", "two"]);
        assert_eq!(index.take(&Event::Delete(one)), belongs);
        assert_eq!(names(&index), ["two"]);
        index.take(&Event::Init);
        index.take(&Event::InitApply(two));
        assert_eq!(
            index.take(&Event::InitDone),
            [],
            "the same again is no news"
        );
        index.take(&Event::Init);
        assert_eq!(
            index.take(&Event::InitDone),
            belongs,
            "a list without it is"
        );
        assert_eq!(names(&index), Vec::<String>::new());
        assert_eq!(index.streams(), Vec::<Belongs>::new());
    }

    #[test]
    fn gateways_count_while_they_run() {
        let index = PodIndex::default();
        index.take(&Event::Apply(gateway("gateway-1", "Running")));
        index.take(&Event::Apply(gateway("gateway-2", "Pending")));
        assert_eq!(index.gateways(), ["gateway-1"]);
        index.take(&Event::Delete(gateway("gateway-1", "Running")));
        assert_eq!(index.gateways(), Vec::<String>::new());
    }

    #[test]
    fn pods_of_others_are_left_alone() {
        let mut foreign = pod("foreign", &json!({}));
        foreign.labels_mut().remove("headend.dev/stream-uid");
        assert_eq!(PodFacts::of(&foreign), None);
    }
}
