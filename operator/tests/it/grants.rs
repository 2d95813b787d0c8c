//! A stream whose provider fails goes on with another one in the same pod: its connection is entered before the pod is told, and what it had is
//! given back once the pod has left it.

use serde_json::{Value, json};

use crate::api_server::Objects;
use crate::crash::ends_without_loss;
use crate::history::check;
use crate::players::FAILS;
use crate::slots::{entries_in, reason, watch};
use crate::world::{World, pods, status};

/// What makes a stream run from channels of the Providers `panel` and `other`.
fn channels() -> Value {
    let channel = |provider: &str| json!({"provider": {"name": provider, "channel": "101"}});
    json!({"replicas": 1, "sources": [channel("panel"), channel("other")]})
}

/// A stream that can have a connection of two Providers.
pub(crate) fn of_two_accounts(world: &World) {
    world.provider(1);
    world.provider_called("other", 1);
    world.create("news-one", &channels());
}

pub(crate) fn panel_fails(objects: &mut Objects) {
    let fails = json!({"metadata": {"annotations": {FAILS: "true"}}});
    objects.change("providers", "panel", &fails);
}

fn is_live(objects: &Objects) -> bool {
    status(objects, "news-one", "/phase") == "Live"
}

pub(crate) fn plays_from_panel(objects: &Objects) -> bool {
    is_live(objects) && entries_in(objects, "panel") == ["news-one 1"]
}

/// The same pod plays from the other Provider, and the connection that it had is free.
pub(crate) fn plays_from_other(objects: &Objects) -> bool {
    is_live(objects)
        && status(objects, "news-one", "/pod/attempt") == 1
        && status(objects, "news-one", "/source/index") == 1
        && entries_in(objects, "panel").is_empty()
        && entries_in(objects, "other") == ["news-one 1"]
        && pods(objects).len() == 1
}

#[tokio::test]
async fn a_stream_goes_on_with_another_provider_in_its_pod() {
    let (world, _ledger) = World::with_players();
    let operator = world.operator();
    of_two_accounts(&world);
    world.until("it plays", plays_from_panel).await;
    let writes = world.api.writes().len();
    world.api.with(panel_fails);
    world.until("it plays on", plays_from_other).await;
    let writes = world.api.writes().split_off(writes);
    let of_providers = writes.iter().filter(|write| write.contains("providers"));
    assert_eq!(of_providers.count(), 2, "one in, one out: {writes:?}");
    operator.stop().await.unwrap();
    check(&world);
}

#[tokio::test]
async fn where_others_have_all_connections_it_is_said_who_and_taken_when_one_is_free() {
    let (world, _ledger) = World::with_players();
    let operator = world.operator();
    world.provider_called("other", 1);
    let source = json!([{"provider": {"name": "other", "channel": "7"}}]);
    world.create("sport", &json!({"replicas": 1, "sources": source}));
    let plays = |objects: &Objects| status(objects, "sport", "/phase") == "Live";
    world.until("sport plays", plays).await;
    world.provider(1);
    world.create("news-one", &channels());
    watch(&world, "sport").await;
    watch(&world, "news-one").await;
    world.until("news-one plays", plays_from_panel).await;
    world.api.with(panel_fails);
    let says = "it needs a connection of another Provider: 1 of 1 connections of Provider other are in use, by sport";
    world
        .until("it says so", |objects| {
            reason(objects, "news-one").1.contains(says)
        })
        .await;
    world.api.with(|objects| {
        assert_eq!(entries_in(objects, "other"), ["sport 1"]);
        assert_eq!(entries_in(objects, "panel"), ["news-one 1"]);
        let stop = json!({"spec": {"replicas": 0}});
        objects.change("livestreams", "sport", &stop);
    });
    world.until("it plays on", plays_from_other).await;
    operator.stop().await.unwrap();
    check(&world);
}

#[tokio::test]
async fn an_operator_lost_at_any_write_of_it_leaves_no_connection_behind() {
    const MOST: usize = 16;
    let lost = (1..=MOST).map(|lost_after| async move {
        let (world, _ledger) = World::with_players();
        of_two_accounts(&world);
        world.once(plays_from_panel, panel_fails);
        Box::pin(ends_without_loss(&world, lost_after, plays_from_other)).await
    });
    let ended = futures::future::join_all(lost).await;
    let writes = ended.iter().filter(|ended| !**ended).count();
    assert!((6..MOST).contains(&writes), "the way has {writes} writes");
}
