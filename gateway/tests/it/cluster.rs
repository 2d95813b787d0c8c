//! What the gateway asks of the API server: exactly this, and no more.

use std::time::Duration;

use http::Method;
use runtime::trace::TraceContext;
use serde_json::{Value, json};

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::World;

/// A body without what differs from run to run; checks that it was there.
fn without_moments(mut body: Value) -> Value {
    let annotations = &mut body["metadata"]["annotations"];
    if let Some(woken_at) = annotations.get("headend.dev/woken-at").cloned() {
        let moment: jiff::Timestamp = woken_at.as_str().unwrap().parse().unwrap();
        assert!(
            jiff::Timestamp::now().duration_since(moment).abs()
                < jiff::SignedDuration::from_mins(1)
        );
        annotations["headend.dev/woken-at"] = json!("<moment>");
    }
    if annotations.get("headend.dev/channel-revision").is_some() {
        assert_eq!(
            annotations["headend.dev/channel-revision"]
                .as_str()
                .unwrap()
                .len(),
            16
        );
        annotations["headend.dev/channel-revision"] = json!("<revision>");
    }
    if let Some(trace) = annotations.get("headend.dev/traceparent").cloned() {
        let trace = trace.as_str().unwrap().parse::<TraceContext>();
        trace.unwrap();
        annotations["headend.dev/traceparent"] = json!("<trace>");
    }
    body
}

fn woken() -> Value {
    json!({
        "metadata": { "annotations": { "headend.dev/woken-at": "<moment>", "headend.dev/traceparent": "<trace>" } },
        "spec": { "replicas": 1 }
    })
}

#[tokio::test]
async fn fifty_viewers_of_a_cold_channel_make_one_stream() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let viewers = futures::future::join_all((0..50).map(|_| world.master("news-one")));
    let operator = async {
        world
            .server
            .until("the stream is made", |server| {
                server.object("news-one").is_some()
            })
            .await;
        let uid = world.moved("news-one", 1, &pod);
        pod.publish(playlists(&uid, 1, 1, 10..11));
    };
    let (answers, ()) = tokio::join!(viewers, operator);
    for answer in answers {
        assert_eq!(answer.uris().len(), 2);
    }
    let calls = world.server.calls();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(calls[0].method, Method::POST);
    assert_eq!(
        without_moments(calls[0].body.clone()),
        json!({
            "apiVersion": "headend.dev/v1alpha1",
            "kind": "LiveStream",
            "metadata": {
                "name": "news-one",
                "labels": { "headend.dev/origin": "gateway", "app.kubernetes.io/instance": "tv-one" },
                "annotations": {
                    "headend.dev/woken-at": "<moment>", "headend.dev/channel-revision": "<revision>", "headend.dev/traceparent": "<trace>"
                }
            },
            "spec": {
                "className": "default", "displayName": "News One", "replicas": 1, "suspend": false, "whenIdle": "Delete",
                "sources": [{ "url": "http://source.example/one.ts" }]
            }
        })
    );
}

#[tokio::test]
async fn a_stream_that_another_gateway_made_a_moment_ago_is_used() {
    let world = World::start().await;
    let pod = Pod::start().await;
    // The watch has not told of it yet: it is there only for those who ask.
    world.server.put_silently("news-one", |object| {
        object["metadata"]["labels"] = json!({ "headend.dev/origin": "gateway" });
        object["spec"]["replicas"] = json!(1);
    });
    let operator = async {
        world
            .server
            .until("it is asked for", |server| server.calls().len() >= 2)
            .await;
        let uid = world.moved("news-one", 1, &pod);
        pod.publish(playlists(&uid, 1, 1, 10..11));
    };
    let (answer, ()) = tokio::join!(world.master("news-one"), operator);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let methods: Vec<_> = world
        .server
        .calls()
        .into_iter()
        .map(|call| call.method)
        .collect();
    // The catalog's revision is not on the stream, so its sources are brought up to date.
    assert_eq!(methods, [Method::POST, Method::GET, Method::PATCH]);
}

#[tokio::test]
async fn a_stream_at_zero_is_woken_by_one_patch() {
    let world = World::start().await;
    let pod = Pod::start().await;
    world
        .by_hand("own-stream", |object| {
            object["spec"]["displayName"] = json!("Made by hand");
        })
        .await;
    let operator = async {
        world
            .server
            .until("it is woken", |server| !server.calls().is_empty())
            .await;
        let uid = world.moved("own-stream", 1, &pod);
        pod.publish(playlists(&uid, 1, 1, 10..11));
    };
    let (answer, ()) = tokio::join!(world.master("own-stream"), operator);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let calls = world.server.calls();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(
        (calls[0].method.clone(), calls[0].name.as_str()),
        (Method::PATCH, "own-stream")
    );
    assert_eq!(without_moments(calls[0].body.clone()), woken());
}

#[tokio::test]
async fn a_stream_that_is_collected_under_a_viewer_comes_back() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    assert_eq!(world.get(&variants[0]).await.status, 200);
    world.server.delete("news-one");
    world
        .server
        .until("it is made anew", |server| {
            server.object("news-one").is_some()
        })
        .await;
    let again = world.moved("news-one", 1, &pod);
    assert_ne!(again, uid);
    pod.publish(playlists(&again, 1, 1, 90..91));
    let media = world.get(&variants[0]).await;
    assert!(
        media.uris()[0].contains(&again) && media.uris()[0].ends_with("1-90.ts"),
        "{}",
        media.body
    );
}

#[tokio::test]
async fn a_suspended_stream_is_refused_at_once_and_not_touched() {
    let world = World::start().await;
    world
        .by_hand("own-stream", |object| {
            object["spec"]["suspend"] = json!(true);
        })
        .await;
    let start = tokio::time::Instant::now();
    let answer = world.master("own-stream").await;
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (503, "Suspended")
    );
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(world.server.calls(), []);
}

#[tokio::test]
async fn running_streams_are_served_while_the_api_server_is_away_and_cold_ones_are_refused_in_time()
{
    let world = World::holding(Duration::from_secs(1)).await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    world.server.go_away();
    let variants = world.master("news-one").await.uris();
    pod.publish(playlists(&uid, 1, 2, 11..14));
    let mut last = String::new();
    while !last.ends_with("1-13.ts") {
        last = world.get(&variants[0]).await.uris().pop().unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get(&last).await.status, 200);
    let cold = world.master("sport-two").await;
    assert_eq!(
        (cold.status, cold.header("headend-reason")),
        (503, "DirectoryUnavailable")
    );
    assert_eq!(
        (cold.header("retry-after"), cold.header("cache-control")),
        ("2", "no-store")
    );
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_does_not_hide_the_others() {
    let world = World::start().await;
    world
        .server
        .put("broken", |object| object["spec"]["sources"] = json!(7));
    world.by_hand("own-stream", |_| {}).await;
    let answer = loop {
        let answer = world
            .get_with(
                "/api/v1/channels",
                &[("authorization", "Bearer alice-token")],
            )
            .await;
        if answer.body.contains("own-stream") {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(!answer.body.contains("broken"), "{}", answer.body);
}
