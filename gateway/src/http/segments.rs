//! `GET /seg/<stream uid>/<key>/<rendition>/<attempt>-<number>.ts`: bytes that never change, the same for every viewer and replica.
//! Whoever has a segment's key was given it in a playlist; nothing else is asked, so that a cache in between may serve it too.

use std::sync::Arc;

use api::names;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use tokio::time::Instant;

use super::ANY_ORIGIN;
use super::error::Error;
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
    Router::new().route("/seg/{uid}/{key}/{rendition}/{name}", get(segment))
}

async fn segment(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    Path(address): Path<Address>,
) -> Response {
    let response = match bytes(&gateway, &client, &address).await {
        Ok(bytes) => {
            gateway.metrics.segment_bytes.inc_by(bytes.len() as u64);
            let headers = [
                (CONTENT_TYPE, SEGMENT_TYPE),
                (CACHE_CONTROL, CACHING),
                (ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN),
            ];
            (headers, bytes).into_response()
        }
        Err(error) => error.into_text(),
    };
    gateway
        .metrics
        .answered(Surface::Segment, response.status());
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
