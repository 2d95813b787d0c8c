//! A viewer plays a channel: master, media playlist, segments.

use std::time::Duration;

use api::names::segment_name;
use api::playlists::Rendition;

use crate::support::transcoder::Pod;
use crate::support::world::World;
use crate::support::{playlists, segment_bytes};

#[tokio::test]
async fn a_player_gets_from_a_token_to_bytes_without_the_token_in_any_address() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let master = world.master("news-one").await;
    assert_eq!(
        master.header("content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(master.header("cache-control"), "private, no-cache");
    assert_eq!(master.header("access-control-allow-origin"), "*");
    let variants = master.uris();
    assert!(
        variants[0].ends_with("/source/index.m3u8") && variants[1].ends_with("/480p/index.m3u8")
    );
    assert!(!master.body.contains("alice"), "{}", master.body);

    let media = world.get(&variants[1]).await;
    assert_eq!(
        media.header("content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(media.header("cache-control"), "private, no-cache");
    assert_eq!(media.header("access-control-allow-origin"), "*");
    assert!(
        media.body.contains("#EXT-X-MEDIA-SEQUENCE:10\n"),
        "{}",
        media.body
    );
    let segments = media.uris();
    assert_eq!(segments.len(), 3);
    assert!(segments[0].ends_with("/480p/3-10.ts") && !segments[0].contains("alice"));

    world.write_segment("news-one", 3, "480p", 10);
    let segment = world.get(&segments[0]).await;
    assert_eq!(
        segment.body.as_bytes(),
        segment_bytes(&uid, "480p", &segment_name(3, 10))
    );
    assert_eq!(segment.header("content-type"), "video/mp2t");
    assert_eq!(
        segment.header("cache-control"),
        "public, max-age=3600, immutable"
    );
    assert_eq!(segment.header("access-control-allow-origin"), "*");
    assert_eq!(
        pod.segments_asked(),
        Vec::<String>::new(),
        "it was in the volume"
    );
    assert_eq!(world.server.calls(), [], "a running stream needs no call");
}

#[tokio::test]
async fn segments_of_an_attempt_in_a_pod_that_had_waited_come_from_that_pods_directory() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let warm = "warm-0f9c2a417b1e4c55";
    world.server.put("news-one", |object| {
        object["status"]["warmAttempts"] = serde_json::json!([{ "attempt": 3, "pod": warm }]);
    });
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    let segments = world.get(&variants[0]).await.uris();
    let name = segment_name(3, 10);
    let bytes = segment_bytes(&uid, "source", &name);
    world.write_in(warm, &format!("source/{name}"), &bytes);
    let segment = world.get(&segments[0]).await;
    assert_eq!(segment.body.as_bytes(), bytes);
    assert_eq!(pod.segments_asked(), Vec::<String>::new());
}

#[tokio::test]
async fn two_sessions_differ_and_get_the_same_segments() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("sport-two", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let alice = world.master("sport-two").await.uris();
    let bob = world
        .get("/live/sport-two/master.m3u8?token=bob-token")
        .await
        .uris();
    assert_ne!(alice[0], bob[0]);
    assert_eq!(
        world.get(&alice[0]).await.uris(),
        world.get(&bob[0]).await.uris()
    );
}

#[tokio::test]
async fn a_listed_segment_that_the_volume_lacks_comes_from_the_pod_once_for_all() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    let segments = world.get(&variants[0]).await.uris();
    let answers = futures::future::join_all((0..20).map(|_| world.get(&segments[2]))).await;
    let expected = segment_bytes(&uid, "source", &segment_name(3, 12));
    for answer in answers {
        assert_eq!(
            (answer.status, answer.body.as_bytes()),
            (200, &expected[..])
        );
    }
    assert_eq!(pod.segments_asked(), ["source/3-12.ts"]);
}

#[tokio::test]
async fn a_segment_is_let_in_by_its_own_key_only() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    let segment = world.get(&variants[0]).await.uris().remove(0);
    assert_eq!(world.get(&segment).await.status, 200);
    for (from, to) in [
        ("3-10.ts", "3-11.ts"),
        ("/source/", "/480p/"),
        (uid.as_str(), "another-uid"),
        ("3-10.ts", "03-10.ts"),
    ] {
        let forged = segment.replace(from, to);
        assert_ne!(forged, segment);
        assert!(
            [403, 404].contains(&world.get(&forged).await.status),
            "{forged}"
        );
    }
}

