//! Who asks too often, and who tries tokens.

use std::time::Duration;

use gateway::edge::rate::RateLimits;

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::{Answer, World};

const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";
const PROXY: &str = "10.1.2.3";

const MANY: usize = 40;

/// What [`strict`] lets in at once.
const BURST: usize = 3;

/// One request a second, three at once; a proxy is trusted.
async fn strict() -> World {
    let world = World::changed(|options| {
        options.rates = RateLimits {
            starts_per_second: 1,
            media_per_second: 1,
            cold_starts_per_minute: 0,
        };
        options.proxies.networks = vec!["10.0.0.0/8".parse().unwrap()];
    });
    world.await
}

fn is_refused(answer: &Answer) -> bool {
    if answer.status != 429 {
        return false;
    }
    assert_eq!(answer.header("headend-reason"), "TooManyRequests");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("cache-control"), "no-store");
    true
}

/// Asks many times at once; how many times it was refused.
async fn refused(world: &World, peer: &str, uri: &str, headers: &[(&str, &str)]) -> usize {
    let asked = (0..MANY).map(|_| world.get_from(peer, uri, headers));
    let answers = futures::future::join_all(asked).await;
    answers.iter().filter(|answer| is_refused(answer)).count()
}

fn has(world: &World, line: &str) -> bool {
    let metrics = world.metrics();
    metrics.lines().any(|found| found.starts_with(line))
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_and_no_other_one() {
    let world = strict().await;
    tokio::time::pause();
    let page = "/";
    assert_eq!(refused(&world, HERE, page, &[]).await, MANY - BURST);
    assert_eq!(world.get_from(THERE, page, &[]).await.status, 200);
    assert!(has(
        &world,
        "headend_gateway_limited_total{surface=\"Page\",what=\"Address\"} "
    ));
    // An address has one bucket for what begins something, and none of it was taken.
    let answer = world.get_from(HERE, "/api/v1/channels", &[]).await;
    assert_eq!(answer.status, 401);
    let hosts = ["2001:db8:1:2::7", "2001:db8:1:2:ffff::9"];
    assert_eq!(refused(&world, hosts[0], page, &[]).await, MANY - BURST);
    assert_eq!(refused(&world, hosts[1], page, &[]).await, MANY);
    let elsewhere = world.get_from("2001:db8:1:3::7", page, &[]).await;
    assert_eq!(elsewhere.status, 200);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(refused(&world, HERE, page, &[]).await, MANY - 2);
}

#[tokio::test]
async fn a_user_that_asks_too_often_is_refused_from_every_address() {
    let world = strict().await;
    tokio::time::pause();
    let alice = [("authorization", "Bearer alice-token")];
    let uri = "/api/v1/channels";
    let addresses: Vec<String> = (1..=MANY).map(|host| format!("192.0.2.{host}")).collect();
    let asked = addresses
        .iter()
        .map(|address| world.get_from(address, uri, &alice));
    let answers = futures::future::join_all(asked).await;
    let refused = answers.iter().filter(|answer| is_refused(answer));
    assert_eq!(refused.count(), MANY - BURST);
    let bob = [("authorization", "Bearer bob-token")];
    assert_eq!(world.get_from("203.0.113.1", uri, &bob).await.status, 200);
    assert!(has(
        &world,
        "headend_gateway_limited_total{surface=\"Api\",what=\"User\"} "
    ));
}

#[tokio::test]
async fn playlists_are_limited_by_address_and_user_and_segments_by_address() {
    let world = strict().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    let master = world.master("news-one").await;
    let playlist = &master.uris()[0];
    let segment = &world.get(playlist).await.uris()[0];
    let mut answers = Vec::new();
    for host in 1..=MANY {
        let (here, there) = (format!("192.0.2.{host}"), format!("198.51.100.{host}"));
        let segment = world.get_from(&there, segment, &[]).await;
        assert_eq!(segment.status, 200, "nobody knows whose it is");
        answers.push(world.get_from(&here, playlist, &[]).await);
    }
    assert!(answers.iter().any(is_refused));
    assert!(refused(&world, HERE, segment, &[]).await > MANY / 2);
    assert!(refused(&world, THERE, playlist, &[]).await > MANY / 2);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_viewer_counts_and_the_proxy_does_not() {
    let world = strict().await;
    tokio::time::pause();
    assert_eq!(refused(&world, PROXY, "/", &[]).await, 0);
    let here = [("x-forwarded-for", HERE)];
    assert_eq!(refused(&world, PROXY, "/", &here).await, MANY - BURST);
    let there = [("x-forwarded-for", THERE)];
    assert_eq!(world.get_from(PROXY, "/", &there).await.status, 200);
    let liar = [("x-forwarded-for", "10.9.9.9")];
    let refused = refused(&world, "203.0.113.9", "/", &liar).await;
    assert_eq!(refused, MANY - BURST);
}

#[tokio::test]
async fn who_tries_one_token_after_the_other_has_to_wait_with_the_right_one_too() {
    let world = World::start().await;
    tokio::time::pause();
    let uri = "/api/v1/channels";
    for guess in 0..6 {
        let token = format!("Bearer guess-{guess}");
        let wrong = [("authorization", token.as_str())];
        assert_eq!(world.get_from(HERE, uri, &wrong).await.status, 401);
    }
    let right = [("authorization", "Bearer alice-token")];
    let answer = world.get_from(HERE, uri, &right).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    assert_eq!(answer.header("headend-reason"), "TooManyWrongTokens");
    assert!(!answer.body.contains("alice"), "{}", answer.body);
    let playing = world
        .get_from(HERE, "/live/news-one/master.m3u8?token=alice-token", &[])
        .await;
    assert_eq!(playing.status, 429, "{}", playing.body);
    assert_eq!(world.get_from(THERE, uri, &right).await.status, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.get_from(HERE, uri, &right).await.status, 200);
    assert!(has(&world, "headend_gateway_wrong_tokens_total 6"));
    assert!(has(
        &world,
        "headend_gateway_limited_total{surface=\"Live\",what=\"WrongTokens\"} 1"
    ));
}

#[tokio::test]
async fn a_device_that_is_left_with_an_old_token_shuts_nobody_out() {
    let world = World::start().await;
    let uri = "/api/v1/channels";
    for _ in 0..50 {
        let old = [("authorization", "Bearer old")];
        assert_eq!(world.get_from(HERE, uri, &old).await.status, 401);
    }
    let right = [("authorization", "Bearer alice-token")];
    assert_eq!(world.get_from(HERE, uri, &right).await.status, 200);
}

#[tokio::test]
async fn who_zaps_through_channels_that_nobody_watches_starts_a_few_of_them() {
    let world = World::changed(|options| {
        options.rates = RateLimits {
            cold_starts_per_minute: 10,
            ..RateLimits::OFF
        };
    });
    let world = world.await;
    let names: Vec<String> = (0..7).map(|number| format!("own-{number}")).collect();
    for name in &names {
        world.by_hand(name, |_| {}).await;
    }
    tokio::time::pause();
    let answers = futures::future::join_all(names.iter().map(|name| world.master(name))).await;
    let count = |reason: &str| {
        let reasons = answers.iter().map(|answer| answer.header("headend-reason"));
        reasons.filter(|found| *found == reason).count()
    };
    // Five at once, one more within the hold; there is no time left for another.
    assert_eq!((count("Starting"), count("TooManyStarts")), (6, 1));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.header("retry-after"), "6");
    let is_woken = |name: &&String| {
        let object = world.server.object(name).unwrap();
        object["spec"]["replicas"] == 1
    };
    let (woken, asleep): (Vec<_>, Vec<_>) = names.iter().partition(is_woken);
    assert_eq!((woken.len(), asleep.len()), (6, 1));
    // What runs is nobody's start.
    assert_eq!(
        world.master(woken[0]).await.header("headend-reason"),
        "Starting"
    );
    assert!(has(
        &world,
        "headend_gateway_limited_total{surface=\"Live\",what=\"ColdStarts\"} 1"
    ));
}
