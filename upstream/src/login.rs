//! User information of an address as the header that carries it. Never shown to anybody.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// Basic authentication (RFC 7617), if the address has user information.
pub(crate) fn basic(url: &Url) -> Option<HeaderValue> {
    let password = url.password().unwrap_or_default();
    if url.username().is_empty() && password.is_empty() {
        return None;
    }
    let mut login: Vec<u8> = percent_decode_str(url.username()).collect();
    login.push(b':');
    login.extend(percent_decode_str(password));
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(login))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(url: &str) -> Option<String> {
        let value = basic(&Url::parse(url).unwrap())?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_login_is_decoded_before_it_is_sent() {
        assert_eq!(header("http://a.example/"), None);
        let expected = Some("Basic dXM6ZXI6cEBzcw==".to_owned());
        assert_eq!(header("http://us%3Aer:p%40ss@a.example/"), expected);
    }
}
