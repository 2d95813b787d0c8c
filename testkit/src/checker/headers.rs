//! HTTP headers of playlists and segments. Pure.

use super::report::{Finding, Rule};

/// The headers that have rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
}

/// Seconds for which a segment must be cacheable at least.
const SEGMENT_SECONDS: u32 = 60;

/// Headers of a playlist; a master has no target.
pub(crate) fn check_playlist(headers: &Headers, target: Option<u32>) -> Vec<Finding> {
    let mut findings = content_type(headers, &["application/vnd.apple.mpegurl", "audio/mpegurl"]);
    let cache = headers.cache_control.as_deref().unwrap_or("");
    let uncached = cache.contains("no-cache") || cache.contains("no-store");
    let short = max_age(cache).is_some_and(|age| age <= target.unwrap_or(4) / 2);
    if !uncached && !short {
        findings.push(Finding::new(
            Rule::CacheHeaders,
            format!("playlist with {cache:?}"),
        ));
    }
    findings
}

/// Headers of a segment.
pub(crate) fn check_segment(headers: &Headers) -> Vec<Finding> {
    let mut findings = content_type(headers, &["video/mp2t"]);
    let cache = headers.cache_control.as_deref().unwrap_or("");
    let kept = max_age(cache).is_some_and(|age| age >= SEGMENT_SECONDS);
    if !kept || cache.contains("no-store") {
        findings.push(Finding::new(
            Rule::CacheHeaders,
            format!("segment with {cache:?}"),
        ));
    }
    findings
}

fn content_type(headers: &Headers, allowed: &[&str]) -> Vec<Finding> {
    let said = headers.content_type.as_deref().unwrap_or("");
    let kind = said.split(';').next().unwrap_or("").trim().to_lowercase();
    if allowed.contains(&kind.as_str()) {
        return Vec::new();
    }
    vec![Finding::new(
        Rule::MimeType,
        format!("{said:?} instead of {:?}", allowed[0]),
    )]
}

fn max_age(cache: &str) -> Option<u32> {
    let mut directives = cache.split(',').map(str::trim);
    directives.find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str, cache_control: &str) -> Headers {
        Headers {
            content_type: Some(content_type.to_owned()),
            cache_control: Some(cache_control.to_owned()),
        }
    }

    fn rules(findings: Vec<Finding>) -> Vec<Rule> {
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn playlists_are_typed_and_hardly_cached() {
        let kind = "application/vnd.apple.mpegurl";
        for good in ["no-cache", "no-store", "max-age=2", "public, max-age=1"] {
            assert_eq!(check_playlist(&headers(kind, good), Some(4)), [], "{good}");
        }
        for bad in ["", "max-age=3", "public"] {
            assert_eq!(
                rules(check_playlist(&headers(kind, bad), Some(4))),
                [Rule::CacheHeaders]
            );
        }
        assert_eq!(
            rules(check_playlist(&headers("text/plain", "no-cache"), None)),
            [Rule::MimeType]
        );
    }

    #[test]
    fn segments_are_typed_and_cached_long() {
        assert_eq!(
            check_segment(&headers("video/MP2T", "max-age=3600, immutable")),
            []
        );
        assert_eq!(
            rules(check_segment(&headers("video/mp2t", "max-age=10"))),
            [Rule::CacheHeaders]
        );
        assert_eq!(
            rules(check_segment(&Headers::default())),
            [Rule::MimeType, Rule::CacheHeaders]
        );
    }
}
