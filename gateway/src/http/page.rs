//! The start page: a handful of built files, read once at start and served from memory. No path of a request ever reaches the disk.

use std::collections::HashMap;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};

use super::error::Error;
use crate::Gateway;
use crate::client::Client;
use crate::metrics::Surface;

/// Files that are taken.
const FILES_MAXIMUM: usize = 64;

/// Bytes of a file at most.
const FILE_MAXIMUM: u64 = 8 * 1024 * 1024;

const INDEX: &str = "index.html";

/// hls.js works in a worker that it makes from a blob, and feeds the video from one. Channel pictures may be anywhere.
const POLICY: &str = "default-src 'self'; img-src 'self' http: https: data:; media-src 'self' blob:; worker-src 'self' blob:; \
                      script-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Headend</title>\
<body style=\"font:1rem/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem\"><h1>Headend is running</h1>\
<p>Its start page is not built. With Node.js, run this in <code>gateway/web</code> of the source tree, then start the gateway again:</p>\
<pre>npm ci\nnpm run build</pre>\
<p>Players need no page: open <code>/live/&lt;channel&gt;/master.m3u8?token=&lt;token&gt;</code>.</p></body></html>";

/// The files of the page.
#[derive(Debug, Default)]
pub struct Page {
    files: HashMap<String, (HeaderValue, Bytes)>,
}

impl Page {
    /// Reads the files of a directory; without it the page says how it is built.
    #[must_use]
    pub fn load(directory: &FilePath) -> Self {
        let files = read(directory).unwrap_or_else(|error| {
            tracing::info!(?directory, %error, "the start page is not built");
            HashMap::new()
        });
        Self { files }
    }

    /// The page itself.
    #[must_use]
    pub fn index(&self) -> &[u8] {
        let built = self.files.get(INDEX);
        built.map_or(NOT_BUILT.as_bytes(), |(_, page)| page)
    }
}

fn read(directory: &FilePath) -> io::Result<HashMap<String, (HeaderValue, Bytes)>> {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(directory)?.take(FILES_MAXIMUM) {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Some(mime) = mime(&name) else {
            continue;
        };
        if metadata.is_file() && metadata.len() <= FILE_MAXIMUM {
            let mime = HeaderValue::from_static(mime);
            files.insert(name, (mime, std::fs::read(entry.path())?.into()));
        }
    }
    Ok(files)
}

fn mime(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/", get(index))
        .route("/assets/{name}", get(asset))
}

async fn index(State(gateway): State<Arc<Gateway>>, client: Client) -> Response {
    if let Err(error) = gateway.meter(Surface::Page, &client) {
        return refused(&gateway, error);
    }
    let built = gateway.page.files.get(INDEX).cloned();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let (mime, body) = built.unwrap_or((html, Bytes::from_static(NOT_BUILT.as_bytes())));
    answer(&gateway, mime, body)
}

async fn asset(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    Path(name): Path<String>,
) -> Response {
    if let Err(error) = gateway.meter(Surface::Page, &client) {
        return refused(&gateway, error);
    }
    match gateway.page.files.get(&name).cloned() {
        Some((mime, body)) => answer(&gateway, mime, body),
        None => {
            gateway
                .metrics
                .answered(Surface::Page, StatusCode::NOT_FOUND);
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

fn refused(gateway: &Gateway, error: Error) -> Response {
    gateway.metrics.answered(Surface::Page, error.status());
    error.into_text()
}

fn answer(gateway: &Gateway, mime: HeaderValue, body: Bytes) -> Response {
    gateway.metrics.answered(Surface::Page, StatusCode::OK);
    let headers = [
        (CONTENT_TYPE, mime),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, body).into_response()
}
