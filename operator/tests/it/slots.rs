//! Connections of providers: entered before there is a pod, given back when it is gone, never more than the account allows.

use presence::{Presence, Touch};
use serde_json::{Value, json};

use crate::api_server::Objects;
use crate::crash::{at_every_write, never_two};
use crate::players::{ACCOUNT, CLOSED};
use crate::world::{Operator, World, pods, status};

/// What makes a stream run from a channel of the Provider `panel`.
pub(crate) fn channel() -> Value {
    json!({"replicas": 1, "sources": [{"provider": {"name": "panel", "channel": "101"}}]})
}

/// `stream attempt` of each entry of the Provider.
fn entries(objects: &Objects) -> Vec<String> {
    entries_in(objects, "panel")
}

pub(crate) fn entries_in(objects: &Objects, provider: &str) -> Vec<String> {
    let provider = objects.get("providers", provider);
    provider.map_or(Vec::new(), entries_of)
}

fn entries_of(panel: &Value) -> Vec<String> {
    let slots = panel["status"]["slots"].as_array().into_iter().flatten();
    let text = |slot: &Value| {
        let stream = slot["stream"].as_str().unwrap();
        format!("{stream} {}", slot["attempt"])
    };
    slots.map(text).collect()
}

fn plays(objects: &Objects, stream: &str) -> bool {
    let named = status(objects, stream, "/pod/name").as_str();
    let runs = status(objects, stream, "/pod/endpoint").is_string();
    runs && named.is_some_and(|named| objects.get("pods", named).is_some())
}

pub(crate) fn reason(objects: &Objects, stream: &str) -> (String, String) {
    let conditions = status(objects, stream, "/conditions").as_array();
    let mut conditions = conditions.into_iter().flatten();
    let provisioned = conditions.find(|one| one["type"] == "Provisioned");
    let field = |name: &str| provisioned.and_then(|one| one[name].as_str());
    let field = |name| field(name).unwrap_or_default().to_owned();
    (field("reason"), field("message"))
}

/// What must have held after each change.
pub(crate) fn never_without_a_slot(world: &World) {
    for objects in world.api.moments(&["pods", "providers"]) {
        let of = |resource: &'static str| {
            let of = objects.iter().filter(move |((of, _), _)| of == resource);
            of.map(|(_, object)| object)
        };
        for panel in of("providers") {
            let (entries, limit) = (entries_of(panel), &panel["spec"]["maximumConnections"]);
            assert!(
                json!(entries.len()).as_i64() <= limit.as_i64(),
                "{entries:?}"
            );
        }
        for pod in of("pods") {
            let metadata = &pod["metadata"];
            let annotations = &metadata["annotations"];
            let made = annotations["headend.dev/provider"].as_str();
            let Some(provider) = annotations[ACCOUNT].as_str().or(made) else {
                continue;
            };
            let panel = of("providers").find(|panel| panel["metadata"]["name"] == provider);
            let labels = &metadata["labels"];
            let attempt = labels["headend.dev/attempt"].as_str().unwrap();
            let entry = format!(
                "{} {attempt}",
                labels["headend.dev/stream"].as_str().unwrap()
            );
            // A pod whose container has ended, or that has finished, has no connection.
            let ended = pod["status"]["phase"] == "Failed" || !annotations[CLOSED].is_null();
            let entered = panel.is_some_and(|panel| entries_of(panel).contains(&entry));
            assert!(entered || ended, "{entry}: {objects:#?}");
        }
    }
}

/// `news` has the only connection, and `sport` wants one.
async fn one_waits(world: &World) -> Operator {
    let operator = world.operator();
    world.provider(1);
    world.create("news", &channel());
    world
        .until("news plays", |objects| plays(objects, "news"))
        .await;
    world.create("sport", &channel());
    world
        .until("sport is refused", |objects| {
            reason(objects, "sport").0 == "ProviderSlotsExhausted"
        })
        .await;
    operator
}

/// Somebody watches a stream.
pub(crate) async fn watch(world: &World, stream: &str) {
    let uid = world.api.with(|objects| {
        let stream = objects.get("livestreams", stream).unwrap();
        stream["metadata"]["uid"].as_str().unwrap().to_owned()
    });
    let touch = Touch {
        stream_uid: uid,
        age: std::time::Duration::ZERO,
        viewers: 1,
    };
    let (now, _) = world.presence.flushes().await.unwrap();
    let touches = [touch];
    let flush = world.presence.flush("gateway", &touches, now);
    flush.await.unwrap();
}

#[tokio::test]
async fn a_connection_is_entered_before_its_pod_and_after_its_attempt_is_named() {
    let world = World::new();
    world.provider(1);
    let operator = world.operator();
    let told = |objects: &Objects| !objects.get("providers", "panel").unwrap()["status"].is_null();
    world.until("the Provider is told", told).await;
    world.create("news", &channel());
    world
        .until("it plays", |objects| plays(objects, "news"))
        .await;
    assert_eq!(
        world.api.writes(),
        [
            "PATCH providers/status",
            "PATCH livestreams/status",
            "PATCH providers/status",
            "POST pods",
            "PATCH livestreams/status"
        ]
    );
    world.api.with(|objects| {
        assert_eq!(entries(objects), ["news 1"]);
        let panel = &objects.get("providers", "panel").unwrap()["status"];
        assert_eq!(
            (&panel["used"], &panel["observedGeneration"]),
            (&json!(1), &json!(1))
        );
        let pod = objects.all("pods").next().unwrap();
        let text = pod.to_string();
        assert!(text.contains("headend-source-panel") && text.contains("providers/panel/username"));
    });
    let label = json!({"metadata": {"labels": {"round": "1"}}});
    let writes = world.api.writes();
    world
        .api
        .with(|objects| objects.change("providers", "panel", &label));
    world.create("other", &json!({}));
    let idle = |objects: &Objects| status(objects, "other", "/phase") == "Idle";
    world.until("the other one is told", idle).await;
    assert_eq!(
        world.api.writes().len(),
        writes.len() + 1,
        "a label is no news"
    );
    operator.stop().await.unwrap();
    never_without_a_slot(&world);
}

