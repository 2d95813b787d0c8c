//! How many connections an address may have, on real sockets.

use gateway::Limits;

use crate::support::server::{Server, asked, head, limits};
use crate::support::world::World;

fn two_each() -> Limits {
    Limits {
        connections_per_address: 2,
        ..limits()
    }
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_and_has_a_place_again_when_one_ends() {
    let world = World::start().await;
    let server = Server::start(world.gateway.clone(), two_each()).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for stream in [&mut first, &mut second] {
        assert!(asked(stream, "/").await.starts_with("HTTP/1.1 200"));
    }
    assert!(world.metrics().contains("headend_gateway_connections 2\n"));
    let refused = head(&mut server.connect().await).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("headend-reason: TooManyConnections\r\n"));
    assert!(refused.contains("retry-after: 5\r\n"), "{refused}");
    let line = "headend_gateway_refused_connections_total 1\n";
    assert!(world.metrics().contains(line));
    drop(first);
    while !world.metrics().contains("headend_gateway_connections 1\n") {
        tokio::task::yield_now().await;
    }
    let mut third = server.connect().await;
    assert!(asked(&mut third, "/").await.starts_with("HTTP/1.1 200"));
    // Who is there already never noticed.
    assert!(asked(&mut second, "/").await.starts_with("HTTP/1.1 200"));
    server.end().await;
    assert!(world.metrics().contains("headend_gateway_connections 0\n"));
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_as_it_likes() {
    let world = World::changed(|options| {
        options.proxies.networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let server = Server::start(world.gateway.clone(), two_each()).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = server.connect().await;
        assert!(asked(&mut stream, "/").await.starts_with("HTTP/1.1 200"));
        open.push(stream);
    }
    drop(open);
    server.end().await;
}
