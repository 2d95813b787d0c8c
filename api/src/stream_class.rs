//! `StreamClass`: how streams of a class run (the StorageClass pattern). Schema and defaults; decides nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of the class that a LiveStream has when it names none, built in when no object has that name.
pub const DEFAULT_CLASS: &str = "default";

/// How the streams of this class run: what is encoded, how segments are cut, when an idle stream stops, what a pod gets.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "headend.dev",
    version = "v1alpha1",
    kind = "StreamClass",
    plural = "streamclasses",
    namespaced,
    shortname = "sc",
    category = "headend",
    derive = "PartialEq",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Preset", type_ = "string", json_path = ".spec.preset"),
    printcolumn(
        name = "Idle",
        type_ = "integer",
        json_path = ".spec.idleTimeoutSeconds"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new("!has(self.spec.warmPods) || self.metadata.name.size() <= 63").message("the name of a class with warmPods has at most 63 characters: it labels them")
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.segmentDurationSeconds <= self.targetDurationSeconds").message("segmentDurationSeconds must not exceed targetDurationSeconds").field_path(".segmentDurationSeconds"),
    validation = Rule::new("self.playlistDurationSeconds >= 3 * self.targetDurationSeconds").message("playlistDurationSeconds must be at least 3 times targetDurationSeconds (RFC 8216 section 6.2.2)").field_path(".playlistDurationSeconds"),
)]
pub struct StreamClassSpec {
    /// Whether the source is passed through (Copy), encoded (Transcode), or judged by what arrives (Auto).
    #[serde(default)]
    pub mode: TranscodeMode,
    /// Which renditions there are, unless `ladder` says it rung by rung.
    #[serde(default)]
    pub preset: Preset,
    /// The encoded renditions, highest first, instead of the preset's; with preset `ultra` the source is passed through above them.
    /// Rungs above the source's height are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.height == b.height))").message("every rung needs a height of its own"))]
    pub ladder: Vec<Rung>,
    /// When encoded renditions run: only while viewers ask for one of them (OnDemand), or with the stream (Always). Where none is passed
    /// through they always run.
    #[serde(default)]
    pub encoded_renditions: EncodedRenditions,
    /// The highest picture that is decoded, in lines; no limit where absent. A higher source is passed through without encoded
    /// renditions where players can take it; else the next source is tried, with reason `SourceTooLargeToTranscode`. Of the
    /// variants of an HLS source the best is chosen that is no higher, or passed through in a class without encoded renditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 144, max = 8640))]
    pub max_decode_height: Option<i32>,
    /// The length that segments aim at, in seconds.
    #[serde(default = "default_segment_duration")]
    #[schemars(range(min = 1, max = 10))]
    pub segment_duration_seconds: i32,
    /// EXT-X-TARGETDURATION: no segment is longer than this after rounding, in seconds.
    #[serde(default = "default_target_duration")]
    #[schemars(range(min = 2, max = 20))]
    pub target_duration_seconds: i32,
    /// How much a playlist lists, in seconds; at least three target durations.
    #[serde(default = "default_playlist_duration")]
    #[schemars(range(min = 6, max = 600))]
    pub playlist_duration_seconds: i32,
    /// How long a source may take from the connection to the first keyframe, in seconds.
    #[serde(default = "default_start_deadline")]
    #[schemars(range(min = 3, max = 120))]
    pub start_deadline_seconds: i32,
    /// How long nobody must have watched before a stream is collected, in seconds; at least three presence flushes.
    #[serde(default = "default_idle_timeout")]
    #[schemars(range(min = 15, max = 86_400))]
    pub idle_timeout_seconds: i32,
    /// Language of the audio track that is preferred where the source has several (ISO 639-2, such as `eng`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 3))]
    pub audio_language: Option<String>,
    /// Which addresses sources of this class may have.
    #[serde(default)]
    pub egress: EgressPolicy,
    /// Files that sources of this class may be: loops, such as a barker channel. Without it they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileSources>,
    /// Viewers see a still picture, with silence, while there are no media: from 6 seconds after the start, or after the source was
    /// lost, until the next keyframe. It is H.264 and AAC in the renditions that viewers know, so there is none for radio and for what
    /// is passed through in other codecs. Before anything is known of the source it stands in for what the class makes of usual
    /// television; with the mode `Copy`, which makes whatever comes, there is none until something has come. Classes of radio channels
    /// leave it off. It is no sign of life: phase and conditions say what is missing as they do without it.
    #[serde(default)]
    pub slate: bool,
    /// Where segments go: to the volume that gateways read too (SharedVolume), or to memory of the pod, from where gateways fetch them
    /// (PodLocal). The latter needs no volume on the way to the first segment; what no gateway has fetched yet is lost with the pod. The
    /// pod's memory grows by `outputLimitMebibytes`, which may be far less then: three times the bytes of a playlist are enough.
    #[serde(default)]
    pub output: OutputMode,
    /// Bytes that the segments of one stream may take on the volume, or in the pod's memory, in mebibytes.
    #[serde(default = "default_output_limit")]
    #[schemars(range(min = 16, max = 65_536))]
    pub output_limit_mebibytes: i32,
    /// What a transcoder pod of this class gets.
    #[serde(default)]
    pub pod: PodSettings,
    /// Pods that wait for streams of this class, so that a start need not wait for a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pods: Option<WarmPods>,
}

