//! A stream's life, with one operator that is well.

use std::sync::{Arc, Mutex};

use http::Method;
use presence::{Fence, Presence};
use serde_json::{Value, json};

use crate::slots::channel;
use crate::world::{World, pods, runs, status, wanted};

#[tokio::test]
async fn the_status_names_a_pod_before_it_is_created() {
    let (world, operator) = World::running().await;
    assert_eq!(
        world.api.writes(),
        [
            "PATCH livestreams/status",
            "POST pods",
            "PATCH livestreams/status"
        ]
    );
    world.api.with(|objects| {
        let uid = objects.get("livestreams", "news-one").unwrap()["metadata"]["uid"].clone();
        let pod = objects.all("pods").next().unwrap();
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], uid);
        assert_eq!(pod["metadata"]["ownerReferences"][0]["controller"], true);
        assert_eq!(status(objects, "news-one", "/phase"), "Starting");
    });
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let world = World::new();
    let operator = world.operator();
    world.create("news-one", &wanted());
    world.create("news-two", &json!({}));
    world
        .until("both are told", |objects| {
            runs(objects, "news-one") && status(objects, "news-two", "/phase") == "Idle"
        })
        .await;
    let writes = world.api.writes();
    for round in 0..100 {
        let label = json!({"metadata": {"labels": {"round": round.to_string()}}});
        world.api.with(|objects| {
            objects.change("livestreams", "news-one", &label);
            objects.change("livestreams", "news-two", &label);
        });
    }
    // A stream that is told after all of these rounds has been seen after them.
    world.create("news-three", &json!({}));
    world
        .until("the last is told", |objects| {
            status(objects, "news-three", "/phase") == "Idle"
        })
        .await;
    let told_last = vec!["PATCH livestreams/status".to_owned()];
    assert_eq!(world.api.writes(), [writes, told_last].concat());
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn suspending_stops_and_resuming_starts_a_new_attempt() {
    let (world, operator) = World::running().await;
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    world
        .api
        .with(|objects| objects.change("livestreams", "news-one", &suspend(true)));
    world
        .until("it is suspended", |objects| {
            status(objects, "news-one", "/phase") == "Suspended" && pods(objects).is_empty()
        })
        .await;
    world
        .api
        .with(|objects| objects.change("livestreams", "news-one", &suspend(false)));
    world.until_attempt(2).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_that_ended_is_replaced_by_the_next_attempt() {
    let (world, operator) = World::running().await;
    let name = world.api.with(|objects| pods(objects).remove(0));
    let evicted =
        json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}});
    world
        .api
        .with(|objects| objects.change("pods", &name, &evicted));
    world.until_attempt(2).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_that_is_being_deleted_is_replaced_at_once() {
    let (world, operator) = World::running().await;
    let name = world.api.with(|objects| pods(objects).remove(0));
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-03-01T11:00:00Z"}});
    world
        .api
        .with(|objects| objects.change("pods", &name, &deleted));
    world.until_attempt(2).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_that_the_status_does_not_name_is_removed() {
    let (world, operator) = World::running().await;
    world.api.with(|objects| {
        let mut other = objects.all("pods").next().unwrap().clone();
        other["metadata"]["name"] = json!("news-one-stray-9");
        other["metadata"]["uid"] = json!("stray");
        objects.put("pods", other);
    });
    world.until_attempt(1).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_idle_stream_is_deleted_and_forgotten() {
    let world = World::new();
    let operator = world.operator();
    world.create(
        "news-one",
        &json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0}),
    );
    world
        .until("it is gone", |objects| {
            objects.get("livestreams", "news-one").is_none() && objects.all("pods").next().is_none()
        })
        .await;
    operator.stop().await.unwrap();
    let (_, uid) = first_uid(&world);
    let stream = world.presence.stream(&uid).await.unwrap();
    assert_eq!((stream.last, stream.fence), (None, Fence::Open));
}

fn first_uid(world: &World) -> (String, String) {
    let (name, stream) = world.api.history("livestreams").remove(0);
    let uid = stream.unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    (name, uid)
}

