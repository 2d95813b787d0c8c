//! The job document: everything a transcoder needs to know, and the only thing it is given. Built by the operator, read by the transcoder.
//! Readers tolerate unknown fields; a version they do not know is an error that names it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::{
    JobProxy, LIMIT_MAXIMUM_SECONDS, SourceTimeouts, StalkerChannel, XtreamChannel,
};
use crate::live_stream::LiveStreamSpec;
use crate::names::FILES_MOUNT;
use crate::stream_class::{
    EgressPolicy, EncodedRenditions, Preset, Rung, StreamClassSpec, TranscodeMode,
};

/// The version of the document that this code writes and reads.
pub const JOB_VERSION: i32 = 1;

/// What a transcoder keeps at most of what its encoders were fed of late, to encode it again: part of what its pod's memory must hold.
pub const RING_MEBIBYTES: i64 = 32;

/// One attempt at one stream.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TranscodeJob {
    /// [`JOB_VERSION`].
    pub version: i32,
    /// Whose stream it is.
    pub stream: StreamIdentity,
    /// Which attempt; part of every segment name.
    pub attempt: i32,
    /// Where the bytes come from, in the order to try. Never empty.
    pub sources: Vec<JobSource>,
    /// Sources of other accounts, of which it has no connection: none of them is opened before one is granted, see "Grants" in
    /// [`crate::control`]. A transcoder that does not know the field goes without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserve: Vec<JobSource>,
    /// How they are treated.
    pub class: JobClass,
    /// Where the numbers start at the least.
    #[serde(default)]
    pub resume: ResumeFloor,
    /// Where the segments go.
    pub output: JobOutput,
    /// The attempt waits for its turn, see "Hand-over" in [`crate::control`]. A transcoder that does not know the field publishes at once:
    /// look at the phase that it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbyJob>,
    /// The trace that the start belongs to, as header `traceparent` has it (W3C Trace Context); absent where nobody waits for a first
    /// segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// How an attempt waits until it is told to publish.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StandbyJob {
    /// Its sources may be connected to while another attempt is connected to them, so that it can go on at once. Otherwise it opens
    /// none until it is told to publish.
    #[serde(default)]
    pub second_connection: bool,
}

/// Whose stream it is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StreamIdentity {
    /// The LiveStream's namespace; empty in standalone.
    pub namespace: String,
    /// The LiveStream's name, which is the channel's slug.
    pub name: String,
    /// The LiveStream's uid.
    pub uid: String,
}

/// One source with what was granted for it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobSource {
    /// Its place in `spec.sources`, from 0.
    pub index: i32,
    /// Its address.
    pub address: SourceAddress,
    /// The User-Agent header to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// File with further request headers, one `Name: value` a line (a mounted Secret).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_file: Option<String>,
    /// Headers that are not secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// How long it may take for what; as for every other source when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<SourceTimeouts>,
    /// Which addresses it may lead to, where that is not what the class says: a provider has a policy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressPolicy>,
    /// What everything of it is asked for through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<JobProxy>,
    /// For a provider's source the account whose connection it needs: granted, or in reserve. Without a grant it must not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<SlotGrant>,
}

impl JobSource {
    /// A source at an address, of which nothing else is said.
    #[must_use]
    pub fn new(index: i32, address: SourceAddress) -> Self {
        Self {
            index,
            address,
            user_agent: None,
            headers_file: None,
            headers: Vec::new(),
            timeouts: None,
            egress: None,
            proxy: None,
            grant: None,
        }
    }
}

/// Where a source's address stands.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum SourceAddress {
    /// Here.
    Url(String),
    /// In a file (a mounted Secret).
    UrlFile(String),
    /// At an Xtream panel, made from its own address and the login.
    Xtream(XtreamChannel),
    /// At a Stalker portal, which makes a link for each connection.
    Stalker(StalkerChannel),
}

/// A connection slot of a provider.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SlotGrant {
    /// Name of the Provider.
    pub provider: String,
}

