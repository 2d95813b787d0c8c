//! What a request says of the viewer: address, user agent, token. Only read here; who it is and what is allowed is decided elsewhere.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::playlists::HEVC;
use axum::extract::{ConnectInfo, FromRequestParts};
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Uri};

use crate::Gateway;
use crate::access::Form;
use crate::client::{Client, Proxies};
use crate::window::Video;

impl FromRequestParts<Arc<Gateway>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Infallible> {
        Ok(client(parts, &gateway.proxies))
    }
}

/// Who asks.
pub(super) fn client(parts: &Parts, proxies: &Proxies) -> Client {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    proxies.client(peer, &parts.headers)
}

/// What the player calls itself, as it was sent.
pub(super) struct Agent(Option<HeaderValue>);

impl Agent {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], HeaderValue::as_bytes)
    }
}

impl<S: Sync> FromRequestParts<S> for Agent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(USER_AGENT).cloned()))
    }
}

/// The viewer's user agent, as it was sent.
pub(super) fn user_agent(parts: &Parts) -> &[u8] {
    parts
        .headers
        .get(USER_AGENT)
        .map_or(&[], |value| value.as_bytes())
}

/// The token: `Authorization: Bearer` before `?token=`.
pub(super) fn token(parts: &Parts) -> Option<Cow<'_, str>> {
    token_in(parts.headers.get(AUTHORIZATION), &parts.uri)
}

/// The same of what is left of a request.
pub(super) fn token_in<'a>(
    authorization: Option<&'a HeaderValue>,
    uri: &'a Uri,
) -> Option<Cow<'a, str>> {
    let bearer = authorization.and_then(bearer_in).map(Cow::Borrowed);
    bearer.or_else(|| in_query(uri, "token"))
}

/// The token, where it has no business in a URL.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    parts.headers.get(AUTHORIZATION).and_then(bearer_in)
}

fn bearer_in(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Which video it asks for: `?video=hevc`. A name that means nothing here is no reason not to play.
pub(super) fn video(parts: &Parts) -> Video {
    match in_query(&parts.uri, "video").as_deref() {
        Some(HEVC) => Video::Hevc,
        _ => Video::Usual,
    }
}

/// In which form a list is to name channels: `?output=ts`, as panels have it, else as HLS.
pub(super) fn output(parts: &Parts) -> Form {
    match in_query(&parts.uri, "output").as_deref() {
        Some("ts" | "mpegts") => Form::Continuous,
        _ => Form::Hls,
    }
}

fn in_query<'a>(uri: &'a Uri, wanted: &str) -> Option<Cow<'a, str>> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    let mut values = pairs.filter(|(name, _)| name == wanted);
    values.next().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, authorization: Option<&str>) -> Parts {
        let mut request = Request::get(uri);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_token_comes_in_the_header_or_in_the_query() {
        let of = |uri: &str, authorization| token(&parts(uri, authorization)).map(Cow::into_owned);
        assert_eq!(of("/?token=a%2Bb", None).as_deref(), Some("a+b"));
        assert_eq!(of("/?x=1&token=a&token=b", None).as_deref(), Some("a"));
        assert_eq!(of("/", Some("Bearer secret")).as_deref(), Some("secret"));
        assert_eq!(of("/?token=a", Some("bearer b")).as_deref(), Some("b"));
        assert_eq!(of("/?token=a", Some("Basic b")).as_deref(), Some("a"));
        for (uri, authorization) in [("/", None), ("/?tok=a", None), ("/", Some("Bearer"))] {
            assert_eq!(of(uri, authorization), None);
        }
    }

    #[test]
    fn a_client_may_ask_for_hevc() {
        for (uri, video) in [
            ("/?token=a&video=hevc", Video::Hevc),
            ("/?video=av1", Video::Usual),
            ("/", Video::Usual),
        ] {
            assert_eq!(super::video(&parts(uri, None)), video, "{uri}");
        }
    }

    #[test]
    fn the_address_is_the_peer_where_one_is_known() {
        let mut parts = parts("/", None);
        let address = |parts: &Parts| client(parts, &Proxies::default()).address.to_string();
        assert_eq!(address(&parts), "0.0.0.0");
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        parts.extensions.insert(ConnectInfo(peer));
        assert_eq!(address(&parts), "192.0.2.7");
    }
}
