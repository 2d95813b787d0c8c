//! Names that components must agree on: labels, annotations, pods, directories, segments. Pure functions.

/// Label on every pod and gateway-made object of Headend; its value is the component.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Value of [`LABEL_COMPONENT`] on transcoder pods.
pub const COMPONENT_TRANSCODER: &str = "transcoder";
/// Value of [`LABEL_COMPONENT`] on gateway pods.
pub const COMPONENT_GATEWAY: &str = "gateway";
/// Value of [`LABEL_COMPONENT`] on operator pods.
pub const COMPONENT_OPERATOR: &str = "operator";
/// Label with the Helm release, so that two releases of one namespace keep apart.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label on a pod: uid of its LiveStream.
pub const LABEL_STREAM_UID: &str = "headend.dev/stream-uid";
/// Label on a pod: name of its LiveStream.
pub const LABEL_STREAM: &str = "headend.dev/stream";
/// Label on a pod: its attempt.
pub const LABEL_ATTEMPT: &str = "headend.dev/attempt";
/// Label on a LiveStream: who made it.
pub const LABEL_ORIGIN: &str = "headend.dev/origin";
/// Value of [`LABEL_ORIGIN`] on streams that a gateway made.
pub const ORIGIN_GATEWAY: &str = "gateway";
/// Annotation on a LiveStream: when a gateway woke it, RFC 3339. Always changes, so that a concurrent scale-down fails its precondition.
pub const ANNOTATION_WOKEN_AT: &str = "headend.dev/woken-at";
/// Annotation on a LiveStream: when the operator last took back that it be collected, RFC 3339. Always changes, so that a concurrent
/// removal fails its precondition.
pub const ANNOTATION_KEPT_AT: &str = "headend.dev/kept-at";
/// Annotation on a LiveStream: hash of the catalog entry it was made from.
pub const ANNOTATION_CHANNEL_REVISION: &str = "headend.dev/channel-revision";
/// Annotation on a LiveStream: the trace of the start that a gateway began, as header `traceparent` has it (W3C Trace Context).
pub const ANNOTATION_TRACEPARENT: &str = "headend.dev/traceparent";
/// Annotation on a LiveStream, set by a person: it is neither collected nor is its pod replaced. Its value says why; `false` is as good as
/// no annotation.
pub const ANNOTATION_HOLD: &str = "headend.dev/hold";
/// Annotation on a transcoder pod: hash of everything in it that does not differ from attempt to attempt.
pub const ANNOTATION_ORDER_HASH: &str = "headend.dev/order-hash";
/// Annotation on a transcoder pod: hash of what people wrote of its sources and class. A pod with another one than its stream is replaced.
pub const ANNOTATION_REVISION: &str = "headend.dev/revision";
/// Annotation on a transcoder pod: hashes of what people wrote of the Providers whose logins it has, as `<name>=<hash>,…`. A pod whose
/// Provider has another one by now is replaced.
pub const ANNOTATION_PROVIDER_REVISIONS: &str = "headend.dev/provider-revisions";
/// Label on a pod that waits for a stream: the StreamClass that it belongs to. A stream that takes the pod takes the label away.
pub const LABEL_WARM_POOL: &str = "headend.dev/warm-pool";
/// Annotation on a pod that waits, or has waited, for a stream: hash of what it was made of.
pub const ANNOTATION_WARM_TEMPLATE: &str = "headend.dev/warm-template";
/// Port of a transcoder pod's control HTTP.
pub const CONTROL_PORT: u16 = 8080;
/// Name of the environment variable with the job document in a transcoder pod.
pub const JOB_VARIABLE: &str = "HEADEND_JOB";
/// Name of the environment variable with the key by which a transcoder pod that waits knows its jobs.
pub const JOB_KEY_VARIABLE: &str = "HEADEND_JOB_KEY";
/// Name of the environment variable with the uid of a transcoder pod that waits.
pub const POD_UID_VARIABLE: &str = "HEADEND_POD_UID";
/// Where a transcoder pod's own directory of the output volume is mounted.
pub const OUTPUT_MOUNT: &str = "/output";
/// Annotation on a transcoder pod: the Provider of whose connections it has one.
pub const ANNOTATION_PROVIDER: &str = "headend.dev/provider";
/// Where a transcoder pod's Secrets are mounted: `<mount>/<source index>/{url,headers}` and `<mount>/providers/<name>/<key>`.
pub const SOURCES_MOUNT: &str = "/etc/headend/sources";
/// Where the claim with the files that sources may name is mounted in a transcoder pod (`files` of the class).
pub const FILES_MOUNT: &str = "/files";
/// The directory of the volume that has one directory per pod.
pub const PODS_DIRECTORY: &str = "pods";
/// The file in a pod's directory with its last playlists and numbers.
pub const STATE_FILE: &str = "state.json";

