//! Where a redirect leads, what may be sent there, and how long a refusal asks us to wait. Pure; connects to nothing.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use url::Url;

/// Headers that belong to one origin alone.
pub(crate) const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// The longest Retry-After that is believed.
const RETRY_AFTER_MAXIMUM: Duration = Duration::from_secs(3600);

/// The address that a Location header names.
pub(crate) fn target(current: &Url, location: &[u8]) -> Result<Url, String> {
    let location = std::str::from_utf8(location)
        .map_err(|_| "it redirects to an address that is not text".to_owned())?;
    let next = current
        .join(location)
        .map_err(|error| format!("it redirects to an unusable address ({error})"))?;
    if is_http(&next) {
        Ok(next)
    } else {
        Err(format!(
            "it redirects to an address of scheme {:?}",
            next.scheme()
        ))
    }
}

/// Whether an address is one that we can ask for.
pub(crate) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// Scheme, host and port: what of an address may be shown.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Takes out what belongs to the first origin alone when a redirect leads to another.
pub(crate) fn strip_credentials(headers: &mut HeaderMap, from: &Url, to: &Url) {
    if from.origin() != to.origin() {
        for name in CREDENTIALS {
            headers.remove(name);
        }
    }
}

/// How long a Retry-After header asks to wait, bounded.
pub(crate) fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(until.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAXIMUM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn locations_are_absolute_or_relative_and_always_http() {
        let current = url("http://a.example:8080/live/user/secret/1.ts");
        assert_eq!(
            target(&current, b"/x?token=1"),
            Ok(url("http://a.example:8080/x?token=1"))
        );
        assert_eq!(
            target(&current, b"https://b.example/y"),
            Ok(url("https://b.example/y"))
        );
        for (location, named) in [
            (&b"file:///etc/passwd"[..], "scheme \"file\""),
            (b"http://", "unusable"),
            (b"\xff", "not text"),
        ] {
            let message = target(&current, location).unwrap_err();
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn an_origin_shows_neither_login_nor_path_nor_query() {
        assert_eq!(
            origin(&url("http://user:secret@a.example:8080/live/u/p/1.ts?t=2")),
            "http://a.example:8080"
        );
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let headers = |to: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, "Basic x".parse().unwrap());
            headers.insert("x-device", "7".parse().unwrap());
            strip_credentials(&mut headers, &url("https://a.example/"), &url(to));
            headers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            headers("https://a.example/other"),
            ["authorization", "x-device"]
        );
        assert_eq!(headers("https://b.example/"), ["x-device"]);
        assert_eq!(headers("http://a.example/"), ["x-device"]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let wait = |text: &str| retry_after(text.as_bytes(), now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            wait("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999"), Some(RETRY_AFTER_MAXIMUM));
        assert_eq!(wait("soon"), None);
    }
}
