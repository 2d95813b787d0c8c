//! What must have held after each change there ever was of an API server's objects, and at the end of them. Looks only at what was written
//! down, never at the operator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api_server::{Key, Objects};
use crate::slots::never_without_a_slot;
use crate::world::World;

/// Checks every invariant of the cluster: of pods, of their owners, of connections.
pub(crate) fn check(world: &World) {
    for objects in world.api.moments(&["pods"]) {
        check_pods(&objects);
    }
    never_without_a_slot(world);
    no_orphans(world);
}

/// None where the pod waits for a stream.
fn uid_of_stream(pod: &Value) -> Option<&str> {
    pod["metadata"]["labels"]["headend.dev/stream-uid"].as_str()
}

fn check_pods(pods: &BTreeMap<Key, Value>) {
    let mut by_stream: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for pod in pods.values() {
        let ending = !pod["metadata"]["deletionTimestamp"].is_null();
        let Some(stream) = uid_of_stream(pod) else {
            continue;
        };
        let (staying, all) = by_stream.entry(stream).or_default();
        *staying += usize::from(!ending);
        *all += 1;
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let owners: Vec<_> = owners.into_iter().flatten().collect();
        assert_eq!(owners.len(), 1, "{pod:#}");
        assert_eq!(owners[0]["controller"], true, "{pod:#}");
        assert_eq!(owners[0]["uid"], stream, "{pod:#}");
    }
    for (stream, (staying, all)) in by_stream {
        assert!(
            staying <= 1 && all <= 2,
            "stream {stream} has {staying} of {all}: {pods:#?}"
        );
    }
}

/// Every pod belongs to a stream that is there, and is named by its status.
fn no_orphans(world: &World) {
    world.api.with(|objects| {
        for pod in objects.all("pods") {
            let Some(uid) = uid_of_stream(pod) else {
                continue;
            };
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                continue;
            }
            let mut streams = objects.all("livestreams");
            let owner = streams.find(|one| one["metadata"]["uid"] == uid);
            let status = owner.map(|owner| &owner["status"]);
            let named = |field: &str| {
                status.is_some_and(|status| status[field]["name"] == pod["metadata"]["name"])
            };
            assert!(named("pod") || named("successor"), "{pod:#}\n{owner:?}");
        }
    });
}

/// What is left at the end, without moments, addresses, wordings, and what an operator remembers of failures as long as it lives.
pub(crate) fn left(objects: &Objects) -> Value {
    let stream = |stream: &Value| {
        let status = &stream["status"];
        json!({
            "name": stream["metadata"]["name"],
            "spec": stream["spec"],
            "pod": status["pod"]["name"],
            "runs": status["pod"]["endpoint"].is_string(),
            "successor": status["successor"],
            "attempt": status["lastAttempt"],
        })
    };
    let pod = |pod: &Value| pod["metadata"]["name"].clone();
    let provider = |provider: &Value| provider["status"]["slots"].clone();
    let streams: Vec<_> = objects.all("livestreams").map(stream).collect();
    let pods: Vec<_> = objects.all("pods").map(pod).collect();
    let slots: Vec<_> = objects.all("providers").map(provider).collect();
    json!({"streams": streams, "pods": pods, "slots": slots})
}
