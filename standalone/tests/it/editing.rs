//! Channel lists that change while channels are watched.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::standalone::Standalone;
use crate::viewer::Viewer;
use crate::{list, source, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_channel_follows_its_edited_source_and_its_numbers_go_on() {
    let source = source(&["one", "two"]).await;
    let clients = |name: &str| source.stats(name).unwrap().clients;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let viewer = Viewer::new(&standalone, "one");
    let playlist = viewer.tune_in().await;
    let before = viewer.look(&playlist).await;
    assert_eq!((clients("one"), clients("two")), (1, 0));

    let edited = list(&source, &["one"]).replace(&source.url("one"), &source.url("two"));
    std::fs::write(&file, edited).unwrap();
    until("the other source is played", async || {
        viewer.look(&playlist).await;
        (clients("one"), clients("two")) == (0, 1)
    })
    .await;
    until("the seam is listed", async || {
        let now = viewer.look(&playlist).await;
        assert!(now.media_sequence >= before.media_sequence, "{}", now.text);
        now.text.contains("#EXT-X-DISCONTINUITY\n")
    })
    .await;
    assert_eq!(standalone.count("somebody wants to watch"), 1);
    assert!(standalone.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_channel_can_be_watched_as_soon_as_it_is_listed() {
    let source = source(&["one", "two"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let viewer = Viewer::new(&standalone, "two");
    assert_eq!(viewer.master().await.0, 404);
    std::fs::write(&file, list(&source, &["one", "two"])).unwrap();
    until("the new channel plays", async || {
        viewer.master().await.0 == 200
    })
    .await;
    assert!(standalone.end().await.success());
}

/// A web server that gives this list to everybody.
async fn web_server(list: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let length = list.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{list}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/list.m3u")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_list_from_the_web_is_played() {
    let source = source(&["one"]).await;
    let url = web_server(list(&source, &["one"])).await;
    let standalone = Standalone::start(Path::new(&url), &[]).await;
    let viewer = Viewer::new(&standalone, "one");
    assert_eq!(viewer.master().await.0, 200);
    assert!(standalone.end().await.success());
}
