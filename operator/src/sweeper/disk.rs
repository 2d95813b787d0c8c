//! The output volume, touched by one thread of its own: a volume that hangs holds up that thread and nothing else.
//! Never follows a symbolic link, and never leaves the directory of the pods.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use api::names::PODS_DIRECTORY;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::verdict::PodDirectory;

/// How long the volume may take to list or to remove one directory.
const LIMIT: Duration = Duration::from_secs(60);
/// How long to wait for the end of the request before. It is over a moment after its answer; one that takes longer hangs.
const TURN: Duration = Duration::from_secs(1);
/// Directories read at once; more are read the next time.
const MOST: usize = 100_000;

/// Why the volume could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("failed to {operation} {path}: {source}")]
    Failed {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("failed to hear from the output volume in {} s", LIMIT.as_secs())]
    Slow,
    #[error("failed to use the output volume: it has not answered an earlier request yet")]
    Hanging,
}

/// How large the volume is and what of it is left, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) size: u64,
    pub(crate) available: u64,
}

enum Request {
    Measure(oneshot::Sender<Result<Room, DiskError>>),
    List(oneshot::Sender<Result<Vec<PodDirectory>, DiskError>>),
    Remove(PodDirectory, oneshot::Sender<Result<(), DiskError>>),
}

/// A request, and the turn that ends with it.
type Errand = (Request, OwnedSemaphorePermit);

/// The volume.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    errands: mpsc::Sender<Errand>,
    /// One at a time: nothing is queued behind a request that hangs, to be done when nobody wants it any more.
    turns: Arc<Semaphore>,
}

impl Disk {
    /// The volume that is mounted at `root`. Its thread ends with the last handle, or with the process.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let (disk, received) = Self::unserved();
        let root = root.to_owned();
        let thread = thread::Builder::new().name("volume".to_owned());
        thread.spawn(move || serve(&root, &received))?;
        Ok(disk)
    }

    fn unserved() -> (Self, mpsc::Receiver<Errand>) {
        let (errands, received) = mpsc::channel();
        let turns = Arc::new(Semaphore::new(1));
        (Self { errands, turns }, received)
    }

    /// How full it is.
    pub(crate) async fn measure(&self) -> Result<Room, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Measure(answer), answered).await
    }

    /// The directories of pods.
    pub(crate) async fn list(&self) -> Result<Vec<PodDirectory>, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::List(answer), answered).await
    }

    /// Removes the directory of a pod with everything in it; one that is not there is no error.
    pub(crate) async fn remove(&self, directory: &PodDirectory) -> Result<(), DiskError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Remove(directory.clone(), answer);
        self.ask(request, answered).await
    }

    async fn ask<T>(
        &self,
        request: Request,
        answered: oneshot::Receiver<Result<T, DiskError>>,
    ) -> Result<T, DiskError> {
        self.hand_over(request).await?;
        match timeout(LIMIT, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(DiskError::Hanging),
            Err(_) => Err(DiskError::Slow),
        }
    }

    async fn hand_over(&self, request: Request) -> Result<(), DiskError> {
        let turn = timeout(TURN, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(DiskError::Hanging);
        };
        // Without a receiver the thread is gone, which only a fault of this file brings about.
        let sent = self.errands.send((request, turn));
        sent.map_err(|_| DiskError::Hanging)
    }
}

fn serve(root: &Path, errands: &mpsc::Receiver<Errand>) {
    let pods = &root.join(PODS_DIRECTORY);
    while let Ok((request, turn)) = errands.recv() {
        // Whoever asked may have stopped waiting.
        match request {
            Request::Measure(answer) => drop(answer.send(measure(root))),
            Request::List(answer) => drop(answer.send(list(pods))),
            Request::Remove(directory, answer) => drop(answer.send(remove(pods, &directory))),
        }
        drop(turn);
    }
}

fn measure(root: &Path) -> Result<Room, DiskError> {
    let measured = rustix::fs::statvfs(root);
    let volume = measured.map_err(|source| DiskError::Failed {
        operation: "measure",
        path: root.to_owned(),
        source: source.into(),
    })?;
    Ok(Room {
        size: volume.f_blocks.saturating_mul(volume.f_frsize),
        // What is left for processes that are not root, as ours.
        available: volume.f_bavail.saturating_mul(volume.f_frsize),
    })
}

fn list(pods: &Path) -> Result<Vec<PodDirectory>, DiskError> {
    let failed = |source| DiskError::Failed {
        operation: "list",
        path: pods.to_owned(),
        source,
    };
    let entries = match real_directory(pods) {
        // No pod has been started yet.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        checked => checked.and_then(|()| fs::read_dir(pods)).map_err(failed)?,
    };
    let mut directories = Vec::new();
    for entry in entries.take(MOST) {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        let directory = name.to_str().and_then(PodDirectory::parse);
        directories.extend(directory.filter(|_| is_directory));
    }
    directories.sort_unstable();
    Ok(directories)
}

fn remove(pods: &Path, directory: &PodDirectory) -> Result<(), DiskError> {
    let path = pods.join(directory.name());
    let removed = real_directory(pods)
        .and_then(|()| real_directory(&path))
        .and_then(|()| fs::remove_dir_all(&path));
    match removed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DiskError::Failed {
            operation: "remove",
            path,
            source,
        }),
    }
}