/// Pods that wait for the streams of a class. A stream takes one for good, and another is made. A stream that cannot have one starts with
/// a pod of its own, and the message of its condition `Provisioned` says why: none is left; it has Secrets of its own; it needs a
/// connection of a Provider that the pods are not made for; it has a preset of its own that needs another pod.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WarmPods {
    /// How many wait. Each has the resources of a pod that runs, requested all the time, and its place on the output volume.
    #[schemars(range(min = 0, max = 100))]
    pub count: i32,
    /// The Provider of whose streams they wait: the login in its Secret is mounted in them, and no other stream gets one of them. Without
    /// it they are for streams that need no Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
}

fn default_segment_duration() -> i32 {
    2
}

fn default_target_duration() -> i32 {
    4
}

fn default_playlist_duration() -> i32 {
    12
}

fn default_start_deadline() -> i32 {
    20
}

fn default_idle_timeout() -> i32 {
    300
}

fn default_output_limit() -> i32 {
    512
}

impl Default for StreamClassSpec {
    /// The built-in class `default`.
    fn default() -> Self {
        Self {
            mode: TranscodeMode::default(),
            preset: Preset::default(),
            ladder: Vec::new(),
            encoded_renditions: EncodedRenditions::default(),
            max_decode_height: None,
            segment_duration_seconds: default_segment_duration(),
            target_duration_seconds: default_target_duration(),
            playlist_duration_seconds: default_playlist_duration(),
            start_deadline_seconds: default_start_deadline(),
            idle_timeout_seconds: default_idle_timeout(),
            audio_language: None,
            egress: EgressPolicy::default(),
            files: None,
            slate: false,
            output: OutputMode::default(),
            output_limit_mebibytes: default_output_limit(),
            pod: PodSettings::default(),
            warm_pods: None,
        }
    }
}

/// How copy or transcode is decided.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TranscodeMode {
    /// Judged by what arrives: passed through where players can take it, encoded where not.
    #[default]
    Auto,
    /// Passed through whatever it is; a source that HLS cannot carry is an error.
    Copy,
    /// Always encoded, every rendition.
    Transcode,
}

/// When encoded renditions run beside one that is passed through.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EncodedRenditions {
    /// All of them from the first request for one until 60 seconds after the last.
    #[default]
    OnDemand,
    /// As long as the stream.
    Always,
}

/// Where the segments of a stream go.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputMode {
    /// To the release's output volume.
    #[default]
    SharedVolume,
    /// To memory of the stream's pod.
    PodLocal,
}

