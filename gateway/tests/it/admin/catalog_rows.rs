//! Channels and groups: made, read, listed, changed, removed.

use redis_support::testing::RedisServer;
use serde_json::{Value, json};

use super::{Api, administrators, json as body, refused, request};
use crate::support::world::World;

fn channel(name: &str, order: u32) -> Value {
    let url = format!("http://alice:hunter2@source.example/{order}");
    json!({ "name": name, "order": order, "sources": [{ "url": url }] })
}

#[tokio::test]
async fn a_channel_is_made_read_changed_and_removed() {
    let api = Api::start().await;
    let made = api
        .ask("POST", "/api/v1/channels", Some(&channel("News One", 7)))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("location"), "/api/v1/channels/news-one");
    assert_eq!(made.header("etag"), "\"1\"");
    let again = api
        .ask("POST", "/api/v1/channels", Some(&channel("News One", 7)))
        .await;
    refused(&again, 409, "Exists");
    let uri = "/api/v1/channels/news-one";
    let read = api.ask("GET", uri, None).await;
    assert_eq!((read.status, read.header("etag")), (200, "\"1\""));
    assert_eq!(read.header("cache-control"), "no-store");
    assert_eq!(body(&read), body(&made));

    let mut wish = body(&read);
    wish["name"] = json!("News 1");
    let changed = api
        .ask_with("PUT", uri, &[("if-match", "\"1\"")], Some(&wish))
        .await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, "\"2\""),
        "{}",
        changed.body
    );
    assert_eq!(api.get(uri).await["name"], "News 1");
    let late = api
        .ask_with("PUT", uri, &[("if-match", "\"1\"")], Some(&wish))
        .await;
    refused(&late, 412, "Changed");
    let late = api
        .ask_with("DELETE", uri, &[("if-match", "\"1\"")], None)
        .await;
    refused(&late, 412, "Changed");

    assert_eq!(api.ask("DELETE", uri, None).await.status, 204);
    refused(&api.ask("DELETE", uri, None).await, 404, "NotFound");
    refused(&api.ask("GET", uri, None).await, 404, "NotFound");
    assert_eq!(api.slugs(), <[&str; 0]>::default());
}

#[tokio::test]
async fn a_put_makes_what_is_not_there_unless_it_says_what_has_to_be() {
    let api = Api::start().await;
    let uri = "/api/v1/channels/news";
    let wish = channel("News", 1);
    let present = api
        .ask_with("PUT", uri, &[("if-match", "*")], Some(&wish))
        .await;
    refused(&present, 412, "Changed");
    let absent = &[("if-none-match", "*")];
    assert_eq!(
        api.ask_with("PUT", uri, absent, Some(&wish)).await.status,
        200
    );
    refused(
        &api.ask_with("PUT", uri, absent, Some(&wish)).await,
        412,
        "Changed",
    );
    assert_eq!(api.ask("PUT", uri, Some(&wish)).await.status, 200);
    let mut other = wish;
    other["slug"] = json!("sport");
    let refusal = api.ask("PUT", uri, Some(&other)).await;
    refused(&refusal, 422, "Invalid");
    assert_eq!(body(&refusal)["field"], "slug");
}

#[tokio::test]
async fn what_cannot_be_a_channel_is_refused_by_its_field_and_leaves_nothing() {
    let api = Api::start().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut wish = channel("News", 1);
        change(&mut wish);
        wish
    };
    for (wish, status, told) in [
        (
            with(&|wish| wish["sources"] = json!([])),
            422,
            "\"field\":\"sources\"",
        ),
        (
            with(&|wish| wish["slug"] = json!("Not A Slug")),
            422,
            "\"field\":\"slug\"",
        ),
        (
            with(&|wish| wish["number"] = json!("x".repeat(33))),
            422,
            "\"field\":\"number\"",
        ),
        (
            with(&|wish| wish["sources"][0]["url"] = json!("mms://hunter2/")),
            422,
            "\"field\":\"sources[0].url\"",
        ),
        (
            with(&|wish| wish["sources"][0]["url"] = json!(7)),
            400,
            "\"field\":\"sources[0].url\"",
        ),
        (
            with(&|wish| wish["sauces"] = json!(7)),
            400,
            "unknown field `sauces`",
        ),
        (
            with(&|wish| wish["preset"] = json!("huge")),
            400,
            "\"field\":\"preset\"",
        ),
        (json!({ "sources": [] }), 400, "missing field `name`"),
    ] {
        let answer = api.ask("POST", "/api/v1/channels", Some(&wish)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(told), "{told}: {}", answer.body);
        assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    }
    assert_eq!(api.slugs(), <[&str; 0]>::default());
}

