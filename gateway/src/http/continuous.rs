//! `GET /live/<slug>.ts`: a channel as one transport stream that does not end, for players, tuners and recorders that know no playlists.
//! They are told that it has neither length nor parts: asked for a range, it begins now all the same.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::error::Error;
use super::origins::Asking;
use super::viewer;
use crate::Gateway;
use crate::access::Form;
use crate::audience::About;
use crate::client::Client;
use crate::continuous::Reader;
use crate::metrics::Surface;
use crate::session;
use crate::streams::{Need, Unplayable};

const STREAM_TYPE: HeaderValue = HeaderValue::from_static("video/mp2t");

/// It is one viewer's, and never the same again.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-store");

/// Players that are told of ranges seek in what is live, and start again and again.
const RANGES: HeaderValue = HeaderValue::from_static("none");

/// The stream of a channel, or why there is none.
pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    client: &Client,
    asking: &Asking,
    slug: &str,
    parts: &Parts,
) -> Response {
    let body = read(gateway, client, slug, parts).await;
    let headers = [
        (CONTENT_TYPE, STREAM_TYPE),
        (CACHE_CONTROL, CACHING),
        (ACCEPT_RANGES, RANGES),
    ];
    let mut response = match body {
        Ok(body) => (headers, body).into_response(),
        Err(error) => error.into_text(),
    };
    gateway.origins.tell(asking, response.headers_mut());
    gateway
        .metrics
        .answered(Surface::Continuous, response.status());
    response
}

async fn read(
    gateway: &Arc<Gateway>,
    client: &Client,
    slug: &str,
    parts: &Parts,
) -> Result<Body, Error> {
    let surface = Surface::Continuous;
    let token = viewer::token(parts);
    let admitted = gateway.authenticate(surface, client, token.as_deref())?;
    let user = &admitted.user;
    gateway.access.permit(user, slug, Form::Continuous)?;
    if parts.method == Method::HEAD {
        return Ok(unread());
    }
    let agent = viewer::user_agent(parts);
    let key = session::client_key(&gateway.keys.session, client.address, agent);
    gateway.zaps(&user.id, slug, key);
    let session = gateway.session(&admitted, slug, key);
    let about = About::new(&session, client.address, agent);
    let session = session::begin(&gateway.keys.session, session);
    gateway.admit(&session, user, Instant::now()).await?;
    gateway.start_in_turn(surface, slug, &user.id).await?;
    let video = viewer::video(parts);
    let ready = gateway.window(slug, &Need::Best(video)).await?;
    let reader = Reader::new(gateway, session, about, video, ready);
    Ok(reader.ok_or(Unplayable::Starting)?.body())
}

/// A body that nobody reads, of no known length: whoever asks only for the head is not told that there is nothing.
fn unread() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>())
}