/// What of the class a transcoder needs, with everything resolved (presets and overrides of the stream applied).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobClass {
    /// Copy, Transcode or Auto.
    pub mode: TranscodeMode,
    /// Which renditions.
    pub preset: Preset,
    /// The encoded renditions rung by rung, instead of the preset's when not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<Rung>,
    /// When encoded renditions run beside one that is passed through.
    #[serde(default)]
    pub encoded_renditions: EncodedRenditions,
    /// Lines of the highest picture that is decoded; no limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_decode_height: Option<i32>,
    /// What segments aim at, in seconds.
    pub segment_duration_seconds: i32,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration_seconds: i32,
    /// What a playlist lists, in seconds.
    pub playlist_duration_seconds: i32,
    /// From connection to first keyframe at most, in seconds.
    pub start_deadline_seconds: i32,
    /// Preferred language of the audio (ISO 639-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_language: Option<String>,
    /// Which addresses may be connected to.
    #[serde(default)]
    pub egress: EgressPolicy,
    /// The directory beneath which sources may name files; none may where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_directory: Option<String>,
    /// A slate is shown while there are no media.
    #[serde(default)]
    pub slate: bool,
}

impl JobClass {
    /// What a stream's spec and its class come to: the stream's own word first.
    #[must_use]
    pub fn resolve(spec: &LiveStreamSpec, class: &StreamClassSpec) -> Self {
        // A stream that names a preset of its own means it, so the class's ladder does not apply to it.
        let ladder = match spec.preset {
            Some(_) => Vec::new(),
            None => class.ladder.clone(),
        };
        let language = spec.audio_language.as_ref();
        Self {
            mode: class.mode,
            preset: spec.preset.unwrap_or(class.preset),
            ladder,
            encoded_renditions: class.encoded_renditions,
            max_decode_height: class.max_decode_height,
            segment_duration_seconds: class.segment_duration_seconds,
            target_duration_seconds: class.target_duration_seconds,
            playlist_duration_seconds: class.playlist_duration_seconds,
            start_deadline_seconds: class.start_deadline_seconds,
            audio_language: language.or(class.audio_language.as_ref()).cloned(),
            egress: class.egress,
            files_directory: class.files.as_ref().map(|_| FILES_MOUNT.to_owned()),
            slate: class.slate,
        }
    }
}

/// Where the segments go.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobOutput {
    /// The attempt's own directory.
    pub directory: String,
    /// Bytes that its segments may take there.
    pub byte_limit: u64,
}

/// The least numbers that an attempt may start with. Numbers never go back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ResumeFloor {
    /// EXT-X-MEDIA-SEQUENCE of the next segment at the least.
    pub media_sequence: i64,
    /// EXT-X-DISCONTINUITY-SEQUENCE at the least.
    pub discontinuity_sequence: i64,
}

/// Why a job document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is not JSON of the right shape.
    #[error("failed to read the job document: {0}")]
    Malformed(#[source] serde_json::Error),
    /// It is of a version that this code does not know.
    #[error(
        "failed to read the job document: version {found} is unknown, this transcoder reads version {JOB_VERSION}; upgrade the transcoder image"
    )]
    Version {
        /// The version found.
        found: i64,
    },
    /// It contradicts itself.
    #[error("failed to accept the job: {0}")]
    Invalid(String),
}

impl TranscodeJob {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// [`JobError`] says what is wrong with it; the process shows it and exits with 2.
    pub fn from_json(text: &str) -> Result<Self, JobError> {
        #[derive(Deserialize)]
        struct Version {
            version: i64,
        }
        let Version { version } = serde_json::from_str(text).map_err(JobError::Malformed)?;
        if version != i64::from(JOB_VERSION) {
            return Err(JobError::Version { found: version });
        }
        let job: Self = serde_json::from_str(text).map_err(JobError::Malformed)?;
        job.check().map_err(JobError::Invalid)?;
        Ok(job)
    }

