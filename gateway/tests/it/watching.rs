//! Who is watching, as the presence store learns it.

use std::time::Duration;

use http::Method;
use presence::{CloseStart, Fence, Presence};

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::{self, World};

pub(crate) async fn flush(world: &World) {
    world::flush(&world.gateway).await;
}

#[tokio::test]
async fn the_store_learns_of_sessions_that_play_and_not_of_masters_alone() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    flush(&world).await;
    let seen = world.presence.stream(&uid).await.unwrap();
    assert!(seen.last.is_some());
    assert_eq!(seen.viewers, 0);
    // One player that switches renditions is one viewer.
    world.get(&variants[0]).await;
    world.get(&variants[1]).await;
    world.get(&variants[0]).await;
    let uri = "/live/news-one/master.m3u8?token=alice-token";
    let other = [("user-agent", "another player")];
    let variants = world.get_with(uri, &other).await.uris();
    world.get(&variants[0]).await;
    flush(&world).await;
    assert_eq!(world.presence.stream(&uid).await.unwrap().viewers, 2);
    // The pod hears of it with the next poll.
    pod.publish(playlists(&uid, 1, 2, 11..14));
    pod.is_told_of("gateway-0 2").await;
}

#[tokio::test]
async fn a_flush_says_i_am_here_also_when_nobody_watches() {
    let world = World::start().await;
    flush(&world).await;
    let (_, flushes) = world.presence.flushes().await.unwrap();
    assert_eq!(flushes.keys().collect::<Vec<_>>(), ["gateway-0"]);
}

#[tokio::test]
async fn a_viewer_whose_stream_was_sealed_gets_it_woken() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let variants = world.master("news-one").await.uris();
    flush(&world).await;
    // The operator finds it idle and seals it, while the viewer's next request is on its way.
    let closing = world
        .presence
        .begin_close(&uid, Duration::ZERO)
        .await
        .unwrap();
    let CloseStart::Closing { since } = closing else {
        panic!("{closing:?}");
    };
    assert!(world.presence.seal(&uid, since).await.unwrap());
    let calls = world.server.calls().len();
    world.get(&variants[0]).await;
    flush(&world).await;
    assert_eq!(
        world.presence.stream(&uid).await.unwrap().fence,
        Fence::Closed { since }
    );
    world
        .server
        .until("it is woken", |server| server.calls().len() > calls)
        .await;
    let call = world.server.calls().pop().unwrap();
    assert_eq!(
        (call.method, call.name.as_str()),
        (Method::PATCH, "news-one")
    );
    assert_eq!(call.body["spec"]["replicas"], 1);
    assert!(call.body["metadata"]["annotations"]["headend.dev/woken-at"].is_string());
}
