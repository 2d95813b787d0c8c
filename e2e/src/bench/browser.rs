//! hls.js in Chromium without a window, as a viewer: the page asks here what to play and tells here what it shows. The same plain server
//! has the files of the peers. Only moves times; judges none.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::viewing::{SECONDS, Watched};

/// Longest time until a picture, and until all is played after that.
const LIMIT: Duration = Duration::from_secs(60);

const PAGE: &str = include_str!("player.html");

/// A plain server of files below one directory, and of the player's page.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    next: mpsc::Sender<Value>,
    told: mpsc::Receiver<(Instant, String)>,
    serving: JoinHandle<()>,
}

struct Shared {
    directory: PathBuf,
    hls_js: Vec<u8>,
    next: Mutex<mpsc::Receiver<Value>>,
    told: mpsc::Sender<(Instant, String)>,
}

impl Server {
    /// Serves the directory's files under `/files/`.
    pub(crate) async fn start(directory: &Path, hls_js: &Path) -> Result<Self> {
        let hls_js = std::fs::read(hls_js)
            .with_context(|| format!("failed to read hls.js from {}", hls_js.display()))?;
        let (next, to_play) = mpsc::channel(1);
        let (telling, told) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            hls_js,
            next: Mutex::new(to_play),
            told: telling,
        });
        let router = Router::new()
            .route("/player.html", get(|| async { Html(PAGE) }))
            .route("/hls.js", get(hls))
            .route("/next", get(next_to_play))
            .route("/told", post(tell))
            .route("/files/{name}/{file}", get(file))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("failed to listen")?;
        let address = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            next,
            told,
            serving,
        })
    }

    /// Where a file of the directory is.
    pub(crate) fn url(&self, name: &str, file: &str) -> String {
        format!("{}/files/{name}/{file}", self.address)
    }

    /// Lets the page play an address; seconds since `begun`.
    pub(crate) async fn watch(&mut self, address: &str, begun: Instant) -> Result<Watched> {
        // What was told too late belongs to nobody.
        while self.told.try_recv().is_ok() {}
        let next = json!({ "address": address, "seconds": SECONDS });
        self.next.send(next).await.context("the server has ended")?;
        let first_frame = self.hear("frame", begun).await?;
        let played = self.hear("played", begun).await?;
        Ok(Watched {
            first_frame,
            waited: played - SECONDS,
        })
    }

    async fn hear(&mut self, what: &str, begun: Instant) -> Result<f64> {
        let told = tokio::time::timeout(LIMIT, self.told.recv()).await;
        let told = told.with_context(|| format!("the page told no {what:?} within {LIMIT:?}"))?;
        let (at, told) = told.context("the server has ended")?;
        ensure!(told == what, "the page told {told:?} instead of {what:?}");
        Ok(at.saturating_duration_since(begun).as_secs_f64())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn hls(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript")], shared.hls_js.clone())
}

async fn next_to_play(State(shared): State<Arc<Shared>>) -> Response {
    match shared.next.lock().await.recv().await {
        Some(next) => Json(next).into_response(),
        None => StatusCode::GONE.into_response(),
    }
}

async fn tell(State(shared): State<Arc<Shared>>, what: String) -> StatusCode {
    let told = shared.told.send((Instant::now(), what)).await;
    told.map_or(StatusCode::GONE, |()| StatusCode::NO_CONTENT)
}

async fn file(
    State(shared): State<Arc<Shared>>,
    UrlPath((name, file)): UrlPath<(String, String)>,
) -> Response {
    let kind = match Path::new(&file).extension().and_then(|kind| kind.to_str()) {
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("ts") => "video/mp2t",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match tokio::fs::read(shared.directory.join(name).join(file)).await {
        Ok(bytes) => ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A browser that shows the player's page; killed when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens the page of the server.
    pub(crate) fn open(server: &Server) -> Result<Self> {
        let profile = tempfile::tempdir().context("failed to create a directory")?;
        let child = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--mute-audio",
                "--autoplay-policy=no-user-gesture-required",
                // A player and its streams come from one place elsewhere; here the page plays from several.
                "--disable-web-security",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{}/player.html", server.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start chromium: is it installed?")?;
        Ok(Self {
            child,
            _profile: profile,
        })
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("failed to watch chromium")? {
            bail!("chromium ended with {status}");
        }
        self.child.kill().await.context("failed to end chromium")
    }
}
