//! Whether the directory of a pod goes. Pure. What is not of our shape, or not known to be gone, stays.

use std::collections::HashSet;
use std::time::Duration;

use api::names::{is_slug, is_warm_pod_name, pod_name};

/// The name of a pod's directory, which is the pod's name: `<stream>-<8 hex digits of the uid>-<attempt>`, or that of one that waited for
/// a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodDirectory {
    name: String,
    /// The first digits of the LiveStream's uid; the name of a pod that waited does not say whose it became.
    stream: Option<String>,
}

impl PodDirectory {
    /// Reads a name; `None` for one that no pod of ours can have, so that nothing else is ever touched.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if is_warm_pod_name(name) {
            return Some(Self {
                name: name.to_owned(),
                stream: None,
            });
        }
        let (rest, attempt) = name.rsplit_once('-')?;
        let (stream, digits) = rest.rsplit_once('-')?;
        let attempt: i32 = attempt.parse().ok()?;
        let ours =
            is_slug(stream) && digits.len() == 8 && pod_name(stream, digits, attempt) == name;
        ours.then(|| Self {
            name: name.to_owned(),
            stream: Some(digits.to_owned()),
        })
    }

    /// The name, which has no separator and no dot.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The part of a LiveStream's uid that its pods' directories carry.
pub(crate) fn stream_digits(uid: &str) -> String {
    uid.chars()
        .filter(char::is_ascii_hexdigit)
        .take(8)
        .collect()
}

/// What the cluster has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Names of pods.
    pub(crate) pods: HashSet<String>,
    /// [`stream_digits`] of the LiveStreams.
    pub(crate) streams: HashSet<String>,
}

/// What happens to a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its pod is there.
    Keep,
    /// Its pod is gone, and a playlist may still name its segments for so long.
    Retain(Duration),
    /// Nothing needs it.
    Remove,
}

/// Judges a directory whose pod has been found gone for `gone_for`.
pub(crate) fn judge(
    directory: &PodDirectory,
    known: &Known,
    gone_for: Duration,
    retention: Duration,
) -> Verdict {
    if known.pods.contains(&directory.name) {
        return Verdict::Keep;
    }
    let stream = directory.stream.as_ref();
    if stream.is_some_and(|stream| !known.streams.contains(stream)) {
        return Verdict::Remove;
    }
    match retention.saturating_sub(gone_for) {
        Duration::ZERO => Verdict::Remove,
        left => Verdict::Retain(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(610);

    fn directory(name: &str) -> PodDirectory {
        PodDirectory::parse(name).unwrap()
    }

    #[test]
    fn only_names_that_pods_of_ours_have_are_read() {
        let one = directory("news-one-0f9c2a41-12");
        assert_eq!(
            (one.name(), one.stream.as_deref()),
            ("news-one-0f9c2a41-12", Some("0f9c2a41"))
        );
        assert_eq!(directory("warm-0f9c2a417b1e4c55").stream, None);
        for foreign in [
            "",
            ".",
            "..",
            "lost+found",
            "news-one",
            "news-one-0f9c2a41",
            "news-one-0f9c2a41-",
            "news-one-0f9c2a4-1",
            "news-one-0f9c2a411-1",
            "news-one-0f9c2a4x-1",
            "news-one-0f9c2a41-01",
            "news-one-0f9c2a41-x",
            "-0f9c2a41-1",
            "news/one-0f9c2a41-1",
            "../0f9c2a41-1",
            "News-0f9c2a41-1",
            ".one-0f9c2a41-1",
            "news-one-0f9c2a41-1\n",
        ] {
            assert_eq!(PodDirectory::parse(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_directory_outlives_its_pod_only_as_long_as_playlists_may_name_it() {
        let known = |pods: &[&str], streams: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Known {
                pods: owned(pods),
                streams: owned(streams),
            }
        };
        let secs = Duration::from_secs;
        let name = "news-one-0f9c2a41-1";
        for (case, known, gone_for, expected) in [
            (
                "its pod runs",
                known(&[name], &["0f9c2a41"]),
                secs(9999),
                Verdict::Keep,
            ),
            (
                "its pod runs on without a stream",
                known(&[name], &[]),
                secs(0),
                Verdict::Keep,
            ),
            (
                "both are gone",
                known(&[], &["11111111"]),
                secs(0),
                Verdict::Remove,
            ),
            (
                "the stream has a new pod",
                known(&["news-one-0f9c2a41-2"], &["0f9c2a41"]),
                secs(10),
                Verdict::Retain(secs(600)),
            ),
            (
                "the retention is over",
                known(&[], &["0f9c2a41"]),
                secs(610),
                Verdict::Remove,
            ),
        ] {
            assert_eq!(
                judge(&directory(name), &known, gone_for, RETENTION),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn the_directory_of_a_pod_that_waited_is_kept_as_long_as_if_its_stream_were_there() {
        let name = "warm-0f9c2a417b1e4c55";
        let judged = |pods: &[&str], seconds| {
            let known = Known {
                pods: pods.iter().map(|name| (*name).to_owned()).collect(),
                streams: HashSet::new(),
            };
            judge(
                &directory(name),
                &known,
                Duration::from_secs(seconds),
                RETENTION,
            )
        };
        assert_eq!(judged(&[name], 9999), Verdict::Keep);
        assert_eq!(judged(&[], 10), Verdict::Retain(Duration::from_secs(600)));
        assert_eq!(judged(&[], 610), Verdict::Remove);
    }

    #[test]
    fn the_digits_of_a_stream_are_those_in_its_pods_names() {
        let uid = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";
        let name = pod_name("news-one", uid, 1);
        assert_eq!(directory(&name).stream, Some(stream_digits(uid)));
    }
}