/// A named set of renditions.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Preset {
    /// The source alone: passed through, or encoded at its own height when it cannot be.
    #[default]
    Source,
    /// 360p.
    Low,
    /// 480p and 360p.
    Medium,
    /// 720p, 480p and 360p.
    High,
    /// The source passed through, above 720p, 480p and 360p.
    Ultra,
}

/// One encoded rendition.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    /// Height of the picture in lines; the width follows the source's aspect. Its rendition is called `<height>p`.
    #[schemars(range(min = 144, max = 2160), extend("multipleOf" = 2))]
    pub height: i32,
    /// Average and peak bit rate of the video, in kilobits per second.
    #[schemars(range(min = 100, max = 40_000))]
    pub video_kilobits_per_second: i32,
}

/// Which addresses a source may have. Every public one is allowed, over HTTP; loopback and link-local never are, except in standalone.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct EgressPolicy {
    /// Private and otherwise reserved addresses are allowed: for sources in the own network or cluster.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Sources of protocols besides HTTP are allowed: RTMP, RTSP, SRT, UDP and RTP, which FFmpeg opens. What that gives up: FFmpeg
    /// resolves names and connects by itself, so a name that changes its address after our check, and a server that sends it
    /// elsewhere, are not caught. FFmpeg has the network then, though still no files to write.
    #[serde(default)]
    pub allow_unpinned: bool,
}

/// Where the files are that sources may name, as `file:///loops/barker.ts`. They are read by an FFmpeg that has no network and can
/// open nothing besides, so this is allowed apart from `egress`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FileSources {
    /// Name of a PersistentVolumeClaim in the namespace of the streams. It is mounted in every pod of the class, read-only, so it must be
    /// possible to mount it wherever these run: ReadOnlyMany or ReadWriteMany for more than one node. Its files must be readable by user
    /// or group 65532, or by everybody. In standalone `--files-directory` says where the files are instead.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// The parts of a transcoder pod that a class may set.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Resource requests by name (`cpu`, `memory`); else measured defaults for what the class encodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// Resource limits by name; else memory equal to its request and no CPU limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Name of the PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Name of the RuntimeClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": { "x-kubernetes-int-or-string": true }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_class_obeys_its_own_rules() {
        StreamClass::new(DEFAULT_CLASS, StreamClassSpec::default())
            .validate_cel()
            .unwrap();
        let from_nothing: StreamClassSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(from_nothing, StreamClassSpec::default());
    }

    #[test]
    fn durations_that_do_not_fit_each_other_are_refused() {
        let long_segments = StreamClassSpec {
            segment_duration_seconds: 6,
            ..StreamClassSpec::default()
        };
        let refused = StreamClass::new("x", long_segments)
            .validate_cel()
            .unwrap_err()
            .to_string();
        assert!(refused.contains("segmentDurationSeconds"), "{refused}");
        let short_list = StreamClassSpec {
            playlist_duration_seconds: 8,
            ..StreamClassSpec::default()
        };
        let refused = StreamClass::new("x", short_list)
            .validate_cel()
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("3 times targetDurationSeconds"),
            "{refused}"
        );
    }

    #[test]
    fn a_class_with_warm_pods_has_a_name_that_can_be_a_label() {
        let class = |name: &str| {
            let warm_pods = Some(WarmPods {
                count: 2,
                provider: None,
            });
            let spec = StreamClassSpec {
                warm_pods,
                ..StreamClassSpec::default()
            };
            StreamClass::new(name, spec).validate_cel()
        };
        class(&"x".repeat(63)).unwrap();
        let refused = class(&"x".repeat(64)).unwrap_err().to_string();
        assert!(refused.contains("at most 63"), "{refused}");
    }

    #[test]
    fn rungs_have_heights_of_their_own() {
        let rung = Rung {
            height: 480,
            video_kilobits_per_second: 1000,
        };
        let twice = StreamClassSpec {
            ladder: vec![rung, rung],
            ..StreamClassSpec::default()
        };
        assert!(
            StreamClass::new("x", twice)
                .validate_cel()
                .unwrap_err()
                .to_string()
                .contains("height of its own")
        );
    }
}