/// Everything the operator tries to write of a stream from its start until nothing is left of it, as a gateway makes it.
async fn writes_of_a_life(spec: Value) -> Vec<String> {
    let (world, _) = World::with_players();
    world.provider(1);
    let operator = world.operator();
    world
        .until("the Provider is told", |objects| {
            objects.get("providers", "panel").unwrap()["status"].is_object()
        })
        .await;
    let tried = Arc::new(Mutex::new(Vec::new()));
    let writes = tried.clone();
    world.api.before(move |_, method, what| {
        writes.lock().unwrap().push(format!("{method} {what}"));
    });
    let mut spec = spec;
    spec["whenIdle"] = json!("Delete");
    spec["idleTimeoutSeconds"] = json!(4);
    world.create("news-one", &spec);
    world
        .until("nothing is left of it", |objects| {
            let slots = &objects.get("providers", "panel").unwrap()["status"]["slots"];
            objects.get("livestreams", "news-one").is_none()
                && objects.all("pods").next().is_none()
                && slots.as_array().is_none_or(Vec::is_empty)
        })
        .await;
    operator.stop().await.unwrap();
    let history = world.api.history("livestreams");
    let mut streams = history.iter().filter_map(|(_, stream)| stream.as_ref());
    assert!(streams.any(|stream| stream["status"]["phase"] == "Live"));
    tried.lock().unwrap().clone()
}

/// Pods are left to the garbage collector once they have said that they end. With the creation by a gateway it is one more.
#[tokio::test]
async fn a_whole_life_takes_five_writes() {
    assert_eq!(
        writes_of_a_life(wanted()).await,
        [
            "PATCH livestreams/status",
            "POST pods",
            "PATCH livestreams/status",
            "PATCH livestreams/status",
            "DELETE livestreams",
        ]
    );
}

#[tokio::test]
async fn a_whole_life_with_a_connection_of_a_provider_takes_seven_writes() {
    assert_eq!(
        writes_of_a_life(channel()).await,
        [
            "PATCH livestreams/status",
            "PATCH providers/status",
            "POST pods",
            "PATCH livestreams/status",
            "PATCH livestreams/status",
            "DELETE livestreams",
            "PATCH providers/status",
        ]
    );
}

