//! A catalog in a file, changed by the admin API: what is made there plays at once, and is there after the process.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::source;
use crate::standalone::Standalone;

/// A folder with keys, and room for a catalog.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        for name in ["session", "segment", "token"] {
            std::fs::write(folder.path().join("keys").join(name), name.repeat(8)).unwrap();
        }
        Self(folder)
    }

    pub(crate) async fn start(&self) -> Standalone {
        let path = |name: &str| self.0.path().join(name).to_str().unwrap().to_owned();
        let (file, keys) = (path("catalog.redb"), path("keys"));
        let arguments = ["--catalog-file", &file, "--keys-directory", &keys];
        Standalone::run(&[&arguments[..], &["--admin-token", "admin-secret"]].concat()).await
    }
}

pub(crate) async fn ask(
    standalone: &Standalone,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> (StatusCode, Value) {
    testkit::tls::choose_provider();
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", standalone.address);
    let mut request = client.request(method, url);
    request = request.header("authorization", "Bearer admin-secret");
    if let Some(body) = body {
        request = request.header("content-type", "application/json");
        request = request.body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

async fn get(standalone: &Standalone, path: &str) -> (StatusCode, Value) {
    ask(standalone, Method::GET, path, None).await
}

/// Makes something, and answers what was made.
pub(crate) async fn make(standalone: &Standalone, path: &str, body: Value) -> Value {
    let (status, made) = ask(standalone, Method::POST, path, Some(&body)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

/// The address of the channel's master playlist, as a player of a new user asks for it: without an administrator's token.
pub(crate) async fn user(standalone: &Standalone, name: &str) -> String {
    let user = json!({ "name": name, "channels": "all" });
    make(standalone, "/api/v1/users", user).await;
    let token = json!({ "name": "tv" });
    let made = make(standalone, &format!("/api/v1/users/{name}/tokens"), token).await;
    let token = made["token"].as_str().unwrap();
    format!("/live/stream_one.m3u8?token={token}")
}

async fn plays(standalone: &Standalone, master: &str) -> bool {
    let answer = reqwest::get(format!("{}{master}", standalone.address)).await;
    answer.unwrap().status() == StatusCode::OK
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_an_administrator_makes_plays_and_is_there_after_the_process() {
    let source = source(&["one"]).await;
    let folder = Folder::new();
    let standalone = folder.start().await;
    let channel = json!({ "name": "One", "sources": [{ "url": source.url("one") }] });
    make(&standalone, "/api/v1/channels", channel).await;
    let master = user(&standalone, "anna").await;
    assert!(plays(&standalone, &master).await);
    assert!(standalone.end().await.success());

    let standalone = folder.start().await;
    let (_, channel) = get(&standalone, "/api/v1/channels/one").await;
    assert_eq!(channel["name"], "One");
    assert!(plays(&standalone, &master).await);
    assert!(standalone.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_suspended_ends_and_is_not_woken_until_it_is_resumed() {
    let source = source(&["one"]).await;
    let folder = Folder::new();
    let standalone = folder.start().await;
    let channel = json!({ "name": "One", "sources": [{ "url": source.url("one") }] });
    make(&standalone, "/api/v1/channels", channel).await;
    let master = user(&standalone, "anna").await;
    assert!(plays(&standalone, &master).await);
    let phase = async || {
        let (_, streams) = get(&standalone, "/api/v1/streams").await;
        streams["streams"][0]["phase"].clone()
    };
    let switch = async |switch: &str| {
        let path = format!("/api/v1/streams/one/{switch}");
        let (status, _) = ask(&standalone, Method::POST, &path, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    };
    crate::until("the stream plays", async || phase().await == "Live").await;
    switch("suspend").await;
    crate::until("the stream ends", async || phase().await == "Suspended").await;
    crate::until("the source has no client", async || {
        source.stats("one").unwrap().clients == 0
    })
    .await;
    assert!(!plays(&standalone, &master).await);
    assert_eq!(phase().await, "Suspended");
    switch("resume").await;
    crate::until("the stream plays again", async || {
        plays(&standalone, &master).await
    })
    .await;
    assert!(standalone.end().await.success());
}
