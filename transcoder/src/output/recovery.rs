//! What a former run of the same attempt left on the volume, and the numbers that follow from it. Decides nothing about removal.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use api::job::ResumeFloor;
use api::names::parse_segment_name;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::volume::{StoredFile, Volume};

/// How long a volume may take to show what a former run left.
const RECOVERY: Duration = Duration::from_secs(2);

/// What a former run of the same attempt left on the volume.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The numbers to go on with at the least; `None` when there was no former run.
    pub(crate) next: Option<ResumeFloor>,
    /// Its segments.
    pub(crate) files: Vec<StoredFile>,
}

impl Recovered {
    /// Bytes on the volume by number.
    pub(crate) fn bytes(&self) -> BTreeMap<u64, u64> {
        let mut bytes = BTreeMap::new();
        for file in &self.files {
            if let Some((_, number)) = parse_segment_name(&file.name) {
                *bytes.entry(number).or_default() += file.bytes;
            }
        }
        bytes
    }
}

/// Looks at what a former run left, and makes the directory. A volume that does not answer in time is passed over.
pub(crate) async fn recover(volume: Volume) -> Recovered {
    let reading = spawn_blocking(move || read(&volume));
    let recovered: io::Result<Recovered> = match timeout(RECOVERY, reading).await {
        Ok(read) => read.unwrap_or_else(|error| Err(io::Error::other(error))),
        Err(_) => Err(io::Error::other("the volume does not answer")),
    };
    recovered.unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read the output directory");
        Recovered::default()
    })
}

fn read(volume: &Volume) -> io::Result<Recovered> {
    let files = volume.adopt()?;
    // A state that cannot be read costs neither the files nor the numbers in their names.
    let state = volume.read_state().unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to read the state of the former run");
        None
    });
    let next = next(state.map(|state| state.next), &files);
    Ok(Recovered { next, files })
}

/// A run that was killed between a segment and the state that names it has used a number more than the state says.
fn next(state: Option<ResumeFloor>, files: &[StoredFile]) -> Option<ResumeFloor> {
    let numbers = files.iter().filter_map(|file| {
        let (_, number) = parse_segment_name(&file.name)?;
        i64::try_from(number).ok()?.checked_add(1)
    });
    let Some(used) = numbers.max() else {
        return state;
    };
    let state = state.unwrap_or_default();
    Some(ResumeFloor {
        media_sequence: state.media_sequence.max(used),
        ..state
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(media_sequence: i64, discontinuity_sequence: i64) -> ResumeFloor {
        ResumeFloor {
            media_sequence,
            discontinuity_sequence,
        }
    }

    #[test]
    fn numbers_go_on_after_the_state_and_after_every_file() {
        let file = |name: &str| StoredFile {
            rendition: "source".to_owned(),
            name: name.to_owned(),
            bytes: 1,
        };
        let files = [file("3-10.ts"), file("3-9.ts")];
        for (state, files, expected) in [
            (None, &files[..0], None),
            (Some(floor(7, 2)), &files[..0], Some(floor(7, 2))),
            (Some(floor(10, 2)), &files[..], Some(floor(11, 2))),
            (Some(floor(12, 2)), &files[..], Some(floor(12, 2))),
            (None, &files[..], Some(floor(11, 0))),
        ] {
            assert_eq!(next(state, files), expected, "{state:?} {files:?}");
        }
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_read_costs_neither_files_nor_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        volume.write_segment("source", "3-10.ts", b"abc").unwrap();
        volume.write_segment("480p", "3-10.ts", b"ab").unwrap();
        std::fs::write(directory.path().join("state.json"), b"{\"version\":").unwrap();
        let recovered = recover(volume).await;
        assert_eq!(recovered.next, Some(floor(11, 0)));
        assert_eq!(recovered.bytes(), BTreeMap::from([(10, 5)]));
    }
}
