//! Everybody at once, on a channel that nobody watched: it starts once, its segments are read once, and nobody is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use reqwest::Client;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::admin::{Folder, ask, make, user};
use crate::{PATIENCE, source};

const VIEWERS: usize = 200;

/// One of them.
struct Viewer {
    client: Client,
    server: String,
    name: String,
}

impl Viewer {
    /// What is at an address; no error is worth a second try.
    async fn get(&self, path: &str) -> Vec<u8> {
        let request = self.client.get(format!("{}{path}", self.server));
        let request = request.header("user-agent", &self.name).timeout(PATIENCE);
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.bytes().await.unwrap());
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, StatusCode::OK, "{}, {path}: {text}", self.name);
        body.to_vec()
    }

    async fn addresses(&self, playlist: &str) -> Vec<String> {
        let text = String::from_utf8(self.get(playlist).await).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    /// A session, and the segments that it is told of first, which it takes.
    async fn watch(&self, master: &str) -> (String, Vec<String>) {
        let session = self.addresses(master).await.remove(0);
        let segments = self.addresses(&session).await;
        assert!(!segments.is_empty());
        for segment in &segments {
            let bytes = self.get(segment).await;
            assert_eq!((bytes[0], bytes.len() % 188), (0x47, 0));
        }
        (session, segments)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_comes_at_once_to_a_cold_channel_is_served_by_one_start() {
    let source = source(&["one"]).await;
    let folder = Folder::new();
    let standalone = folder.start().await;
    let channel = json!({ "name": "One", "sources": [{ "url": source.url("one") }] });
    make(&standalone, "/api/v1/channels", channel).await;
    let master: Arc<str> = user(&standalone, "anna").await.into();
    let client = Client::builder().no_proxy().build().unwrap();
    let together = Arc::new(Barrier::new(VIEWERS));
    let mut watching = JoinSet::new();
    for number in 0..VIEWERS {
        let viewer = Viewer {
            client: client.clone(),
            server: standalone.address.clone(),
            name: format!("player {number}"),
        };
        let (master, together) = (Arc::clone(&master), Arc::clone(&together));
        watching.spawn(async move {
            together.wait().await;
            viewer.watch(&master).await
        });
    }
    let seen = tokio::time::timeout(PATIENCE, watching.join_all()).await;
    let seen = seen.unwrap();
    let sessions: BTreeSet<_> = seen.iter().map(|(session, _)| session).collect();
    let segments: BTreeSet<_> = seen.iter().flat_map(|(_, segments)| segments).collect();
    assert_eq!(sessions.len(), VIEWERS);
    assert_eq!(source.stats("one").unwrap().clients_total, 1);
    let (_, stats) = ask(&standalone, Method::GET, "/api/v1/stats", None).await;
    let gateway = &stats["gateway"];
    assert_eq!(gateway["cacheMisses"], segments.len(), "{gateway}");
    assert!(standalone.end().await.success());
}
