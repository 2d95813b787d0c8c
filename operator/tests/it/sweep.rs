//! The sweeper on a real directory, beside a cluster that changes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use operator::settings::{Settings, SweepSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::api_server::ApiServer;
use crate::world::{SOON, admin, settings};

pub(crate) fn settings_of(root: &Path, retention: &str) -> SweepSettings {
    let more = [
        "--output-directory",
        root.to_str().unwrap(),
        "--sweep-retention-seconds",
        retention,
    ];
    match settings("sweep", &more) {
        Settings::Sweep(settings) => settings,
        other => panic!("not the settings of sweep: {other:?}"),
    }
}

pub(crate) struct Sweeper {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    /// Where it answers /metrics.
    pub(crate) admin: SocketAddr,
}

pub(crate) fn start(api: &ApiServer, settings: SweepSettings) -> Sweeper {
    let shutdown = CancellationToken::new();
    let (client, token) = (api.client(), shutdown.clone());
    let (listener, admin) = admin();
    let task = tokio::spawn(async move {
        let swept = operator::sweep(client, listener, &settings, token).await;
        swept.unwrap();
    });
    Sweeper {
        shutdown,
        task,
        admin,
    }
}

impl Sweeper {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn stream(uid: &str) -> Value {
    json!({"metadata": {"name": format!("stream-{uid}"), "uid": format!("{uid}-0000-4000-8000-000000000000")}, "spec": {}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/component": "transcoder"}}, "spec": {}})
}

pub(crate) fn directory(root: &TempDir, name: &str) {
    let rendition = root.path().join("pods").join(name).join("source");
    fs::create_dir_all(&rendition).unwrap();
    fs::write(rendition.join("1-1.ts"), "segment").unwrap();
}

fn directories(root: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(root.path().join("pods")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A directory tells nobody when it changes, so it is looked at until it is as expected.
async fn until(root: &TempDir, expected: &[&str]) {
    let deadline = Instant::now() + SOON;
    while directories(root) != expected {
        assert!(
            Instant::now() < deadline,
            "{:?} is not {expected:?}",
            directories(root)
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn directories_go_with_their_pods_and_streams() {
    let root = TempDir::new().unwrap();
    let api = ApiServer::new();
    api.with(|objects| {
        objects.put("livestreams", stream("aaaaaaaa"));
        objects.put("livestreams", stream("bbbbbbbb"));
        objects.put("pods", pod("one-aaaaaaaa-2"));
        objects.put("pods", pod("two-bbbbbbbb-1"));
    });
    for name in [
        "gone-00000000-1",
        "one-aaaaaaaa-1",
        "one-aaaaaaaa-2",
        "two-bbbbbbbb-1",
        "lost+found",
    ] {
        directory(&root, name);
    }
    let sweeper = start(&api, settings_of(root.path(), "600"));
    // The predecessor of a living stream's pod is kept for a while, what has no stream is not.
    until(
        &root,
        &[
            "lost+found",
            "one-aaaaaaaa-1",
            "one-aaaaaaaa-2",
            "two-bbbbbbbb-1",
        ],
    )
    .await;
    api.with(|objects| {
        objects.remove("livestreams", "stream-bbbbbbbb");
        objects.remove("pods", "two-bbbbbbbb-1");
    });
    until(&root, &["lost+found", "one-aaaaaaaa-1", "one-aaaaaaaa-2"]).await;
    api.with(|objects| objects.remove("livestreams", "stream-aaaaaaaa"));
    // Its pod is still there, the predecessor's is not.
    until(&root, &["lost+found", "one-aaaaaaaa-2"]).await;
    sweeper.stop().await;
}

#[tokio::test]
async fn a_directory_is_kept_for_the_retention_while_its_stream_lives() {
    let root = TempDir::new().unwrap();
    let api = ApiServer::new();
    api.with(|objects| objects.put("livestreams", stream("aaaaaaaa")));
    directory(&root, "one-aaaaaaaa-1");
    directory(&root, "gone-00000000-1");
    let sweeper = start(&api, settings_of(root.path(), "2"));
    until(&root, &["one-aaaaaaaa-1"]).await;
    until(&root, &[]).await;
    sweeper.stop().await;
}

#[tokio::test]
async fn what_the_watch_has_not_seen_is_asked_for_before_anything_goes() {
    let root = TempDir::new().unwrap();
    let api = ApiServer::new();
    // A pod that the sweeper's watch never shows: it lacks the label.
    let mut unseen = pod("one-aaaaaaaa-1");
    unseen["metadata"]["labels"] = json!({});
    api.with(|objects| objects.put("pods", unseen));
    directory(&root, "one-aaaaaaaa-1");
    directory(&root, "two-bbbbbbbb-1");
    let sweeper = start(&api, settings_of(root.path(), "0"));
    until(&root, &["one-aaaaaaaa-1"]).await;
    sweeper.stop().await;
    assert_eq!(directories(&root), ["one-aaaaaaaa-1"]);
}
