//! The stream classes of this process: the built-in one, and those of a file in the form they have in a cluster.
//! A class that no stream could run with is refused before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::condition::Reason;
use api::job::{JobClass, JobOutput, JobSource, SourceAddress, StreamIdentity, TranscodeJob};
use api::stream_class::DEFAULT_CLASS;
use api::{LiveStreamSpec, StreamClass, StreamClassSpec};
use gateway::directory::Refusal;

use crate::settings::StreamSettings;

/// Bytes of the file at most.
const FILE_MAXIMUM: u64 = 1024 * 1024;

/// Classes by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classes(BTreeMap<String, StreamClassSpec>);

/// Why the classes cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClassesError {
    /// The file cannot be read as StreamClass objects.
    #[error("failed to read the stream classes {path:?}: {reason}")]
    Read { path: PathBuf, reason: String },
    /// A class contradicts itself.
    #[error("failed to use the stream class {name:?}: {reason}")]
    Invalid { name: String, reason: String },
}

impl Classes {
    /// The classes of these settings.
    pub(crate) fn load(settings: &StreamSettings) -> Result<Self, ClassesError> {
        let mut classes = match &settings.classes {
            Some(path) => read(path)?,
            None => BTreeMap::new(),
        };
        let default = classes.entry(DEFAULT_CLASS.to_owned()).or_default();
        default.preset = settings.preset.unwrap_or(default.preset);
        default.mode = settings.mode.unwrap_or(default.mode);
        let timeout = settings.idle_timeout_seconds;
        default.idle_timeout_seconds = timeout.unwrap_or(default.idle_timeout_seconds);
        for (name, class) in &mut classes {
            // Sources in the own network are what one tries out first; there is no cluster to protect.
            class.egress.allow_private_addresses = true;
            class.egress.allow_unpinned = true;
            check(class).map_err(|reason| ClassesError::Invalid {
                name: name.clone(),
                reason,
            })?;
        }
        Ok(Self(classes))
    }

    /// The class of a stream.
    pub(crate) fn of(&self, spec: &LiveStreamSpec) -> Result<&StreamClassSpec, Refusal> {
        let name = &spec.class_name;
        self.0.get(name).ok_or_else(|| {
            let message = format!("there is no stream class {name:?}");
            Refusal::told(Reason::ClassNotFound.as_str(), &message)
        })
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, StreamClassSpec>, ClassesError> {
    let refused = |reason: String| ClassesError::Read {
        path: path.to_owned(),
        reason,
    };
    let length = std::fs::metadata(path).map(|metadata| metadata.len());
    if length.map_err(|error| refused(error.to_string()))? > FILE_MAXIMUM {
        return Err(refused(format!("it has more than {FILE_MAXIMUM} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let objects: Vec<StreamClass> = serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| refused(error.to_string()))?;
    let mut classes = BTreeMap::new();
    for object in objects {
        let name = object.metadata.name.unwrap_or_default();
        if classes.insert(name.clone(), object.spec).is_some() {
            return Err(refused(format!("the class {name:?} is there twice")));
        }
    }
    Ok(classes)
}

/// A job of the class is read as a transcoder would read it.
fn check(class: &StreamClassSpec) -> Result<(), String> {
    let job = TranscodeJob {
        version: api::job::JOB_VERSION,
        stream: StreamIdentity {
            namespace: String::new(),
            name: "check".to_owned(),
            uid: "check".to_owned(),
        },
        attempt: 1,
        sources: vec![JobSource::new(
            0,
            SourceAddress::Url("http://source.example/".to_owned()),
        )],
        reserve: Vec::new(),
        class: JobClass::resolve(&LiveStreamSpec::default(), class),
        resume: api::job::ResumeFloor::default(),
        output: JobOutput {
            directory: "check".to_owned(),
            byte_limit: 1,
        },
        standby: None,
        traceparent: None,
    };
    let document = serde_json::to_string(&job).map_err(|error| error.to_string())?;
    TranscodeJob::from_json(&document)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use api::stream_class::{Preset, TranscodeMode};
    use clap::Parser;

    use super::*;
    use crate::settings::Settings;

    fn load(arguments: &[&str]) -> Result<Classes, ClassesError> {
        let all = [&["headend-standalone", "--playlist", "x"], arguments].concat();
        Classes::load(&Settings::try_parse_from(all).unwrap().streams)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn of(name: &str) -> LiveStreamSpec {
        LiveStreamSpec {
            class_name: name.to_owned(),
            ..LiveStreamSpec::default()
        }
    }

    #[test]
    fn the_default_class_is_built_in_and_the_settings_change_it() {
        let plain = load(&[]).unwrap();
        assert_eq!(plain.of(&of("default")).unwrap().idle_timeout_seconds, 300);
        let settings = [
            "--preset",
            "high",
            "--mode",
            "Transcode",
            "--idle-timeout-seconds",
            "30",
        ];
        let changed = load(&settings).unwrap();
        let class = changed.of(&of("default")).unwrap();
        let expected = (Preset::High, TranscodeMode::Transcode, 30);
        assert_eq!(
            (class.preset, class.mode, class.idle_timeout_seconds),
            expected
        );
    }

    #[test]
    fn classes_have_the_form_of_a_cluster() {
        let file = file(
            "apiVersion: headend.dev/v1alpha1\nkind: StreamClass\nmetadata: { name: sport }\nspec: { preset: medium }\n---\napiVersion: headend.dev/v1alpha1\nkind: StreamClass\nmetadata: { name: radio }\nspec: { segmentDurationSeconds: 4 }\n",
        );
        let classes = load(&["--classes", file.path().to_str().unwrap()]).unwrap();
        assert_eq!(classes.of(&of("sport")).unwrap().preset, Preset::Medium);
        assert_eq!(
            classes.of(&of("radio")).unwrap().segment_duration_seconds,
            4
        );
        let refusal = classes.of(&of("news")).unwrap_err();
        assert_eq!(
            (refusal.reason.as_str(), refusal.lasting),
            ("ClassNotFound", true)
        );
    }

    #[test]
    fn what_no_stream_could_run_with_is_refused_by_name() {
        let broken = file(
            "kind: StreamClass\nmetadata: { name: odd }\nspec: { playlistDurationSeconds: 6 }\napiVersion: headend.dev/v1alpha1\n",
        );
        let error = load(&["--classes", broken.path().to_str().unwrap()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"odd\"") && error.contains("playlistDurationSeconds"),
            "{error}"
        );
        let nonsense = file("preset: high\n");
        let error = load(&["--classes", nonsense.path().to_str().unwrap()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("failed to read the stream classes"),
            "{error}"
        );
    }
}
