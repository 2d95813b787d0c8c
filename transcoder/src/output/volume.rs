//! The attempt's directory: segments, state, playlists for people. A reader never sees half a file.
//! Every function here may block for as long as the file system likes: call them where blocking is allowed, and nowhere else.

use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::names::{STATE_FILE, is_rendition_id, parse_segment_name};
use api::playlists::Playlists;
use bytes::Bytes;

/// A state file larger than this is not ours.
const STATE_MAXIMUM: u64 = 4 << 20;
/// Segments larger than this are not ours.
const SEGMENT_MAXIMUM: u64 = 256 << 20;

/// What changes a volume. Each operation may block, and a process may end after any of them.
pub(crate) trait Operations: Debug + Send + Sync {
    /// Makes a directory and what is above it.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file or overwrites one.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Puts a file in the place of another, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct FileSystem;

impl Operations for FileSystem {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The directory of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    directory: PathBuf,
    operations: Arc<dyn Operations>,
}

/// A segment file by rendition and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredFile {
    /// The rendition.
    pub(crate) rendition: String,
    /// The file's name.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
}

impl Volume {
    /// The volume at a directory; nothing is touched yet.
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self::over(directory, Arc::new(FileSystem))
    }

    /// The volume at a directory that is changed by these operations.
    pub(crate) fn over(directory: impl Into<PathBuf>, operations: Arc<dyn Operations>) -> Self {
        Self {
            directory: directory.into(),
            operations,
        }
    }

    /// Makes the directory where it is missing, removes what was left half written, and finds the segments of a former run.
    pub(crate) fn adopt(&self) -> io::Result<Vec<StoredFile>> {
        self.operations.create_directory(&self.directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_half_written(&name) {
                self.operations.remove(&entry.path())?;
            } else if is_rendition_id(&name) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.adopt_rendition(&entry.path(), &name, &mut found)?;
            }
        }
        found.sort();
        Ok(found)
    }

    /// The playlists of a former run in this directory, if they can be read.
    pub(crate) fn read_state(&self) -> io::Result<Option<Playlists>> {
        let file = match fs::File::open(self.directory.join(STATE_FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = String::new();
        file.take(STATE_MAXIMUM).read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// Writes one segment of one rendition.
    pub(crate) fn write_segment(
        &self,
        rendition: &str,
        name: &str,
        bytes: &[u8],
    ) -> io::Result<()> {
        let directory = self.directory.join(rendition);
        match self.replace(&directory, name, bytes) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.operations.create_directory(&directory)?;
                self.replace(&directory, name, bytes)
            }
            other => other,
        }
    }

    /// Writes the state file.
    pub(crate) fn write_state(&self, playlists: &Playlists) -> io::Result<()> {
        let text = serde_json::to_vec(playlists).map_err(io::Error::other)?;
        self.replace(&self.directory, STATE_FILE, &text)
    }

    /// Writes a playlist for people: of one rendition, or the master.
    pub(crate) fn write_playlist(
        &self,
        rendition: Option<&str>,
        name: &str,
        text: &str,
    ) -> io::Result<()> {
        let directory = rendition.map_or_else(
            || self.directory.clone(),
            |rendition| self.directory.join(rendition),
        );
        self.replace(&directory, name, text.as_bytes())
    }

    /// Removes one segment of one rendition; one that is gone already is fine.
    pub(crate) fn remove_segment(&self, rendition: &str, name: &str) -> io::Result<()> {
        let path = self.directory.join(rendition).join(name);
        match self.operations.remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Reads one segment of one rendition. The caller has checked both names.
    pub(crate) fn read_segment(&self, rendition: &str, name: &str) -> io::Result<Bytes> {
        let file = fs::File::open(self.directory.join(rendition).join(name))?;
        let size = file.metadata()?.len().min(SEGMENT_MAXIMUM);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(SEGMENT_MAXIMUM).read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    fn adopt_rendition(
        &self,
        directory: &Path,
        rendition: &str,
        found: &mut Vec<StoredFile>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(directory)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_half_written(&name) {
                self.operations.remove(&entry.path())?;
            } else if parse_segment_name(&name).is_some() {
                found.push(StoredFile {
                    rendition: rendition.to_owned(),
                    name,
                    bytes: entry.metadata().map_or(0, |metadata| metadata.len()),
                });
            }
        }
        Ok(())
    }

    /// Puts a whole file in place by a rename. Not synced to the disk: after a crash of the node the stream starts anew anyway.
    fn replace(&self, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = directory.join(half_written(name));
        let operations = &self.operations;
        operations
            .write(&temporary, bytes)
            .and_then(|()| operations.rename(&temporary, &directory.join(name)))
            .inspect_err(|_| drop(operations.remove(&temporary)))
    }
}

fn half_written(name: &str) -> String {
    format!(".{name}.tmp")
}

fn is_half_written(name: &str) -> bool {
    name.starts_with('.')
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "tmp")
}

