//! How many sessions a user may have: dave has one place, and so has fred, whose newest session wins.

use std::sync::Arc;

use presence::places::Places;
use presence::redis::{RedisPresence, RedisSettings};

use crate::support::playlists;
use crate::support::transcoder::Pod;
use crate::support::world::{Answer, Replica, World};

/// Both channels run.
async fn running() -> (World, [Pod; 2]) {
    let world = World::start().await;
    let pods = [Pod::start().await, Pod::start().await];
    for (slug, pod) in ["news-one", "sport-two"].into_iter().zip(&pods) {
        let uid = world.running(slug, 1, pod);
        pod.publish(playlists(&uid, 1, 1, 10..20));
    }
    (world, pods)
}

/// The media playlist's address, as this player of dave's gets it there.
async fn begin(replica: &Replica, slug: &str, player: &str) -> String {
    begin_as("dave", replica, slug, player).await
}

async fn begin_as(user: &str, replica: &Replica, slug: &str, player: &str) -> String {
    let uri = format!("/live/{slug}/master.m3u8?token={user}-token");
    let master = replica.get_with(&uri, &[("user-agent", player)]).await;
    master.uris().remove(0)
}

fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        (answer.status, answer.header("headend-reason")),
        (status, reason),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn one_session_too_many_is_refused_by_every_replica_and_the_first_plays_on() {
    let (world, _pods) = running().await;
    let replicas = [world.replica("gateway-0"), world.replica("gateway-1")];
    let phone = begin(&replicas[0], "news-one", "phone").await;
    let tv = begin(&replicas[1], "news-one", "tv").await;
    assert_eq!(replicas[0].get(&phone).await.status, 200);
    for replica in &replicas {
        let answer = replica.get(&tv).await;
        refused(&answer, 429, "TooManySessions");
        assert_eq!(answer.header("retry-after"), "15");
        assert_eq!(replica.get(&phone).await.status, 200);
    }
    // The master alone takes no place; nor does a player that opens it again.
    let again = begin(&replicas[1], "news-one", "phone").await;
    assert_eq!(replicas[1].get(&again).await.status, 200);
}

#[tokio::test]
async fn where_the_newest_wins_it_takes_the_place_and_the_one_before_is_told() {
    let (world, _pods) = running().await;
    let replicas = [world.replica("gateway-0"), world.replica("gateway-1")];
    let phone = begin_as("fred", &replicas[0], "news-one", "phone").await;
    assert_eq!(replicas[0].get(&phone).await.status, 200);
    let tv = begin_as("fred", &replicas[1], "news-one", "tv").await;
    for replica in &replicas {
        assert_eq!(replica.get(&tv).await.status, 200);
    }
    refused(&replicas[1].get(&phone).await, 403, "SessionEnded");
}

#[tokio::test]
async fn a_player_that_zaps_takes_its_place_along() {
    let (world, _pods) = running().await;
    let replicas = [world.replica("gateway-0"), world.replica("gateway-1")];
    let before = begin(&replicas[0], "news-one", "phone").await;
    assert_eq!(replicas[0].get(&before).await.status, 200);
    let after = begin(&replicas[0], "sport-two", "phone").await;
    for replica in &replicas {
        assert_eq!(replica.get(&after).await.status, 200);
    }
    // Where it had played, what it asked for before is answered for a moment; elsewhere it is a session that has ended.
    assert_eq!(replicas[0].get(&before).await.status, 200);
    refused(&replicas[1].get(&before).await, 403, "SessionEnded");
    let back = begin(&replicas[0], "news-one", "phone").await;
    for replica in &replicas {
        assert_eq!(replica.get(&back).await.status, 200);
    }
}

#[tokio::test]
async fn with_the_store_away_each_replica_counts_for_itself() {
    let (world, _pods) = running().await;
    let settings = RedisSettings {
        url: Some("redis://127.0.0.1:9".parse().unwrap()),
        password_file: None,
    };
    let away: Arc<dyn Places> = Arc::new(RedisPresence::new(&settings, "tv/one").unwrap());
    let replicas = ["gateway-0", "gateway-1"].map(|name| world.replica_with(name, away.clone()));
    let phone = begin(&replicas[0], "news-one", "phone").await;
    let tv = begin(&replicas[0], "news-one", "tv").await;
    assert_eq!(replicas[0].get(&phone).await.status, 200);
    refused(&replicas[0].get(&tv).await, 429, "TooManySessions");
    assert_eq!(replicas[1].get(&tv).await.status, 200);
    assert_eq!(replicas[0].get(&phone).await.status, 200);
    let metrics = replicas[0].metrics();
    let line = "headend_gateway_place_claims_total{end=\"Local\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}