    fn check(&self) -> Result<(), String> {
        let class = &self.class;
        if self.sources.is_empty() {
            return Err("sources is empty".to_owned());
        }
        for JobSource {
            index, timeouts, ..
        } in self.sources.iter().chain(&self.reserve)
        {
            if timeouts.is_some_and(|timeouts| !timeouts.is_valid()) {
                return Err(format!(
                    "a time limit of source {index} is not within 1 to {LIMIT_MAXIMUM_SECONDS} seconds"
                ));
            }
        }
        if class.segment_duration_seconds < 1
            || class.target_duration_seconds < class.segment_duration_seconds
        {
            return Err(format!(
                "segmentDurationSeconds {} and targetDurationSeconds {} do not fit each other",
                class.segment_duration_seconds, class.target_duration_seconds
            ));
        }
        if class.playlist_duration_seconds < 3 * class.target_duration_seconds {
            return Err(format!(
                "playlistDurationSeconds {} is below three target durations",
                class.playlist_duration_seconds
            ));
        }
        if self.attempt < 0 || self.stream.uid.is_empty() || self.output.directory.is_empty() {
            return Err("attempt, stream uid and output directory are required".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> serde_json::Value {
        serde_json::json!({
            "version": 1,
            "stream": { "namespace": "tv", "name": "news-one", "uid": "0f9c2a41-7b1e" },
            "attempt": 3,
            "sources": [{ "index": 0, "address": { "url": "http://source.example/one.ts" } }],
            "class": {
                "mode": "Auto", "preset": "source", "segmentDurationSeconds": 2, "targetDurationSeconds": 4,
                "playlistDurationSeconds": 12, "startDeadlineSeconds": 20
            },
            "output": { "directory": "/output", "byteLimit": 1_000_000 }
        })
    }

    #[test]
    fn a_document_from_a_newer_writer_is_read_past_its_unknown_fields() {
        let mut newer = document();
        newer["fieldOfTheFuture"] = serde_json::json!({ "a": 1 });
        let job = TranscodeJob::from_json(&newer.to_string()).unwrap();
        assert_eq!(job.resume, ResumeFloor::default());
        assert_eq!(
            job.sources[0].address,
            SourceAddress::Url("http://source.example/one.ts".to_owned())
        );
        assert_eq!(
            TranscodeJob::from_json(&serde_json::to_string(&job).unwrap()).unwrap(),
            job
        );
    }

    #[test]
    fn a_stream_has_the_last_word_over_its_class() {
        let class = StreamClassSpec {
            preset: Preset::High,
            ladder: vec![Rung {
                height: 540,
                video_kilobits_per_second: 1500,
            }],
            audio_language: Some("eng".to_owned()),
            max_decode_height: Some(1080),
            ..StreamClassSpec::default()
        };
        let plain = JobClass::resolve(&LiveStreamSpec::default(), &class);
        assert_eq!((plain.preset, plain.ladder.len()), (Preset::High, 1));
        assert_eq!(plain.audio_language.as_deref(), Some("eng"));
        assert_eq!(plain.max_decode_height, Some(1080));
        let own = LiveStreamSpec {
            preset: Some(Preset::Low),
            audio_language: Some("deu".to_owned()),
            ..LiveStreamSpec::default()
        };
        let changed = JobClass::resolve(&own, &class);
        assert_eq!((changed.preset, changed.ladder), (Preset::Low, vec![]));
        assert_eq!(changed.audio_language.as_deref(), Some("deu"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let mut version = document();
        version["version"] = 2.into();
        let mut sources = document();
        sources["sources"] = serde_json::json!([]);
        let mut list = document();
        list["class"]["playlistDurationSeconds"] = 6.into();
        let mut limits = document();
        limits["sources"][0]["timeouts"] = serde_json::json!({ "silenceSeconds": 0 });
        for (document, named) in [
            (version, "version 2 is unknown"),
            (limits, "a time limit of source 0"),
            (sources, "sources is empty"),
            (list, "playlistDurationSeconds 6"),
        ] {
            let message = TranscodeJob::from_json(&document.to_string())
                .unwrap_err()
                .to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
