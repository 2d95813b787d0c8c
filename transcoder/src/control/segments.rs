//! `…/hls`: playlists and segments of this attempt, for people, and for gateways while the volume lags.
//! Serves what is published or was until lately, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::names::{parse_segment_name, segment_name};
use api::playlists::Playlists;
use axum::Router;
use axum::extract::{Path, State};
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

async fn master(_: Ours, State(control): State<Control>) -> Result<Response, Refusal> {
    let playlists = published(&control)?;
    let text = render::master(&playlists, |rendition| {
        format!("{}/index.m3u8", rendition.id)
    });
    Ok(playlist(text))
}

async fn media(
    _: Ours,
    State(control): State<Control>,
    Path(path): Path<MediaPath>,
) -> Result<Response, Refusal> {
    let id = &path.rendition;
    let playlists = published(&control)?;
    let mut renditions = playlists.renditions.iter();
    if !renditions.any(|rendition| rendition.id == *id) {
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
    let has_media = |playlists: &Arc<Playlists>| render::has_media(&render::own(playlists), id);
    let waiting = timeout(HOLD, playlists.wait_for(has_media));
    tokio::select! {
        () = control.closing.cancelled() => {}
        _ = waiting => {}
    }
    let playlists = render::own(&playlists.borrow());
    let has_media = render::has_media(&playlists, id);
    has_media.then_some(playlists).ok_or(Refusal::Unavailable)
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
