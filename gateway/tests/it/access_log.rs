//! Requests as lines of the access log: what they say, what they never say, and how many there are.

use std::time::Duration;

use axum::body::Body;
use gateway::Options;
use gateway::edge::rate::RateLimits;
use http::Request;
use serde_json::{Value, json};
use testkit::logs::{Captured, capture};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::support::playlists;
use crate::support::server::{Server, head, in_time, limits};
use crate::support::transcoder::Pod;
use crate::support::world::World;

const BEARER: (&str, &str) = ("authorization", "Bearer alice-token");

/// All of what succeeds, or another share.
fn sampled(share: &str) -> impl FnOnce(&mut Options) {
    let share = share.parse().unwrap();
    move |options| {
        options.access_log = Some(share);
        options.proxies.networks = vec!["10.0.0.0/8".parse().unwrap()];
    }
}

fn lines(log: &Captured) -> Vec<Value> {
    log.lines("headend::access")
}

/// What the last line says under these names; null for what it does not say.
fn last<const N: usize>(log: &Captured, names: [&str; N]) -> Value {
    let lines = lines(log);
    let line = lines.last().unwrap();
    names.map(|name| line[name].clone()).to_vec().into()
}

const MEANING: [&str; 5] = ["surface", "path", "channel", "user", "status"];

