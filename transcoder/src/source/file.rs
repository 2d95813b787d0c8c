//! A file as a source: found beneath the directory of the class and opened here, then read by an FFmpeg that is given it open, again and
//! again without an end. Whatever names and links lead to, nothing outside of the directory is opened, and FFmpeg opens nothing else.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use command_fds::FdMapping;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use upstream::failure::SourceFailure;
use upstream::milestones::Milestones;
use upstream::source::Patience;

use super::adapter::Adapter;
use super::child::Start;
use crate::sandbox::{FILE_DESCRIPTOR, FILE_PATH, Launcher};

/// The kernel asks for another try where something is renamed meanwhile.
const TRIES: usize = 16;

/// The files that sources may be.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// None may where there is none.
    directory: Option<PathBuf>,
    /// A volume that hangs keeps a thread for itself: of ours no more than one.
    looking: Arc<Semaphore>,
}

impl Files {
    /// Those in a directory, if the class names one.
    pub(crate) fn new(directory: Option<&str>) -> Self {
        Self {
            directory: directory.map(PathBuf::from),
            looking: Arc::new(Semaphore::new(1)),
        }
    }

    /// Opens a file by its path of names, and waits for the first bytes that FFmpeg makes of it.
    ///
    /// # Errors
    /// The class has no files; there is no such file, or it cannot be read; FFmpeg makes no transport stream of it.
    pub(super) async fn open(
        &self,
        path: &str,
        launcher: &Launcher,
        patience: Patience,
        milestones: &Milestones,
        processes: &TaskTracker,
    ) -> Result<Adapter, SourceFailure> {
        let file = format!("file:///{path}");
        let Some(directory) = &self.directory else {
            return Err(SourceFailure::FilesRefused { file });
        };
        let found = timeout(patience.connect, self.found(directory, path)).await;
        let silent = || "its volume does not answer".to_owned();
        let opened = found.unwrap_or_else(|_| Err(silent()));
        let parent_fd = opened.map_err(|detail| SourceFailure::FileUnavailable {
            file: file.clone(),
            detail,
        })?;
        let start = Start {
            command: launcher.file_command(arguments()),
            script: String::new(),
            inputs: vec![FdMapping {
                parent_fd,
                child_fd: FILE_DESCRIPTOR,
            }],
            milestones: milestones.clone(),
        };
        let adapter = Adapter::open(start, file, patience, processes).await;
        let mut adapter = adapter.map_err(of_file)?;
        adapter.reads_at_will();
        Ok(adapter)
    }

