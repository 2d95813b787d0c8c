//! The process is killed after each of its file operations: what lies there is whole, and the next run goes on from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use api::names::STATE_FILE;
use testkit::checker::check_playlist;

use super::*;
use crate::output::recovery::recover;
use crate::output::volume::{FileSystem, Operations};

const RENDITIONS: [&str; 2] = ["720p", "480p"];

/// Lives for so many operations. What comes after does not happen, besides the first half of a torn write.
#[derive(Debug)]
struct Mortal {
    left: AtomicUsize,
    is_dead: AtomicBool,
    tears: bool,
}

impl Mortal {
    fn new(operations: usize, tears: bool) -> Arc<Self> {
        Arc::new(Self {
            left: operations.into(),
            is_dead: AtomicBool::new(false),
            tears,
        })
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    fn live(&self) -> Result<(), bool> {
        let one_less = |left: usize| left.checked_sub(1);
        let lives = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        lives
            .map(drop)
            .map_err(|_| !self.is_dead.swap(true, Ordering::SeqCst))
    }
}

fn killed(_: bool) -> io::Error {
    io::Error::other("killed")
}

impl Operations for Mortal {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.live().map_err(killed)?;
        FileSystem.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(dies_now) = self.live() {
            if dies_now && self.tears {
                FileSystem.write(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(killed(dies_now));
        }
        FileSystem.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live().map_err(killed)?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.live().map_err(killed)?;
        FileSystem.remove(path)
    }
}

/// A few segments, the expiry of the first ones, and the end. Answers what was published while the process lived.
async fn live_and_die(directory: &Arc<tempfile::TempDir>, mortal: &Arc<Mortal>) -> Vec<u64> {
    let volume = Volume::over(directory.path(), mortal.clone());
    let none = Recovered::default();
    let mut packed = packed_on(directory.clone(), volume, limits(1 << 20), none);
    let mut published = Vec::new();
    packed.put(facts(&RENDITIONS)).await;
    for number in 100..105 {
        if number == 104 {
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
        packed
            .put(Input::Segment(segment(number, &RENDITIONS)))
            .await;
        packed.listed(number).await;
        if mortal.is_dead() {
            return published;
        }
        published.push(number);
    }
    packed.finish().await;
    published
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Whatever has its final name is whole, and what a playlist lists is there. Answers the segments' numbers.
fn whole(directory: &Path, told: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for path in files(directory) {
        if name(&path).starts_with('.') {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let parent = path.parent().unwrap();
        if let Some((_, number)) = parse_segment_name(name(&path)) {
            assert_eq!(text, format!("{} {number}", name(parent)), "{told}");
            numbers.push(number);
        } else if name(&path) == STATE_FILE {
            serde_json::from_str::<Playlists>(&text).unwrap();
        } else {
            assert_eq!(check_playlist(&text), [""; 0], "{told}: {text}");
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                assert!(parent.join(line).exists(), "{told}: {line} of {path:?}");
            }
        }
    }
    numbers
}

async fn goes_on(directory: &Arc<tempfile::TempDir>, published: &[u64], told: &str) {
    let used = whole(directory.path(), told);
    let volume = Volume::new(directory.path());
    let recovered = recover(volume.clone()).await;
    let next = recovered.next.map_or(100, |next| next.media_sequence);
    let next = u64::try_from(next).unwrap();
    for number in used.iter().chain(published) {
        assert!(next > *number, "{told}: {number} is used, {next} is next");
    }
    let mut packed = packed_on(directory.clone(), volume, limits(1 << 20), recovered);
    packed.put(facts(&RENDITIONS)).await;
    packed.put(Input::Segment(segment(next, &RENDITIONS))).await;
    assert_eq!(packed.listed(next).await, [next], "{told}");
    // The time for which players may still ask for what the former run listed.
    tokio::time::sleep(Duration::from_secs(25)).await;
    packed
        .put(Input::Segment(segment(next + 1, &RENDITIONS)))
        .await;
    packed.listed(next + 1).await;
    packed.finish().await;
    let mut left = whole(directory.path(), told);
    left.sort_unstable();
    assert_eq!(left, [next, next, next + 1, next + 1], "{told}");
    let stray: Vec<PathBuf> = files(directory.path());
    let stray = stray.iter().filter(|path| name(path).starts_with('.'));
    assert_eq!(stray.count(), 0, "{told}");
}

#[tokio::test(start_paused = true)]
async fn killed_after_each_file_operation_the_next_run_goes_on_from_what_is_whole() {
    for tears in [false, true] {
        let mut operations = 0;
        loop {
            let told = format!("killed after {operations} operations, torn: {tears}");
            let directory = Arc::new(tempfile::tempdir().unwrap());
            let mortal = Mortal::new(operations, tears);
            let published = live_and_die(&directory, &mortal).await;
            if !mortal.is_dead() {
                break;
            }
            goes_on(&directory, &published, &told).await;
            operations += 1;
        }
        assert!(operations > 50, "only {operations} operations");
    }
}