#[cfg(test)]
mod tests {
    use api::job::ResumeFloor;

    use super::*;

    fn playlists() -> Playlists {
        Playlists {
            version: 5,
            stream_uid: "uid".to_owned(),
            attempt: 2,
            updated_unix_milliseconds: 1,
            segment_duration_seconds: 2,
            target_duration_seconds: 4,
            discontinuity_sequence: 9,
            renditions: Vec::new(),
            segments: Vec::new(),
            next: ResumeFloor {
                media_sequence: 7,
                discontinuity_sequence: 9,
            },
            behind: Vec::new(),
            on_request: Vec::new(),
            class: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path().join("pod"));
        assert_eq!(volume.adopt().unwrap(), []);
        assert_eq!(volume.read_state().unwrap(), None);
        volume.write_segment("source", "2-7.ts", b"media").unwrap();
        volume.write_state(&playlists()).unwrap();
        volume
            .write_playlist(Some("source"), "index.m3u8", "#EXTM3U\n")
            .unwrap();
        assert_eq!(volume.read_segment("source", "2-7.ts").unwrap(), "media");
        assert_eq!(volume.read_state().unwrap(), Some(playlists()));
        volume.remove_segment("source", "2-7.ts").unwrap();
        volume.remove_segment("source", "2-7.ts").unwrap();
        let gone = volume.read_segment("source", "2-7.ts").unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_new_run_adopts_segments_and_removes_what_was_half_written() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        volume.write_segment("480p", "1-3.ts", b"abc").unwrap();
        volume.write_segment("480p", "1-4.ts", b"abcd").unwrap();
        let half = directory.path().join("480p/.1-5.ts.tmp");
        fs::write(&half, b"ab").unwrap();
        let half_a_state = directory.path().join(".state.json.tmp");
        fs::write(&half_a_state, b"{").unwrap();
        fs::write(directory.path().join("480p/notes.txt"), b"kept").unwrap();
        let file = |name: &str, bytes| StoredFile {
            rendition: "480p".to_owned(),
            name: name.to_owned(),
            bytes,
        };
        assert_eq!(
            volume.adopt().unwrap(),
            [file("1-3.ts", 3), file("1-4.ts", 4)]
        );
        assert!(!half.exists() && !half_a_state.exists());
        assert!(directory.path().join("480p/notes.txt").exists());
    }

    #[test]
    fn a_broken_state_file_is_an_error_and_not_a_number() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(STATE_FILE), b"{\"version\":").unwrap();
        assert!(Volume::new(directory.path()).read_state().is_err());
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        // A directory stands where the segment should go, so the rename fails.
        fs::create_dir_all(directory.path().join("source/2-7.ts/x")).unwrap();
        assert!(volume.write_segment("source", "2-7.ts", b"media").is_err());
        assert!(!directory.path().join("source/.2-7.ts.tmp").exists());
    }
}
