//! What only a store across a network can do: be away, come back, hang, and be shared by two releases.

use std::io::Write;
use std::time::Duration;

use presence::redis::{RedisPresence, RedisSettings};
use presence::{CloseStart, Fence, Presence, StoreTime, Touch};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use redis_support::testing::RedisServer;

const TIMEOUT: Duration = Duration::from_mins(5);
/// Whatever the store takes for now.
const NOW: StoreTime = StoreTime(u64::MAX);

fn touch(uid: &str) -> [Touch; 1] {
    [Touch {
        stream_uid: uid.to_owned(),
        age: Duration::ZERO,
        viewers: 1,
    }]
}

fn tcp(port: u16) -> RedisSettings {
    RedisSettings {
        url: Some(format!("redis://127.0.0.1:{port}").parse().unwrap()),
        password_file: None,
    }
}

#[tokio::test]
async fn two_releases_share_a_redis_without_seeing_each_other() {
    let server = RedisServer::start().await;
    let one = RedisPresence::new(&server.settings(), "one").unwrap();
    let two = RedisPresence::new(&server.settings(), "two").unwrap();
    one.flush("gateway", &touch("uid"), NOW).await.unwrap();
    assert!(one.stream("uid").await.unwrap().last.is_some());
    assert!(two.stream("uid").await.unwrap().last.is_none());
    assert!(two.flushes().await.unwrap().1.is_empty());
}

#[tokio::test]
async fn while_redis_is_away_every_step_says_so_and_afterwards_goes_on_where_it_was() {
    let mut server = RedisServer::start().await;
    let presence = RedisPresence::new(&server.settings(), "test").unwrap();
    presence.flush("gateway", &touch("uid"), NOW).await.unwrap();
    let before = presence.stream("uid").await.unwrap();
    server.kill();
    let error = presence
        .begin_close("uid", TIMEOUT)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!(
        "failed to fence a stream in the presence store at {}: ",
        presence.address()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(presence.seal("uid", NOW).await.is_err());
    server.restart().await;
    let after = presence.stream("uid").await.unwrap();
    assert_eq!(after.last, before.last);
    assert!(matches!(
        presence.begin_close("uid", TIMEOUT).await,
        Ok(CloseStart::InUse { .. })
    ));
}

#[tokio::test]
async fn a_redis_that_restarts_between_two_steps_is_not_noticed() {
    let mut server = RedisServer::start_on_tcp().await;
    let presence = RedisPresence::new(&tcp(server.port()), "test").unwrap();
    presence.flush("gateway", &touch("uid"), NOW).await.unwrap();
    server.kill();
    server.restart().await;
    assert!(presence.stream("uid").await.unwrap().last.is_some());
}

#[tokio::test]
async fn a_process_may_start_before_its_redis() {
    let mut server = RedisServer::start().await;
    server.kill();
    let presence = RedisPresence::new(&server.settings(), "test").unwrap();
    assert!(presence.stream("uid").await.is_err());
    server.restart().await;
    assert_eq!(presence.stream("uid").await.unwrap().fence, Fence::Open);
}

/// Accepts and never answers once, then passes everything on to `port`.
async fn hang_once(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let _hanging = listener.accept().await.unwrap();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    address.port()
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_and_replaced() {
    let server = RedisServer::start_on_tcp().await;
    let presence = RedisPresence::new(&tcp(hang_once(server.port()).await), "test").unwrap();
    let first = tokio::time::timeout(Duration::from_mins(1), presence.stream("uid")).await;
    assert!(first.expect("a bounded wait").is_err());
    assert_eq!(presence.stream("uid").await.unwrap().fence, Fence::Open);
}

#[tokio::test]
async fn the_password_of_a_file_opens_a_redis_that_wants_one() {
    let server = RedisServer::start_with(0, &["--requirepass", "hunter2"]).await;
    let mut settings = server.settings();
    let refused = RedisPresence::new(&settings, "test")
        .unwrap()
        .stream("uid")
        .await;
    assert!(refused.unwrap_err().to_string().contains("NOAUTH"));
    let path = server.directory().join("password");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"hunter2\n").unwrap();
    settings.password_file = Some(path);
    let presence = RedisPresence::new(&settings, "test").unwrap();
    assert_eq!(presence.stream("uid").await.unwrap().fence, Fence::Open);
}

#[tokio::test]
async fn what_outlived_its_time_is_dropped_by_the_next_flush() {
    let server = RedisServer::start().await;
    let presence = RedisPresence::new(&server.settings(), "test").unwrap();
    let mut connection = server.connect().await;
    for key in ["last", "closing", "closed", "flushed"] {
        let mut command = redis::cmd("ZADD");
        command
            .arg(format!("headend:{{test}}:{key}"))
            .arg(1)
            .arg("ancient");
        command.exec_async(&mut connection).await.unwrap();
    }
    presence.flush("gateway", &[], NOW).await.unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["headend:{test}:flushed"]);
    assert_eq!(
        presence
            .flushes()
            .await
            .unwrap()
            .1
            .into_keys()
            .collect::<Vec<_>>(),
        ["gateway"]
    );
}