#[tokio::test]
async fn channels_are_listed_in_pages_and_searched() {
    let api = Api::start().await;
    for (name, order) in [("News", 2), ("Sport", 1), ("News Two", 2), ("Film", 3)] {
        let made = api
            .ask("POST", "/api/v1/channels", Some(&channel(name, order)))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let mut uri = "/api/v1/channels?limit=3".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = api.get(&uri).await;
        let channels = page["channels"].as_array().unwrap().iter();
        let slugs = channels.map(|one| one["slug"].as_str().unwrap().to_owned());
        pages.push(slugs.collect::<Vec<_>>());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        uri = format!("/api/v1/channels?limit=3&cursor={next}");
    }
    assert_eq!(pages, [vec!["sport", "news", "news-two"], vec!["film"]]);
    let found = api.get("/api/v1/channels?search=NEWS&limit=1").await;
    assert_eq!(found["channels"][0]["slug"], "news");
    let next = found["next"].as_str().unwrap();
    let found = api
        .get(&format!("/api/v1/channels?search=NEWS&cursor={next}"))
        .await;
    assert_eq!(found["channels"].as_array().unwrap().len(), 1);
    for (query, field) in [("limit=0", "limit"), ("cursor=x", "cursor")] {
        let answer = api
            .ask("GET", &format!("/api/v1/channels?{query}"), None)
            .await;
        refused(&answer, 400, "Unreadable");
        assert_eq!(body(&answer)["field"], field);
    }
    refused(
        &api.ask("GET", "/api/v1/channels?limit=many", None).await,
        400,
        "Unreadable",
    );
}

#[tokio::test]
async fn who_may_not_read_sources_is_shown_no_login() {
    let api = Api::start().await;
    api.ask("POST", "/api/v1/channels", Some(&channel("News", 7)))
        .await;
    for uri in ["/api/v1/channels", "/api/v1/channels/news"] {
        let seen = api.ask_as("desk-token", "GET", uri, None).await;
        assert_eq!(seen.status, 200);
        assert!(!seen.body.contains("hunter2"), "{}", seen.body);
        assert!(
            seen.body.contains("http://source.example/…"),
            "{}",
            seen.body
        );
        let seen = api.ask_as("ops-token", "GET", uri, None).await;
        assert!(seen.body.contains("hunter2"), "{}", seen.body);
    }
}

#[tokio::test]
async fn groups_are_made_changed_listed_and_removed() {
    let api = Api::start().await;
    let nameless = json!({ "name": "Sport" });
    let answer = api.ask("POST", "/api/v1/groups", Some(&nameless)).await;
    refused(&answer, 422, "Invalid");
    assert_eq!(body(&answer)["field"], "id");
    let sport = json!({ "id": "Sport & more", "name": "Sport", "order": 2 });
    assert_eq!(
        api.ask("POST", "/api/v1/groups", Some(&sport)).await.status,
        201
    );
    let news = json!({ "name": "News", "order": 1 });
    assert_eq!(
        api.ask("PUT", "/api/v1/groups/news", Some(&news))
            .await
            .status,
        200
    );
    let listed = api.get("/api/v1/groups").await;
    let news = json!({ "id": "news", "name": "News", "order": 1 });
    assert_eq!(listed, json!({ "groups": [news, sport] }));
    let uri = "/api/v1/groups/Sport%20%26%20more";
    assert_eq!(api.get(uri).await, sport);
    assert_eq!(api.ask("DELETE", uri, None).await.status, 204);
    refused(&api.ask("GET", uri, None).await, 404, "NotFound");
}

#[tokio::test]
async fn a_change_is_seen_by_every_gateway_on_the_same_redis() {
    let server = RedisServer::start().await;
    let world = World::start().await;
    let mut replicas = Vec::new();
    let mut following = Vec::new();
    for _ in 0..2 {
        let store = catalog::redis::open(&server.settings(), "tv/tv-one").await;
        let store = std::sync::Arc::new(store.unwrap());
        following.push(tokio::spawn(store.clone().follow(std::future::pending())));
        replicas.push(world.replica_on(store, administrators()));
    }
    let make = request(
        "POST",
        "/api/v1/channels",
        "ops-token",
        &[],
        Some(&channel("News", 1)),
    );
    let made = replicas[0].send(make).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let seen = async {
        loop {
            let read = request("GET", "/api/v1/channels/news", "ops-token", &[], None);
            let answer = replicas[1].send(read).await;
            if answer.status == 200 {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(std::time::Duration::from_mins(1), seen).await;
    assert_eq!(seen.unwrap().header("etag"), made.header("etag"));
    following.iter().for_each(tokio::task::JoinHandle::abort);
}
