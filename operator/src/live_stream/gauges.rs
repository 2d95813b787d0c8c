//! Gauges that are counted when they are read: from the watched LiveStreams, the followed pods and what is remembered of streams.
//! Labels come from our own lists of names, however a status was written. Changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use api::condition::{ConditionStatus, ConditionType, Reason};
use api::live_stream::Phase;
use api::{LiveStreamStatus, Provider};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NotKnown;

use super::providers::{ProviderIndex, slots_of};
use super::{Context, Guarded};
use crate::metrics::{ByState, Counted};

/// What a name is called that this version does not know, as in `api::condition::Reason`.
const UNRECOGNISED: &str = "Unrecognised";

/// Registers the gauges.
pub(super) fn register(registry: &mut Registry, streams: &Store<Guarded>, context: &Arc<Context>) {
    let store = streams.clone();
    registry.register_collector(Counted::new(
        "headend_streams",
        "LiveStreams by phase",
        ["phase"],
        move || each_status(&store, |status, count| count([phase(status)])),
    ));
    let store = streams.clone();
    registry.register_collector(Counted::new(
        "headend_stream_conditions",
        "LiveStreams by what each of their conditions says",
        ["type", "status", "reason"],
        move || {
            each_status(&store, |status, count| {
                status.conditions.iter().for_each(|one| count(said(one)));
            })
        },
    ));
    let of_context = Arc::downgrade(context);
    registry.register_collector(Counted::new(
        "headend_polled_pods",
        "Pods that are polled",
        ["state"],
        move || polled(&of_context),
    ));
    let of_context = Arc::downgrade(context);
    registry.register_collector(Counted::new(
        "headend_streams_backing_off",
        "LiveStreams that wait after failed attempts, or after errors of the API server",
        ["after"],
        move || backing_off(&of_context),
    ));
    let of_context = Arc::downgrade(context);
    registry.register_collector(Counted::new(
        "headend_collections_waiting",
        "Idle LiveStreams that wait for their turn to be removed",
        [],
        move || waiting_for_removal(&of_context),
    ));
    let providers = context.providers.clone();
    registry.register_collector(ByState::new(
        "headend_provider_connections",
        "Connections of providers that streams have, and that the accounts allow",
        "provider",
        move || connections(&providers),
    ));
    let of_context = Arc::downgrade(context);
    registry.register_collector(ByState::new(
        "headend_warm_pods",
        "Pods that wait for streams of a class, and that its class asks for",
        "class",
        move || warm_pods(&of_context),
    ));
}

/// By class that has any or asks for them: pods that wait and could take a stream, others that wait, and how many there are to be.
fn warm_pods(context: &Weak<Context>) -> Vec<(String, &'static str, u64)> {
    let Some(context) = context.upgrade() else {
        return Vec::new();
    };
    let mut classes: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for (name, class) in context.classes.all() {
        let wanted = class.spec.ok().and_then(|spec| spec.warm_pods);
        if let Some(count) = wanted.and_then(|warm| u64::try_from(warm.count).ok()) {
            classes.entry(name).or_default()[2] = count;
        }
    }
    for pod in context.pods.waiting() {
        let state = usize::from(!pod.is_available());
        classes.entry(pod.class).or_default()[state] += 1;
    }
    let of_class = |(class, counts): (String, [u64; 3])| {
        let states = ["ready", "not_ready", "wanted"];
        let rows = states.into_iter().zip(counts);
        rows.map(|(state, count)| (class.clone(), state, count))
            .collect::<Vec<_>>()
    };
    classes.into_iter().flat_map(of_class).collect()
}

/// By Provider, what streams have of its connections and what there is.
fn connections(providers: &ProviderIndex) -> Vec<(String, &'static str, u64)> {
    let of = |provider: Arc<Provider>| {
        let used = u64::try_from(slots_of(&provider).len()).unwrap_or(u64::MAX);
        let limit = u64::try_from(provider.spec.maximum_connections).unwrap_or(0);
        let name = provider.name_any();
        [(name.clone(), "used", used), (name, "limit", limit)]
    };
    providers.all().into_iter().flat_map(of).collect()
}

type Rows<const N: usize> = Vec<([&'static str; N], u64)>;

/// Counts what every stream says of itself; one that cannot be read or has not been looked at yet has no status.
fn each_status<const N: usize>(
    streams: &Store<Guarded>,
    say: impl Fn(&LiveStreamStatus, &mut dyn FnMut([&'static str; N])),
) -> Rows<N> {
    let mut rows: BTreeMap<[&'static str; N], u64> = BTreeMap::new();
    let none = LiveStreamStatus::default();
    for stream in streams.state() {
        let stream = stream.0.as_ref().ok();
        let status = stream.and_then(|stream| stream.status.as_ref());
        say(status.unwrap_or(&none), &mut |labels| {
            *rows.entry(labels).or_default() += 1;
        });
    }
    rows.into_iter().collect()
}

fn phase(status: &LiveStreamStatus) -> &'static str {
    status.phase.unwrap_or(Phase::Idle).into()
}

fn said(condition: &Condition) -> [&'static str; 3] {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Idle, Provisioned, Ready, SourceHealthy};
    let kinds = [Ready, Provisioned, SourceHealthy, Idle].map(ConditionType::as_str);
    let kind = kinds.into_iter().find(|kind| *kind == condition.type_);
    let values = [True, False, Unknown].map(ConditionStatus::as_str);
    let value = values.into_iter().find(|value| *value == condition.status);
    let reason: Result<Reason, NotKnown> =
        Reason::deserialize(condition.reason.as_str().into_deserializer());
    [
        kind.unwrap_or(UNRECOGNISED),
        value.unwrap_or(UNRECOGNISED),
        reason.map_or(UNRECOGNISED, Reason::as_str),
    ]
}

fn polled(context: &Weak<Context>) -> Rows<1> {
    let (all, failing) = context.upgrade().map_or((0, 0), |context| {
        // No stream looks at it any more once all of them answer.
        context.polls.is_blind();
        context.polls.counts()
    });
    rows([("answering", all - failing), ("silent", failing)])
}

fn backing_off(context: &Weak<Context>) -> Rows<1> {
    let (attempts, errors) = context.upgrade().map_or((0, 0), |context| {
        context.memory.backing_off(Timestamp::now())
    });
    rows([("attempt", attempts), ("error", errors)])
}

fn waiting_for_removal(context: &Weak<Context>) -> Rows<0> {
    let waiting = context
        .upgrade()
        .map_or(0, |context| context.removals.waiting());
    vec![([], u64::try_from(waiting).unwrap_or(u64::MAX))]
}

fn rows<const N: usize>(counts: [(&'static str, usize); N]) -> Rows<1> {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    counts.map(|(label, many)| ([label], count(many))).to_vec()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn names_that_are_not_ours_make_no_new_series() {
        let condition = |kind: &str, status: &str, reason: &str| Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        for (condition, expected) in [
            (
                condition("Idle", "Unknown", "CollectionPaused"),
                ["Idle", "Unknown", "CollectionPaused"],
            ),
            (
                condition("Ready", "True", "OutputStalled"),
                ["Ready", "True", "OutputStalled"],
            ),
            (
                condition("Happy", "Maybe", "1f0c"),
                [UNRECOGNISED, UNRECOGNISED, UNRECOGNISED],
            ),
        ] {
            assert_eq!(said(&condition), expected);
        }
    }
}
