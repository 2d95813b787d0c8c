//! Who comes in, and that turning somebody away asks nobody.

use catalog::TokenKey;

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::World;

/// What is asked for, and the answer.
const TURNED_AWAY: &[(&str, u16, &str)] = &[
    ("/live/news-one/master.m3u8", 401, "NoToken"),
    ("/live/news-one/master.m3u8?token=", 401, "WrongToken"),
    ("/live/news-one/master.m3u8?token=wrong", 401, "WrongToken"),
    (
        "/live/news-one/master.m3u8?token=carol-token",
        401,
        "WrongToken",
    ),
    ("/live/unknown/master.m3u8?token=wrong", 401, "WrongToken"),
    (
        "/live/unknown/master.m3u8?token=alice-token",
        404,
        "NoChannel",
    ),
    (
        "/live/..%2F..%2Fsecrets/master.m3u8?token=alice-token",
        404,
        "NoChannel",
    ),
    (
        "/live/news-one/master.m3u8?token=bob-token",
        403,
        "NotAllowed",
    ),
    (
        "/live/own-stream/master.m3u8?token=bob-token",
        404,
        "NoChannel",
    ),
    (
        "/live/sport-two/master.m3u8?token=dora-token",
        403,
        "NotAllowed",
    ),
    (
        "/live/own-stream/master.m3u8?token=dora-token",
        404,
        "NoChannel",
    ),
    (
        "/live/closed-three/master.m3u8?token=alice-token",
        404,
        "NoChannel",
    ),
    (
        "/live/news-one/master.m3u8?token=erik-token",
        403,
        "NotAllowed",
    ),
    ("/live/news-one.ts", 401, "NoToken"),
    ("/live/news-one.ts?token=wrong", 401, "WrongToken"),
    ("/live/news-one.ts?token=bob-token", 403, "NotAllowed"),
    ("/live/none.ts?token=alice-token", 404, "NoChannel"),
    ("/live/news-one.mp4?token=alice-token", 404, "NotFound"),
    ("/hls/forged/source/index.m3u8", 401, "SessionInvalid"),
    ("/seg/uid/key/source/1-1.ts", 403, "WrongKey"),
    ("/seg/uid/key/source/..", 404, "NotFound"),
    ("/seg/uid/key/..%2F../1-1.ts", 404, "NotFound"),
];

#[tokio::test]
async fn those_who_are_turned_away_cause_no_call_to_the_api_server() {
    let world = World::start().await;
    world.by_hand("own-stream", |_| {}).await;
    for (uri, status, reason) in TURNED_AWAY {
        let answer = world.get(uri).await;
        assert_eq!(
            (answer.status, answer.header("headend-reason")),
            (*status, *reason),
            "{uri}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{uri}");
        assert!(answer.body.starts_with(*reason), "{uri}: {}", answer.body);
    }
    assert_eq!(world.server.calls(), []);
}

#[tokio::test]
async fn a_401_names_the_scheme_and_the_token_may_come_in_the_header() {
    let world = World::start().await;
    let uri = "/live/unknown/master.m3u8";
    assert_eq!(world.get(uri).await.header("www-authenticate"), "Bearer");
    let answer = world
        .get_with(uri, &[("authorization", "Bearer alice-token")])
        .await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn what_is_not_served_is_not_found() {
    let world = World::start().await;
    for uri in [
        "/live/news-one",
        "/live/news-one/other.m3u8",
        "/hls",
        "/etc/passwd",
        "/metrics",
        "/readyz",
    ] {
        assert_eq!(world.get(uri).await.status, 404, "{uri}");
    }
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_what_began_with_it_and_nothing_else() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..20));
    let begin = async |token: &str| {
        let master = format!("/live/news-one/master.m3u8?token={token}");
        world.get(&master).await.uris().remove(0)
    };
    let (alice, dora) = (begin("alice-token").await, begin("dora-token").await);
    assert_eq!(world.get(&alice).await.status, 200);
    let hash = |token: &str| TokenKey::new(&[3; 32]).unwrap().hash(token.as_bytes());
    world
        .change_users(|users| {
            users.replace(
                &hash("alice-token").to_string(),
                &hash("another").to_string(),
            )
        })
        .await;
    let ended = world.get(&alice).await;
    assert_eq!(
        (ended.status, ended.header("headend-reason")),
        (401, "WrongToken")
    );
    for playlist in [dora, begin("another").await] {
        assert_eq!(world.get(&playlist).await.status, 200);
    }
}