#[tokio::test]
async fn an_idle_stream_of_a_person_is_scaled_to_zero_and_stays() {
    let world = World::new();
    let operator = world.operator();
    world.create("news-one", &json!({"replicas": 1, "idleTimeoutSeconds": 0}));
    world
        .until("it is at zero", |objects| {
            objects.get("livestreams", "news-one").unwrap()["spec"]["replicas"] == 0
                && status(objects, "news-one", "/phase") == "Idle"
                && objects.all("pods").next().is_none()
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_woken_at_the_last_moment_is_kept() {
    let world = World::new();
    // A gateway patches the stream just before the operator's deletion of it arrives.
    let mut woken = false;
    world.api.before(move |objects, method, what| {
        if *method == Method::DELETE && what == "livestreams" && !woken {
            woken = true;
            let wake = json!({"metadata": {"annotations": {"headend.dev/woken-at": "now"}}, "spec": {"idleTimeoutSeconds": 300}});
            objects.change("livestreams", "news-one", &wake);
        }
    });
    let operator = world.operator();
    world.create(
        "news-one",
        &json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0}),
    );
    world
        .until("it was woken, and told", |objects| {
            let generation =
                objects.get("livestreams", "news-one").unwrap()["metadata"]["generation"].clone();
            generation == 2
                && *status(objects, "news-one", "/observedGeneration") == generation
                && runs(objects, "news-one")
        })
        .await;
    operator.stop().await.unwrap();
    let (_, uid) = first_uid(&world);
    assert_eq!(
        world.presence.stream(&uid).await.unwrap().fence,
        Fence::Open
    );
    assert!(
        !world
            .api
            .writes()
            .contains(&"DELETE livestreams".to_owned())
    );
    // Whoever else had sealed it would fail, too.
    let kept = world.api.bodies("PATCH livestreams").remove(0);
    assert!(kept["metadata"]["annotations"]["headend.dev/kept-at"].is_string());
}

#[tokio::test]
async fn a_status_that_changed_meanwhile_is_observed_anew() {
    let world = World::new();
    let mut meddled = false;
    world.api.before(move |objects, method, what| {
        if *method == Method::PATCH && what == "livestreams/status" && !meddled {
            meddled = true;
            let label = json!({"metadata": {"labels": {"meddled": "yes"}}});
            objects.change("livestreams", "news-one", &label);
        }
    });
    let operator = world.operator();
    world.create("news-one", &wanted());
    world.until_attempt(1).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_class_that_is_missing_is_told_and_starts_its_streams_when_it_comes() {
    let world = World::new();
    let operator = world.operator();
    world.create("news-one", &json!({"replicas": 1, "className": "sport"}));
    world
        .until("it is refused", |objects| {
            status(objects, "news-one", "/phase") == "Failed"
        })
        .await;
    world.api.with(|objects| {
        let conditions = status(objects, "news-one", "/conditions")
            .as_array()
            .unwrap();
        let provisioned = conditions
            .iter()
            .find(|one| one["type"] == "Provisioned")
            .unwrap();
        assert_eq!(provisioned["reason"], "ClassNotFound");
        assert_eq!(objects.all("pods").count(), 0);
    });
    let class = json!({"metadata": {"name": "sport"}, "spec": {}});
    world
        .api
        .with(|objects| objects.put("streamclasses", class));
    world.until_attempt(1).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_malformed_stream_stops_nobody() {
    let world = World::new();
    let operator = world.operator();
    let bad = json!({"metadata": {"name": "bad"}, "spec": {"replicas": "many"}});
    world.api.with(|objects| objects.put("livestreams", bad));
    for number in 0..1000 {
        world.create(&format!("good-{number}"), &json!({}));
    }
    world.create("news-one", &wanted());
    world
        .until("the good ones are told, and one runs", |objects| {
            let idle = |number| status(objects, &format!("good-{number}"), "/phase") == "Idle";
            runs(objects, "news-one") && (0..1000).rev().all(idle)
        })
        .await;
    world
        .api
        .with(|objects| assert_eq!(*status(objects, "bad", ""), Value::Null));
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_deleted_stream_leaves_is_cleared_up() {
    let (world, operator) = World::running().await;
    world
        .api
        .with(|objects| objects.remove("livestreams", "news-one"));
    // This API server has no garbage collector: the operator does it.
    world
        .until("its pod is gone", |objects| {
            objects.all("pods").next().is_none()
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn pods_of_a_stream_of_the_same_name_are_told_apart_by_uid() {
    let (world, operator) = World::running().await;
    let first = world.api.with(|objects| pods(objects).remove(0));
    operator.kill().await;
    // Deleted and made anew while no operator was there.
    world
        .api
        .with(|objects| objects.remove("livestreams", "news-one"));
    world.create("news-one", &wanted());
    let operator = world.operator();
    world
        .until("the new one runs alone", |objects| {
            runs(objects, "news-one") && pods(objects) != [first.clone()]
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_not_repeated_under_another_name() {
    let world = World::new();
    world.api.lose_answer_of("POST pods");
    let operator = world.operator();
    world.create("news-one", &wanted());
    world.until_attempt(1).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_pod_name_that_somebody_else_has_taken_costs_one_attempt() {
    let world = World::new();
    world.create("news-one", &wanted());
    let (_, uid) = first_uid(&world);
    let taken = api::names::pod_name("news-one", &uid, 1);
    let foreign = json!({"metadata": {"name": taken}, "spec": {}, "status": {"phase": "Running"}});
    world.api.with(|objects| objects.put("pods", foreign));
    let operator = world.operator();
    world
        .until("the second attempt runs", |objects| {
            let endpoint = status(objects, "news-one", "/pod/endpoint");
            status(objects, "news-one", "/pod/attempt") == 2 && endpoint.is_string()
        })
        .await;
    world
        .api
        .with(|objects| assert!(objects.get("pods", &taken).is_some(), "it is left alone"));
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn every_write_names_the_very_object_and_version_it_means() {
    let world = World::new();
    let operator = world.operator();
    world.create("kept", &json!({"replicas": 1, "idleTimeoutSeconds": 0}));
    let deleted = json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0});
    world.create("deleted", &deleted);
    world
        .until("both are collected", |objects| {
            let gone = objects.get("livestreams", "deleted").is_none();
            gone && status(objects, "kept", "/phase") == "Idle"
                && objects.all("pods").next().is_none()
        })
        .await;
    operator.stop().await.unwrap();
    let all_strings = |write: &str, pointers: &[&str]| {
        let bodies = world.api.bodies(write);
        assert!(!bodies.is_empty(), "{write}");
        for body in bodies {
            for pointer in pointers {
                let value = body.pointer(pointer);
                assert!(
                    value.is_some_and(Value::is_string),
                    "{write} lacks {pointer}: {body}"
                );
            }
        }
    };
    let version = ["/metadata/resourceVersion", "/metadata/uid"];
    all_strings("PATCH livestreams/status", &version);
    all_strings("PATCH livestreams", &version);
    let conditions = ["/preconditions/resourceVersion", "/preconditions/uid"];
    all_strings("DELETE livestreams", &conditions);
    all_strings("DELETE pods", &["/preconditions/uid"]);
    all_strings("POST pods", &["/metadata/ownerReferences/0/uid"]);
}
