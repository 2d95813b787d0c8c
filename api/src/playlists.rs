//! What is listed now: the document that travels from transcoder to gateway by long poll, and lies in `state.json`.
//! One list of segments for all renditions: number, duration, date and discontinuities are equal by construction.

use serde::{Deserialize, Serialize};

/// Id of the rendition that passes HEVC through, for clients that ask for it.
pub const HEVC: &str = "hevc";

/// The live window of one attempt.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Playlists {
    /// Grows with each change; starts at the process's start in Unix milliseconds.
    pub version: u64,
    /// The stream's uid.
    pub stream_uid: String,
    /// The attempt.
    pub attempt: i32,
    /// When this version was made, Unix milliseconds: a file older than three target durations counts as absent.
    pub updated_unix_milliseconds: i64,
    /// A hash of the class that the attempt was told: what was learnt under another one is of no use. Empty where an older one says none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// What segments aim at, in seconds; fixed. 0 where an older attempt does not say it.
    #[serde(default)]
    pub segment_duration_seconds: i32,
    /// EXT-X-TARGETDURATION, in seconds; fixed.
    pub target_duration_seconds: i32,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// The renditions, highest first; empty until the media is known.
    pub renditions: Vec<Rendition>,
    /// Renditions of the same segments that the master leaves out but for clients that ask: [`HEVC`], once it is known how large its
    /// segments are. It runs while it is asked for; until then its id is in `behind`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_request: Vec<Rendition>,
    /// What is listed, oldest first; the first one's number is EXT-X-MEDIA-SEQUENCE, numbers have no holes.
    pub segments: Vec<SegmentEntry>,
    /// Where a next attempt would go on: media sequence and discontinuity sequence.
    pub next: crate::job::ResumeFloor,
    /// Ids of the renditions whose encoder may still bring what they lack at the end: their playlists end with the last segment that
    /// they have, and those without one have none yet. Among them is what is switched off until a viewer asks for it, so a request
    /// for one of these is worth telling the attempt at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<String>,
}

impl Playlists {
    /// Every rendition that the segments are there in, in one master or another.
    pub fn all_renditions(&self) -> impl Iterator<Item = &Rendition> {
        self.renditions.iter().chain(&self.on_request)
    }

    /// Whether there is that rendition, even though nothing of it has been made yet.
    #[must_use]
    pub fn offers(&self, id: &str) -> bool {
        self.all_renditions().any(|one| one.id == id) || self.behind.iter().any(|one| one == id)
    }
}

/// What the master playlist says of a rendition. Stable once it is there: players read a master once.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rendition {
    /// `source`, `audio`, `<height>p`, or [`HEVC`]; stable for the life of the LiveStream.
    pub id: String,
    /// BANDWIDTH: peak segment bit rate, bit/s.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH, bit/s.
    pub average_bandwidth: u64,
    /// CODECS (RFC 6381), from the bytes themselves.
    pub codecs: String,
    /// RESOLUTION; absent for audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// FRAME-RATE in thousandths of a frame per second; absent for audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate_thousandths: Option<u32>,
}

/// Width and height in pixels.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels across.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// One segment, in every rendition.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SegmentEntry {
    /// Its media sequence number.
    pub number: u64,
    /// The attempt that made it: with the number its name, see [`crate::names::segment_name`].
    pub attempt: i32,
    /// EXTINF in ticks of 1/90000 s.
    pub duration_ticks: u64,
    /// EXT-X-DISCONTINUITY stands before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discontinuity: bool,
    /// It starts with a picture that needs nothing before it.
    pub independent: bool,
    /// EXT-X-PROGRAM-DATE-TIME, Unix milliseconds.
    pub program_date_time_unix_milliseconds: i64,
    /// Ids of the renditions that lack it (EXT-X-GAP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}
