//! `LiveStream`: one stream that should run. Schema, defaults and rules; decides nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::connection::SourceTimeouts;
use crate::stream_class::{DEFAULT_CLASS, Preset};

/// Longest name of a LiveStream: it is the channel's slug, and the pod's name is built from it (63 characters at most).
pub const NAME_MAXIMUM: usize = 44;

/// Schemes of the addresses that a source may have. All but the last one have a host; of that one [`crate::files`] knows more.
pub const SOURCE_SCHEMES: [&str; 10] = [
    "http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "udp", "rtp", "file",
];

/// One stream that should run: its class, its sources in order, and what to do when nobody watches.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "headend.dev",
    version = "v1alpha1",
    kind = "LiveStream",
    plural = "livestreams",
    namespaced,
    status = "LiveStreamStatus",
    shortname = "ls",
    category = "headend",
    derive = "PartialEq",
    selectable = ".status.phase",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "Source", type_ = "integer", json_path = ".status.source.index"),
    printcolumn(name = "Viewers", type_ = "integer", json_path = ".status.viewers"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.pod.name", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.media.mode", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 44").message("a LiveStream's name is its channel's slug and has at most 44 characters").reason(Reason::FieldValueInvalid),
    validation = Rule::new("!self.metadata.name.contains('.')").message("a LiveStream's name is its channel's slug and has no dots").reason(Reason::FieldValueInvalid)
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct LiveStreamSpec {
    /// Name of the StreamClass; `default` is built in when no object has that name.
    #[serde(default = "default_class")]
    #[schemars(length(min = 1, max = 63))]
    pub class_name: String,
    /// The name that people read; the object's own name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub display_name: Option<String>,
    /// Which renditions there are; else what the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Language of the audio track that is preferred (ISO 639-2, such as `eng`); else what the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 3))]
    pub audio_language: Option<String>,
    /// Where the stream comes from, tried in order.
    #[schemars(length(min = 1, max = 16))]
    pub sources: Vec<Source>,
    /// The human switch: true stops the stream, and nothing wakes it; viewers are told that it is suspended.
    #[serde(default)]
    pub suspend: bool,
    /// 1 runs the stream, 0 does not. Owned by gateway and operator: leave it out of what you keep in Git.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self in [0, 1]").message("replicas is 0 or 1"))]
    pub replicas: i32,
    /// What happens when nobody has watched for the idle timeout.
    #[serde(default)]
    pub when_idle: WhenIdle,
    /// How long nobody must have watched, in seconds; else what the class says. At least three presence flushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 86_400))]
    pub idle_timeout_seconds: Option<i32>,
}

fn default_class() -> String {
    DEFAULT_CLASS.to_owned()
}

/// One place where the stream can be had. Exactly one of `url`, `urlSecretRef` and `provider`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.url) ? 1 : 0) + (has(self.urlSecretRef) ? 1 : 0) + (has(self.provider) ? 1 : 0) == 1").message("a source has exactly one of url, urlSecretRef and provider"),
)]
pub struct Source {
    /// Address of an MPEG transport stream, an HLS playlist, or radio in AAC, MP3 or AC-3 over HTTP; or of an RTMP, RTSP, SRT, UDP or RTP
    /// stream, in classes whose `egress.allowUnpinned` is true; or `file:///` and the path of a file in the claim of the class (`files`),
    /// which is played again from its beginning when it ends. What is secret in it belongs in `urlSecretRef` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^(?i)file:') ? self.matches('^(?i)file:///[^/?#]+(/[^/?#]+)*$') && !self.matches('/[.][.]?(/|$)') : isURL(self) && url(self).getScheme() in ['http', 'https', 'rtmp', 'rtmps', 'rtsp', 'rtsps', 'srt', 'udp', 'rtp'] && url(self).getHost() != ''").message("must be an http, https, rtmp, rtmps, rtsp, rtsps, srt, udp or rtp URL with a host, or a file URL without one and without dots for directories, such as file:///loops/barker.ts"))]
    pub url: Option<String>,
    /// The Secret whose key holds the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyReference>,
    /// A channel of a Provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderChannel>,
    /// The User-Agent header to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub user_agent: Option<String>,
    /// How long it may take for what, where that is not as for every other source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<SourceTimeouts>,
    /// Further request headers that are no secret, such as `Referer`; others belong in `headersSecretRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<RequestHeader>,
    /// The Secret whose key holds further request headers, one `Name: value` a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<SecretKeyReference>,
}

