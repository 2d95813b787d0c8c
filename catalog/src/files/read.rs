//! Which files there are, what they hold, and whether they changed. Follows the symlinks that a mounted ConfigMap is made of.
//! Never reads more of a file than its limit.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::LoadError;

/// Bytes of one file at most.
const FILE_MAXIMUM: u64 = 64 * 1024 * 1024;
/// Files at most.
const FILES_MAXIMUM: usize = 1000;

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Playlist,
}

impl Format {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "m3u" | "m3u8" => Some(Self::Playlist),
            _ => None,
        }
    }
}

/// The named files, and the catalog files of the named directories, each directory in order of names.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(of_directory(path)?);
        } else {
            files.push(path.clone());
        }
    }
    if files.len() > FILES_MAXIMUM {
        let path = paths.first().cloned().unwrap_or_default();
        let reason = format!("there are more than {FILES_MAXIMUM} files");
        return Err(LoadError::Read { path, reason });
    }
    Ok(files)
}

fn of_directory(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |error: std::io::Error| LoadError::Read {
        path: directory.to_owned(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && Format::of(&path).is_some() && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn bounded(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |reason: String| LoadError::Read {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_MAXIMUM + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_MAXIMUM {
        return Err(failed(format!("it has more than {FILE_MAXIMUM} bytes")));
    }
    Ok(bytes)
}

/// What tells one state of the files from another without reading them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, Option<Version>)>);

#[derive(Debug, PartialEq, Eq)]
struct Version {
    target: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let files = files(paths).unwrap_or_default();
        let version = |path: PathBuf| {
            let version = Version::of(&path).ok();
            (path, version)
        };
        Self(files.into_iter().map(version).collect())
    }
}

impl Version {
    fn of(path: &Path) -> std::io::Result<Self> {
        let target = path.canonicalize()?;
        let metadata = target.metadata()?;
        Ok(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            target,
        })
    }
}