    async fn found(&self, directory: &Path, path: &str) -> Result<OwnedFd, String> {
        let looking = self.looking.clone().acquire_owned().await;
        let (directory, path) = (directory.to_owned(), path.to_owned());
        let found = spawn_blocking(move || {
            let found = find(&directory, &path);
            drop(looking);
            found
        });
        found.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Opens a file beneath a directory. The kernel follows the path, so that nothing can be put in another's place meanwhile.
fn find(directory: &Path, path: &str) -> Result<OwnedFd, String> {
    let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(directory, root, Mode::empty()).map_err(|error| {
        format!("the directory of the class's files cannot be opened ({error})")
    })?;
    // What is no file, such as a pipe, must not keep us.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = (0..TRIES)
        .map(|_| openat2(&root, path, flags, Mode::empty(), resolve))
        .find(|opened| !matches!(opened, Err(Errno::AGAIN)))
        .unwrap_or(Err(Errno::AGAIN))
        .map_err(unopened)?;
    let status = fstat(&file).map_err(unopened)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile if status.st_size == 0 => Err("it is empty".to_owned()),
        FileType::RegularFile => Ok(file),
        FileType::Directory => Err("it is a directory".to_owned()),
        _ => Err("it is no regular file".to_owned()),
    }
}

fn unopened(error: Errno) -> String {
    match error {
        Errno::NOENT | Errno::NOTDIR => "there is no such file".to_owned(),
        Errno::XDEV => "a link leads out of the class's files".to_owned(),
        Errno::ACCESS | Errno::PERM => {
            "it may not be read by the user of the pod; let everybody read it, or group 65532"
                .to_owned()
        }
        error => error.to_string(),
    }
}

/// What FFmpeg is told: every picture that is no cover and every sound, as they are, with times that go on from one round to the next.
/// It is read as fast as we take it.
fn arguments() -> Vec<OsString> {
    let all = format!(
        "-nostdin -hide_banner -nostats -loglevel repeat+level+error -stream_loop -1 -protocol_whitelist file \
         -probesize 5000000 -analyzeduration 3000000 -i {FILE_PATH} -map 0:V:0? -map 0:a? -c copy -muxdelay 0 \
         -muxpreload 0 -sdt_period 3600 -f mpegts pipe:1"
    );
    all.split_whitespace().map(OsString::from).collect()
}

/// The failure of a file that nobody was asked for.
fn of_file(failure: SourceFailure) -> SourceFailure {
    match failure {
        SourceFailure::BadAnswer { origin, detail } => {
            SourceFailure::Unsupported { origin, detail }
        }
        SourceFailure::ConnectFailed {
            origin: file,
            detail,
        } => SourceFailure::FileUnavailable { file, detail },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, mkfifoat};

    use super::*;

    #[test]
    fn only_files_beneath_the_directory_are_found() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("files");
        let at = |name: &str| directory.join(name);
        create_dir(&directory).unwrap();
        create_dir(at("loops")).unwrap();
        write(place.path().join("secret"), "secret").unwrap();
        write(at("loops/one.ts"), "one").unwrap();
        write(at("empty"), "").unwrap();
        mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
        for (link, to) in [
            ("current", "loops/one.ts"),
            ("around", "loops/../loops/one.ts"),
            ("out", "../secret"),
            ("above", ".."),
            ("absolute", "/etc/passwd"),
            ("top", "/"),
            ("magic", "/proc/self/fd/0"),
            ("circle", "circle"),
            ("nowhere", "gone.ts"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        let found = |path: &str| find(&directory, path).map(drop);
        for path in ["loops/one.ts", "current", "around"] {
            assert_eq!(found(path), Ok(()), "{path}");
        }
        let out = "a link leads out of the class's files";
        for (path, told) in [
            ("out", out),
            ("above/secret", out),
            ("absolute", out),
            ("top/etc/passwd", out),
            ("magic", out),
            ("../secret", out),
            ("loops/../../secret", out),
            ("/etc/passwd", out),
            ("loops", "it is a directory"),
            ("empty", "it is empty"),
            ("pipe", "it is no regular file"),
            ("nowhere", "there is no such file"),
            ("loops/two.ts", "there is no such file"),
            ("empty/two.ts", "there is no such file"),
            ("circle", "Too many levels of symbolic links (os error 40)"),
        ] {
            assert_eq!(found(path), Err(told.to_owned()), "{path}");
        }
        let missing = find(&directory.join("gone"), "one.ts").unwrap_err();
        assert!(missing.starts_with("the directory of the class's files cannot"));
    }

    #[tokio::test]
    async fn a_class_without_files_says_what_to_set() {
        let (files, launcher) = (Files::new(None), Launcher::new("ffmpeg".into()));
        let (milestones, processes) = (Milestones::default(), TaskTracker::new());
        let patience = Patience::default();
        let opened = files.open("a b.ts", &launcher, patience, &milestones, &processes);
        let message = opened.await.unwrap_err().to_string();
        assert!(message.contains("file:///a b.ts: "), "{message}");
        assert!(message.contains("files.claimName"), "{message}");
    }

    #[test]
    fn ffmpeg_is_told_nothing_of_where_the_file_lies() {
        let arguments = arguments();
        let at = arguments.iter().position(|one| one == "-i").unwrap();
        assert_eq!(arguments[at + 1], FILE_PATH);
        assert_eq!(FILE_PATH, format!("/proc/self/fd/{FILE_DESCRIPTOR}"));
        assert!(
            !arguments
                .iter()
                .any(|one| one.to_string_lossy().contains("pipe:0"))
        );
    }
}
