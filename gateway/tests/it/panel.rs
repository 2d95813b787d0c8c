//! Addresses that panels know from elsewhere.

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::World;

#[tokio::test]
async fn a_playlist_lists_what_the_token_may_watch_where_the_client_came_to() {
    let world = World::start().await;
    let host = [("host", "tv.example")];
    let list = world
        .get_with("/get_playlist.php?token=bob-token", &host)
        .await;
    let entry = "#EXTM3U\n#EXTINF:-1,Sport Two\nhttp://tv.example/live/sport-two/master.m3u8?token=bob-token\n";
    assert_eq!((list.status, list.body.as_str()), (200, entry));
    assert_eq!(list.header("cache-control"), "private, no-store");
    let list = world
        .get_with("/get_playlist.php?token=alice-token", &host)
        .await;
    assert_eq!(list.body.matches("#EXTINF").count(), 2, "{}", list.body);
    let wrong = world.get_with("/get_playlist.php?token=wrong", &host).await;
    assert_eq!(
        (wrong.status, wrong.header("headend-reason")),
        (401, "WrongToken")
    );
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_that_the_client_came_by_tls() {
    let network = "10.0.0.0/8".parse().unwrap();
    let world = World::changed(|options| options.proxies.networks = vec![network]).await;
    let headers = [("host", "tv.example"), ("x-forwarded-proto", "https")];
    let uri = "/get_playlist.php?token=bob-token";
    for (peer, scheme) in [("10.1.2.3", "https"), ("192.0.2.7", "http")] {
        let list = world.get_from(peer, uri, &headers).await;
        let expected = format!("{scheme}://tv.example/live/sport-two/");
        assert!(list.body.contains(&expected), "{peer} {}", list.body);
    }
}

#[tokio::test]
async fn a_stream_by_its_id_is_the_channel_s_master() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..20));
    let master = world
        .get("/live/stream_news-one.m3u8?token=alice-token")
        .await;
    let playlist = &master.uris()[0];
    assert_eq!(world.get(playlist).await.status, 200);
    for (uri, status) in [
        ("/live/stream_news-one.m3u8", 401),
        ("/live/stream_none.m3u8?token=alice-token", 404),
        ("/live/news-one.m3u8?token=alice-token", 404),
        ("/live/stream_news-one.m3u8?token=bob-token", 403),
    ] {
        assert_eq!(world.get(uri).await.status, status, "{uri}");
    }
}