#[tokio::test]
async fn a_rendition_that_the_stream_lacks_is_not_waited_for() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    let answer = world.get(&variants[0].replace("/source/", "/144p/")).await;
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (404, "NotFound")
    );
}

#[tokio::test]
async fn a_player_of_a_stream_that_has_just_begun_gets_the_next_segment_the_moment_it_is_there() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..11));
    let variants = world.master("news-one").await.uris();
    assert_eq!(world.get(&variants[0]).await.uris().len(), 1);
    let publish = async {
        while !world.metrics().contains("headend_gateway_holding 1") {
            tokio::task::yield_now().await;
        }
        pod.publish(playlists(&uid, 3, 2, 10..12));
    };
    let asked = async { tokio::join!(world.get(&variants[0]), publish).0 };
    let again = tokio::time::timeout(Duration::from_secs(10), asked).await;
    assert_eq!(again.expect("a held request").uris().len(), 2);
}

#[tokio::test]
async fn each_new_version_reaches_those_who_ask() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    assert!(world.get(&variants[0]).await.uris()[0].ends_with("3-10.ts"));
    pod.publish(playlists(&uid, 3, 2, 11..14));
    loop {
        let first = world.get(&variants[0]).await.uris().remove(0);
        if first.ends_with("3-11.ts") {
            break;
        }
        assert!(first.ends_with("3-10.ts"));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rendition_that_does_not_run_is_asked_for_at_once_and_waited_for() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    let behind = |version, has: usize| {
        let mut document = playlists(&uid, 3, version, 10..13);
        document.behind = vec!["480p".to_owned()];
        for entry in &mut document.segments[has..] {
            entry.gaps = vec!["480p".to_owned()];
        }
        document
    };
    pod.publish(behind(1, 0));
    let variants = world.master("news-one").await.uris();
    assert_eq!(world.get(&variants[0]).await.uris().len(), 3);
    let starting = async {
        // Nothing new is listed meanwhile, so the poll under way would not end before the viewer's patience.
        pod.is_told_of("480p").await;
        pod.publish(behind(2, 1));
    };
    let (answer, ()) = tokio::join!(world.get(&variants[1]), starting);
    assert_eq!(answer.status, 200);
    let uris = answer.uris();
    assert!(uris.len() == 1 && uris[0].ends_with("3-10.ts"), "{uris:?}");
    assert!(!answer.body.contains("EXT-X-GAP"), "{}", answer.body);
}

#[tokio::test]
async fn who_asks_for_hevc_waits_until_it_runs_and_others_never_see_it() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    let off = || {
        let mut document = playlists(&uid, 3, 1, 10..13);
        document.behind = vec!["hevc".to_owned()];
        document
    };
    pod.publish(off());
    assert_eq!(world.master("news-one").await.uris().len(), 2);
    let starting = async {
        pod.is_told_of("hevc").await;
        let mut document = off();
        document.version = 2;
        document.on_request = vec![Rendition {
            id: "hevc".to_owned(),
            ..document.renditions[0].clone()
        }];
        document.segments[0].gaps = vec!["hevc".to_owned()];
        pod.publish(document);
    };
    let asking = world.get("/live/news-one/master.m3u8?token=alice-token&video=hevc");
    let (asked, ()) = tokio::join!(asking, starting);
    let hevc = asked.uris().remove(0);
    assert!(hevc.ends_with("/hevc/index.m3u8"), "{}", asked.body);
    let segments = world.get(&hevc).await.uris();
    assert!(segments[0].ends_with("/hevc/3-11.ts"), "{segments:?}");
    assert!(!world.master("news-one").await.body.contains("hevc"));
}
