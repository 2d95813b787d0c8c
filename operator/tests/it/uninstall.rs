//! The release goes: its streams stop, and the process waits for their pods.

use operator::settings::{Settings, UninstallSettings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, Objects};
use crate::world::{World, runs, settings, status, wanted};

fn within(seconds: &str) -> UninstallSettings {
    let more = [
        "--uninstall-timeout-seconds",
        seconds,
        "--gateway-deployment",
        "release-gateway",
    ];
    match settings("uninstall", &more) {
        Settings::Uninstall(settings) => settings,
        other => panic!("not the settings of uninstall: {other:?}"),
    }
}

#[tokio::test]
async fn streams_of_gateways_are_deleted_and_those_of_people_suspended() {
    let world = World::new();
    let operator = world.operator();
    world.create("by-hand", &wanted());
    world
        .until("it runs", |objects| runs(objects, "by-hand"))
        .await;
    let stream = json!({
        "metadata": {"name": "by-gateway", "generation": 1, "labels": {"headend.dev/origin": "gateway"}},
        "spec": {"className": "default", "sources": [{"url": "http://source.example/one.ts"}]},
    });
    world.api.with(|objects| objects.put("livestreams", stream));
    let token = CancellationToken::new();
    operator::uninstall(world.api.client(), &within("20"), token)
        .await
        .unwrap();
    world.api.with(|objects| {
        assert_eq!(objects.all("pods").count(), 0);
        assert_eq!(objects.get("livestreams", "by-gateway"), None);
        let by_hand = objects.get("livestreams", "by-hand").unwrap();
        assert_eq!(by_hand["spec"]["suspend"], true);
    });
    operator.stop().await.unwrap();
}

/// A gateway that somebody watches through: as long as it is there, its stream comes back.
fn watched_gateway(world: &World, stream: &Value) {
    let labels =
        json!({"app.kubernetes.io/component": "gateway", "app.kubernetes.io/instance": "release"});
    world.api.with(|objects| {
        objects.put(
            "pods",
            json!({"metadata": {"name": "gateway-1", "labels": labels}, "spec": {}}),
        );
        objects.put(
            "deployments",
            json!({"metadata": {"name": "release-gateway"}, "spec": {"replicas": 1}}),
        );
    });
    let (api, stream) = (world.api.clone(), stream.clone());
    tokio::spawn(async move {
        let mut changes = api.changes();
        loop {
            let (wanted, watched) = api.with(|objects| {
                let gateways = objects.get("deployments", "release-gateway");
                let wanted = gateways.unwrap()["spec"]["replicas"] != 0;
                (wanted, objects.get("livestreams", "by-gateway").is_some())
            });
            if !wanted {
                return api.with(|objects| objects.remove("pods", "gateway-1"));
            }
            if !watched {
                api.with(|objects| objects.put("livestreams", stream.clone()));
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

#[tokio::test]
async fn a_gateway_that_is_watched_through_makes_no_stream_again() {
    let world = World::new();
    let operator = world.operator();
    let stream = json!({
        "metadata": {"name": "by-gateway", "generation": 1, "labels": {"headend.dev/origin": "gateway"}},
        "spec": {"className": "default", "replicas": 1, "sources": [{"url": "http://source.example/one.ts"}]},
    });
    watched_gateway(&world, &stream);
    let has_pod = |objects: &Objects| status(objects, "by-gateway", "/pod/endpoint").is_string();
    world.until("it runs", has_pod).await;
    let token = CancellationToken::new();
    operator::uninstall(world.api.client(), &within("20"), token)
        .await
        .unwrap();
    world.api.with(|objects| {
        assert_eq!(objects.all("pods").count(), 0);
        assert_eq!(objects.get("livestreams", "by-gateway"), None);
    });
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn pods_that_do_not_end_are_named() {
    let api = ApiServer::new();
    let labels = json!({"app.kubernetes.io/component": "transcoder", "app.kubernetes.io/instance": "release"});
    let pod = json!({"metadata": {"name": "news-one-00000000-1", "labels": labels}, "spec": {}});
    api.with(|objects| objects.put("pods", pod));
    let token = CancellationToken::new();
    let error = operator::uninstall(api.client(), &within("1"), token)
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "failed to see the pods [\"news-one-00000000-1\"] end within 1 s"
    );
}
