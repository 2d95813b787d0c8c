//! Sessions: who watches what, and the end of one of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use presence::redis::{RedisPresence, RedisSettings};
use redis_support::testing::RedisServer;
use serde_json::{Value, json};

use super::{Api, administrators, json as body, refused, request};
use crate::support::playlists;
use crate::support::server::in_time;
use crate::support::transcoder::Pod;
use crate::support::world::{Answer, Replica};

/// Two channels that run, with two users who may watch them, and a second gateway that knows the same.
struct Watched {
    api: Api,
    other: Replica,
    tokens: [String; 2],
    _pods: [Pod; 2],
}

impl Watched {
    async fn start() -> Self {
        let api = Api::start().await;
        let pods = [Pod::start().await, Pod::start().await];
        for (slug, pod) in ["news-one", "sport-two"].into_iter().zip(&pods) {
            let uid = api.world.running(slug, 1, pod);
            pod.publish(playlists(&uid, 1, 1, 10..20));
            let url = format!("http://source.example/{slug}.ts");
            let channel = json!({ "slug": slug, "name": slug, "sources": [{ "url": url }] });
            let made = api.ask("POST", "/api/v1/channels", Some(&channel)).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        let mut tokens = Vec::new();
        for name in ["anna", "bert"] {
            let user = json!({ "name": name, "channels": "all" });
            let made = api.ask("POST", "/api/v1/users", Some(&user)).await;
            assert_eq!(made.status, 201, "{}", made.body);
            let uri = format!("/api/v1/users/{name}/tokens");
            let made = api.ask("POST", &uri, Some(&json!({ "name": "tv" }))).await;
            tokens.push(body(&made)["token"].as_str().unwrap().to_owned());
        }
        let store = api.store.clone();
        let other = api.world.replica_changed(|ports, options| {
            ports.catalog = store;
            options.name = "gateway-1".to_owned();
        });
        Self {
            api,
            other,
            tokens: tokens.try_into().unwrap(),
            _pods: pods,
        }
    }

    /// The media playlist's address of a session that begins at the first gateway, and what that answers there.
    async fn begin(&self, token: &str, slug: &str, player: &str) -> (String, Answer) {
        let uri = format!("/live/{slug}/master.m3u8?token={token}");
        let agent = [("user-agent", player)];
        let master = self.api.replica.get_with(&uri, &agent).await;
        let playlist = master.uris().remove(0);
        let answer = self.api.replica.get_with(&playlist, &agent).await;
        (playlist, answer)
    }

    async fn play(&self, token: &str, slug: &str, player: &str) -> String {
        let (playlist, answer) = self.begin(token, slug, player).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        playlist
    }

    async fn flush(&self) {
        self.api.replica.flush().await;
        self.other.flush().await;
    }

    /// Those that are listed, as root.
    async fn listed(&self, query: &str) -> Vec<Value> {
        let page = self.api.get(&format!("/api/v1/sessions{query}")).await;
        page["sessions"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn sessions_are_listed_with_user_channel_address_and_player_and_no_secret() {
    let watched = Watched::start().await;
    let [anna, bert] = &watched.tokens;
    let phone = watched.play(anna, "news-one", "phone/1.0").await;
    watched.play(bert, "sport-two", "tv/2.0").await;
    // One that asks here and there is one session.
    assert_eq!(watched.other.get(&phone).await.status, 200);
    assert_eq!(watched.listed("").await, <[Value; 0]>::default());
    watched.flush().await;
    let mut sessions = watched.listed("").await;
    sessions.sort_by_key(|session| session["user"].to_string());
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let first = &sessions[0];
    let expected = json!({
        "id": first["id"], "user": "anna", "channel": "news-one", "since": first["since"], "address": "0.0.0.0",
        "agent": "phone/1.0", "gateways": ["gateway-0", "gateway-1"]
    });
    assert_eq!(first, &expected);
    assert!(
        first["since"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    assert_eq!(sessions[1]["gateways"], json!(["gateway-0"]));
    let uri = format!("/api/v1/sessions/{}", first["id"].as_str().unwrap());
    assert_eq!(&watched.api.get(&uri).await, first);
    let text = Value::from(sessions).to_string();
    let session = phone.split('/').nth(2).unwrap();
    for secret in [anna, bert, session] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn sessions_are_searched_filtered_and_paged() {
    let watched = Watched::start().await;
    let [anna, bert] = &watched.tokens;
    for player in ["phone", "tv", "browser"] {
        watched.play(anna, "news-one", player).await;
    }
    watched.play(bert, "sport-two", "phone").await;
    watched.flush().await;
    for (query, count) in [
        ("", 4),
        ("?user=anna", 3),
        ("?user=nobody", 0),
        ("?channel=sport-two", 1),
        ("?user=anna&channel=sport-two", 0),
        ("?search=PHONE", 2),
        ("?search=phone&user=bert", 1),
        ("?search=0.0.0", 4),
    ] {
        assert_eq!(watched.listed(query).await.len(), count, "{query}");
    }
    let mut uri = "/api/v1/sessions?limit=1&user=anna".to_owned();
    let mut found = Vec::new();
    loop {
        let page = watched.api.get(&uri).await;
        let sessions = page["sessions"].as_array().unwrap();
        assert!(sessions.len() <= 1);
        found.extend(sessions.iter().map(|session| session["agent"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        uri = format!("/api/v1/sessions?limit=1&user=anna&cursor={next}");
    }
    found.sort_by_key(Value::to_string);
    assert_eq!(found, ["browser", "phone", "tv"]);
    for (query, field) in [("limit=0", "limit"), ("cursor=MCB4", "cursor")] {
        let uri = format!("/api/v1/sessions?{query}");
        let answer = watched.api.ask("GET", &uri, None).await;
        refused(&answer, 400, "Unreadable");
        assert_eq!(body(&answer)["field"], field);
    }
    let unknown = watched.api.ask("GET", "/api/v1/sessions?usr=anna", None);
    refused(&unknown.await, 400, "Unreadable");
}

#[tokio::test]
async fn a_session_that_is_ended_is_refused_everywhere_and_no_other_one_is() {
    let watched = Watched::start().await;
    let [anna, _] = &watched.tokens;
    let phone = watched.play(anna, "news-one", "phone").await;
    let tv = watched.play(anna, "news-one", "tv").await;
    watched.flush().await;
    let sessions = watched.listed("?search=phone").await;
    let id = sessions[0]["id"].as_str().unwrap();
    let uri = format!("/api/v1/sessions/{id}");
    let ended = watched.api.ask_as("desk-token", "DELETE", &uri, None).await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    // The other gateway hears of it when it reports.
    watched.other.flush().await;
    for replica in [&watched.api.replica, &watched.other] {
        let over = replica.get(&phone).await;
        let reason = over.header("headend-reason");
        assert_eq!((over.status, reason), (403, "SessionEnded"));
        assert!(over.body.contains("by an administrator"), "{}", over.body);
        assert_eq!(replica.get(&tv).await.status, 200);
    }
    assert_eq!(watched.listed("").await.len(), 1);
    for method in ["GET", "DELETE"] {
        refused(&watched.api.ask(method, &uri, None).await, 404, "NotFound");
    }
    // Its player may begin another one, which is another one from the next second on.
    let back = async {
        while watched.begin(anna, "news-one", "phone").await.1.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_mins(1), back).await;
    assert!(back.is_ok());
    let none = format!("/api/v1/sessions/{}", "0".repeat(32));
    refused(
        &watched.api.ask("DELETE", &none, None).await,
        404,
        "NotFound",
    );
}

#[tokio::test]
async fn with_the_store_away_nothing_wrong_is_said_and_viewers_play() {
    let watched = Watched::start().await;
    let settings = RedisSettings {
        url: Some("redis://127.0.0.1:9".parse().unwrap()),
        password_file: None,
    };
    let away = Arc::new(RedisPresence::new(&settings, "tv/one").unwrap());
    let store = watched.api.store.clone();
    let cut_off = watched.api.world.replica_changed(|ports, options| {
        ports.catalog = store;
        ports.reports = away;
        options.administrators = Some(Arc::new(administrators()));
    });
    let phone = watched.play(&watched.tokens[0], "news-one", "phone").await;
    cut_off.flush().await;
    let id = format!("/api/v1/sessions/{}", "0".repeat(32));
    for (method, uri) in [("GET", "/api/v1/sessions"), ("DELETE", id.as_str())] {
        let answer = request(method, uri, "root-token", &[], None);
        refused(&cut_off.send(answer).await, 503, "SessionsUnavailable");
    }
    assert_eq!(cut_off.get(&phone).await.status, 200);
}

#[tokio::test]
async fn a_continuous_stream_is_a_session_and_is_over_with_it() {
    let watched = Watched::start().await;
    let uri = format!("/live/news-one.ts?token={}", watched.tokens[0]);
    let request = Request::get(uri).header("user-agent", "tuner");
    let request = request.body(Body::empty()).unwrap();
    let mut stream = watched.api.replica.open(request).await.into_body();
    assert!(in_time(stream.frame()).await.unwrap().is_ok());
    watched.flush().await;
    let sessions = watched.listed("?user=anna&search=tuner").await;
    let id = sessions[0]["id"].as_str().unwrap();
    let uri = format!("/api/v1/sessions/{id}");
    let ended = watched.api.ask_as("desk-token", "DELETE", &uri, None).await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    while let Some(frame) = in_time(stream.frame()).await {
        assert!(frame.is_ok());
    }
    watched.flush().await;
    assert_eq!(watched.listed("").await.len(), 0);
}

#[tokio::test]
async fn gateways_on_one_redis_see_and_end_each_other_s_sessions() {
    let watched = Watched::start().await;
    let server = RedisServer::start().await;
    let replica = |name: &str| {
        let redis = Arc::new(RedisPresence::new(&server.settings(), "tv/one").unwrap());
        watched.api.world.replica_changed(|ports, options| {
            ports.catalog = watched.api.store.clone();
            ports.presence = redis.clone();
            ports.reports = redis;
            options.name = name.to_owned();
            options.administrators = Some(Arc::new(administrators()));
        })
    };
    let (one, other) = (replica("gateway-1"), replica("gateway-2"));
    let phone = watched.play(&watched.tokens[0], "news-one", "phone").await;
    let agent = [("user-agent", "phone/1.0 (\"smart\")")];
    assert_eq!(one.get_with(&phone, &agent).await.status, 200);
    one.flush().await;
    other.flush().await;
    let ask = async |method: &str, uri: &str| {
        let request = request(method, uri, "desk-token", &[], None);
        other.send(request).await
    };
    let page = body(&ask("GET", "/api/v1/sessions?user=anna").await);
    let session = &page["sessions"][0];
    assert_eq!(session["agent"], "phone/1.0 (\"smart\")", "{page}");
    assert_eq!(session["gateways"], json!(["gateway-1"]));
    let uri = format!("/api/v1/sessions/{}", session["id"].as_str().unwrap());
    assert_eq!(ask("DELETE", &uri).await.status, 204);
    assert_eq!(one.get(&phone).await.status, 200, "it has not heard of it");
    one.flush().await;
    assert_eq!(one.get(&phone).await.status, 403);
    let stats = body(&ask("GET", "/api/v1/stats").await);
    assert_eq!(stats["gateways"].as_array().unwrap().len(), 2);
}
