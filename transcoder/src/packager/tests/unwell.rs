//! A volume that hangs, fails and comes back: viewers go on from memory, memory stays bounded, and nothing stays stuck.

use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use super::*;
use crate::output::volume::{FileSystem, Operations};

const MEMORY: u64 = 25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Hangs,
    Fails,
}

/// A file system whose changes wait while it hangs, and then do what it has come to.
#[derive(Debug)]
struct Moody {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Moody {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        self.changed.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(mood, |mood| *mood == Mood::Hangs);
        match *waited.unwrap_or_else(PoisonError::into_inner) {
            Mood::Fails => Err(io::Error::other("input/output error")),
            _ => Ok(()),
        }
    }
}

impl Operations for Moody {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        FileSystem.create_directory(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.pass()?;
        FileSystem.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass()?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        FileSystem.remove(path)
    }
}

/// Lets go of the writer's thread when a test ends early: the runtime would wait for it.
struct Well(Arc<Moody>);

impl Drop for Well {
    fn drop(&mut self) {
        self.0.set(Mood::Well);
    }
}

fn moody(memory: u64) -> (Well, Packed) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let moody = Arc::new(Moody {
        mood: Mutex::new(Mood::Well),
        changed: Condvar::new(),
    });
    let volume = Volume::over(directory.path(), moody.clone());
    let limits = Limits {
        patience: Duration::from_millis(20),
        ..limits(memory)
    };
    let packed = packed_on(directory, volume, limits, Recovered::default());
    (Well(moody), packed)
}

impl Packed {
    async fn publish(&mut self, number: u64) {
        self.put(Input::Segment(segment(number, &["source"]))).await;
        self.listed(number).await;
    }

    fn is_stalled(&self) -> bool {
        let status = self.board.subscribe();
        let status = status.borrow();
        let mut troubles = status.troubles.iter();
        troubles.any(|trouble| trouble.reason == Reason::OutputStalled)
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap();
    }

    /// Everything listed is a gap or can be read; answers how many gaps.
    async fn gaps(&self) -> usize {
        let playlists = self.playlists.borrow().clone();
        let mut gaps = 0;
        for entry in &playlists.segments {
            if entry.gaps.is_empty() {
                let name = segment_name(entry.attempt, entry.number);
                let bytes = self.store.read("source", &name).await.unwrap();
                assert_eq!(bytes, format!("source {}", entry.number));
            } else {
                gaps += 1;
            }
        }
        gaps
    }

    fn held(&self, numbers: std::ops::Range<u64>) -> u64 {
        let names = numbers.map(|number| segment_name(3, number));
        let held = names.filter_map(|name| self.store.held(&name));
        held.map(|segment| segment.size()).sum()
    }
}

#[tokio::test]
async fn while_a_volume_hangs_viewers_go_on_from_bounded_memory_and_what_does_not_fit_is_a_gap() {
    let (volume, mut packed) = moody(MEMORY);
    packed.put(facts(&["source"])).await;
    packed.publish(100).await;
    assert!(!packed.is_stalled());
    volume.0.set(Mood::Hangs);
    let mut gaps = 0;
    for number in 101..121 {
        packed.publish(number).await;
        gaps += packed.gaps().await;
        assert!(packed.held(100..121) <= MEMORY, "at {number}");
        assert!(packed.is_stalled(), "at {number}");
    }
    assert!(gaps > 0);
    volume.0.set(Mood::Well);
    packed.until(|packed| !packed.is_stalled()).await;
    for number in 121..124 {
        packed.publish(number).await;
        packed
            .until(|packed| packed.exists(&format!("source/3-{number}.ts")))
            .await;
    }
    assert_eq!(packed.gaps().await, 0);
    assert!(!packed.is_stalled());
}

#[tokio::test]
async fn a_write_that_hangs_past_its_time_and_fails_does_not_stop_all_writing() {
    let (volume, mut packed) = moody(1 << 20);
    packed.put(facts(&["source"])).await;
    packed.publish(100).await;
    volume.0.set(Mood::Hangs);
    for number in 101..106 {
        packed.publish(number).await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(25)).await;
    tokio::time::resume();
    packed
        .until(|packed| packed.store.held("3-101.ts").is_none())
        .await;
    volume.0.set(Mood::Fails);
    packed.publish(106).await;
    volume.0.set(Mood::Well);
    packed.publish(107).await;
    packed
        .until(|packed| packed.exists("source/3-107.ts"))
        .await;
    packed.until(|packed| !packed.is_stalled()).await;
}

#[tokio::test]
async fn files_that_could_not_be_removed_are_removed_when_the_volume_is_well() {
    let (volume, mut packed) = moody(1 << 20);
    packed.put(facts(&["source"])).await;
    for number in 100..105 {
        packed.publish(number).await;
    }
    packed
        .until(|packed| packed.exists("source/3-104.ts"))
        .await;
    volume.0.set(Mood::Fails);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(25)).await;
    tokio::time::resume();
    // Two looks at what has expired: the removal has been tried, and has failed.
    tokio::time::sleep(2 * EXPIRY).await;
    assert!(packed.exists("source/3-100.ts"));
    volume.0.set(Mood::Well);
    packed
        .until(|packed| !packed.exists("source/3-100.ts"))
        .await;
    assert!(packed.exists("source/3-104.ts"));
}