#[tokio::test]
async fn who_waits_is_told_who_has_the_connection_and_starts_when_it_is_given_back() {
    let world = World::new();
    let operator = one_waits(&world).await;
    watch(&world, "news").await;
    world.api.with(|objects| {
        let (_, message) = reason(objects, "sport");
        assert!(
            message.contains("1 of 1 connections of Provider panel are in use, by news"),
            "{message}"
        );
        assert_eq!(status(objects, "sport", "/phase"), "Pending");
        assert_eq!(pods(objects).len(), 1);
        let stop = json!({"spec": {"replicas": 0}});
        objects.change("livestreams", "news", &stop);
    });
    world
        .until("sport plays", |objects| plays(objects, "sport"))
        .await;
    world
        .api
        .with(|objects| assert_eq!(entries(objects), ["sport 1"]));
    operator.stop().await.unwrap();
    never_without_a_slot(&world);
}

#[tokio::test]
async fn a_connection_of_a_stream_that_is_deleted_is_given_back() {
    let world = World::new();
    let operator = one_waits(&world).await;
    watch(&world, "news").await;
    world
        .api
        .with(|objects| objects.remove("livestreams", "news"));
    world
        .until("sport plays", |objects| plays(objects, "sport"))
        .await;
    operator.stop().await.unwrap();
    never_without_a_slot(&world);
}

#[tokio::test]
async fn an_entry_that_nobody_has_a_pod_for_is_dropped_by_the_next_operator() {
    let world = World::new();
    world.provider(1);
    let slot = json!({"streamUid": "gone", "attempt": 3, "stream": "gone"});
    let status = json!({"status": {"slots": [slot]}});
    world
        .api
        .with(|objects| objects.change("providers", "panel", &status));
    let operator = world.operator();
    world.create("news", &channel());
    world
        .until("it plays", |objects| plays(objects, "news"))
        .await;
    operator.stop().await.unwrap();
    never_without_a_slot(&world);
}

#[tokio::test]
async fn what_nobody_watches_gives_its_connection_up() {
    let world = World::new();
    let operator = one_waits(&world).await;
    world
        .until("sport plays", |objects| plays(objects, "sport"))
        .await;
    world.api.with(|objects| {
        let news = objects.get("livestreams", "news").unwrap();
        assert_eq!(news["spec"]["replicas"], 0);
        assert_eq!(entries(objects), ["sport 1"]);
    });
    operator.stop().await.unwrap();
    never_without_a_slot(&world);
}

#[tokio::test]
async fn a_provider_that_is_missing_is_named_and_starts_its_streams_when_it_comes() {
    let world = World::new();
    let operator = world.operator();
    world.create("news", &channel());
    world
        .until("it is refused", |objects| {
            let (reason, message) = reason(objects, "news");
            reason == "ReferenceNotFound" && message.contains("there is no Provider \"panel\"")
        })
        .await;
    world.provider(1);
    world
        .until("it plays", |objects| plays(objects, "news"))
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_operator_lost_at_any_write_leaves_no_connection_behind() {
    at_every_write(
        |world| {
            world.provider(1);
            world.create("news", &channel());
        },
        |objects| plays(objects, "news") && entries(objects) == ["news 1"],
    )
    .await;
    // The pod ends as soon as it runs: the next attempt needs the same connection.
    at_every_write(
        |world| {
            world.provider(1);
            world.create("news", &channel());
            world.api.before(|objects, _, _| {
                let first = objects.all("pods").find(|pod| {
                    pod["metadata"]["labels"]["headend.dev/attempt"] == "1"
                        && pod["status"]["phase"] == "Running"
                });
                let name = first.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned());
                if let Some(name) = name {
                    objects.change("pods", &name, &json!({"status": {"phase": "Failed"}}));
                }
            });
        },
        |objects| plays(objects, "news") && entries(objects) == ["news 2"],
    )
    .await;
}

#[tokio::test]
async fn two_operators_never_give_more_than_there_is() {
    let world = World::new();
    world.provider(2);
    let operators = [world.operator(), world.operator()];
    for round in 0..5 {
        world.create(&format!("news-{round}"), &channel());
    }
    let names: Vec<_> = (0..5).map(|round| format!("news-{round}")).collect();
    world
        .until("two play and three wait", |objects| {
            let playing = names.iter().filter(|name| plays(objects, name)).count();
            let waits = |name: &&String| reason(objects, name).0 == "ProviderSlotsExhausted";
            playing == 2 && names.iter().filter(waits).count() == 3
        })
        .await;
    for operator in operators {
        operator.stop().await.unwrap();
    }
    never_two(&world);
    never_without_a_slot(&world);
}
