//! Reads what transcoder pods wrote to the shared volume. Never writes, never follows a link, never waits for a stuck file server
//! longer than a viewer can.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::names;
use api::playlists::Playlists;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags, open, openat};
use tokio::sync::Semaphore;

use crate::origin::{SEGMENT_MAXIMUM, SegmentId};

/// Bytes of a state file at most.
const STATE_MAXIMUM: usize = 4 * 1024 * 1024;

/// How long a file may take to be read.
const READ_TIME: Duration = Duration::from_secs(2);

/// Files that are read at once. Reads that hang keep their place, so a stuck server never takes every thread of the process.
const READS_MAXIMUM: usize = 64;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeFailure {
    /// There is none.
    #[error("the volume does not have it")]
    NotFound,
    /// It may be there.
    #[error("failed to read the volume: {0}")]
    Failed(String),
}

/// The volume.
pub(super) struct Volume {
    root: PathBuf,
    reads: Arc<Semaphore>,
}

impl Volume {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            reads: Arc::new(Semaphore::new(READS_MAXIMUM)),
        }
    }

    /// A segment in the directory of that pod.
    pub(super) async fn segment(
        &self,
        pod: &str,
        segment: &SegmentId,
    ) -> Result<Bytes, VolumeFailure> {
        let name = names::segment_name(segment.attempt, segment.number);
        let path = vec![pod.to_owned(), segment.rendition.clone(), name];
        self.read(path, SEGMENT_MAXIMUM).await
    }

    /// The playlists that the pod wrote last.
    pub(super) async fn state(&self, pod: &str) -> Result<Playlists, VolumeFailure> {
        let path = vec![pod.to_owned(), names::STATE_FILE.to_owned()];
        let bytes = self.read(path, STATE_MAXIMUM).await?;
        serde_json::from_slice(&bytes).map_err(|error| VolumeFailure::Failed(error.to_string()))
    }

    async fn read(&self, path: Vec<String>, maximum: usize) -> Result<Bytes, VolumeFailure> {
        let failed = |reason: &str| VolumeFailure::Failed(reason.to_owned());
        let permit = self.reads.clone().try_acquire_owned();
        let permit = permit.map_err(|_| failed("too many reads are under way"))?;
        let root = self.root.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let outcome = read_below(&root, &path, maximum);
            drop(permit);
            outcome
        });
        match tokio::time::timeout(READ_TIME, reading).await {
            Ok(Ok(Ok(bytes))) => Ok(bytes),
            Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::NotFound => {
                Err(VolumeFailure::NotFound)
            }
            Ok(Ok(Err(error))) => Err(VolumeFailure::Failed(error.to_string())),
            Ok(Err(error)) => Err(VolumeFailure::Failed(error.to_string())),
            Err(_) => Err(failed("it took too long")),
        }
    }
}

/// Opens step by step below the root, so that no component is a link.
fn read_below(root: &PathBuf, path: &[String], maximum: usize) -> io::Result<Bytes> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(root, directory, Mode::empty())?;
    at = openat(
        &at,
        names::PODS_DIRECTORY,
        directory | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    let Some((name, directories)) = path.split_last() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    for component in directories {
        at = openat(
            &at,
            component.as_str(),
            directory | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
    }
    // Not to be blocked by a FIFO that somebody put there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, name.as_str(), flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > maximum as u64 {
        return Err(io::Error::other("it is no file, or too large"));
    }
    let length = usize::try_from(metadata.len()).unwrap_or(maximum);
    let mut bytes = Vec::with_capacity(length);
    file.take(maximum as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn volume(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Volume) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("pods")).unwrap();
        for (path, bytes) in files {
            let path = root.path().join("pods").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let volume = Volume::new(root.path().to_owned());
        (root, volume)
    }

    fn id(number: u64) -> SegmentId {
        SegmentId {
            rendition: "720p".to_owned(),
            attempt: 3,
            number,
        }
    }

    #[tokio::test]
    async fn a_segment_is_read_from_its_pod_and_rendition() {
        let (_root, volume) = volume(&[("news-one-x-3/720p/3-17.ts", b"bytes")]);
        assert_eq!(
            volume.segment("news-one-x-3", &id(17)).await.unwrap(),
            "bytes"
        );
        for (pod, id) in [("news-one-x-3", id(18)), ("news-one-x-4", id(17))] {
            let failure = volume.segment(pod, &id).await.unwrap_err();
            assert!(matches!(failure, VolumeFailure::NotFound), "{failure}");
        }
    }

    #[tokio::test]
    async fn no_link_is_followed_on_any_step() {
        let (root, volume) = volume(&[
            ("other/720p/3-17.ts", b"secret"),
            ("linked/720p/3-1.ts", b""),
        ]);
        let pods = root.path().join("pods");
        symlink(pods.join("other"), pods.join("pod-link")).unwrap();
        symlink(
            pods.join("other/720p/3-17.ts"),
            pods.join("linked/720p/3-17.ts"),
        )
        .unwrap();
        for pod in ["pod-link", "linked"] {
            let failure = volume.segment(pod, &id(17)).await.unwrap_err();
            assert!(matches!(failure, VolumeFailure::Failed(_)), "{failure}");
        }
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_is_not_read() {
        let (root, volume) = volume(&[("pod/720p/3-1.ts", b"")]);
        let folder = root.path().join("pods/pod/720p");
        std::fs::create_dir(folder.join("3-17.ts")).unwrap();
        let failure = volume.segment("pod", &id(17)).await.unwrap_err();
        assert!(matches!(failure, VolumeFailure::Failed(_)), "{failure}");
        let large = std::fs::File::create(folder.join("3-18.ts")).unwrap();
        large.set_len(SEGMENT_MAXIMUM as u64 + 1).unwrap();
        let failure = volume.segment("pod", &id(18)).await.unwrap_err();
        assert!(failure.to_string().contains("too large"), "{failure}");
    }

    #[tokio::test]
    async fn a_state_file_that_is_no_document_is_a_failure() {
        let (_root, volume) = volume(&[("pod/state.json", b"{")]);
        assert!(matches!(
            volume.state("pod").await,
            Err(VolumeFailure::Failed(_))
        ));
        assert!(matches!(
            volume.state("none").await,
            Err(VolumeFailure::NotFound)
        ));
    }
}
