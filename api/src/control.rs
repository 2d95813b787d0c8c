//! The control HTTP of a transcoder: paths with the identity of stream and attempt in each, and the documents they carry.
//! Pod addresses are reused, so whoever answers compares the identity first: a mismatch is `421 Misdirected Request`.
//!
//! | path | answer |
//! |---|---|
//! | `GET …/status?after=N` | [`JobStatus`] as soon as its version is above N; the current one after [`POLL_SECONDS`] |
//! | `GET …/playlists?after=N&requested=a,b&gateway=G&viewers=K` | [`crate::playlists::Playlists`] likewise; at gateway G viewers asked for a and b since, and K watch |
//! | `GET …/hls/master.m3u8`, `…/hls/<rendition>/index.m3u8`, `…/hls/<rendition>/<attempt>-<number>.ts` | for people and for gateways while the volume lags |
//! | `POST …/finish` | closes the open segment and the upstream socket, then answers [`FinishAnswer`] |
//! | `POST …/publish` | [`PublishRequest`]: a standby attempt goes on from these numbers |
//! | `POST …/grant` | [`GrantRequest`]: the attempt goes on with sources of another account; 409 where it does not ask for that |
//! | `POST …/stop` | ends the attempt; answers when the upstream socket is closed |
//!
//! # Hand-over
//!
//! From one attempt of a stream to the next, with at most one of them publishing:
//!
//! 1. The next one is started with [`crate::job::StandbyJob`] in its job. Its phase is `Standby`: it publishes nothing, writes nothing, and
//!    keeps the last window of segments in memory. [`JobStatus::ready`] says that it would go on at once. What its sources do wrong is in
//!    its status and costs the stream nothing. Where there is no second connection it opens no source, and is ready for what it can be.
//! 2. `finish` on the one that publishes. When it is answered its segment is closed and so is every socket to its source, in whatever state
//!    they were: a provider's only slot is free. It is answered within seconds also when the source or the encoder hangs. What is listed
//!    is served on until `stop`, or until the process ends. A second `finish` gets the same answer.
//! 3. `publish` on the standby, with both parts of that answer. It lists what the other one has listed and goes on behind one
//!    discontinuity with the segment that follows on it by date, so that less than a segment is lost or repeated; dates never go back.
//!    Answered as soon as numbers and list are taken over. Told again, or told to an attempt that publishes already, it changes nothing.
//! 4. `stop` on the old one, once nobody asks it for segments any more.
//!
//! Break before make is the same: the standby connects in step 3, and players wait for that.
//!
//! An old attempt that cannot be asked is handed over from without its list: `publish` with the highest `next` of its status, some way up.
//! It must be known to be gone: an attempt does not know of others. `finish` on a standby ends its waiting, and `publish` is refused then
//! with 410. SIGTERM ends a standby at once, and any other attempt after its grace.
//!
//! # Grants
//!
//! An attempt has a connection of one account at a time: at first that of its job, then, if that has others in reserve
//! ([`crate::job::TranscodeJob::reserve`]), of one after the other, with at no time a connection open that nobody has entered for it:
//!
//! 1. Every source that it may open has failed: [`AccountStatus::wants`] names the accounts that it has not had since something was
//!    delivered last, and [`AccountStatus::request`] is a number that no request of the attempt had before. It goes on trying its own.
//! 2. Whoever keeps count enters a connection of one of them, for that attempt and that number, and then tells it `grant`.
//! 3. The attempt closes what it has; then its status names the new account, and its request is over. A grant with any other number,
//!    or after a source has delivered again, is refused, and nothing comes of it. Told again, it changes nothing.
//! 4. An entry for a number up to [`AccountStatus::request`] is of no use any more where the status names another account and the request
//!    is over: it is given back. One for a higher number is of a request that this status does not know of yet.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::condition::Reason;
use crate::job::ResumeFloor;
use crate::playlists::Playlists;

/// A long poll is answered after this long at the latest, in seconds.
pub const POLL_SECONDS: u64 = 20;

/// The part of the path that every request starts with: `/v1/streams/<uid>/<attempt>`.
#[must_use]
pub fn stream_path(stream_uid: &str, attempt: i32) -> String {
    format!("/v1/streams/{stream_uid}/{attempt}")
}

/// What an attempt says of itself. The version grows with each change and starts at the process's start in Unix milliseconds,
/// so it grows over container restarts too.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Grows with each change.
    pub version: u64,
    /// The stream's uid.
    pub stream_uid: String,
    /// The attempt.
    pub attempt: i32,
    /// Where the attempt stands.
    pub phase: JobPhase,
    /// In `Standby`: it goes on at once when told, or, without a second connection, as soon as its source lets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// The source in use or being tried.
    pub source: SourceStatus,
    /// Of whose connections it has one, and what it asks for. Absent where no source needs a connection of an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountStatus>,
    /// What is played, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaStatus>,
    /// From the process's start to the first published segment, in milliseconds. Absent where it was a standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_segment_milliseconds: Option<i64>,
    /// How the start went until its first keyframe, once that has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartTimes>,
    /// Where a next attempt would go on. Brought up to date without a new version (it changes with every segment).
    pub next: ResumeFloor,
    /// What is wrong while segments are published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
}

