//! A channel as one transport stream: who reads it, what it is made of, and how it ends.

use std::ops::Range;
use std::time::Duration;

use api::names::segment_name;
use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use presence::Presence;
use tokio::io::AsyncReadExt;
use tower::ServiceExt;

use crate::support::server::{Server, asked, in_time, limits};
use crate::support::transcoder::Pod;
use crate::support::world::World;
use crate::support::{playlists, segment_bytes};
use crate::watching::flush;

const NEWS: &str = "/live/news-one.ts?token=alice-token";

/// A stream that is being read.
struct Reading {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

impl Reading {
    async fn start(world: &World, uri: &str, player: &str) -> Self {
        let request = Request::get(uri)
            .header("user-agent", player)
            .header("range", "bytes=100-");
        let request = request.body(Body::empty()).unwrap();
        let response = world.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Reads this, and nothing else.
    async fn gets(&mut self, expected: &str) {
        let mut got = String::new();
        while got.len() < expected.len() {
            let frame = in_time(self.body.frame()).await.unwrap().unwrap();
            got += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
        assert_eq!(got, expected);
    }

    async fn ends(&mut self) {
        assert!(in_time(self.body.frame()).await.is_none());
    }
}

/// What these segments are together.
fn segments(uid: &str, attempt: i32, numbers: Range<u64>) -> String {
    let segment = |number| segment_bytes(uid, "source", &segment_name(attempt, number));
    String::from_utf8(numbers.flat_map(segment).collect()).unwrap()
}

async fn until_metric(world: &World, line: &str) {
    let looking = async {
        while !world.metrics().lines().any(|found| found == line) {
            tokio::task::yield_now().await;
        }
    };
    in_time(looking).await;
}

/// The channel plays the numbers 10 to 15.
async fn running(world: &World) -> (Pod, String) {
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    (pod, uid)
}

#[tokio::test]
async fn a_reader_gets_one_and_a_half_segments_at_once_and_each_one_after_that_as_it_is_listed() {
    let world = World::start().await;
    let (pod, uid) = running(&world).await;
    let mut reading = Reading::start(&world, NEWS, "tuner").await;
    assert_eq!(reading.status, 200, "whatever range is asked for");
    for (name, value) in [
        ("content-type", Some("video/mp2t")),
        ("accept-ranges", Some("none")),
        ("cache-control", Some("private, no-store")),
        ("content-length", None),
    ] {
        assert_eq!(reading.header(name), value, "{name}");
    }
    reading.gets(&segments(&uid, 3, 14..16)).await;
    pod.publish(playlists(&uid, 3, 2, 11..17));
    reading.gets(&segments(&uid, 3, 16..17)).await;
    let mut gap = playlists(&uid, 3, 3, 14..20);
    gap.segments[4].gaps = vec!["source".to_owned()];
    pod.publish(gap);
    reading.gets(&segments(&uid, 3, 17..18)).await;
    reading.gets(&segments(&uid, 3, 19..20)).await;
    assert_eq!(world.server.calls(), [], "a running stream needs no call");
    let metrics = world.metrics();
    let bytes = segments(&uid, 3, 14..18).len() + segments(&uid, 3, 19..20).len();
    for line in [
        "headend_gateway_continuous_readers 1".to_owned(),
        format!("headend_gateway_continuous_bytes_total {bytes}"),
        "headend_gateway_requests_total{surface=\"Continuous\",code=\"200\"} 1".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_the_head_starts_nothing() {
    let world = World::start().await;
    let head = world.ask(Request::head(NEWS), &[]).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), "video/mp2t");
    assert!(!head.headers.contains_key("content-length"));
    let refused = world.ask(Request::head("/live/news-one.ts"), &[]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(world.server.calls(), []);
    assert!(
        world
            .metrics()
            .contains("headend_gateway_continuous_readers 0\n")
    );
}

#[tokio::test]
async fn a_cold_channel_is_held_for_and_an_answer_before_the_first_byte_is_honest() {
    let world = World::start().await;
    let starting = async {
        world
            .server
            .until("it is wanted", |server| !server.calls().is_empty())
            .await;
        assert_eq!(world.server.calls()[0].method, Method::POST);
        let pod = Pod::start().await;
        let uid = world.moved("news-one", 1, &pod);
        pod.publish(playlists(&uid, 1, 1, 10..11));
        (pod, uid)
    };
    let (mut reading, (pod, uid)) = tokio::join!(Reading::start(&world, NEWS, "tuner"), starting);
    reading.gets(&segments(&uid, 1, 10..11)).await;
    pod.publish(playlists(&uid, 1, 2, 10..12));
    reading.gets(&segments(&uid, 1, 11..12)).await;

    let cold = World::holding(Duration::from_millis(300)).await;
    let answer = cold.get(NEWS).await;
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (503, "Starting")
    );
}

#[tokio::test]
async fn a_reader_goes_on_with_the_next_pod() {
    let world = World::start().await;
    let (mut first, uid) = running(&world).await;
    let mut reading = Reading::start(&world, NEWS, "tuner").await;
    reading.gets(&segments(&uid, 3, 14..16)).await;
    first.kill().await;
    let second = Pod::start().await;
    second.publish(playlists(&uid, 4, 1, 5000..5001));
    world.moved("news-one", 4, &second);
    reading.gets(&segments(&uid, 4, 5000..5001)).await;
    second.publish(playlists(&uid, 4, 2, 5000..5002));
    reading.gets(&segments(&uid, 4, 5001..5002)).await;
}

#[tokio::test]
async fn a_reader_counts_as_watching_while_it_is_there_and_no_longer() {
    let world = World::start().await;
    let (_pod, uid) = running(&world).await;
    let viewers = async || {
        flush(&world).await;
        world.presence.stream(&uid).await.unwrap().viewers
    };
    let mut reading = Reading::start(&world, NEWS, "tuner").await;
    reading.gets(&segments(&uid, 3, 14..16)).await;
    assert_eq!(viewers().await, 1);
    drop(reading);
    until_metric(
        &world,
        "headend_gateway_continuous_ends_total{end=\"Left\"} 1",
    )
    .await;
    assert_eq!(viewers().await, 0);
}

#[tokio::test]
async fn a_reader_has_its_user_s_place_until_it_leaves() {
    let world = World::start().await;
    let (_pod, uid) = running(&world).await;
    let uri = "/live/news-one.ts?token=dave-token";
    let mut phone = Reading::start(&world, uri, "phone").await;
    phone.gets(&segments(&uid, 3, 14..16)).await;
    let tv = Reading::start(&world, uri, "tv").await;
    assert_eq!(
        (tv.status, tv.header("headend-reason")),
        (429, Some("TooManySessions"))
    );
    drop(phone);
    until_metric(
        &world,
        "headend_gateway_continuous_ends_total{end=\"Left\"} 1",
    )
    .await;
    flush(&world).await;
    let mut tv = Reading::start(&world, uri, "tv").await;
    tv.gets(&segments(&uid, 3, 14..16)).await;
}

#[tokio::test]
async fn a_player_that_zaps_ends_what_it_read_before() {
    let world = World::start().await;
    let (_pod, uid) = running(&world).await;
    let other = Pod::start().await;
    let sport = world.running("sport-two", 1, &other);
    other.publish(playlists(&sport, 1, 1, 10..12));
    let mut before = Reading::start(&world, "/live/news-one.ts?token=dave-token", "phone").await;
    before.gets(&segments(&uid, 3, 14..16)).await;
    let mut after = Reading::start(&world, "/live/sport-two.ts?token=dave-token", "phone").await;
    after.gets(&segments(&sport, 1, 10..12)).await;
    before.ends().await;
    until_metric(
        &world,
        "headend_gateway_continuous_ends_total{end=\"Refused\"} 1",
    )
    .await;
}

#[tokio::test]
async fn a_user_who_is_switched_off_is_out_within_a_segment() {
    let world = World::start().await;
    let (pod, uid) = running(&world).await;
    let mut reading = Reading::start(&world, NEWS, "tuner").await;
    reading.gets(&segments(&uid, 3, 14..16)).await;
    world
        .change_users(|users| users.replace("name: alice,", "name: alice, disabled: true,"))
        .await;
    pod.publish(playlists(&uid, 3, 2, 11..17));
    reading.ends().await;
}

#[tokio::test]
async fn who_may_watch_in_this_form_alone_is_let_in_and_told_of_no_other() {
    let world = World::start().await;
    let (_pod, uid) = running(&world).await;
    let list = world.get("/get_playlist.php?token=erik-token").await;
    let addresses = list.uris();
    assert_eq!(addresses[0], "/live/news-one.ts?token=erik-token");
    for address in [
        addresses[0].as_str(),
        "/live/stream_news-one.ts?token=erik-token",
    ] {
        let mut reading = Reading::start(&world, address, "tuner").await;
        reading.gets(&segments(&uid, 3, 14..16)).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped_when_the_list_has_moved_on() {
    let world = World::start().await;
    let (pod, uid) = running(&world).await;
    let mut reading = Reading::start(&world, NEWS, "tuner").await;
    let sent = format!(
        "headend_gateway_continuous_bytes_total {}",
        segments(&uid, 3, 14..15).len()
    );
    until_metric(&world, &sent).await;
    pod.publish(playlists(&uid, 3, 2, 30..36));
    until_metric(
        &world,
        "headend_gateway_continuous_ends_total{end=\"Slow\"} 1",
    )
    .await;
    reading.gets(&segments(&uid, 3, 14..15)).await;
    reading.ends().await;
}

#[tokio::test]
async fn a_gateway_that_ends_lets_a_segment_end_and_closes_in_good_order() {
    let world = World::start().await;
    let (_pod, uid) = running(&world).await;
    let server = Server::start(world.gateway.clone(), limits()).await;
    let mut stream = server.connect().await;
    let mut answer = asked(&mut stream, NEWS).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let sent = format!(
        "headend_gateway_continuous_bytes_total {}",
        segments(&uid, 3, 14..16).len()
    );
    until_metric(&world, &sent).await;
    server.shutdown.cancel();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains(&segments(&uid, 3, 15..16)), "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    server.ended().await;
    until_metric(
        &world,
        "headend_gateway_continuous_ends_total{end=\"Drained\"} 1",
    )
    .await;
}
