//! In which forms playlists and segments are answered.

use api::names::segment_name;
use http::{Method, Request};

use crate::support::transcoder::Pod;
use crate::support::world::{Answer, World};
use crate::support::{playlists, segment_bytes};

struct Playing {
    world: World,
    pod: Pod,
    uid: String,
    playlist: String,
    segment: String,
}

async fn playing() -> Playing {
    playing_in(World::start().await).await
}

async fn playing_in(world: World) -> Playing {
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    world.write_segment("news-one", 3, "source", 10);
    let playlist = world.master("news-one").await.uris().remove(0);
    let segment = world.get(&playlist).await.uris().remove(0);
    Playing {
        world,
        pod,
        uid,
        playlist,
        segment,
    }
}

#[tokio::test]
async fn a_playlist_is_compressed_for_whom_understands_it_and_each_form_has_its_tag() {
    let Playing {
        world, playlist, ..
    } = playing().await;
    let plain = world.get(&playlist).await;
    let gzip = world
        .get_with(&playlist, &[("accept-encoding", "br, gzip")])
        .await;
    for answer in [&plain, &gzip] {
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        let mime = "application/vnd.apple.mpegurl";
        assert_eq!(answer.header("content-type"), mime);
    }
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let lengths = [&gzip, &plain].map(|answer| answer.header("content-length").parse::<usize>());
    assert!(lengths[0].as_ref().unwrap() < lengths[1].as_ref().unwrap());
    assert!(plain.header("etag").starts_with('"'));
    assert_ne!(plain.header("etag"), gzip.header("etag"));
}

#[tokio::test]
async fn a_playlist_that_is_there_already_is_not_sent_again_until_it_changes() {
    let Playing {
        world,
        pod,
        uid,
        playlist,
        ..
    } = playing().await;
    let tag = world.get(&playlist).await.header("etag").to_owned();
    let known = [("if-none-match", tag.as_str())];
    let again = world.get_with(&playlist, &known).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), tag);
    assert_eq!(again.header("vary"), "accept-encoding");
    // It is the other form that is there.
    let gzip = [known[0], ("accept-encoding", "gzip")];
    assert_eq!(world.get_with(&playlist, &gzip).await.status, 200);
    pod.publish(playlists(&uid, 3, 2, 11..17));
    let changed = loop {
        let answer = world.get_with(&playlist, &known).await;
        if answer.status != 304 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_ne!(changed.header("etag"), tag);
    assert!(changed.uris()[0].ends_with("3-11.ts"));
}

#[tokio::test]
async fn a_part_of_a_segment_is_sent_where_one_is_asked_for() {
    let Playing {
        world,
        uid,
        segment,
        ..
    } = playing().await;
    let bytes = segment_bytes(&uid, "source", &segment_name(3, 10));
    let length = bytes.len();
    let ranged = async |range: &str| world.get_with(&segment, &[("range", range)]).await;
    let whole = world.get(&segment).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let sent = format!("headend_gateway_segment_bytes_total {}\n", 1 + length);
    let last = ranged("bytes=-1").await;
    assert_eq!(
        (last.status, last.body.as_bytes()),
        (206, &bytes[length - 1..])
    );
    assert!(world.metrics().contains(&sent), "{}", world.metrics());
    let middle = ranged("bytes=5-9").await;
    assert_eq!(
        (middle.status, middle.body.as_bytes()),
        (206, &bytes[5..10])
    );
    let place = format!("bytes 5-9/{length}");
    assert_eq!(middle.header("content-range"), place);
    assert_eq!(middle.header("content-type"), "video/mp2t");
    let caching = "public, max-age=3600, immutable";
    assert_eq!(middle.header("cache-control"), caching);
    let beyond = ranged(&format!("bytes={length}-")).await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));
    for range in ["bytes=0-1,5-6", "bytes=x"] {
        assert_eq!(ranged(range).await.status, 200);
    }
    let condition = [("range", "bytes=0-1"), ("if-range", "\"any\"")];
    assert_eq!(world.get_with(&segment, &condition).await.status, 200);
}

#[tokio::test]
async fn what_can_be_got_can_be_asked_about() {
    let Playing {
        world,
        playlist,
        segment,
        ..
    } = playing().await;
    let sent = world.metrics();
    let sent = sent
        .lines()
        .find(|line| line.contains("segment_bytes_total "));
    let master = "/live/news-one/master.m3u8?token=alice-token";
    for uri in [master, &playlist, "/", "/assets/app.js", &segment] {
        let ask = async |method: Method| -> Answer {
            let request = Request::builder().method(method).uri(uri);
            world.ask(request, &[]).await
        };
        let head = ask(Method::HEAD).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{uri}");
        assert!(world.metrics().lines().any(|line| Some(line) == sent));
        let got = ask(Method::GET).await;
        for name in ["content-type", "content-length", "cache-control", "etag"] {
            assert_eq!(head.header(name), got.header(name), "{name} of {uri}");
        }
        assert_ne!(head.header("content-length"), "0");
        assert_eq!(ask(Method::POST).await.status, 405);
    }
}

#[tokio::test]
async fn pages_elsewhere_read_what_they_are_allowed_to() {
    let world = World::changed(|options| {
        options.origins = "https://tv.example".parse().unwrap();
    })
    .await;
    let Playing {
        world,
        playlist,
        segment,
        ..
    } = playing_in(world).await;
    let master = "/live/news-one/master.m3u8?token=alice-token";
    let refused = "/live/news-one/master.m3u8?token=wrong";
    for uri in [master, &playlist, &segment, refused] {
        let ours = world
            .get_with(uri, &[("origin", "https://tv.example")])
            .await;
        let allowed = "https://tv.example";
        assert_eq!(ours.header("access-control-allow-origin"), allowed);
        let exposed = ours.header("access-control-expose-headers");
        let is_told_why = exposed.contains("headend-reason");
        assert_eq!(is_told_why, uri == refused, "{uri}");
        let theirs = world
            .get_with(uri, &[("origin", "https://other.example")])
            .await;
        assert_eq!(theirs.status, ours.status, "only browsers keep to it");
        assert_eq!(theirs.header("access-control-allow-origin"), "");
        let vary = theirs.headers.get_all("vary").iter();
        assert!(vary.into_iter().any(|vary| vary == "origin"), "{uri}");
        for (origin, allowed) in [
            (allowed, "authorization, if-none-match, range"),
            ("https://other.example", ""),
        ] {
            let preflight = Request::builder().method(Method::OPTIONS).uri(uri);
            let preflight = world.ask(preflight, &[("origin", origin)]).await;
            assert_eq!(preflight.status, 204, "{uri}");
            assert_eq!(preflight.header("access-control-allow-headers"), allowed);
        }
    }
}