impl JobStatus {
    /// Reads what an attempt says of itself, a newer version's too: what it says besides is left out, and the name of a reason that is
    /// not known here stands before its message, so that whoever reads that can look it up.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        let status: Self = serde_json::from_slice(text)?;
        let troubles = status.troubles.iter().map(|trouble| trouble.reason);
        let mut reasons = troubles.chain([status.source.reason]);
        if !reasons.any(|reason| reason == Reason::Unrecognised) {
            return Ok(status);
        }
        let mut document: Value = serde_json::from_slice(text)?;
        if let Some(troubles) = document.get_mut("troubles").and_then(Value::as_array_mut) {
            troubles.iter_mut().for_each(keep_name);
        }
        if let Some(source) = document.get_mut("source") {
            keep_name(source);
        }
        serde_json::from_value(document)
    }
}

/// Puts the name of a reason that is not known before the message.
fn keep_name(said: &mut Value) {
    let text = |field: &str| said.get(field)?.as_str().map(str::to_owned);
    let (Some(name), Some(message)) = (text("reason"), text("message")) else {
        return;
    };
    let reason = serde_json::from_value(Value::from(name.as_str()));
    if matches!(reason, Ok(Reason::Unrecognised)) {
        said["message"] = Value::from(format!("{name}: {message}"));
    }
}

/// Where an attempt stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// Publishing nothing until told.
    Standby,
    /// No segment is published yet.
    Starting,
    /// Segments are published.
    Live,
    /// Segments were published; the source is gone and being looked for.
    Interrupted,
    /// Told to finish: the last segment is closed, the upstream is closed.
    Finished,
    /// Gave up: every source failed for longer than allowed. The process ends.
    Failed,
    /// Where only a newer version can be: it is left alone.
    #[serde(other)]
    Unrecognised,
}

/// When the connection that delivered first came how far, in milliseconds from the process's start. What was not needed is absent:
/// an address that stands in the URL is not looked up.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StartTimes {
    /// The name of the host was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_milliseconds: Option<i64>,
    /// The connection was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_milliseconds: Option<i64>,
    /// The first byte came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_milliseconds: Option<i64>,
    /// The first keyframe came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_keyframe_milliseconds: Option<i64>,
}

impl StartTimes {
    /// How long each part of a start took, in milliseconds, up to the first segment, which came `first_segment` milliseconds after the
    /// process's start. A part that was not needed is left out.
    #[must_use]
    pub fn phases(&self, first_segment: i64) -> Vec<(&'static str, i64)> {
        let reached = [
            ("resolve", self.resolved_milliseconds),
            ("connect", self.connected_milliseconds),
            ("first_byte", self.first_byte_milliseconds),
            ("first_keyframe", self.first_keyframe_milliseconds),
            ("first_segment", Some(first_segment)),
        ];
        let mut before = 0;
        let mut took = Vec::new();
        for (phase, at) in reached {
            if let Some(at) = at {
                took.push((phase, (at - before).max(0)));
                before = at;
            }
        }
        took
    }
}

/// The source in use or being tried.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its place in `spec.sources`.
    pub index: i32,
    /// Since when it is the one, Unix milliseconds.
    pub since_unix_milliseconds: i64,
    /// Whether it delivers; unknown while it is being connected for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// `Receiving`, `Connecting`, or why it does not deliver.
    pub reason: Reason,
    /// One sentence, without secrets: no query, no user information of the address.
    pub message: String,
    /// Whether a connection to a source is open.
    pub connected: bool,
}

/// The account of an attempt, see "Grants" above.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Name of the Provider of whose connections it has one; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The number of its last request; 0 where it has made none.
    #[serde(default)]
    pub request: i32,
    /// That request, while it stands: names of the Providers of which it would take a connection, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
}

/// The body of `grant`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantRequest {
    /// Name of the Provider of whose connections one is entered for the attempt.
    pub provider: String,
    /// For which request: [`AccountStatus::request`].
    pub request: i32,
}

/// What is played.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MediaStatus {
    /// The source's video, such as `h264 High@4.0 1920x1080 25.000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
    /// The source's audio, such as `aac LC 48000 Hz 2 ch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// What is done to it.
    pub mode: MediaMode,
    /// Why.
    pub reason: String,
    /// Ids of the renditions, highest first.
    pub renditions: Vec<String>,
}

/// What is done to the source.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum MediaMode {
    /// Video and audio are passed through.
    Copy,
    /// Video is passed through, audio is encoded.
    AudioTranscode,
    /// Video is encoded.
    Transcode,
    /// What only a newer version does.
    #[serde(other)]
    Unrecognised,
}

/// Something wrong that does not stop the stream.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// `OutputStalled`, `EncoderTooSlow` or `LongGop`.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// The answer to `finish`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FinishAnswer {
    /// The numbers with which the next attempt goes on.
    pub next: ResumeFloor,
    /// What is listed to the end: for [`PublishRequest::previous`] as it is. Absent when nothing was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Playlists>,
}

/// The body of `publish`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PublishRequest {
    /// The numbers to go on with at the least.
    pub floor: ResumeFloor,
    /// What the attempt before has listed, which players go on asking for: [`FinishAnswer::listed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Playlists>,
}

/// The body of every refusal on control HTTP and on the gateway's APIs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// A stable word, such as `misdirected`.
    pub code: String,
    /// One sentence: what failed, on what, what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_start_add_up_and_what_was_not_needed_is_left_out() {
        let start = StartTimes {
            resolved_milliseconds: None,
            connected_milliseconds: Some(40),
            first_byte_milliseconds: Some(100),
            first_keyframe_milliseconds: Some(900),
        };
        let expected = [
            ("connect", 40),
            ("first_byte", 60),
            ("first_keyframe", 800),
            ("first_segment", 1100),
        ];
        assert_eq!(start.phases(2000), expected);
    }
}
