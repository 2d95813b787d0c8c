//! `GET /seg/<stream uid>/<key>/<rendition>/<attempt>-<number>.ts`: bytes that never change, the same for every viewer and replica.
//! Whoever has a segment's key was given it in a playlist; nothing else is asked, so that a cache in between may serve it too.

use std::sync::Arc;

use api::names;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::error::Error;
use super::origins::{Asking, preflight};
use super::wish::{Extent, SegmentWish};
use crate::Gateway;
use crate::client::Client;
use crate::metrics::Surface;
use crate::origin::{SegmentError, SegmentId};

const SEGMENT_TYPE: HeaderValue = HeaderValue::from_static("video/mp2t");

/// Longer than any playlist lists it.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=3600, immutable");

/// Uid, key, rendition and name.
type Address = (String, String, String, String);

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route(
        "/seg/{uid}/{key}/{rendition}/{name}",
        get(segment).options(preflight),
    )
}

async fn segment(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    asking: Asking,
    wish: SegmentWish,
    Path(address): Path<Address>,
) -> Response {
    let mut response = match bytes(&gateway, &client, &address).await {
        Ok(bytes) => answer(&gateway, bytes, &wish),
        Err(error) => error.into_text(),
    };
    gateway.origins.tell(&asking, response.headers_mut());
    gateway
        .metrics
        .answered(Surface::Segment, response.status());
    response
}

/// A segment, or the part of it that is wished for.
fn answer(gateway: &Gateway, bytes: Bytes, wish: &SegmentWish) -> Response {
    let length = bytes.len();
    let headers = [
        (CONTENT_TYPE, SEGMENT_TYPE),
        (CACHE_CONTROL, CACHING),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    let (status, part, bytes) = match wish.extent(length) {
        Extent::Whole => (StatusCode::OK, None, bytes),
        Extent::Part(part) => {
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            (StatusCode::PARTIAL_CONTENT, Some(range), bytes.slice(part))
        }
        Extent::Nothing => {
            let range = format!("bytes */{length}");
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response();
        }
    };
    if wish.body {
        gateway.metrics.segment_bytes.inc_by(bytes.len() as u64);
    }
    let mut response = (status, headers, bytes).into_response();
    if let Some(Ok(range)) = part.map(HeaderValue::try_from) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

async fn bytes(gateway: &Gateway, client: &Client, address: &Address) -> Result<Bytes, Error> {
    gateway.meter(Surface::Segment, client)?;
    let (uid, key, rendition, name) = address;
    let parsed = names::parse_segment_name(name);
    let (Some((attempt, number)), true) = (parsed, names::is_rendition_id(rendition)) else {
        return Err(Error::NotFound);
    };
    if !gateway.keys.is_segment_key(key, uid, rendition, name) {
        return Err(Error::WrongKey);
    }
    let stream = gateway.directory.stream(uid);
    let stream = stream.ok_or(Error::Segment(SegmentError::NotFound))?;
    gateway.viewers.touch(uid, Instant::now());
    let segment = SegmentId {
        rendition: rendition.clone(),
        attempt,
        number,
    };
    let outcome = gateway.cache.get(&stream, &segment).await;
    if let Err(SegmentError::Unavailable { reason }) = &outcome {
        tracing::warn!(
            stream.name = stream.name,
            segment = name,
            rendition,
            reason,
            "failed to read a segment"
        );
    }
    Ok(outcome?)
}
