//! How many pods wait, for whom, made of what, and what becomes of them when their class, their Provider or the release goes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api_server::Objects;
use crate::warm::{class, has_said, is_warm, nothing_twice, plays, pod_of, pool, wait, waiting};
use crate::world::{World, settings};

#[tokio::test]
async fn what_waits_follows_its_class() {
    let (world, ledger, operator) = pool(2).await;
    let names = |objects: &Objects| -> BTreeSet<String> {
        let names = waiting(objects).into_iter();
        names
            .map(|pod| pod["metadata"]["name"].to_string())
            .collect()
    };
    let before = world.api.with(|objects| names(objects));
    let change = |spec: Value| {
        world
            .api
            .with(|objects| objects.change("streamclasses", "sport", &json!({ "spec": spec })));
    };
    change(json!({"idleTimeoutSeconds": 60}));
    change(json!({"preset": "low"}));
    world
        .until("others wait", |objects| {
            wait(objects, 2) && names(objects).is_disjoint(&before)
        })
        .await;
    change(json!({"warmPods": {"count": 1}}));
    world.until("one waits", |objects| wait(objects, 1)).await;
    change(json!({"warmPods": null}));
    world.until("none waits", |objects| wait(objects, 0)).await;
    change(json!({"warmPods": {"count": 1}}));
    world
        .until("one waits again", |objects| wait(objects, 1))
        .await;
    world
        .api
        .with(|objects| objects.remove("streamclasses", "sport"));
    world
        .until("none waits for a class that is gone", |objects| {
            wait(objects, 0)
        })
        .await;
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 2);
}

#[tokio::test]
async fn pods_with_the_login_of_a_provider_are_for_its_streams_alone() {
    let (world, ledger) = World::with_players();
    world.provider(2);
    class(
        &world,
        &json!({"warmPods": {"count": 1, "provider": "panel"}}),
    );
    let operator = world.operator();
    world.until("one waits", |objects| wait(objects, 1)).await;
    world.api.with(|objects| {
        let pod = waiting(objects)[0].to_string();
        assert!(pod.contains("headend-source-panel"), "{pod}");
    });
    let channel = json!({"provider": {"name": "panel", "channel": "101"}});
    let streams = [
        (
            "paid",
            json!({"replicas": 1, "className": "sport", "sources": [channel]}),
        ),
        ("free", json!({"replicas": 1, "className": "sport"})),
    ];
    streams
        .iter()
        .for_each(|(name, spec)| world.create(name, spec));
    world
        .until("both play", |objects| {
            streams.iter().all(|(name, _)| plays(objects, name)) && wait(objects, 1)
        })
        .await;
    assert!(is_warm(&pod_of(&world, "paid")) && !is_warm(&pod_of(&world, "free")));
    assert!(has_said(
        &world,
        "free",
        "kept for streams of Provider panel"
    ));
    world.api.with(|objects| {
        let panel = objects.get("providers", "panel").unwrap();
        let slots = panel["status"]["slots"].as_array().unwrap();
        assert_eq!((slots.len(), &slots[0]["stream"]), (1, &json!("paid")));
    });
    crate::slots::never_without_a_slot(&world);
    // Without the Provider there is no login to mount.
    world
        .api
        .with(|objects| objects.remove("providers", "panel"));
    world.until("none waits", |objects| wait(objects, 0)).await;
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 1);
}

#[tokio::test]
async fn pods_that_end_while_they_wait_are_made_again_with_growing_pauses() {
    let (world, _, operator) = pool(1).await;
    let end = |objects: &mut Objects| {
        let name = waiting(objects)[0]["metadata"]["name"].clone();
        let failed = json!({"status": {"phase": "Failed"}});
        objects.change("pods", name.as_str().unwrap(), &failed);
        name
    };
    for _ in 0..3 {
        let ended = world.api.with(end);
        world
            .until("another waits", |objects| {
                wait(objects, 1) && waiting(objects)[0]["metadata"]["name"] != ended
            })
            .await;
    }
    operator.stop().await.unwrap();
    let made = world.api.writes();
    let made = made.iter().filter(|write| *write == "POST pods");
    assert_eq!(made.count(), 4, "one for each that ended");
}

#[tokio::test]
async fn a_release_that_goes_takes_the_pods_that_wait_with_it() {
    let world = World::new();
    class(&world, &json!({"warmPods": {"count": 2}}));
    let operator = world.operator();
    world.until("they wait", |objects| wait(objects, 2)).await;
    let pod = json!({"metadata": {"name": "operator-1", "labels": {
        "app.kubernetes.io/component": "operator", "app.kubernetes.io/instance": "release",
    }}});
    let deployment = json!({"metadata": {"name": "release-operator"}, "spec": {"replicas": 1}});
    world.api.with(|objects| {
        objects.put("deployments", deployment);
        objects.put("pods", pod);
    });
    let ended = CancellationToken::new();
    let (api, token) = (world.api.clone(), ended.clone());
    world.once(
        |objects| {
            let operators = objects.get("deployments", "release-operator");
            operators.is_some_and(|operators| operators["spec"]["replicas"] == 0)
        },
        move |_| token.cancel(),
    );
    let operators = tokio::spawn(async move {
        ended.cancelled().await;
        operator.stop().await.unwrap();
        api.with(|objects| objects.remove("pods", "operator-1"));
    });
    let more = ["--operator-deployment", "release-operator"];
    let operator::settings::Settings::Uninstall(settings) = settings("uninstall", &more) else {
        panic!("uninstall must be read");
    };
    operator::uninstall(world.api.client(), &settings, CancellationToken::new())
        .await
        .unwrap();
    operators.await.unwrap();
    let left: Vec<Value> = world
        .api
        .with(|objects| objects.all("pods").cloned().collect());
    assert_eq!(left, Vec::<Value>::new());
}
