//! How a source is asked for: the request and its headers. Sends nothing.

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::Empty;
use url::Url;

use super::SourceRequest;
use crate::failure::SourceFailure;
use crate::login;

const HEADERS_MAXIMUM: usize = 64;
const DEFAULT_USER_AGENT: &str = concat!("Headend/", env!("CARGO_PKG_VERSION"));

/// Headers that belong to the connection, not to the source.
const OWN_HEADERS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// The request for one address, which may be another one than was asked for first.
pub(super) fn ask_for(
    url: &Url,
    headers: &HeaderMap,
) -> Result<Request<Empty<Bytes>>, SourceFailure> {
    let mut bare = url.clone();
    // What is not sent: the fragment, and the login, which becomes a header.
    bare.set_fragment(None);
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let mut request = Request::get(bare.as_str())
        .body(Empty::new())
        .map_err(|error| SourceFailure::InvalidRequest {
            detail: format!("the address cannot be asked for: {error}"),
        })?;
    *request.headers_mut() = headers.clone();
    if let Some(login) = login::basic(url) {
        request.headers_mut().insert(AUTHORIZATION, login);
    }
    Ok(request)
}

/// The headers that a source wants, checked.
pub(super) fn headers(request: &SourceRequest) -> Result<HeaderMap, SourceFailure> {
    let invalid = |detail: String| SourceFailure::InvalidRequest { detail };
    if request.headers.len() > HEADERS_MAXIMUM {
        return Err(invalid(format!("more than {HEADERS_MAXIMUM} headers")));
    }
    let mut headers = HeaderMap::new();
    let agent = request.user_agent.as_deref().unwrap_or(DEFAULT_USER_AGENT);
    let agent = HeaderValue::from_str(agent)
        .map_err(|_| invalid("the user agent has characters that no header may have".to_owned()))?;
    headers.insert(USER_AGENT, agent);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (position, (name, value)) in request.headers.iter().enumerate() {
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid(format!("header {} has no valid name", position + 1)))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(invalid(format!("the header {name} cannot be set")));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid(format!("the header {name} has no valid value")))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