/// A request header.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestHeader {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// Its value: one line.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[^\r\n]+$"))]
    pub value: String,
}

/// A key of a Secret in the LiveStream's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret; it starts with `headend-source-`, so that streams cannot send any other Secret upstream.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.startsWith('headend-source-')").message("the name of a Secret that a stream may use starts with headend-source-"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A channel of a Provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderChannel {
    /// Name of the Provider.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The channel's id at the provider: `stream_id` of an Xtream panel, `cmd` of a Stalker portal.
    #[schemars(length(min = 1, max = 256))]
    pub channel: String,
}

/// What happens to a stream that nobody has watched for the idle timeout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenIdle {
    /// The object is deleted, and its pod with it.
    Delete,
    /// The pod is removed; the object stays and is woken by the next viewer.
    #[default]
    ScaleToZero,
    /// It runs on.
    KeepRunning,
}

/// What a LiveStream does, in one word. Derived from the conditions and written last.
#[derive(
    Serialize,
    Deserialize,
    JsonSchema,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    strum::IntoStaticStr,
)]
pub enum Phase {
    /// Not wanted: nothing runs.
    #[default]
    Idle,
    /// Wanted; what it needs is not there yet.
    Pending,
    /// The pod runs; nothing is playable yet.
    Starting,
    /// Playable.
    Live,
    /// Playable with something wrong, or being repaired.
    Degraded,
    /// The pod is being removed.
    Stopping,
    /// It cannot run as it is; somebody has to act.
    Failed,
    /// Switched off by `spec.suspend`.
    Suspended,
}

/// What is known of a LiveStream. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LiveStreamStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Provisioned`, `SourceHealthy`, `Idle`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// In one word what it does; derived from the conditions.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "known_phase"
    )]
    #[schemars(with = "Option<Phase>")]
    pub phase: Option<Phase>,
    /// The pod that is meant to run the stream: named here before it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodIntent>,
    /// The pod that takes over from `pod`, which is being deleted: named here before it is created, and publishing nothing until it is
    /// `pod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<PodIntent>,
    /// The last attempts whose pods had waited for a stream (`warmPods` of the class), oldest first, at most 4. The name of any other
    /// attempt's pod follows from the attempt; so does the directory of its segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub warm_attempts: Vec<WarmAttempt>,
    /// The last attempt that was ever named; the next one is greater.
    #[serde(default)]
    pub last_attempt: i32,
    /// The source in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceInUse>,
    /// What is played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaSummary>,
    /// Where the numbers of the next attempt start at the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<crate::job::ResumeFloor>,
    /// Viewers, as the lower bound of 0, 1, 10, 100, …; exact counts are in the metrics.
    #[serde(default)]
    pub viewers: i32,
    /// When this run of the stream began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_time: Option<Time>,
    /// From the naming of the pod to the first segment, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_segment_milliseconds: Option<i64>,
    /// Pods that run for it (for the scale subresource).
    #[serde(default)]
    pub replicas: i32,
    /// Label selector of its pods (for the scale subresource).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// A phase of a newer version is none: the conditions say what it was derived from.
fn known_phase<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Phase>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.and_then(|name| {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.as_str().into_deserializer();
        Phase::deserialize(name).ok()
    }))
}

/// The pod that is meant to run a stream.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodIntent {
    /// Its name: `<stream>-<8 hex digits of the uid>-<attempt>`, or that of a pod that waited (`warmPods` of the class).
    pub name: String,
    /// Its uid, once it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Which attempt it is; attempts of one LiveStream only grow.
    pub attempt: i32,
    /// `address:port` of its control HTTP, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// An attempt in a pod that had waited for a stream.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WarmAttempt {
    /// The attempt.
    pub attempt: i32,
    /// Name of the pod.
    pub pod: String,
}

/// How many attempts [`LiveStreamStatus::warm_attempts`] keeps: more than playlists can name at once.
pub const WARM_ATTEMPTS: usize = 4;

/// Name of the pod of an attempt, which is the name of the directory of its segments.
#[must_use]
pub fn attempt_pod_name(
    warm: &[WarmAttempt],
    stream: &str,
    stream_uid: &str,
    attempt: i32,
) -> String {
    let waited = warm.iter().find(|one| one.attempt == attempt);
    waited.map_or_else(
        || crate::names::pod_name(stream, stream_uid, attempt),
        |one| one.pod.clone(),
    )
}

