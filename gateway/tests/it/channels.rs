//! The list of channels.

use serde_json::{Value, json};

use crate::support::world::World;

async fn list(world: &World, token: &str) -> (u16, Value) {
    let authorization = format!("Bearer {token}");
    let answer = world
        .get_with("/api/v1/channels", &[("authorization", &authorization)])
        .await;
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test]
async fn a_token_lists_what_it_may_watch() {
    let world = World::start().await;
    let news = json!({ "slug": "news-one", "name": "News One", "number": "1", "group": "News" });
    let sport = json!({ "slug": "sport-two", "name": "Sport Two" });
    assert_eq!(
        list(&world, "alice-token").await,
        (200, json!({ "channels": [news, sport] }))
    );
    assert_eq!(
        list(&world, "bob-token").await,
        (200, json!({ "channels": [sport] }))
    );
    assert_eq!(
        list(&world, "dora-token").await,
        (200, json!({ "channels": [news] }))
    );
    // Made by hand: one is a channel of its own, the other is the catalog's already.
    world
        .by_hand("own-stream", |object| {
            object["spec"]["displayName"] = json!("Made by hand");
        })
        .await;
    world.server.put("news-one", |_| {});
    let own = json!({ "slug": "own-stream", "name": "Made by hand" });
    let expected = json!({ "channels": [news, sport, own] });
    while list(&world, "alice-token").await.1 != expected {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        list(&world, "bob-token").await,
        (200, json!({ "channels": [sport] }))
    );
    assert_eq!(world.server.calls(), []);
}

#[tokio::test]
async fn a_list_without_a_token_is_refused_with_a_document() {
    let world = World::start().await;
    let (status, body) = list(&world, "wrong").await;
    assert_eq!((status, &body["code"]), (401, &json!("WrongToken")));
    let in_url = world.get("/api/v1/channels?token=alice-token").await;
    assert_eq!(
        in_url.status, 401,
        "a page has no reason to put its token into an address"
    );
}