/// `<stream>-<8 hex digits of the uid>-<attempt>`: at most 63 characters for a valid stream name.
#[must_use]
pub fn pod_name(stream: &str, stream_uid: &str, attempt: i32) -> String {
    let digits: String = stream_uid
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(8)
        .collect();
    format!("{stream}-{digits}-{attempt}")
}

const WARM_PREFIX: &str = "warm-";
const WARM_DIGITS: usize = 16;

/// The name of a pod that waits for a stream, of 16 hex digits that are used once: its directory is not to be another's.
#[must_use]
pub fn warm_pod_name(digits: u64) -> String {
    format!("{WARM_PREFIX}{digits:016x}")
}

/// Whether a pod of this name was made to wait for a stream; no other pod's name looks like that.
#[must_use]
pub fn is_warm_pod_name(name: &str) -> bool {
    name.strip_prefix(WARM_PREFIX).is_some_and(|digits| {
        digits.len() == WARM_DIGITS
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The attempt in a segment name that belongs to a pod: `<attempt>-<number>.ts`.
#[must_use]
pub fn segment_name(attempt: i32, number: u64) -> String {
    format!("{attempt}-{number}.ts")
}

/// Attempt and number of a segment name; `None` for anything that [`segment_name`] would not write.
#[must_use]
pub fn parse_segment_name(name: &str) -> Option<(i32, u64)> {
    let (attempt, number) = name.strip_suffix(".ts")?.split_once('-')?;
    let parsed = (attempt.parse().ok()?, number.parse().ok()?);
    (segment_name(parsed.0, parsed.1) == name && parsed.0 >= 0).then_some(parsed)
}

/// Whether a rendition id is one we mint (`source`, `audio`, `720p`): lower-case letters and digits, at most 16.
#[must_use]
pub fn is_rendition_id(id: &str) -> bool {
    (1..=16).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether a text can be a channel's slug and so a LiveStream's name (RFC 1123 label, at most 44 characters).
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let inner = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=crate::live_stream::NAME_MAXIMUM).contains(&text.len())
        && inner
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_names_carry_stream_uid_and_attempt_and_fit_a_label() {
        let uid = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";
        assert_eq!(pod_name("news-one", uid, 3), "news-one-0f9c2a41-3");
        assert!(pod_name(&"x".repeat(44), uid, 99_999_999).len() <= 63);
    }

    #[test]
    fn no_pod_of_a_stream_looks_like_one_that_waits() {
        assert!(is_warm_pod_name(&warm_pod_name(7)));
        let of_stream = pod_name("warm", "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4", 12_345_678);
        let odd = "warm-0f9c2a417b1e4c5";
        for other in [
            &of_stream,
            odd,
            "warm-",
            "warm-0f9c2a417b1e4c5X",
            "warm-0f9c2a41-1234567",
        ] {
            assert!(!is_warm_pod_name(other), "{other}");
        }
    }

    #[test]
    fn only_segment_names_that_we_write_are_read() {
        assert_eq!(
            parse_segment_name("3-1790000000.ts"),
            Some((3, 1_790_000_000))
        );
        for hostile in [
            "../3-1.ts",
            "3-1",
            "3-+1.ts",
            "03-1.ts",
            "-1-2.ts",
            "3-1.ts/..",
            "3--1.ts",
            ".ts",
            "3-01.ts",
        ] {
            assert_eq!(parse_segment_name(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn slugs_are_labels_of_at_most_44_characters() {
        assert!(is_slug("news-one") && is_slug("1") && is_slug(&"a".repeat(44)));
        for bad in ["", "-a", "a-", "News", "a.b", "a b", "ä", &"a".repeat(45)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }

    #[test]
    fn rendition_ids_cannot_leave_their_directory() {
        assert!(is_rendition_id("source") && is_rendition_id("720p"));
        assert!(!is_rendition_id("..") && !is_rendition_id("") && !is_rendition_id("a/b"));
    }
}
