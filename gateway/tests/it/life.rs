//! How a gateway ends: not ready first, serving on, and the last word to the presence store.

use std::time::Duration;

use gateway::Limits;
use presence::Presence;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::playlists;
use crate::support::server::{Server, limits};
use crate::support::transcoder::Pod;
use crate::support::world::World;

async fn status(address: std::net::SocketAddr, uri: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {uri} HTTP/1.1\r\nhost: tv\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_gateway_that_is_told_to_end_serves_on_for_a_while_and_flushes_last() {
    let world = World::start().await;
    let pod = Pod::start().await;
    let uid = world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..13));
    let limits = Limits {
        drain: Duration::from_millis(500),
        ..limits()
    };
    let server = Server::start(world.gateway.clone(), limits).await;
    let (address, readiness) = (server.address, server.readiness.clone());
    assert_eq!(
        status(address, "/live/news-one/master.m3u8").await,
        Some(401)
    );
    assert_eq!(readiness.missing(), Vec::<&str>::new());
    server.shutdown.cancel();
    while readiness.missing().is_empty() {
        tokio::task::yield_now().await;
    }
    let uri = "/live/news-one/master.m3u8?token=alice-token";
    assert_eq!(
        status(address, uri).await,
        Some(200),
        "it serves on while the news spreads"
    );
    server.ended().await;
    assert_eq!(status(address, "/").await, None);
    let seen = world.presence.stream(&uid).await.unwrap();
    assert!(seen.last.is_some(), "the last request was told");
}
