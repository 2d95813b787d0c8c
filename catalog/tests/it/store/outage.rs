//! What only a store across a network can do: be away, be emptied, be another one, be killed while it is written to.

use std::time::Duration;

use catalog::redis::{OpenError, open};
use catalog::store::{CatalogStore, StoreCatalog, StoreError};
use catalog::{Catalog, RowKey};
use redis_support::testing::RedisServer;

use super::{Followed, SOON, put_channel, put_group};

async fn catalog(server: &RedisServer) -> StoreCatalog {
    open(&server.settings(), "test").await.unwrap()
}

async fn command(server: &RedisServer, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let mut connection = server.connect().await;
    command.exec_async(&mut connection).await.unwrap();
}

/// Scripts that were run so far.
async fn scripts_run(server: &RedisServer) -> u64 {
    let mut connection = server.connect().await;
    let mut command = redis::cmd("INFO");
    let text: String = command
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut parts = text.split("cmdstat_evalsha:calls=");
    let calls = parts.nth(1).and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// Waits until a follower has asked twice: the first answer may be one from before.
async fn until_asked_again(server: &RedisServer) {
    let before = scripts_run(server).await;
    let asking = async {
        while scripts_run(server).await < before + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap();
}

#[tokio::test]
async fn while_redis_is_away_reading_goes_on_and_afterwards_changes_are_seen_again() {
    let mut server = RedisServer::start().await;
    let one = catalog(&server).await;
    let two = Followed::new(catalog(&server).await);
    one.apply(vec![put_group("News", 1)]).await.unwrap();
    two.until(|snapshot| snapshot.group("News").is_some()).await;
    server.kill();
    let error = one.apply(vec![put_group("Sport", 1)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(one.snapshot().group("News").is_some());
    assert!(open(&server.settings(), "test").await.is_err());
    server.restart().await;
    one.apply(vec![put_group("Sport", 1)]).await.unwrap();
    two.until(|snapshot| snapshot.groups().count() == 2).await;
    two.end().await;
}

#[tokio::test]
async fn a_redis_that_lost_everything_empties_no_catalog() {
    let server = RedisServer::start().await;
    let writer = catalog(&server).await;
    writer.apply(vec![put_group("News", 1)]).await.unwrap();
    let reader = Followed::new(catalog(&server).await);
    command(&server, &["FLUSHALL"]).await;
    until_asked_again(&server).await;
    assert!(reader.catalog.snapshot().group("News").is_some());
    // It is filled anew, with as many versions as before but other ones.
    catalog(&server)
        .await
        .apply(vec![put_group("Sport", 1)])
        .await
        .unwrap();
    reader
        .until(|snapshot| snapshot.group("Sport").is_some() && snapshot.group("News").is_none())
        .await;
    reader.end().await;
}

#[tokio::test]
async fn a_redis_that_would_forget_is_not_written_to() {
    for arguments in [["--appendfsync", "everysec"], ["--appendonly", "no"]] {
        let server = RedisServer::start_with(0, &arguments).await;
        let catalog = catalog(&server).await;
        let error = catalog.apply(vec![put_group("News", 1)]).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("it would forget changes") && error.contains(arguments[1]),
            "{error}"
        );
        assert_eq!(catalog.snapshot().groups().count(), 0);
        command(&server, &["CONFIG", "SET", "appendonly", "yes"]).await;
        command(&server, &["CONFIG", "SET", "appendfsync", "always"]).await;
        catalog.apply(vec![put_group("News", 1)]).await.unwrap();
    }
}

#[tokio::test]
async fn two_releases_share_a_redis_without_seeing_each_other() {
    let server = RedisServer::start().await;
    let one = open(&server.settings(), "tv/one").await.unwrap();
    one.apply(vec![put_group("News", 1)]).await.unwrap();
    let two = open(&server.settings(), "tv/two").await.unwrap();
    assert_eq!(two.snapshot().groups().count(), 0);
    let wrong = open(&server.settings(), "tv}").await;
    assert!(matches!(wrong, Err(OpenError::Settings(_))));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_costs_no_other() {
    let server = RedisServer::start().await;
    let writer = catalog(&server).await;
    let rows = vec![put_channel("one"), put_channel("two"), put_group("News", 1)];
    writer.apply(rows).await.unwrap();
    let key = "headend:{test}:catalog:channel";
    command(&server, &["HSET", key, "two", "1 {\"channel\":{}}"]).await;
    let reader = catalog(&server).await;
    let snapshot = reader.snapshot();
    assert!(snapshot.channel("one").is_some() && snapshot.group("News").is_some());
    assert_eq!(snapshot.revision(&RowKey::Channel("two".to_owned())), None);
    reader.apply(vec![put_channel("two")]).await.unwrap();
    assert!(reader.snapshot().channel("two").is_some());
}

/// Each batch writes one number in two rows. What was acknowledged must be there, and both the same.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_of_redis_in_the_middle_of_writes() {
    let mut server = RedisServer::start().await;
    let mut acknowledged = 0;
    for round in 0..5 {
        let writer = catalog(&server).await;
        let writing = tokio::spawn(async move {
            let mut last = acknowledged;
            loop {
                let both = vec![put_group("left", last + 1), put_group("right", last + 1)];
                match writer.apply(both).await {
                    Ok(_) => last += 1,
                    Err(_) => return last,
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50 + 37 * round)).await;
        server.kill();
        acknowledged = writing.await.unwrap();
        server.restart().await;
        let snapshot = catalog(&server).await.snapshot();
        let order = |id: &str| snapshot.group(id).map_or(0, |group| group.order);
        assert_eq!(order("left"), order("right"));
        // The last one may have been applied without its answer arriving.
        assert!((acknowledged..=acknowledged + 1).contains(&order("left")));
        assert!(acknowledged > 0);
        acknowledged = order("left");
    }
}
