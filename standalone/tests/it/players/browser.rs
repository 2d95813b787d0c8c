//! hls.js in Chromium without a window, on a page of another origin than the gateway's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::{get, post};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::{LADDER, Stage};
use crate::PATIENCE;

const PAGE: &str = include_str!("player.html");

/// The player as the start page has it.
fn hls_js() -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../gateway/web/dist/hls.js"]
        .iter()
        .collect();
    std::fs::read(path)
        .expect("hls.js is there once `npm ci` and `npm run build` ran in gateway/web")
}

/// The page's server, and what the page tells it.
struct Page {
    address: String,
    told: mpsc::Receiver<Value>,
}

impl Page {
    async fn serve(playing: String) -> Self {
        let (tell, told) = mpsc::channel(16);
        let hls_js = Arc::new(hls_js());
        let script = move || {
            let script = hls_js.as_ref().clone();
            async move { ([(CONTENT_TYPE, "text/javascript")], script) }
        };
        let router = Router::new()
            .route("/player.html", get(|| async { Html(PAGE) }))
            .route("/hls.js", get(script))
            .route("/address", get(|| async { playing }))
            .route("/told", post(hear))
            .with_state(tell);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/player.html", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, told }
    }

    /// What the page tells next.
    async fn next(&mut self, what: &str) -> Value {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let told = told.expect("a word of the page").unwrap();
        eprintln!("{told:#}");
        assert_eq!(told["what"], what);
        told
    }
}

async fn hear(State(told): State<mpsc::Sender<Value>>, body: String) {
    let _ = told.send(serde_json::from_str(&body).unwrap()).await;
}

fn chromium(address: &str, profile: &Path) -> Child {
    Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--autoplay-policy=no-user-gesture-required",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Time went on, pictures were shown, and something was to be heard.
fn played(told: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    for name in ["time", "pictures"] {
        assert!(number(&told[name]) > number(&told["begun"][name]), "{name}");
    }
    assert!(number(&told["loudest"]) > 0.001);
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_plays_picture_and_sound_and_changes_to_another_rendition() {
    let stage = Stage::start(LADDER).await;
    let mut page = Page::serve(stage.address()).await;
    let profile: TempDir = tempfile::tempdir().unwrap();
    let mut chromium = chromium(&page.address, profile.path());
    let first = page.next("plays").await;
    played(&first);
    assert_eq!(first["levels"], serde_json::json!([144, 180]));
    let second = page.next("switched").await;
    played(&second);
    assert_ne!(first["height"], second["height"]);
    chromium.kill().await.unwrap();
    let visit = stage.end().await;
    visit.is_one_session();
    for height in ["144p", "180p"] {
        let segments = visit.segments.get(height).map_or(0, Vec::len);
        assert!(segments > 1, "{visit:#?}");
    }
}
