//! `GET /live/<slug>/master.m3u8`: from a token to a session. A player shows its token here and nowhere after that; what it
//! gets holds none.

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
use super::{PLAYLIST_TYPE, viewer};
use crate::Gateway;
use crate::access::Admitted;
use crate::client::Client;
use crate::metrics::Surface;
use crate::session::{self, ClientKey, Session};
use crate::streams::Need;
use crate::viewers;

/// The session in it is one viewer's: nobody else may be given it.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/live/{slug}/master.m3u8", get(master).options(preflight))
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

/// The master playlist of a channel, or why there is none.
pub(super) async fn answer(
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
    gateway.access.permit(user, slug)?;
    let agent = viewer::user_agent(parts);
    let client = session::client_key(&gateway.keys.session, client.address, agent);
    gateway.zaps(&user.id, slug, client);
    let video = viewer::video(parts);
    gateway.start_in_turn(Surface::Live, slug, &user.id).await?;
    let ready = gateway.window(slug, &Need::Renditions(video)).await?;
    let session = gateway.session(&admitted, slug, client);
    let headers = [(CONTENT_TYPE, PLAYLIST_TYPE), (CACHE_CONTROL, CACHING)];
    Ok((headers, ready.window.master(&session, video)).into_response())
}

impl Gateway {
    /// What the viewer watched before is left for this channel, before it is even there: its source may have only one connection.
    fn zaps(&self, user_id: &str, slug: &str, client: ClientKey) {
        let followed = self.directory.follow(slug);
        let stream = followed.borrow().identity.clone();
        let to = stream.as_ref().map(|identity| identity.uid.as_str());
        self.viewers.zaps(viewers::viewer(user_id, client), to);
    }

    /// A new session of the user at the channel.
    fn session(&self, admitted: &Admitted, slug: &str, client: ClientKey) -> String {
        let (_, unix_seconds) = self.now();
        let place = Place {
            user: admitted.user.id.clone(),
            client,
            channel: slug.to_owned(),
        };
        let session = Session {
            issued_at: self.places.begins(&place, unix_seconds),
            user: place.user,
            channel: place.channel,
            client: place.client,
            token: admitted.token,
        };
        session::mint(&self.keys.session, &session)
    }
}
