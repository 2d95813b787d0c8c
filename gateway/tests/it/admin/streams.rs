//! Streams: what they do, who watches them, and their switches.

use presence::{Presence, StoreTime, Touch};
use serde_json::json;

use super::{Api, json as body, refused};
use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world;

/// Two viewers at one gateway, one at another.
async fn watch(api: &Api, uid: &str) {
    for (gateway, viewers) in [("gateway-0", 2), ("gateway-1", 1)] {
        let touch = Touch {
            stream_uid: uid.to_owned(),
            age: std::time::Duration::ZERO,
            viewers,
        };
        let presence = &api.world.presence;
        presence
            .flush(gateway, &[touch], StoreTime(u64::MAX))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn streams_are_listed_with_what_they_do_and_who_watches() {
    let api = Api::start().await;
    api.world
        .by_hand("own-stream", |object| {
            object["spec"]["displayName"] = json!("Made by hand");
            object["status"]["phase"] = json!("Failed");
            object["status"]["conditions"] = json!([{
                "type": "SourceHealthy", "status": "False", "reason": "HttpError", "message": "the source answered 404",
                "lastTransitionTime": "2026-06-01T12:00:00Z"
            }]);
        })
        .await;
    api.world
        .by_hand("play", |object| object["status"]["phase"] = json!("Live"))
        .await;
    watch(&api, &api.world.uid("play")).await;
    let listed = api.get("/api/v1/streams").await;
    let own = json!({
        "name": "own-stream", "uid": api.world.uid("own-stream"), "displayName": "Made by hand", "phase": "Failed",
        "reason": "HttpError", "message": "the source answered 404", "viewers": 0
    });
    let play =
        json!({ "name": "play", "uid": api.world.uid("play"), "phase": "Live", "viewers": 3 });
    let plays = |mut stream: serde_json::Value| {
        // Whatever the test's API server calls it.
        stream.as_object_mut().unwrap().remove("displayName");
        stream
    };
    assert_eq!(listed["streams"][0], own);
    assert_eq!(plays(listed["streams"][1].clone()), play);
    assert_eq!(plays(api.get("/api/v1/streams/play").await), play);
    refused(
        &api.ask("GET", "/api/v1/streams/none", None).await,
        404,
        "NotFound",
    );
    let first = api.get("/api/v1/streams?limit=1").await;
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/v1/streams?cursor={next}")).await;
    assert_eq!(second["streams"][0]["name"], "play");
    assert_eq!(
        api.get("/api/v1/streams?search=HAND").await["streams"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let stats = api.get("/api/v1/stats").await;
    assert_eq!(
        stats["streams"],
        json!({ "active": 1, "phases": { "Failed": 1, "Live": 1 } })
    );
}

#[tokio::test]
async fn a_stream_is_stopped_suspended_and_resumed_by_one_change_each() {
    let api = Api::start().await;
    api.world.by_hand("play", |_| {}).await;
    let spec = || api.world.server.object("play").unwrap()["spec"].clone();
    let before = api.world.server.calls().len();
    for (switch, field, value) in [
        ("stop", "replicas", json!(0)),
        ("suspend", "suspend", json!(true)),
        ("resume", "suspend", json!(false)),
    ] {
        let uri = format!("/api/v1/streams/play/{switch}");
        let answer = api.ask_as("ops-token", "POST", &uri, None).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
        assert_eq!(spec()[field], value, "{switch}");
    }
    assert_eq!(api.world.server.calls().len(), before + 3);
    let none = api.ask("POST", "/api/v1/streams/none/stop", None).await;
    refused(&none, 404, "NotFound");
    assert_eq!(api.world.server.calls().len(), before + 3);
}

#[tokio::test]
async fn who_watches_a_suspended_stream_is_told_so() {
    let api = Api::start().await;
    let pod = Pod::start().await;
    let uid = api.world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..20));
    assert_eq!(api.world.master("news-one").await.status, 200);
    let suspended = api
        .ask("POST", "/api/v1/streams/news-one/suspend", None)
        .await;
    assert_eq!(suspended.status, 204, "{}", suspended.body);
    let told = async {
        loop {
            let answer = api.world.master("news-one").await;
            if answer.status != 200 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_mins(1), told)
        .await
        .unwrap();
    assert_eq!(
        (told.status, told.header("headend-reason")),
        (503, "Suspended"),
        "{}",
        told.body
    );
}

#[tokio::test]
async fn what_gateways_tell_of_themselves_is_added_up_and_what_they_sent_stays_when_one_ends() {
    let api = Api::start().await;
    let pod = Pod::start().await;
    let uid = api.world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..20));
    let variants = api.world.master("news-one").await.uris();
    let segments = api.world.get(&variants[0]).await.uris();
    let mut sent = 0;
    for _ in 0..2 {
        let segment = api.world.get(&segments[0]).await;
        assert_eq!(segment.status, 200);
        sent += segment.body.len();
    }
    world::flush(&api.world.gateway).await;
    let other = api.world.replica("gateway-1");
    other.flush().await;
    let stats = api.get("/api/v1/stats").await;
    let names = stats["gateways"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|gateway| gateway["name"].clone()).collect();
    assert_eq!(names, ["gateway-0", "gateway-1"]);
    let total = &stats["total"];
    let counts = ["sessions", "cacheHits", "cacheMisses"].map(|name| total[name].clone());
    assert_eq!(counts, [1, 1, 1]);
    assert_eq!(total["cacheHitRatio"], 0.5);
    for period in ["days", "months"] {
        let rows = stats["traffic"][period].as_array().unwrap();
        let bytes = rows.iter().map(|row| row["bytes"].as_u64().unwrap());
        assert_eq!(bytes.sum::<u64>(), sent as u64, "{stats}");
    }
}

#[tokio::test]
async fn health_says_what_works_and_stats_what_was_done() {
    let api = Api::start().await;
    let health = api.get("/api/v1/health").await;
    assert_eq!(
        (&health["status"], &health["presence"]),
        (&json!("ok"), &json!("ok"))
    );
    assert_eq!(
        health["catalog"],
        json!({ "channels": 0, "users": 0, "writable": true })
    );
    let stats = body(&api.ask_as("desk-token", "GET", "/api/v1/stats", None).await);
    assert_eq!(stats["gateway"]["name"], "gateway-0");
    assert_eq!(
        (
            &stats["gateway"]["cacheHits"],
            stats["gateway"].get("cacheHitRatio")
        ),
        (&json!(0), None)
    );
}
