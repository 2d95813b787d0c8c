//! Addresses that panels and set-top boxes know from elsewhere, answered by what is here already. A token that stands in one of them came so, and is
//! repeated only in the list that its own client asked for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use iptv::m3u::{self, Entry};
use url::form_urlencoded::byte_serialize;

use super::error::Error;
use super::viewer;
use crate::Gateway;
use crate::access::{Admitted, Form, Listed};
use crate::client::Client;
use crate::metrics::Surface;

/// A list is one viewer's: nobody else may be given it.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-store");

const LIST_TYPE: HeaderValue = HeaderValue::from_static("audio/x-mpegurl");

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/get_playlist.php", get(playlist))
}

/// `GET /get_playlist.php?token=`: the channels that the token may watch, as an M3U list; `output=ts` names them as continuous streams.
async fn playlist(State(gateway): State<Arc<Gateway>>, mut parts: Parts) -> Response {
    let answer = list(&gateway, &mut parts).await;
    let response = answer.unwrap_or_else(Error::into_text);
    gateway.metrics.answered(Surface::Api, response.status());
    response
}

async fn list(gateway: &Arc<Gateway>, parts: &mut Parts) -> Result<Response, Error> {
    let Ok(client) = Client::from_request_parts(parts, gateway).await;
    let token = viewer::token(parts);
    let Admitted { user, .. } = gateway.authenticate(Surface::Api, &client, token.as_deref())?;
    let base = base(parts, is_secure(parts, gateway));
    let channels = gateway.access.list(&user);
    let form = match (user.formats.hls, user.formats.ts) {
        (true, true) => viewer::output(parts),
        (true, false) => Form::Hls,
        (false, _) => Form::Continuous,
    };
    let mut text = String::new();
    // Writing to a text never fails.
    let _ = write(
        &mut text,
        &channels,
        form,
        &base,
        &token.unwrap_or_default(),
    );
    let headers = [(CONTENT_TYPE, LIST_TYPE), (CACHE_CONTROL, CACHING)];
    Ok((headers, text).into_response())
}

/// Whether the client's own connection is a secure one: ours, or that of the proxy that it came to.
fn is_secure(parts: &Parts, gateway: &Gateway) -> bool {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let is_proxied = peer.is_some_and(|peer| gateway.proxies.include(peer.0.ip().to_canonical()));
    let told = parts.headers.get(FORWARDED_PROTO).filter(|_| is_proxied);
    told.map_or(gateway.is_tls, |told| told == "https")
}

/// How the client reached us: what the addresses in its list begin with. Where it did not say, they are relative.
fn base(parts: &Parts, is_secure: bool) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@'));
    let scheme = if is_secure { "https" } else { "http" };
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

fn write(
    out: &mut impl fmt::Write,
    channels: &[Listed],
    form: Form,
    base: &str,
    token: &str,
) -> fmt::Result {
    let rest = match form {
        Form::Hls => "/master.m3u8",
        Form::Continuous => ".ts",
    };
    let token: String = byte_serialize(token.as_bytes()).collect();
    m3u::write_header(out, None)?;
    for channel in channels {
        let slug = &channel.slug;
        let entry = Entry {
            name: channel.name.clone(),
            logo: channel.logo.clone(),
            number: channel.number.clone(),
            groups: channel.group.iter().cloned().collect(),
            url: format!("{base}/live/{slug}{rest}?token={token}"),
            ..Entry::default()
        };
        m3u::write_entry(out, &entry)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn addresses_begin_with_where_the_client_came_to() {
        for (uri, host, is_secure, expected) in [
            ("/x", Some("tv.example"), false, "http://tv.example"),
            (
                "/x",
                Some("tv.example:8443"),
                true,
                "https://tv.example:8443",
            ),
            ("https://tv.example/x", None, true, "https://tv.example"),
            ("/x", Some("user:secret@tv.example"), false, ""),
            ("/x", Some("tv.example/\"evil"), false, ""),
            ("/x", None, false, ""),
        ] {
            assert_eq!(
                base(&parts(uri, host), is_secure),
                expected,
                "{uri} {host:?}"
            );
        }
    }

    #[test]
    fn a_list_names_each_channel_with_the_token_that_asked_for_it() {
        let channel = Listed {
            slug: "news-one".to_owned(),
            name: "News One".to_owned(),
            number: Some("1".to_owned()),
            group: Some("News".to_owned()),
            logo: None,
        };
        for (form, path) in [
            (Form::Hls, "news-one/master.m3u8"),
            (Form::Continuous, "news-one.ts"),
        ] {
            let mut text = String::new();
            let channel = std::slice::from_ref(&channel);
            write(&mut text, channel, form, "http://tv.example", "a b&c").unwrap();
            let list = format!(
                "#EXTM3U\n#EXTINF:-1 tvg-chno=\"1\" group-title=\"News\",News One\n\
                 http://tv.example/live/{path}?token=a+b%26c\n"
            );
            assert_eq!(text, list);
        }
    }
}