#[tokio::test]
async fn a_viewer_s_way_to_the_picture_is_told_without_anything_secret() {
    let world = World::changed(sampled("1")).await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    let log = capture();
    let master = world.master("news-one").await;
    let route = "/live/{slug}/master.m3u8";
    let said = json!(["Live", route, "news-one", "alice", 200]);
    assert_eq!(last(&log, MEANING), said);
    let playlist = &master.uris()[0];
    let media = world.get(playlist).await;
    let route = "/hls/{session}/{rendition}/index.m3u8";
    let said = json!(["Hls", route, "news-one", "alice", 200]);
    assert_eq!(last(&log, MEANING), said);
    let segment = &media.uris()[0];
    let bytes = world.get(segment).await.body.len();
    let route = "/seg/{uid}/{key}/{rendition}/{name}";
    let said = json!(["Segment", route, "news-one", null, 200]);
    assert_eq!(last(&log, MEANING), said);
    assert_eq!(last(&log, ["bytes"]), json!([bytes]));
    assert_eq!(lines(&log).len(), 3);
    let secrets = [&playlist[5..40], &segment[5 + uid.len() + 1..][..20]];
    let text = log.text();
    for secret in ["alice-token", secrets[0], secrets[1]] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn tokens_and_logins_are_in_no_line_however_they_come() {
    let world = World::changed(sampled("1")).await;
    let log = capture();
    let list = "/get_playlist.php";
    let api = "/api/v1/channels";
    for (uri, header, expected) in [
        (
            "/get_playlist.php?token=alice-token",
            None,
            json!(["Api", list, null, "alice", 200]),
        ),
        (api, Some(BEARER), json!(["Api", api, null, "alice", 200])),
        (
            api,
            Some(("authorization", "Bearer guessed-token")),
            json!(["Api", api, null, null, 401]),
        ),
        (
            "/live/stream_news-one.m3u8?token=bob-token",
            None,
            json!(["Live", "/live/{slug}", "news-one", "bob", 403]),
        ),
        (
            "/live/carol-token.ts?token=dave-token",
            None,
            json!(["Continuous", "/live/{slug}", null, "dave", 404]),
        ),
        (
            "/live/alice/hunter2-token/7.ts",
            None,
            json!([null, null, null, null, 404]),
        ),
        (
            "/hls/forged-token/source/index.m3u8",
            None,
            json!([
                "Hls",
                "/hls/{session}/{rendition}/index.m3u8",
                null,
                null,
                401
            ]),
        ),
        (
            "/?token=alice-token",
            None,
            json!(["Page", "/", null, null, 200]),
        ),
    ] {
        world.get_with(uri, header.as_slice()).await;
        assert_eq!(last(&log, MEANING), expected, "{uri}");
    }
    assert_eq!(lines(&log).len(), 8);
    assert!(!log.text().contains("token="), "{}", log.text());
    assert!(!log.text().contains("-token"), "{}", log.text());
}

#[tokio::test]
async fn it_says_who_asks_as_the_limits_see_it() {
    let world = World::changed(sampled("1")).await;
    let log = capture();
    let agent = "player ".repeat(100);
    let headers = [("x-forwarded-for", "192.0.2.7"), ("user-agent", &agent)];
    world.get_from("10.1.2.3", "/", &headers).await;
    let said = last(&log, ["client.address", "method", "user_agent"]);
    assert_eq!(said, json!(["192.0.2.7", "GET", agent[..120]]));
    world.get_from("203.0.113.9", "/", &headers).await;
    assert_eq!(last(&log, ["client.address"]), json!(["203.0.113.9"]));
}

#[tokio::test]
async fn without_a_share_there_is_no_line_and_with_none_of_it_those_of_failures() {
    let log = capture();
    let world = World::start().await;
    world.get("/").await;
    world.get("/nowhere").await;
    assert_eq!(lines(&log), [Value::Null; 0]);
    let world = World::changed(sampled("0")).await;
    world.get("/").await;
    world.get("/nowhere").await;
    assert_eq!(lines(&log).len(), 1);
    assert_eq!(last(&log, ["status"]), json!([404]));
}

#[tokio::test]
async fn a_flood_of_what_is_refused_is_a_few_lines_and_how_many_there_were() {
    let world = World::changed(sampled("1")).await;
    tokio::time::pause();
    let log = capture();
    for _ in 0..100 {
        world.get("/nowhere").await;
    }
    assert_eq!(lines(&log).len(), 10);
    tokio::time::advance(Duration::from_secs(10)).await;
    world.get("/").await;
    let lines = lines(&log);
    assert_eq!((lines.len(), &lines[10]["lines"]), (12, &json!(90)));
}

#[tokio::test]
async fn a_continuous_stream_is_told_of_when_it_begins_and_its_end_by_itself() {
    let world = World::changed(sampled("1")).await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    let log = capture();
    let request = Request::get("/live/news-one.ts").header(BEARER.0, BEARER.1);
    let request = request.body(Body::empty()).unwrap();
    let response = world.app.clone().oneshot(request).await.unwrap();
    let said = json!(["Continuous", "/live/{slug}", "news-one", "alice", 200]);
    assert_eq!(last(&log, MEANING), said);
    assert_eq!(last(&log, ["bytes"]), json!([null]));
    drop(response);
    let ended = async {
        while !log.text().contains("a continuous stream ended") {
            tokio::task::yield_now().await;
        }
    };
    in_time(ended).await;
    assert_eq!(lines(&log).len(), 1);
}

#[tokio::test]
async fn who_starts_too_many_channels_is_named() {
    let world = World::changed(|options| {
        sampled("0")(options);
        options.hold.time = Duration::from_secs(1);
        options.rates = RateLimits {
            cold_starts_per_minute: 1,
            ..RateLimits::OFF
        };
    });
    let world = world.await;
    let names: Vec<String> = (1..=7).map(|number| format!("zapped-{number}")).collect();
    for name in &names {
        world
            .by_hand(name, |object| object["spec"]["replicas"] = json!(0))
            .await;
    }
    let log = capture();
    tokio::time::pause();
    let asked = names.iter().map(|name| world.master(name));
    futures::future::join_all(asked).await;
    let refused = lines(&log).into_iter();
    let mut refused = refused.filter(|line| line["reason"] == "TooManyStarts");
    let line = refused.next().unwrap();
    assert_eq!(
        (&line["user"], &line["status"]),
        (&json!("alice"), &json!(429))
    );
    assert!(line["channel"].as_str().unwrap().starts_with("zapped-"));
}

#[tokio::test]
async fn who_leaves_before_the_answer_is_told_of_without_a_status() {
    let world = World::changed(sampled("1")).await;
    let log = capture();
    tokio::time::pause();
    let asked = world.master("news-one");
    let left = tokio::time::timeout(Duration::from_secs(2), asked).await;
    assert!(left.is_err(), "it is held");
    let said = last(&log, ["status", "message", "channel"]);
    let expected = json!([null, "left before it was answered", "news-one"]);
    assert_eq!(said, expected);
    let duration = &last(&log, ["duration_ms"])[0];
    assert!(
        (2000..2100).contains(&duration.as_u64().unwrap()),
        "by the paused clock: {duration}"
    );
}

#[tokio::test]
async fn answers_are_sent_as_they_are_without_it_and_what_was_taken_is_told() {
    let world = World::changed(sampled("1")).await;
    let log = capture();
    let server = Server::start(world.gateway.clone(), limits()).await;
    let mut stream = server.connect().await;
    let page = "<!doctype html>start";
    for (method, bytes) in [("GET", page.len()), ("HEAD", 0), ("GET", page.len())] {
        let request = format!("{method} / HTTP/1.1\r\nhost: tv\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = in_time(head(&mut stream)).await.to_lowercase();
        let length = format!("\r\ncontent-length: {}\r\n", page.len());
        assert!(head.contains(&length), "{method} {head}");
        let (_, begun) = head.split_once("\r\n\r\n").unwrap();
        let mut body = vec![0; bytes - begun.len()];
        in_time(stream.read_exact(&mut body)).await.unwrap();
    }
    drop(stream);
    server.end().await;
    let said = lines(&log).into_iter();
    let said: Vec<Value> = said
        .map(|line| json!([line["method"], line["bytes"]]))
        .collect();
    let expected = [json!(["GET", 20]), json!(["HEAD", 0]), json!(["GET", 20])];
    assert_eq!(said, expected);
}
