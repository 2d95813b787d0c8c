//! In which form an answer is wished for (RFC 9110): compressed, only if changed, a part of it. What is not understood is not refused: such a
//! wish is as none.

use std::convert::Infallible;
use std::ops::Range;

use axum::extract::FromRequestParts;
use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

/// Wishes about a playlist.
#[derive(Debug)]
pub(super) struct PlaylistWish {
    /// Whether gzip is understood.
    pub(super) gzip: bool,
    known: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for PlaylistWish {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            gzip: accepts_gzip(&parts.headers),
            known: parts.headers.get(IF_NONE_MATCH).cloned(),
        })
    }
}

impl PlaylistWish {
    /// Whether the form with this tag is there already.
    pub(super) fn is_known(&self, tag: &HeaderValue) -> bool {
        let known = self.known.as_ref().and_then(|known| known.to_str().ok());
        known.is_some_and(|known| lists(known, tag))
    }
}

/// Section 13.1.2: compared weakly, since proxies that compress make tags weak.
fn lists(known: &str, tag: &HeaderValue) -> bool {
    let mut tags = known.split(',').map(str::trim);
    tags.any(|known| {
        let opaque = known.strip_prefix("W/").unwrap_or(known);
        opaque.as_bytes() == tag.as_bytes() || known == "*"
    })
}

/// Section 12.5.3, for the one coding that there is.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_named = name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip");
        is_named && !parts.any(is_zero)
    })
}

fn is_zero(parameter: &str) -> bool {
    let weight = parameter.split_once('=').map(|(_, weight)| weight.trim());
    weight.and_then(|weight| weight.parse().ok()) == Some(0.0_f32)
}

/// Wishes about a segment.
#[derive(Debug)]
pub(super) struct SegmentWish {
    /// Whether the bytes themselves are wished for.
    pub(super) body: bool,
    range: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for SegmentWish {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Segments have no tag, so that no condition of a range is ever met.
        let is_conditional = parts.headers.contains_key(IF_RANGE);
        let range = parts.headers.get(RANGE).filter(|_| !is_conditional);
        Ok(Self {
            body: parts.method != Method::HEAD,
            range: range.cloned(),
        })
    }
}

impl SegmentWish {
    /// What of that many bytes is wished for.
    pub(super) fn extent(&self, length: usize) -> Extent {
        let range = self.range.as_ref().and_then(|range| range.to_str().ok());
        range.map_or(Extent::Whole, |range| extent(range, length))
    }
}

/// What of a body is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<usize>),
    /// None of what is wished for is there.
    Nothing,
}

/// One range of bytes, as it is asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    From(usize),
    Between(usize, usize),
    Last(usize),
}

/// Section 14.1.2; of several ranges none is read, so that all is sent.
fn asked(range: &str) -> Option<Asked> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first.trim(), last.trim()) {
        ("", last) => Some(Asked::Last(number(last)?)),
        (first, "") => Some(Asked::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

fn number(text: &str) -> Option<usize> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Section 14.2.
fn extent(range: &str, length: usize) -> Extent {
    let part = match asked(range) {
        None => return Extent::Whole,
        Some(Asked::From(first)) => first..length,
        Some(Asked::Between(first, last)) => first..last.saturating_add(1).min(length),
        Some(Asked::Last(suffix)) => length.saturating_sub(suffix)..length,
    };
    if part.is_empty() {
        return Extent::Nothing;
    }
    Extent::Part(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    #[test]
    fn a_range_is_a_part_of_what_is_there() {
        for (range, expected) in [
            ("bytes=0-", Extent::Part(0..100)),
            ("bytes=0-0", Extent::Part(0..1)),
            ("Bytes = 10 - 19", Extent::Part(10..20)),
            ("bytes=90-1000", Extent::Part(90..100)),
            ("bytes=99-", Extent::Part(99..100)),
            ("bytes=-1", Extent::Part(99..100)),
            ("bytes=-1000", Extent::Part(0..100)),
            ("bytes=100-", Extent::Nothing),
            ("bytes=100-200", Extent::Nothing),
            ("bytes=-0", Extent::Nothing),
            ("bytes=0-1,5-6", Extent::Whole),
            ("bytes=20-10", Extent::Whole),
            ("bytes=a-b", Extent::Whole),
            ("bytes=+1-2", Extent::Whole),
            ("bytes=-", Extent::Whole),
            ("bytes=1", Extent::Whole),
            ("bytes=0-99999999999999999999", Extent::Whole),
            ("items=0-1", Extent::Whole),
            ("", Extent::Whole),
        ] {
            assert_eq!(extent(range, 100), expected, "{range}");
        }
        assert_eq!(extent("bytes=0-", 0), Extent::Nothing);
        assert_eq!(extent("bytes=-5", 0), Extent::Nothing);
    }

    proptest! {
        #![proptest_config(Config {
            failure_persistence: None,
            rng_seed: match Config::default().rng_seed {
                RngSeed::Random => RngSeed::Fixed(1),
                fixed @ RngSeed::Fixed(_) => fixed,
            },
            ..Config::default()
        })]

        #[test]
        fn properties(range in "bytes=[ 0-9,+-]{0,12}|\\PC{0,20}", length in 0_usize..1000) {
            match extent(&range, length) {
                Extent::Part(part) => prop_assert!(part.start < part.end && part.end <= length),
                Extent::Nothing => prop_assert!(asked(&range).is_some()),
                Extent::Whole => prop_assert!(asked(&range).is_none()),
            }
        }
    }

    #[test]
    fn gzip_is_sent_to_whom_names_it() {
        for (header, expected) in [
            ("gzip", true),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
            ("GZIP", true),
            ("deflate, x-gzip", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br, identity", false),
            ("*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(accepts_gzip(&headers), expected, "{header}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_form_is_known_by_its_tag() {
        let tag = HeaderValue::from_static("\"one\"");
        for (known, expected) in [
            ("\"one\"", true),
            ("\"two\", W/\"one\"", true),
            ("*", true),
            ("\"one-gzip\"", false),
            ("one", false),
            ("", false),
        ] {
            assert_eq!(lists(known, &tag), expected, "{known}");
        }
    }
}
