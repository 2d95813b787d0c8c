//! The line with the address: the URL and what Kodi appends to it after `|`. Decides nothing about schemes or hosts.

use percent_encoding::percent_decode_str;

/// Headers of an address; more are left out.
const HEADERS: usize = 8;

/// An address with the headers its suffix asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
}

/// `None` when the line is not an absolute URL.
pub(super) fn parse(line: &str) -> Option<Address> {
    let (url, suffix) = match line.split_once('|') {
        Some((url, suffix)) if suffix.contains('=') => (url.trim_end(), suffix),
        _ => (line, ""),
    };
    let (scheme, rest) = url.split_once("://")?;
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let unfit = |character: char| character.is_whitespace() || character.is_control();
    if !scheme_fits || rest.is_empty() || url.contains(unfit) {
        return None;
    }
    let pairs = suffix.split('&').filter_map(|pair| pair.split_once('='));
    Some(Address {
        url: url.to_owned(),
        headers: pairs
            .take(HEADERS)
            .map(|(name, value)| (name.trim().to_owned(), decoded(value.trim())))
            .collect(),
    })
}

/// Whether HTTP can carry the header: a plain name, and no control character that could start another header.
pub(super) fn is_sendable(name: &str, value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !name.is_empty() && name.bytes().all(plain) && !value.chars().any(char::is_control)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, headers: &[(&str, &str)]) -> Option<Address> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Some(Address {
            url: url.to_owned(),
            headers: headers.iter().map(owned).collect(),
        })
    }

    #[test]
    fn the_suffix_after_the_bar_is_headers() {
        assert_eq!(
            parse("http://x/1.ts|User-Agent=VLC%2F3.0 (x)&Referer=http%3A%2F%2Fy"),
            address(
                "http://x/1.ts",
                &[("User-Agent", "VLC/3.0 (x)"), ("Referer", "http://y")]
            )
        );
        assert_eq!(
            parse("http://x|A=%+5%é%4"),
            address("http://x", &[("A", "%+5%é%4")])
        );
        assert_eq!(parse("http://x/1|2.ts"), address("http://x/1|2.ts", &[]));
        assert_eq!(
            parse("http://x/a%20b?c=%zz"),
            address("http://x/a%20b?c=%zz", &[])
        );
    }

    #[test]
    fn only_absolute_urls_are_addresses() {
        for bad in [
            "",
            "one.ts",
            "/one.ts",
            "://x",
            "http://",
            "http://a b",
            "1http://x",
            "<html>",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("udp://@239.0.0.1:1234").is_some());
    }

    #[test]
    fn a_header_that_smuggles_another_is_not_sendable() {
        assert!(is_sendable("User-Agent", "VLC/3.0"));
        assert!(!is_sendable("User-Agent", "x\r\nCookie: y"));
        assert!(!is_sendable("User Agent", "x"));
        assert!(!is_sendable("", "x"));
        let smuggled = parse("http://x|A=%0d%0aB: c").unwrap().headers;
        assert_eq!(smuggled, [("A".to_owned(), "\r\nB: c".to_owned())]);
    }
}
