//! Playlist checker: follows a live stream like a player and names every rule it breaks (RFC 8216 and what players are known to need).
//! Never part of the product, and on purpose with a reader of MPEG-TS and playlists of its own.

mod alignment;
mod analyse;
mod chain;
mod decode;
mod fetch;
mod follow;
mod headers;
mod history;
mod master;
mod playlist;
mod report;
mod segment;
mod shared;
mod structure;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use decode::DecodeError;
pub use report::{RenditionReport, Report, Rule, StartReport, Violation};

use analyse::{Analysed, analyse};
use follow::{Followed, FollowedBase, follow};
use report::Finding;
use shared::Shared;

/// What to follow, and how strictly.
#[derive(Debug, Clone)]
pub struct CheckSettings {
    /// Master playlists of one stream, as different gateways serve it; a media playlist will do too.
    pub urls: Vec<Url>,
    /// How long to follow from the first listed segment on.
    pub duration: Duration,
    /// How long to wait for that segment.
    pub start_timeout: Duration,
    /// How many discontinuities there must be; any number when absent.
    pub discontinuities: Option<u64>,
    /// Longest time between two versions; 1.5 targets when absent.
    pub stale: Option<Duration>,
    /// Whether to decode what was fetched.
    pub decode: bool,
    /// `User-Agent` of all requests.
    pub user_agent: Option<String>,
}

impl CheckSettings {
    /// A minute of one URL, everything checked, no discontinuity expected.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            urls: vec![url],
            duration: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            discontinuities: Some(0),
            stale: None,
            decode: true,
            user_agent: None,
        }
    }
}

/// What a master or media playlist breaks by itself, one finding a line; nothing when it is well.
#[must_use]
pub fn check_playlist(text: &str) -> Vec<String> {
    match playlist::parse(text) {
        Err(reason) => vec![reason],
        Ok(playlist::Playlist::Master(_)) => Vec::new(),
        Ok(playlist::Playlist::Media(media)) => {
            let findings = structure::check(&media).into_iter();
            findings
                .map(|finding| finding.locate(0, None).to_string())
                .collect()
        }
    }
}

/// Follows the stream, then judges what it was.
///
/// # Errors
/// When FFmpeg cannot be run; everything else is a violation in the report.
pub async fn check(settings: CheckSettings) -> Result<Report, DecodeError> {
    let directory = WorkDirectory::new()?;
    let shared = Arc::new(Shared::new(settings.clone()));
    let bases = (0..settings.urls.len()).map(|base| follow(Arc::clone(&shared), base));
    let bases = futures::future::join_all(bases).await;
    // All followers have ended, and with them their requests.
    let mut report = Arc::into_inner(shared)
        .map(Shared::into_report)
        .unwrap_or_default();
    for (index, base) in bases.iter().enumerate() {
        if index > 0 {
            report.violations.extend(compare_bytes(&bases[0], base));
        }
        for followed in &base.renditions {
            judge(&mut report, base, followed, &settings, &directory.0).await?;
        }
    }
    Ok(report)
}

async fn judge(
    report: &mut Report,
    base: &FollowedBase,
    followed: &Followed,
    settings: &CheckSettings,
    directory: &std::path::Path,
) -> Result<(), DecodeError> {
    let speaker = followed.speaker;
    let Analysed {
        report: rendition,
        measured,
        mut findings,
    } = analyse(followed, settings, directory).await?;
    let variant = base
        .master
        .as_ref()
        .and_then(|master| master.variants.get(speaker.rendition));
    if let Some(variant) = variant.filter(|_| rendition.segments > 0) {
        findings.extend(master::check(variant, &measured));
    }
    if let Some(expected) = settings
        .discontinuities
        .filter(|expected| *expected != rendition.discontinuities)
    {
        let detail = format!("{} instead of {expected}", rendition.discontinuities);
        findings.push(Finding::new(Rule::DiscontinuityCount, detail));
    }
    let located = findings
        .into_iter()
        .map(|finding| finding.locate(speaker.base, Some(speaker.rendition)));
    report.violations.extend(located);
    report.renditions.push(rendition);
    Ok(())
}

/// Two gateways give the same bytes for a number.
fn compare_bytes(first: &FollowedBase, other: &FollowedBase) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (one, two) in first.renditions.iter().zip(&other.renditions) {
        let differs = |number: u64, bytes: &bytes::Bytes| {
            let found = one
                .fetched
                .iter()
                .find(|fetched| fetched.segment.number == number);
            found.is_some_and(|found| found.bytes != *bytes)
        };
        for fetched in two
            .fetched
            .iter()
            .filter(|fetched| differs(fetched.segment.number, &fetched.bytes))
        {
            let finding = Finding::at(Rule::Agreement, fetched.segment.number, "the bytes differ");
            violations.push(finding.locate(two.speaker.base, Some(two.speaker.rendition)));
        }
    }
    violations
}

/// A directory for what FFmpeg reads, removed when dropped.
struct WorkDirectory(std::path::PathBuf);

impl WorkDirectory {
    fn new() -> Result<Self, DecodeError> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("headend-check-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(DecodeError::Directory)?;
        Ok(Self(path))
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
