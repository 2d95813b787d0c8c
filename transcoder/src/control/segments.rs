//! `…/hls`: playlists and segments of this attempt, for people, and for gateways while the volume lags.
//! Serves what is published or was until lately, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::names::{parse_segment_name, segment_name};
use api::playlists::{HEVC, Playlists, Rendition};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use media::playlist::render;
use tokio::time::timeout;

use super::refusal::Refusal;
use super::{Control, Ours};

const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
/// How long a rendition without a segment is waited for.
const HOLD: Duration = Duration::from_secs(8);
const SEGMENT_TYPE: &str = "video/mp2t";
/// A name stands for its bytes for good.
const SEGMENT_CACHE: &str = "max-age=3600, immutable";

/// The routes below `…/hls`.
pub(super) fn router() -> Router<Control> {
    Router::new()
        .route("/hls/master.m3u8", get(master))
        .route("/hls/{rendition}/index.m3u8", get(media))
        .route("/hls/{rendition}/{segment}", get(segment))
}

async fn master(
    _: Ours,
    State(control): State<Control>,
    Query(query): Query<MasterQuery>,
) -> Result<Response, Refusal> {
    let playlists = published(&control)?;
    let uri = |rendition: &Rendition| format!("{}/index.m3u8", rendition.id);
    if query.video.as_deref() != Some(HEVC) || !playlists.offers(HEVC) {
        return Ok(playlist(render::master(&playlists, uri)));
    }
    let playlists = with_media(&control, HEVC).await?;
    Ok(playlist(render::master_on_request(&playlists, uri)))
}

async fn media(
    _: Ours,
    State(control): State<Control>,
    Path(path): Path<MediaPath>,
) -> Result<Response, Refusal> {
    let id = &path.rendition;
    let playlists = published(&control)?;
    if !playlists.offers(id) {
        return Err(Refusal::NotFound);
    }
    let playlists = with_media(&control, id).await?;
    let text = render::media(&playlists, &path.rendition, |entry| {
        segment_name(entry.attempt, entry.number)
    });
    Ok(playlist(text))
}

/// The playlists once the rendition has a segment: it may be encoded only since it was asked for.
async fn with_media(control: &Control, id: &str) -> Result<Playlists, Refusal> {
    let job = &control.job;
    job.request_renditions(BTreeSet::from([id.to_owned()]));
    let mut playlists = job.playlists();
    let is_there = |playlists: &Arc<Playlists>| has_media(&render::own(playlists), id);
    let waiting = timeout(HOLD, playlists.wait_for(is_there));
    tokio::select! {
        () = control.closing.cancelled() => {}
        _ = waiting => {}
    }
    let playlists = render::own(&playlists.borrow());
    has_media(&playlists, id)
        .then_some(playlists)
        .ok_or(Refusal::Unavailable)
}

/// What is there on request is not listed before it has come.
fn has_media(playlists: &Playlists, id: &str) -> bool {
    let is_listed = playlists.all_renditions().any(|one| one.id == id);
    is_listed && render::has_media(playlists, id)
}

async fn segment(
    _: Ours,
    State(control): State<Control>,
    Path(path): Path<SegmentPath>,
) -> Result<Response, Refusal> {
    let job = &control.job;
    let ours = parse_segment_name(&path.segment).filter(|(attempt, _)| *attempt == job.attempt());
    let (_, number) = ours.ok_or(Refusal::NotFound)?;
    let bytes = job.segment(&path.rendition, number).await?;
    let headers = [
        (header::CONTENT_TYPE, SEGMENT_TYPE),
        (header::CACHE_CONTROL, SEGMENT_CACHE),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(serde::Deserialize)]
struct MasterQuery {
    video: Option<String>,
}

#[derive(serde::Deserialize)]
struct MediaPath {
    rendition: String,
}

#[derive(serde::Deserialize)]
struct SegmentPath {
    rendition: String,
    segment: String,
}

fn published(control: &Control) -> Result<Playlists, Refusal> {
    let playlists = render::own(&control.job.playlists().borrow());
    let is_published = !playlists.segments.is_empty();
    is_published
        .then_some(playlists)
        .ok_or(Refusal::Unavailable)
}

fn playlist(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, PLAYLIST_TYPE),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
