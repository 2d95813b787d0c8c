//! `GET /hls/<session>/<rendition>/index.m3u8`: the live window. Most requests are answered from memory without a word to anyone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::PLAYLIST_TYPE;
use super::error::Error;
use super::origins::{Asking, preflight};
use super::viewer::Agent;
use super::wish::PlaylistWish;
use crate::Gateway;
use crate::access::Form;
use crate::audience::About;
use crate::client::Client;
use crate::metrics::Surface;
use crate::rendered::Rendered;
use crate::session;
use crate::streams::{Need, Ready};
use crate::viewers::{Watcher, viewer};

/// The address is one viewer's, who may be sent away at any moment: no cache that others share keeps it, however it reads `no-cache`.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// How long a request waits for something new at most, well within what players wait for a playlist.
const NEWS: Duration = Duration::from_secs(6);

/// A stream's first segment is told of so much later than it came, where it is as long as those to come. Players begin with it at once, and
/// the next one comes as long after it as it lasts: without this, what they have would end while they fetch and decode that, and browsers
/// stand still for a second then.
const LEAD: Duration = Duration::from_millis(80);

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route(
        "/hls/{session}/{rendition}/index.m3u8",
        get(media).options(preflight),
    )
}

async fn media(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    asking: Asking,
    wish: PlaylistWish,
    agent: Agent,
    Path((session, rendition)): Path<(String, String)>,
) -> Response {
    let answer = playlist(&gateway, &client, &agent, &wish, &session, rendition).await;
    let mut response = answer.unwrap_or_else(Error::into_text);
    gateway.origins.tell(&asking, response.headers_mut());
    gateway.metrics.answered(Surface::Hls, response.status());
    response
}

async fn playlist(
    gateway: &Gateway,
    client: &Client,
    agent: &Agent,
    wish: &PlaylistWish,
    session: &str,
    rendition: String,
) -> Result<Response, Error> {
    gateway.meter(Surface::Hls, client)?;
    let (now, unix_seconds) = gateway.now();
    let verified = session::verify(&gateway.keys.session, session, unix_seconds)?;
    let session = &verified.session;
    gateway.meter_user(Surface::Hls, client, &session.user)?;
    let user = gateway.access.still(session, Form::Hls, now)?;
    let began = Instant::now();
    let is_counted = gateway.admit(&verified, &user, began).await?;
    let need = Need::Listed(rendition);
    gateway
        .start_in_turn(Surface::Hls, &session.channel, &user.id)
        .await?;
    let mut ready = gateway.window(&session.channel, &need).await?;
    let target = ready.window.target();
    let moment = Instant::now();
    let watcher = Watcher {
        session: verified.id,
        viewer: viewer(&session.user, session.client),
    };
    if is_counted {
        gateway.places.used(&verified.id, target, moment);
        let uid = &ready.stream_uid;
        let viewers = &gateway.viewers;
        if viewers.touch_session(uid, watcher, target, moment) {
            let about = About::new(session, client.address, agent.as_bytes());
            viewers.describe(uid, &verified.id, about);
        }
    }
    let Need::Listed(rendition) = &need else {
        return Err(Error::NotFound);
    };
    let answers = |ready: &Ready| {
        let playlist = playlist_id(rendition, ready.window.next_number());
        gateway
            .viewers
            .answers(&ready.stream_uid, &verified.id, playlist)
    };
    if let Some(limit) = patience(&ready, answers(&ready), moment) {
        let channel = &session.channel;
        ready = gateway.streams.news(channel, &need, ready, limit).await;
        answers(&ready);
    }
    let playlist = ready.window.media(rendition).ok_or(Error::NotFound)?;
    Ok(answer(playlist, wish))
}

/// For how long something new is waited for, if at all; `is_known` is what the session was answered last.
fn patience(ready: &Ready, is_known: bool, now: Instant) -> Option<Duration> {
    // A player that starts with the stream has nothing in hand.
    if !ready.window.is_filling() {
        return None;
    }
    // One that finds nothing new stands still until it asks again: for half a target. The next segment is a target away at the most, and
    // then some: what gave up at that very moment would miss it.
    let target = ready.window.target();
    let lead = (ready.came_at + LEAD).saturating_duration_since(now);
    let limit = if is_known {
        (target + target / 2).min(NEWS)
    } else if ready.window.just_lasts() {
        lead
    } else {
        Duration::ZERO
    };
    (!limit.is_zero()).then_some(limit)
}

/// A playlist in the form that is wished for, unless that is there already.
fn answer(playlist: &Rendered, wish: &PlaylistWish) -> Response {
    let gzip = playlist.gzip.as_ref().filter(|_| wish.gzip);
    let form = gzip.unwrap_or(&playlist.plain);
    let headers = [
        (CACHE_CONTROL, CACHING),
        (ETAG, form.tag.clone()),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if wish.is_known(&form.tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut response = (headers, form.body.clone()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, PLAYLIST_TYPE);
    if gzip.is_some() {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    response
}

/// One number for what a session was answered: the rendition, and where its list ends.
fn playlist_id(rendition: &str, next_number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (rendition, next_number).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::testing::window;

    #[test]
    fn a_first_segment_is_told_of_a_moment_later_and_what_is_known_when_there_is_more() {
        let came_at = Instant::now();
        let ready = |segments: u64| Ready {
            window: window("uid-1", 1, 1, 10..10 + segments),
            came_at,
            stream_uid: "uid-1".to_owned(),
        };
        let milliseconds = Duration::from_millis;
        for (segments, is_known, age, expected) in [
            (1, false, 0, Some(80)),
            (1, false, 30, Some(50)),
            (1, false, 80, None),
            (1, true, 30, Some(6000)),
            (2, false, 0, None),
            (2, true, 0, Some(6000)),
            (6, false, 0, None),
            (6, true, 0, None),
        ] {
            let now = came_at + milliseconds(age);
            let patience = patience(&ready(segments), is_known, now);
            let what = format!("{segments} segments after {age} ms");
            assert_eq!(patience, expected.map(milliseconds), "{what}");
        }
    }
}
