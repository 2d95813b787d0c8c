//! What viewers get when pods, sources and addresses go wrong.

use std::time::Duration;

use api::names::segment_name;
use serde_json::json;
use tokio::time::Instant;

use crate::support::transcoder::Pod;
use crate::support::world::{Answer, World};
use crate::support::{playlists, segment_bytes};

/// Asks for a playlist until it lists a segment of that name as its last.
async fn until_last(world: &World, uri: &str, name: &str) -> Answer {
    let start = Instant::now();
    loop {
        let answer = world.get(uri).await;
        if answer
            .uris()
            .last()
            .is_some_and(|last| last.ends_with(name))
        {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{}", answer.body);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_source_that_fails_is_told_with_its_reason_before_the_hold_ends() {
    let world = World::start().await;
    let pod = Pod::start().await;
    world.running("news-one", 1, &pod);
    world.server.put("news-one", |object| {
        object["status"]["conditions"] = json!([{
            "type": "SourceHealthy", "status": "False", "reason": "HttpError", "message": "the source answered 404 Not Found",
            "lastTransitionTime": "2026-06-01T12:00:00Z"
        }]);
    });
    let start = Instant::now();
    let answer = world.master("news-one").await;
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (503, "HttpError")
    );
    assert_eq!(
        answer.body,
        "HttpError: the source answered 404 Not Found\n"
    );
    assert_eq!(
        (answer.header("retry-after"), answer.header("cache-control")),
        ("10", "no-store")
    );
}

#[tokio::test]
async fn a_stream_that_does_not_start_is_refused_when_the_hold_ends() {
    let world = World::holding(Duration::from_millis(300)).await;
    let answer = world.master("news-one").await;
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (503, "Starting")
    );
    assert_eq!(
        (answer.header("retry-after"), answer.header("cache-control")),
        ("2", "no-store")
    );
}

#[tokio::test]
async fn the_last_playlist_is_repeated_while_a_pod_is_replaced_and_its_segments_are_served_on() {
    let world = World::start().await;
    let (mut first, second) = (Pod::start().await, Pod::start().await);
    let uid = world.running("news-one", 1, &first);
    first.publish(playlists(&uid, 1, 1, 10..16));
    world.write_segment("news-one", 1, "source", 12);
    let variants = world.master("news-one").await.uris();
    let before = world.get(&variants[0]).await;
    first.kill().await;
    assert_eq!(world.get(&variants[0]).await.body, before.body);
    second.publish(playlists(&uid, 2, 1, 0..0));
    world.moved("news-one", 2, &second);
    assert_eq!(world.get(&variants[0]).await.body, before.body);
    second.publish(playlists(&uid, 2, 2, 40..41));
    let after = until_last(&world, &variants[0], "2-40.ts").await;
    assert_eq!(world.get(&after.uris()[0]).await.status, 200);
    let old = world.get(&before.uris()[2]).await;
    assert_eq!(
        (old.status, old.body.as_bytes()),
        (
            200,
            &segment_bytes(&uid, "source", &segment_name(1, 12))[..]
        )
    );
    assert_eq!(
        world.get(&before.uris()[0]).await.status,
        404,
        "nobody has it any more"
    );
}

#[tokio::test]
async fn playlists_come_from_the_volume_while_the_pod_cannot_be_reached() {
    let world = World::start().await;
    let mut pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    assert_eq!(world.get(&variants[0]).await.status, 200);
    pod.kill().await;
    let state = serde_json::to_vec(&playlists(&uid, 1, 2, 11..14)).unwrap();
    world.write("news-one", 1, "state.json", &state);
    world.write_segment("news-one", 1, "source", 13);
    let playlist = until_last(&world, &variants[0], "1-13.ts").await;
    assert_eq!(world.get(&playlist.uris()[2]).await.status, 200);
    let lost = world.get(&playlist.uris()[0]).await;
    assert_eq!(
        (lost.status, lost.header("headend-reason")),
        (503, "SegmentUnavailable")
    );
}

#[tokio::test]
async fn two_streams_that_swap_their_addresses_never_show_each_other() {
    let world = World::start().await;
    let (left, right) = (Pod::start().await, Pod::start().await);
    let news = world.running("news-one", 1, &left);
    let sport = world.running("sport-two", 1, &right);
    left.publish(playlists(&news, 1, 1, 10..16));
    right.publish(playlists(&sport, 1, 1, 20..26));
    let news_uri = world.master("news-one").await.uris().remove(0);
    let sport_uri = world.master("sport-two").await.uris().remove(0);
    let before = world.get(&news_uri).await;
    assert!(before.uris().iter().all(|uri| uri.contains(&news)));
    // The pods were replaced and got each other's address; the operator has not said so yet.
    left.publish(playlists(&sport, 1, 5, 24..30));
    right.publish(playlists(&news, 1, 5, 14..20));
    for _ in 0..200 {
        assert_eq!(world.get(&news_uri).await.body, before.body);
        tokio::task::yield_now().await;
    }
    // Not in the volume, so the pod is asked: the wrong one, which says so.
    let segment = world.get(&before.uris()[0]).await;
    assert_eq!(segment.status, 503, "{}", segment.body);
    world.moved("news-one", 1, &right);
    world.moved("sport-two", 1, &left);
    let after = until_last(&world, &news_uri, "1-19.ts").await;
    assert!(after.uris().iter().all(|uri| uri.contains(&news)));
    let segment = world.get(&after.uris()[0]).await;
    assert_eq!(
        segment.body.as_bytes(),
        segment_bytes(&news, "source", &segment_name(1, 14))
    );
    until_last(&world, &sport_uri, "1-29.ts").await;
}

#[tokio::test]
async fn a_pod_whose_numbers_go_back_is_not_believed() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..16));
    let variants = world.master("news-one").await.uris();
    let before = world.get(&variants[0]).await;
    pod.publish(playlists(&uid, 1, 2, 3..6));
    while !world.metrics().contains("refused_playlists_total 1\n") {
        assert_eq!(world.get(&variants[0]).await.body, before.body);
        tokio::task::yield_now().await;
    }
}
