//! Which pages on other servers may read what players read (CORS). No cookie is involved: an address of a playlist or segment is the
//! permission, and a page that is not named here is kept from using it by its browser alone.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, RETRY_AFTER, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::REASON;
use crate::Gateway;

/// What scripts may read besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static("headend-reason, retry-after");

/// How scripts may ask, and what they may send along.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const SENT: HeaderValue = HeaderValue::from_static("authorization, if-none-match, range");

/// For so long a browser need not ask again whether it may: Chromium heeds no more than these two hours.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may read playlists and segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// All.
    #[default]
    Any,
    /// These, as browsers write them.
    These(Vec<HeaderValue>),
}

/// Why a text names no origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the origin {0:?}: write * alone, or scheme and host without a path, such as https://tv.example"
)]
pub struct OriginError(String);

impl FromStr for Origins {
    type Err = OriginError;

    /// `*`, or origins separated by commas; none where the text is empty.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let texts = text.split(',').map(str::trim);
        let origins = texts.filter(|text| !text.is_empty()).map(origin);
        Ok(Self::These(origins.collect::<Result<_, _>>()?))
    }
}

fn origin(text: &str) -> Result<HeaderValue, OriginError> {
    let wrong = || OriginError(text.to_owned());
    let origin = Url::parse(text).map_err(|_| wrong())?.origin();
    if !origin.is_tuple() || origin.ascii_serialization() != text {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

impl Origins {
    /// Says in an answer whether the page that asks may read it.
    pub(super) fn tell(&self, asking: &Asking, headers: &mut HeaderMap) {
        let allowed = match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                if origins.is_empty() {
                    return;
                }
                // For caches on the way: the next page may be another one.
                headers.append(VARY, HeaderValue::from_static("origin"));
                let asking = asking.0.as_ref();
                asking.filter(|asking| origins.contains(asking)).cloned()
            }
        };
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            // An answer that has neither needs no word about them, and that is nearly every one: its connection keeps room for its headers.
            if headers.contains_key(REASON) || headers.contains_key(RETRY_AFTER) {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
        }
    }
}

/// `OPTIONS`, as browsers send it before a request with a token in its header: may this page ask so? Who asks is not looked at before
/// the request itself comes (Fetch, section 3.3.5).
pub(super) async fn preflight(State(gateway): State<Arc<Gateway>>, asking: Asking) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    gateway.origins.tell(&asking, headers);
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    }
    response
}

/// The origin of the page that asks, as its browser says it.
#[derive(Debug)]
pub(super) struct Asking(Option<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(ORIGIN).cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(origins: &str, asking: Option<&'static str>) -> (Option<String>, bool) {
        let origins: Origins = origins.parse().unwrap();
        let mut headers = HeaderMap::new();
        origins.tell(&Asking(asking.map(HeaderValue::from_static)), &mut headers);
        let allowed = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        let allowed = allowed.map(|value| value.to_str().unwrap().to_owned());
        (allowed, headers.contains_key(VARY))
    }

    #[test]
    fn a_page_is_told_whether_it_may_read() {
        let any = (Some("*".to_owned()), false);
        assert_eq!(told("*", None), any);
        assert_eq!(told("*", Some("https://tv.example")), any);
        let two = "https://tv.example, http://localhost:3000";
        let one = |origin: &str| (Some(origin.to_owned()), true);
        for origin in ["https://tv.example", "http://localhost:3000"] {
            assert_eq!(told(two, Some(origin)), one(origin));
        }
        for origin in [None, Some("https://tv.example:8443"), Some("null")] {
            assert_eq!(told(two, origin), (None, true));
        }
        assert_eq!(told("", Some("https://tv.example")), (None, false));
    }

    #[test]
    fn only_origins_are_read() {
        for bad in [
            "https://tv.example/",
            "tv.example",
            "*, https://tv.example",
            "https://TV.example",
            "data:x",
        ] {
            assert!(bad.parse::<Origins>().is_err(), "{bad}");
        }
    }
}