/// The source in use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceInUse {
    /// Its place in `spec.sources`, from 0.
    pub index: i32,
    /// Since when.
    pub since: Time,
}

/// What is played, in words.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MediaSummary {
    /// The source's video, such as `h264 High@4.0 1920x1080 25.000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
    /// The source's audio, such as `aac LC 48000 Hz 2 ch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// `Copy`, `AudioTranscode` or `Transcode`.
    pub mode: String,
    /// Why that mode.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::FILE_SCHEME;

    fn stream(name: &str, spec: LiveStreamSpec) -> LiveStream {
        LiveStream::new(name, spec)
    }

    fn url_source(url: &str) -> Source {
        Source {
            url: Some(url.to_owned()),
            ..Source::default()
        }
    }

    fn spec() -> LiveStreamSpec {
        LiveStreamSpec {
            class_name: default_class(),
            sources: vec![url_source("http://source.example/one.ts")],
            ..LiveStreamSpec::default()
        }
    }

    fn refusal(object: &LiveStream) -> String {
        object
            .validate_cel()
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_plain_stream_is_accepted() {
        stream("news-one", spec()).validate_cel().unwrap();
    }

    #[test]
    fn a_source_has_exactly_one_address() {
        let mut both = spec();
        both.sources[0].provider = Some(ProviderChannel {
            name: "one".to_owned(),
            channel: "7".to_owned(),
        });
        assert!(
            refusal(&stream("news-one", both))
                .contains("exactly one of url, urlSecretRef and provider")
        );
        let neither = LiveStreamSpec {
            sources: vec![Source::default()],
            ..spec()
        };
        assert!(refusal(&stream("news-one", neither)).contains("exactly one of"));
    }

    #[test]
    fn an_address_of_each_scheme_is_taken() {
        for scheme in SOURCE_SCHEMES {
            let host = if scheme == FILE_SCHEME {
                ""
            } else {
                "source.example:9000"
            };
            let good = LiveStreamSpec {
                sources: vec![url_source(&format!("{scheme}://{host}/one/..two/t.s"))],
                ..spec()
            };
            let checked = stream("news-one", good).validate_cel();
            assert!(checked.is_ok(), "{scheme}: {checked:?}");
        }
        let multicast = LiveStreamSpec {
            sources: vec![url_source("udp://@239.1.1.1:1234")],
            ..spec()
        };
        stream("news-one", multicast).validate_cel().unwrap();
        let loops = LiveStreamSpec {
            sources: vec![url_source("FILE:///loops/my%20barker.ts")],
            ..spec()
        };
        stream("news-one", loops).validate_cel().unwrap();
    }

    #[test]
    fn only_addresses_of_sources_are_taken() {
        for url in [
            "ftp://x/y",
            "not a url",
            "http://",
            "file:",
            "file:///",
            "file://host/one.ts",
            "file:one.ts",
            "file:///one.ts?x=1",
            "file:////one.ts",
            "file:///loops/../one.ts",
            "file:///loops/..",
            "file:///./one.ts",
        ] {
            let bad = LiveStreamSpec {
                sources: vec![url_source(url)],
                ..spec()
            };
            let message = refusal(&stream("news-one", bad));
            assert!(
                message.contains("must be an http") && message.contains("sources"),
                "{url}: {message}"
            );
        }
    }

    #[test]
    fn only_source_secrets_may_be_named() {
        let reference = SecretKeyReference {
            name: "database-password".to_owned(),
            key: "url".to_owned(),
        };
        let bad = LiveStreamSpec {
            sources: vec![Source {
                url_secret_ref: Some(reference),
                ..Source::default()
            }],
            ..spec()
        };
        assert!(refusal(&stream("news-one", bad)).contains("headend-source-"));
    }

    #[test]
    fn a_stream_runs_once_or_not_at_all() {
        let bad = LiveStreamSpec {
            replicas: 2,
            ..spec()
        };
        assert!(refusal(&stream("news-one", bad)).contains("replicas is 0 or 1"));
    }

    #[test]
    fn a_name_is_a_slug() {
        assert!(refusal(&stream(&"a".repeat(45), spec())).contains("44"));
        assert!(refusal(&stream("a.b", spec())).contains("dots"));
    }
}
