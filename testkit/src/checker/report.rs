//! What a check found. Plain data; decides nothing.

use std::fmt;

use serde::Serialize;

/// Everything that can be broken. The names are what reports and tests say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A playlist that cannot be read.
    Syntax,
    /// EXT-X-VERSION too low for what the playlist holds.
    Version,
    /// An EXTINF that rounds to more than TARGETDURATION, or a target of zero.
    TargetDuration,
    /// TARGETDURATION differs from an earlier version or another rendition.
    TargetChanged,
    /// PLAYLIST-TYPE in a live window.
    PlaylistType,
    /// ENDLIST in a stream that is not over.
    EndList,
    /// Less than three targets listed after a removal.
    WindowTooShort,
    /// MEDIA-SEQUENCE went back.
    SequenceBack,
    /// Numbers were skipped without a discontinuity.
    SequenceJump,
    /// Segments vanished from the tail.
    TailRemoved,
    /// A number changed its URL.
    UrlChanged,
    /// One URL under two numbers.
    UrlReused,
    /// A number changed its EXTINF.
    DurationChanged,
    /// A number changed its discontinuity.
    DiscontinuityChanged,
    /// DISCONTINUITY-SEQUENCE does not count the removed discontinuities.
    DiscontinuitySequence,
    /// More or fewer discontinuities than expected.
    DiscontinuityCount,
    /// PROGRAM-DATE-TIME missing in places, changed, or not following EXTINF.
    ProgramDateTime,
    /// PROGRAM-DATE-TIME not in the form of RFC 3339.
    ProgramDateTimeFormat,
    /// No new version in time.
    Stale,
    /// A playlist that is not answered with 200.
    PlaylistFetch,
    /// A listed segment that cannot be fetched.
    SegmentFetch,
    /// A removed segment that is gone too early, or changed.
    Retention,
    /// Renditions differ in a number's EXTINF, discontinuity or date.
    Alignment,
    /// Two base URLs differ in a number's URL, EXTINF, discontinuity or date.
    Agreement,
    /// A rendition without BANDWIDTH, or segments above what it or AVERAGE-BANDWIDTH says.
    MasterBandwidth,
    /// A video rendition without RESOLUTION, or with a wrong one.
    MasterResolution,
    /// A rendition without CODECS, or with wrong ones.
    MasterCodecs,
    /// A video rendition without FRAME-RATE, or with a wrong one.
    MasterFrameRate,
    /// A wrong Content-Type.
    MimeType,
    /// Cache headers that keep a playlist too long or a segment too short.
    CacheHeaders,
    /// Bytes that are no transport packets.
    SegmentPackets,
    /// A segment that does not start with PAT and PMT.
    SegmentTables,
    /// A segment without the video or audio its PMT announces.
    SegmentTracks,
    /// A segment without a key picture first, though the playlist claims independence.
    SegmentKeyframe,
    /// Continuity counters that do not run on.
    SegmentContinuity,
    /// Clock references more than 100 ms apart, or going back.
    SegmentClock,
    /// Media that last longer or shorter than EXTINF.
    SegmentDuration,
    /// Decoding times that do not rise.
    Timestamps,
    /// Audio frames missing or doubled.
    AudioContinuity,
    /// A segment that does not decode alone, though the playlist claims independence.
    DecodeAlone,
    /// Segments that do not decode one after the other.
    DecodeJoined,
    /// Sound more than 40 ms off the picture.
    AudioVideoOffset,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Index of the base URL.
    pub base: usize,
    /// Index of the rendition in the master; absent for the master itself.
    pub rendition: Option<usize>,
    /// Media sequence number, where one segment is meant.
    pub number: Option<u64>,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} [base {}", self.rule, self.base)?;
        if let Some(rendition) = self.rendition {
            write!(formatter, ", rendition {rendition}")?;
        }
        if let Some(number) = self.number {
            write!(formatter, ", number {number}")?;
        }
        write!(formatter, "] {}", self.detail)
    }
}

/// A finding before it is known where it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) number: Option<u64>,
    pub(crate) detail: String,
}

impl Finding {
    pub(crate) fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            number: None,
            detail: detail.into(),
        }
    }

    pub(crate) fn at(rule: Rule, number: u64, detail: impl Into<String>) -> Self {
        Self {
            number: Some(number),
            ..Self::new(rule, detail)
        }
    }

    pub(crate) fn locate(self, base: usize, rendition: Option<usize>) -> Violation {
        Violation {
            rule: self.rule,
            base,
            rendition,
            number: self.number,
            detail: self.detail,
        }
    }
}

/// What one rendition was seen to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenditionReport {
    /// Index of the base URL.
    pub base: usize,
    /// Index in the master.
    pub rendition: usize,
    /// Its playlist.
    pub url: String,
    /// Versions of the playlist that were seen.
    pub versions: u64,
    /// Segments that were fetched.
    pub segments: u64,
    /// First and last number that was listed.
    pub numbers: Option<(u64, u64)>,
    /// Discontinuities among them.
    pub discontinuities: u64,
    /// Highest bit rate of any stretch of at least half a target, bit/s.
    pub peak_bit_rate: u64,
    /// Mean bit rate, bit/s.
    pub average_bit_rate: u64,
    /// Sound after picture, of the pair that is furthest off; absent without flashes and beeps.
    pub audio_offset_milliseconds: Option<f64>,
    /// Flashes that had their beep.
    pub sync_marks: u64,
}

/// How long a start took, from the first request on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartReport {
    /// Index of the base URL.
    pub base: usize,
    /// Seconds until the master playlist was there.
    pub master_seconds: Option<f64>,
    /// Seconds until a media playlist listed a segment.
    pub playlist_seconds: Option<f64>,
    /// Seconds until a first segment was there whole.
    pub segment_seconds: Option<f64>,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Broken rules in the order they were found.
    pub violations: Vec<Violation>,
    /// One entry per base URL.
    pub starts: Vec<StartReport>,
    /// One entry per rendition and base URL.
    pub renditions: Vec<RenditionReport>,
}

impl Report {
    /// Whether no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The broken rules, each once, in alphabetical order of their declaration.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut rules = self
            .violations
            .iter()
            .map(|violation| violation.rule)
            .collect::<Vec<_>>();
        rules.sort();
        rules.dedup();
        rules
    }
}
