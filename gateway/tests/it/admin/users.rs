//! Users and their tokens: what proves them is shown once, and kept as a hash.

use serde_json::{Value, json};

use super::{Api, json as body, refused};
use crate::support::playlists;
use crate::support::transcoder::Pod;

async fn make(api: &Api, name: &str) -> String {
    let user = json!({ "name": name, "channels": "all" });
    let made = api.ask("POST", "/api/v1/users", Some(&user)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    token(api, name, "tv").await
}

async fn token(api: &Api, user: &str, name: &str) -> String {
    let uri = format!("/api/v1/users/{user}/tokens");
    let made = api.ask("POST", &uri, Some(&json!({ "name": name }))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    body(&made)["token"].as_str().unwrap().to_owned()
}

/// Whether the token is let in where viewers ask.
async fn is_let_in(api: &Api, token: &str) -> bool {
    let answer = api.ask_as(token, "GET", "/api/v1/channels", None).await;
    answer.status == 200
}

#[tokio::test]
async fn a_token_is_shown_once_lets_its_user_in_and_is_taken_away_again() {
    let api = Api::start().await;
    let tv = make(&api, "anna").await;
    let phone = token(&api, "anna", "phone").await;
    assert!(tv.len() >= 32 && tv != phone);
    assert!(is_let_in(&api, &tv).await && is_let_in(&api, &phone).await);
    let again = json!({ "name": "tv" });
    let again = api
        .ask("POST", "/api/v1/users/anna/tokens", Some(&again))
        .await;
    refused(&again, 409, "Exists");
    for uri in [
        "/api/v1/users",
        "/api/v1/users/anna",
        "/api/v1/users/anna/tokens",
    ] {
        let text = api.get(uri).await.to_string();
        assert!(
            text.contains("\"name\":\"tv\"") && text.contains("\"created\""),
            "{text}"
        );
        for secret in [tv.as_str(), phone.as_str(), "hmac-sha256"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let uri = "/api/v1/users/anna/tokens/tv";
    assert_eq!(api.ask("DELETE", uri, None).await.status, 204);
    refused(&api.ask("DELETE", uri, None).await, 404, "NotFound");
    assert!(!is_let_in(&api, &tv).await && is_let_in(&api, &phone).await);
}

#[tokio::test]
async fn a_user_who_is_written_keeps_its_tokens_and_follows_what_was_written() {
    let api = Api::start().await;
    let tv = make(&api, "anna").await;
    let uri = "/api/v1/users/anna";
    let read = api.ask("GET", uri, None).await;
    let mut wish = body(&read);
    assert_eq!(
        (&wish["standing"], &wish["channels"]),
        (&json!("active"), &json!("all"))
    );
    wish["status"] = json!("banned");
    let tag = read.header("etag").to_owned();
    let bound = [("if-match", tag.as_str())];
    let banned = api.ask_with("PUT", uri, &bound, Some(&wish)).await;
    assert_eq!(body(&banned)["standing"], "banned", "{}", banned.body);
    assert!(!is_let_in(&api, &tv).await);
    let late = api.ask_with("PUT", uri, &bound, Some(&wish)).await;
    refused(&late, 412, "Changed");
    wish["status"] = json!("active");
    wish["name"] = json!("anne");
    let renamed = api.ask("PUT", uri, Some(&wish)).await;
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    assert!(is_let_in(&api, &tv).await);
    refused(&api.ask("GET", uri, None).await, 404, "NotFound");
    assert_eq!(
        api.ask("DELETE", "/api/v1/users/anne", None).await.status,
        204
    );
    assert!(!is_let_in(&api, &tv).await);
}

#[tokio::test]
async fn a_name_is_one_user_s_and_bad_users_are_refused_by_field() {
    let api = Api::start().await;
    make(&api, "anna").await;
    make(&api, "bert").await;
    let anna = json!({ "name": "anna" });
    let again = api.ask("POST", "/api/v1/users", Some(&anna)).await;
    refused(&again, 409, "Exists");
    let taken = api.ask("PUT", "/api/v1/users/bert", Some(&anna)).await;
    refused(&taken, 409, "Exists");
    let nobody = api.ask("PUT", "/api/v1/users/carl", Some(&anna)).await;
    refused(&nobody, 404, "NotFound");
    for (wish, status, told) in [
        (json!({}), 422, "\"field\":\"name\""),
        (json!({ "name": "a\nb" }), 422, "\"field\":\"name\""),
        (
            json!({ "name": "c", "maxSessions": 0 }),
            422,
            "\"field\":\"maxSessions\"",
        ),
        (
            json!({ "name": "c", "channels": "some" }),
            400,
            "\"field\":\"channels\"",
        ),
        (
            json!({ "name": "c", "formats": ["mp4"] }),
            400,
            "\"field\":\"formats[0]\"",
        ),
        (
            json!({ "name": "c", "expires": "soon" }),
            400,
            "\"field\":\"expires\"",
        ),
        (
            json!({ "name": "c", "password": "p" }),
            400,
            "unknown field `password`",
        ),
    ] {
        let answer = api.ask("POST", "/api/v1/users", Some(&wish)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(told), "{told}: {}", answer.body);
    }
    let lost = json!({ "name": "tv" });
    let lost = api
        .ask("POST", "/api/v1/users/carl/tokens", Some(&lost))
        .await;
    refused(&lost, 404, "NotFound");
}

#[tokio::test]
async fn users_are_listed_by_name_and_found_by_a_part_of_it() {
    let api = Api::start().await;
    for name in ["dora", "anna", "Bert", "hanna"] {
        let user = json!({ "name": name });
        let made = api.ask("POST", "/api/v1/users", Some(&user)).await;
        assert_eq!(made.status, 201);
    }
    let names = |page: &Value| {
        let users = page["users"].as_array().unwrap().iter();
        let names = users.map(|user| user["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let page = api.get("/api/v1/users?limit=3").await;
    assert_eq!(names(&page), ["Bert", "anna", "dora"]);
    let cursor = page["next"].as_str().unwrap();
    let page = api
        .get(&format!("/api/v1/users?limit=3&cursor={cursor}"))
        .await;
    assert_eq!(
        (names(&page), page.get("next")),
        (vec!["hanna".to_owned()], None)
    );
    assert_eq!(
        names(&api.get("/api/v1/users?search=ANNA").await),
        ["anna", "hanna"]
    );
}

/// Two who make tokens of the same user at the same time both get theirs.
#[tokio::test]
async fn changes_of_one_user_at_the_same_time_do_not_lose_each_other() {
    let api = Api::start().await;
    make(&api, "anna").await;
    let names: Vec<String> = (0..3).map(|number| format!("device {number}")).collect();
    let made = names.iter().map(|name| token(&api, "anna", name));
    futures::future::join_all(made).await;
    let tokens = api.get("/api/v1/users/anna/tokens").await;
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_user_who_is_kicked_is_out_with_the_next_playlist_and_may_come_back() {
    let api = Api::start().await;
    let pod = Pod::start().await;
    let uid = api.world.running("news-one", 1, &pod);
    pod.publish(playlists(&uid, 1, 1, 10..20));
    let channel = json!({ "slug": "news-one", "name": "News One", "sources": [{ "url": "http://source.example/one.ts" }] });
    assert_eq!(
        api.ask("POST", "/api/v1/channels", Some(&channel))
            .await
            .status,
        201
    );
    let token = make(&api, "anna").await;
    let begin = async || {
        let uri = format!("/live/news-one/master.m3u8?token={token}");
        api.replica.get(&uri).await.uris().remove(0)
    };
    let playlist = begin().await;
    assert_eq!(api.replica.get(&playlist).await.status, 200);
    let kicked = api
        .ask_as("desk-token", "POST", "/api/v1/users/anna/kick", None)
        .await;
    assert_eq!(kicked.status, 204, "{}", kicked.body);
    let over = api.replica.get(&playlist).await;
    assert_eq!(
        (over.status, over.header("headend-reason")),
        (403, "SessionEnded")
    );
    assert!(over.body.contains("by an administrator"), "{}", over.body);
    // One that begins in the same second is over, too; so the player is let in a second later at the latest.
    let back = async {
        while api.replica.get(&begin().await).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let back = tokio::time::timeout(std::time::Duration::from_mins(1), back).await;
    assert!(back.is_ok() && is_let_in(&api, &token).await);
    let nobody = api.ask("POST", "/api/v1/users/none/kick", None).await;
    refused(&nobody, 404, "NotFound");
}
