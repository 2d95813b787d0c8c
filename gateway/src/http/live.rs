//! `GET /live/<slug>/master.m3u8`: from a token to a session. A player shows its token here and nowhere after that; what it
//! gets holds none. Beside it the other names of a channel, which say by their ending in which form it is asked for.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use presence::places::Place;

use super::error::Error;
use super::origins::{Asking, preflight};
use super::{PLAYLIST_TYPE, continuous, viewer};
use crate::Gateway;
use crate::access::{Admitted, Form};
use crate::client::Client;
use crate::metrics::Surface;
use crate::session::{self, ClientKey, Session};
use crate::streams::Need;
use crate::viewers;

/// The session in it is one viewer's: nobody else may be given it.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/live/{slug}/master.m3u8", get(master).options(preflight))
        .route("/live/{slug}", get(named).options(preflight))
}

async fn master(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    asking: Asking,
    Path(slug): Path<String>,
    parts: Parts,
) -> Response {
    answer(&gateway, &client, &asking, &slug, &parts).await
}

/// `GET /live/<slug>.ts`, and what panels call both forms: `/live/stream_<id>.ts` and `/live/stream_<id>.m3u8`, the id being the slug.
async fn named(
    State(gateway): State<Arc<Gateway>>,
    client: Client,
    asking: Asking,
    Path(name): Path<String>,
    parts: Parts,
) -> Response {
    match form(&name) {
        Some((Form::Hls, slug)) => answer(&gateway, &client, &asking, slug, &parts).await,
        Some((Form::Continuous, slug)) => {
            continuous::answer(&gateway, &client, &asking, slug, &parts).await
        }
        None => {
            let error = Error::NotFound;
            gateway.metrics.answered(Surface::Live, error.status());
            error.into_text()
        }
    }
}

/// Which form of which channel a name means. No slug has an underscore.
pub(super) fn form(name: &str) -> Option<(Form, &str)> {
    let (name, ending) = name.rsplit_once('.')?;
    match (name.strip_prefix("stream_"), ending) {
        (Some(id), "m3u8") => Some((Form::Hls, id)),
        (id, "ts") => Some((Form::Continuous, id.unwrap_or(name))),
        _ => None,
    }
}

/// The master playlist of a channel, or why there is none.
async fn answer(
    gateway: &Gateway,
    client: &Client,
    asking: &Asking,
    slug: &str,
    parts: &Parts,
) -> Response {
    let answer = start(gateway, client, slug, parts).await;
    let mut response = answer.unwrap_or_else(Error::into_text);
    gateway.origins.tell(asking, response.headers_mut());
    gateway.metrics.answered(Surface::Live, response.status());
    response
}

async fn start(
    gateway: &Gateway,
    client: &Client,
    slug: &str,
    parts: &Parts,
) -> Result<Response, Error> {
    let token = viewer::token(parts);
    let admitted = gateway.authenticate(Surface::Live, client, token.as_deref())?;
    let user = &admitted.user;
    gateway.access.permit(user, slug, Form::Hls)?;
    let agent = viewer::user_agent(parts);
    let client = session::client_key(&gateway.keys.session, client.address, agent);
    gateway.zaps(&user.id, slug, client);
    let video = viewer::video(parts);
    gateway.start_in_turn(Surface::Live, slug, &user.id).await?;
    let ready = gateway.window(slug, &Need::Renditions(video)).await?;
    let session = gateway.session(&admitted, slug, client);
    let session = session::mint(&gateway.keys.session, &session);
    let headers = [(CONTENT_TYPE, PLAYLIST_TYPE), (CACHE_CONTROL, CACHING)];
    Ok((headers, ready.window.master(&session, video)).into_response())
}

impl Gateway {
    /// What the viewer watched before is left for this channel, before it is even there: its source may have only one connection.
    pub(super) fn zaps(&self, user_id: &str, slug: &str, client: ClientKey) {
        let followed = self.directory.follow(slug);
        let stream = followed.borrow().identity.clone();
        let to = stream.as_ref().map(|identity| identity.uid.as_str());
        self.viewers.zaps(viewers::viewer(user_id, client), to);
    }

    /// A new session of the user at the channel.
    pub(super) fn session(&self, admitted: &Admitted, slug: &str, client: ClientKey) -> Session {
        let (_, unix_seconds) = self.now();
        let place = Place {
            user: admitted.user.id.clone(),
            client,
            channel: slug.to_owned(),
        };
        Session {
            issued_at: self.places.begins(&place, unix_seconds),
            user: place.user,
            channel: place.channel,
            client: place.client,
            token: admitted.token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_by_its_ending_in_which_form_a_channel_is_asked_for() {
        for (name, expected) in [
            ("news-one.ts", Some((Form::Continuous, "news-one"))),
            ("stream_news-one.ts", Some((Form::Continuous, "news-one"))),
            ("stream_news-one.m3u8", Some((Form::Hls, "news-one"))),
            ("news-one.m3u8", None),
            ("news-one", None),
            ("ts", None),
            ("stream_news-one.TS", None),
            (".ts", Some((Form::Continuous, ""))),
        ] {
            assert_eq!(form(name), expected, "{name}");
        }
    }
}
