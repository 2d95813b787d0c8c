//! Segments that the volume has not taken yet, readable by control HTTP meanwhile, and the way to those it has taken.
//! Holds nothing that lies on the volume.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::names::{is_rendition_id, parse_segment_name};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::SegmentFiles;
use super::volume::Volume;

/// Reads of the volume at once: a hanging one must not take every thread.
const READS_MAXIMUM: usize = 4;
/// How long a read of the volume may take.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Why a segment cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentReadError {
    /// There is no such segment (any more).
    #[error("failed to find the segment")]
    NotFound,
    /// The volume does not answer.
    #[error("failed to read the segment from the volume")]
    Unavailable,
}

/// Every segment of the attempt that can still be read.
#[derive(Debug, Clone)]
pub(crate) struct SegmentStore {
    held: Arc<Mutex<BTreeMap<String, SegmentFiles>>>,
    volume: Volume,
    reads: Arc<Semaphore>,
}

impl SegmentStore {
    /// A store over a volume; nothing is held.
    pub(crate) fn new(volume: Volume) -> Self {
        Self {
            held: Arc::default(),
            volume,
            reads: Arc::new(Semaphore::new(READS_MAXIMUM)),
        }
    }

    /// Holds a segment until it is released.
    pub(crate) fn hold(&self, segment: SegmentFiles) {
        self.lock().insert(segment.name.clone(), segment);
    }

    /// Holds one rendition of a segment that came after the others.
    pub(crate) fn hold_late(&self, rendition: &str, name: &str, bytes: Bytes) {
        let files = SegmentFiles {
            number: parse_segment_name(name).map_or(0, |(_, number)| number),
            name: name.to_owned(),
            files: vec![(rendition.to_owned(), bytes)],
        };
        self.lock().insert(late_key(rendition, name), files);
    }

    /// One rendition of a segment that came after the others.
    pub(crate) fn held_late(&self, rendition: &str, name: &str) -> Option<SegmentFiles> {
        self.held(&late_key(rendition, name))
    }

    /// Lets go of one rendition of a segment that came after the others.
    pub(crate) fn release_late(&self, rendition: &str, name: &str) {
        self.release(&late_key(rendition, name));
    }

    /// Lets go of a segment: it lies on the volume, or nobody may ask for it any more.
    pub(crate) fn release(&self, name: &str) {
        self.lock().remove(name);
    }

    /// A segment that is held.
    pub(crate) fn held(&self, name: &str) -> Option<SegmentFiles> {
        self.lock().get(name).cloned()
    }

    /// The bytes of a segment, from memory or from the volume, in bounded time.
    pub(crate) async fn read(
        &self,
        rendition: &str,
        name: &str,
    ) -> Result<Bytes, SegmentReadError> {
        if !is_rendition_id(rendition) || parse_segment_name(name).is_none() {
            return Err(SegmentReadError::NotFound);
        }
        if let Some(bytes) = self.in_memory(rendition, name) {
            return Ok(bytes);
        }
        timeout(READ_PATIENCE, self.on_volume(rendition, name))
            .await
            .unwrap_or(Err(SegmentReadError::Unavailable))
    }

    fn in_memory(&self, rendition: &str, name: &str) -> Option<Bytes> {
        let held = self.lock();
        let late = late_key(rendition, name);
        let places = [name, &late].into_iter();
        let mut files = places
            .filter_map(|key| held.get(key))
            .flat_map(|held| &held.files);
        let (_, bytes) = files.find(|(id, _)| id == rendition)?;
        Some(bytes.clone())
    }

    async fn on_volume(&self, rendition: &str, name: &str) -> Result<Bytes, SegmentReadError> {
        let permit = self.reads.clone().acquire_owned().await;
        let permit = permit.map_err(|_| SegmentReadError::Unavailable)?;
        let volume = self.volume.clone();
        let (rendition, name) = (rendition.to_owned(), name.to_owned());
        let read = spawn_blocking(move || {
            // Held by the read itself: one that hangs keeps its place.
            let _permit = permit;
            volume.read_segment(&rendition, &name)
        });
        match read.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                Err(SegmentReadError::NotFound)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to read a segment from the volume");
                Err(SegmentReadError::Unavailable)
            }
            Err(_) => Err(SegmentReadError::Unavailable),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, SegmentFiles>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where it lies: no name of a segment has a slash.
fn late_key(rendition: &str, name: &str) -> String {
    format!("{rendition}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &std::path::Path) -> SegmentStore {
        SegmentStore::new(Volume::new(directory))
    }

    #[tokio::test]
    async fn a_segment_is_read_in_memory_until_it_lies_on_the_volume() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.hold(SegmentFiles {
            number: 7,
            name: "2-7.ts".to_owned(),
            files: vec![("source".to_owned(), Bytes::from_static(b"held"))],
        });
        assert_eq!(store.read("source", "2-7.ts").await.unwrap(), "held");
        assert_eq!(
            store.read("480p", "2-7.ts").await,
            Err(SegmentReadError::NotFound)
        );
        Volume::new(directory.path())
            .write_segment("source", "2-7.ts", b"stored")
            .unwrap();
        store.release("2-7.ts");
        assert_eq!(store.read("source", "2-7.ts").await.unwrap(), "stored");
        store.hold_late("480p", "2-7.ts", Bytes::from_static(b"late"));
        assert_eq!(store.read("480p", "2-7.ts").await.unwrap(), "late");
        assert_eq!(store.read("source", "2-7.ts").await.unwrap(), "stored");
        store.release_late("480p", "2-7.ts");
        assert_eq!(
            store.read("480p", "2-7.ts").await,
            Err(SegmentReadError::NotFound)
        );
    }

    #[tokio::test]
    async fn names_that_leave_the_directory_are_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for (rendition, name) in [
            ("..", "2-7.ts"),
            ("source", "../state.json"),
            ("source", "state.json"),
            ("", "2-7.ts"),
        ] {
            assert_eq!(
                store.read(rendition, name).await,
                Err(SegmentReadError::NotFound),
                "{rendition}/{name}"
            );
        }
    }
}
