//! Streams that a person keeps: by an annotation, or by telling the release not to collect.

use serde_json::{Value, json};

use crate::api_server::Objects;
use crate::world::{World, metrics, pods, runs, status};

/// A stream that is idle at once.
fn idle_at_once() -> Value {
    json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0})
}

fn hold(value: &Value) -> Value {
    json!({"metadata": {"annotations": {"headend.dev/hold": value}}})
}

/// Reason and message of a condition.
fn said(objects: &Objects, condition: &str) -> (String, String) {
    let conditions = status(objects, "news-one", "/conditions").as_array();
    let found = conditions.and_then(|all| all.iter().find(|one| one["type"] == condition));
    let text = |field: &str| {
        let text = found.and_then(|found| found[field].as_str());
        text.unwrap_or_default().to_owned()
    };
    (text("reason"), text("message"))
}

#[tokio::test]
async fn a_stream_that_is_held_stays_as_it_is_until_it_is_let_go() {
    let world = World::new();
    world.create("news-one", &idle_at_once());
    let why = hold(&json!("anna looks into it"));
    world
        .api
        .with(|objects| objects.change("livestreams", "news-one", &why));
    let operator = world.operator();
    world
        .until("it runs and says that it is held", |objects| {
            let (reason, message) = said(objects, "Idle");
            runs(objects, "news-one")
                && reason == "Held"
                && message.ends_with(": anna looks into it")
        })
        .await;
    let name = world.api.with(|objects| pods(objects).remove(0));
    let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
    world
        .api
        .with(|objects| objects.change("pods", &name, &evicted));
    world
        .until("it says that its pod is not replaced", |objects| {
            let (reason, message) = said(objects, "Provisioned");
            reason == "PodFailed" && message.contains("not replaced while")
        })
        .await;
    world.api.with(|objects| {
        assert_eq!(pods(objects), std::slice::from_ref(&name));
        assert_eq!(status(objects, "news-one", "/pod/attempt"), 1);
        assert!(!objects.get("livestreams", "news-one").unwrap().is_null());
    });
    let let_go = hold(&Value::Null);
    world
        .api
        .with(|objects| objects.change("livestreams", "news-one", &let_go));
    world
        .until("it is collected", |objects| {
            objects.get("livestreams", "news-one").is_none() && pods(objects).is_empty()
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_release_that_is_told_not_to_collect_says_so_and_collects_again_when_it_may() {
    let world = World::new();
    world.create("news-one", &idle_at_once());
    let operator = world.operator_with(&["--collect", "false"]);
    world
        .until("it runs and says that nothing is collected", |objects| {
            let (reason, message) = said(objects, "Idle");
            runs(objects, "news-one")
                && reason == "CollectionPaused"
                && message.contains("operator.collect")
        })
        .await;
    let text = metrics(operator.admin).await;
    for line in [
        "headend_collecting 0",
        "headend_leader 1",
        "headend_stream_conditions{type=\"Idle\",status=\"Unknown\",reason=\"CollectionPaused\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
    }
    operator.stop().await.unwrap();
    let operator = world.operator();
    world
        .until("it is collected", |objects| {
            objects.get("livestreams", "news-one").is_none()
        })
        .await;
    operator.stop().await.unwrap();
}
