//! Who gets in, and what is too much.

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::{Api, administrators, json as body, refused, request};
use crate::support::world::World;

#[tokio::test]
async fn without_administrators_there_is_no_admin_api_and_viewers_are_served() {
    let world = World::start().await;
    for (method, uri) in [
        ("GET", "/api/v1/groups"),
        ("POST", "/api/v1/channels"),
        ("DELETE", "/api/v1/users/alice"),
        ("GET", "/api/v1/openapi.json"),
    ] {
        let answer = world
            .send(request(method, uri, "alice-token", &[], None))
            .await;
        refused(&answer, 404, "AdminApiOff");
        assert!(
            answer.body.contains("HEADEND_ADMINISTRATORS"),
            "{}",
            answer.body
        );
    }
    let listed = world
        .send(request("GET", "/api/v1/channels", "alice-token", &[], None))
        .await;
    assert_eq!(body(&listed)["channels"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_catalog_of_files_is_read_here_and_changed_there() {
    let administrators = Arc::new(administrators());
    let world = World::changed(|options| options.administrators = Some(administrators)).await;
    let ask = async |method: &str, uri: &str, wish: Option<&serde_json::Value>| {
        world
            .send(request(method, uri, "root-token", &[], wish))
            .await
    };
    let listed = ask("GET", "/api/v1/channels", None).await;
    assert_eq!(body(&listed)["channels"].as_array().unwrap().len(), 3);
    assert_eq!(ask("GET", "/api/v1/users/alice", None).await.status, 200);
    let channel = json!({ "name": "News", "sources": [{ "url": "http://a.example/" }] });
    let user = json!({ "name": "anna" });
    let token = json!({ "name": "tv" });
    for (method, uri, wish) in [
        ("POST", "/api/v1/channels", Some(&channel)),
        ("PUT", "/api/v1/channels/news-one", Some(&channel)),
        ("DELETE", "/api/v1/channels/news-one", None),
        ("POST", "/api/v1/users", Some(&user)),
        ("PUT", "/api/v1/users/alice", Some(&user)),
        ("POST", "/api/v1/users/alice/tokens", Some(&token)),
        ("DELETE", "/api/v1/users/alice", None),
    ] {
        let answer = ask(method, uri, wish).await;
        refused(&answer, 409, "CatalogReadOnly");
        assert!(
            answer.body.contains("HEADEND_CATALOG_STORE=redis"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait_with_the_right_one_too() {
    let api = Api::start().await;
    tokio::time::pause();
    for guess in 0..6 {
        let token = format!("guess-{guess}");
        let answer = api.ask_as(&token, "GET", "/api/v1/groups", None).await;
        refused(&answer, 401, "WrongToken");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for uri in ["/api/v1/groups", "/api/v1/channels"] {
        refused(&api.ask("GET", uri, None).await, 429, "TooManyWrongTokens");
    }
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(api.ask("GET", "/api/v1/groups", None).await.status, 200);
    for uri in ["/api/v1/groups", "/api/v1/channels"] {
        let in_url = format!("{uri}?token=root-token");
        let answer = api.ask_as("", "GET", &in_url, None).await;
        refused(&answer, 401, "NoToken");
        // It is not told to try what is not taken.
        assert!(!answer.body.contains("?token="), "{}", answer.body);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn bodies_are_json_of_a_bounded_length() {
    let api = Api::start().await;
    let send = async |kind: &str, text: String| {
        let request = Request::post("/api/v1/groups")
            .header("authorization", "Bearer root-token")
            .header("content-type", kind);
        api.replica
            .send(request.body(Body::from(text)).unwrap())
            .await
    };
    let group = r#"{"id":"a","name":"A"}"#;
    refused(&send("text/plain", group.to_owned()).await, 415, "NotJson");
    refused(
        &send("application/json", "{".to_owned()).await,
        400,
        "Unreadable",
    );
    let long = format!(r#"{{"id":"a","name":"{}"}}"#, "x".repeat(1024 * 1024));
    refused(&send("application/json", long).await, 413, "TooLong");
    let deep = "[".repeat(100_000);
    refused(&send("application/json", deep).await, 400, "Unreadable");
    assert_eq!(send("application/json", group.to_owned()).await.status, 201);
}

/// What each line of the audit has to say, in the order of what was done.
const TOLD: [[&str; 5]; 5] = [
    [
        "\"ops\"",
        "\"operator\"",
        "\"create\"",
        r#"the channel \"news\""#,
        "\"Done\"",
    ],
    [
        "\"ops\"",
        "\"operator\"",
        "\"create\"",
        r#"the channel \"news\""#,
        "\"Exists\"",
    ],
    [
        "\"ops\"",
        "\"operator\"",
        "change users",
        "\"NotPermitted\"",
        "",
    ],
    [
        "\"root\"",
        "\"admin\"",
        "\"create\"",
        r#"the user \"anna\""#,
        "\"Done\"",
    ],
    [
        "\"root\"",
        "\"admin\"",
        "\"create\"",
        r#"the token \"tv\" of the user \"anna\""#,
        "\"Done\"",
    ],
];

#[tokio::test]
async fn each_change_is_a_line_of_the_log_without_secrets() {
    let log = testkit::logs::capture();
    let api = Api::start().await;
    let channel = json!({ "name": "News", "sources": [{ "url": "http://u:hunter2@a.example/" }] });
    let (channels, users) = ("/api/v1/channels", "/api/v1/users");
    let anna = json!({ "name": "anna" });
    api.ask_as("ops-token", "POST", channels, Some(&channel))
        .await;
    api.ask_as("ops-token", "POST", channels, Some(&channel))
        .await;
    api.ask_as("ops-token", "POST", users, Some(&anna)).await;
    api.ask("POST", users, Some(&anna)).await;
    let wish = json!({ "name": "tv" });
    let made = api
        .ask("POST", "/api/v1/users/anna/tokens", Some(&wish))
        .await;
    let token = body(&made)["token"].as_str().unwrap().to_owned();
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains("headend::audit"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), TOLD.len(), "{text}");
    for (line, words) in lines.iter().zip(TOLD) {
        let says = |word: &&str| line.contains(*word);
        assert!(words.iter().all(says), "{line}\n{words:?}");
    }
    for secret in ["hunter2", "root-token", "ops-token", &token, "hmac-sha256"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