/// A link in the place of a directory could lead anywhere. (Inside, `remove_dir_all` removes links and follows none.)
fn real_directory(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::NotADirectory,
        "it is no directory",
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;
    use tokio::task::yield_now;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn directory(name: &str) -> PodDirectory {
        PodDirectory::parse(name).unwrap()
    }

    fn volume(pods: &[&str]) -> TempDir {
        let root = TempDir::new().unwrap();
        for pod in pods {
            let rendition = root.path().join("pods").join(pod).join("source");
            fs::create_dir_all(&rendition).unwrap();
            fs::write(rendition.join("1-1.ts"), "segment").unwrap();
        }
        root
    }

    #[tokio::test]
    async fn only_directories_of_pods_are_listed() {
        let root = volume(&["one-0f9c2a41-1", "two-0f9c2a41-1", "lost+found"]);
        fs::write(root.path().join("pods/file-0f9c2a41-1"), "").unwrap();
        symlink("/etc", root.path().join("pods/link-0f9c2a41-1")).unwrap();
        let disk = Disk::new(root.path()).unwrap();
        let names = [directory("one-0f9c2a41-1"), directory("two-0f9c2a41-1")];
        assert_eq!(disk.list().await.unwrap(), names);
    }

    #[tokio::test]
    async fn the_room_of_a_volume_is_told_before_any_pod_was_there() {
        let root = TempDir::new().unwrap();
        let disk = Disk::new(root.path()).unwrap();
        let room = disk.measure().await.unwrap();
        assert!(room.size > 0 && room.available <= room.size, "{room:?}");
        drop(root);
        assert!(disk.measure().await.is_err(), "nothing is there any more");
    }

    #[tokio::test]
    async fn a_volume_without_pods_is_empty() {
        let root = TempDir::new().unwrap();
        let disk = Disk::new(root.path()).unwrap();
        assert_eq!(disk.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_directory_goes_with_its_links_and_not_with_what_they_lead_to() {
        let outside = volume(&["kept-0f9c2a41-1"]);
        let root = volume(&["one-0f9c2a41-1", "two-0f9c2a41-1"]);
        let inside = root.path().join("pods/one-0f9c2a41-1");
        symlink(outside.path(), inside.join("way-out")).unwrap();
        let disk = Disk::new(root.path()).unwrap();
        disk.remove(&directory("one-0f9c2a41-1")).await.unwrap();
        disk.remove(&directory("one-0f9c2a41-1")).await.unwrap();
        assert_eq!(disk.list().await.unwrap(), [directory("two-0f9c2a41-1")]);
        assert!(
            outside
                .path()
                .join("pods/kept-0f9c2a41-1/source/1-1.ts")
                .exists()
        );
    }

    #[tokio::test]
    async fn links_in_the_place_of_directories_are_left_alone() {
        let outside = volume(&["one-0f9c2a41-1"]);
        let root = volume(&[]);
        fs::create_dir(root.path().join("pods")).unwrap();
        let target = outside.path().join("pods/one-0f9c2a41-1");
        symlink(&target, root.path().join("pods/one-0f9c2a41-1")).unwrap();
        let disk = Disk::new(root.path()).unwrap();
        let refused = disk.remove(&directory("one-0f9c2a41-1")).await;
        assert!(refused.is_err());
        let all = TempDir::new().unwrap();
        symlink(outside.path().join("pods"), all.path().join("pods")).unwrap();
        let disk = Disk::new(all.path()).unwrap();
        assert!(disk.list().await.is_err());
        assert!(disk.remove(&directory("one-0f9c2a41-1")).await.is_err());
        assert!(target.join("source/1-1.ts").exists());
    }

    /// The thread's side of one listing, which finds nothing.
    fn list_nothing((request, turn): Errand) {
        match request {
            Request::List(answer) => drop(answer.send(Ok(Vec::new()))),
            Request::Measure(_) | Request::Remove(..) => panic!("nothing else is asked"),
        }
        drop(turn);
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_that_hangs_is_told_and_asked_no_more_until_it_answers() {
        let (disk, received) = Disk::unserved();
        let first = disk.list().await.unwrap_err();
        assert!(matches!(first, DiskError::Slow), "{first}");
        let second = disk.list().await.unwrap_err();
        assert!(matches!(second, DiskError::Hanging), "{second}");
        list_nothing(received.try_recv().unwrap());
        assert!(received.try_recv().is_err(), "the second never arrived");
        let (third, ()) = tokio::join!(disk.list(), async {
            list_nothing(received.try_recv().unwrap());
        });
        assert_eq!(third.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_end_of_the_one_before_and_no_longer() {
        let (disk, received) = Disk::unserved();
        let before = disk.turns.clone().acquire_owned().await.unwrap();
        let began = Instant::now();
        let end = async {
            sleep(Duration::from_millis(7)).await;
            drop(before);
            yield_now().await;
            list_nothing(received.try_recv().unwrap());
        };
        let (listed, ()) = tokio::join!(disk.list(), end);
        assert_eq!(listed.unwrap(), []);
        assert_eq!(began.elapsed(), Duration::from_millis(7));
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_is_told_at_once() {
        let (disk, _) = Disk::unserved();
        for _ in 0..2 {
            let error = disk.list().await.unwrap_err();
            assert!(matches!(error, DiskError::Hanging), "{error}");
        }
    }
}
