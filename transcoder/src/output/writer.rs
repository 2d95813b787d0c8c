//! The one task that writes the volume: one order at a time, each in a thread where blocking is allowed.
//! A volume that hangs stops this task and nothing else: whoever gives orders never waits for their end.

use std::io;
use std::sync::Arc;

use api::playlists::Playlists;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::SegmentFiles;
use super::volume::Volume;

/// What lies beside the segments: written after them and before anybody is told of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listing {
    /// The state file.
    pub(crate) playlists: Playlists,
    /// Playlists for people by rendition.
    pub(crate) media: Vec<(String, String)>,
    /// The master playlist for people.
    pub(crate) master: String,
}

/// Something to do on the volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    /// Write a segment, then the listing that names it.
    Store {
        /// The segment.
        segment: SegmentFiles,
        /// What is listed when it is there.
        listing: Arc<Listing>,
    },
    /// Remove segment files, by rendition and name.
    Remove(Vec<(String, String)>),
}

/// How an order ended.
pub(crate) type Report = io::Result<()>;

/// The giving end: one order is under way at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    busy: bool,
}

impl Writer {
    /// Starts the task. It ends when the writer is dropped, at the latest when the file system lets it.
    pub(crate) fn start(volume: Volume) -> Self {
        let (orders, incoming) = mpsc::channel(1);
        let (outgoing, reports) = mpsc::channel(1);
        tokio::spawn(work(volume, incoming, outgoing));
        Self {
            orders,
            reports,
            busy: false,
        }
    }

    /// Whether an order is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives an order; only when none is under way.
    pub(crate) fn give(&mut self, order: Order) {
        self.busy = self.orders.try_send(order).is_ok();
    }

    /// The end of the order under way; never, while there is none. May be cancelled.
    pub(crate) async fn report(&mut self) -> Report {
        if !self.busy {
            return std::future::pending().await;
        }
        let report = self.reports.recv().await;
        self.busy = false;
        report.unwrap_or_else(|| Err(io::Error::other("the writer ended")))
    }
}

async fn work(volume: Volume, mut orders: mpsc::Receiver<Order>, reports: mpsc::Sender<Report>) {
    while let Some(order) = orders.recv().await {
        let volume = volume.clone();
        let done = spawn_blocking(move || carry_out(&volume, order)).await;
        let report = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

fn carry_out(volume: &Volume, order: Order) -> io::Result<()> {
    match order {
        Order::Store { segment, listing } => {
            for (rendition, bytes) in &segment.files {
                volume.write_segment(rendition, &segment.name, bytes)?;
            }
            list(volume, &listing)
        }
        Order::Remove(files) => {
            let removals = files
                .iter()
                .map(|(rendition, name)| volume.remove_segment(rendition, name));
            // Every file is tried; one error is enough to tell of.
            removals.fold(Ok(()), io::Result::and)
        }
    }
}

fn list(volume: &Volume, listing: &Listing) -> io::Result<()> {
    volume.write_state(&listing.playlists)?;
    for (rendition, text) in &listing.media {
        match volume.write_playlist(Some(rendition), "index.m3u8", text) {
            // A rendition without a single segment has no directory yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    volume.write_playlist(None, "master.m3u8", &listing.master)
}

#[cfg(test)]
mod tests {
    use api::job::ResumeFloor;
    use bytes::Bytes;

    use super::*;

    fn listing() -> Arc<Listing> {
        Arc::new(Listing {
            playlists: Playlists {
                version: 1,
                stream_uid: "uid".to_owned(),
                attempt: 0,
                updated_unix_milliseconds: 0,
                segment_duration_seconds: 2,
                target_duration_seconds: 4,
                discontinuity_sequence: 0,
                renditions: Vec::new(),
                segments: Vec::new(),
                next: ResumeFloor::default(),
                behind: Vec::new(),
                on_request: Vec::new(),
                class: String::new(),
            },
            media: vec![
                ("source".to_owned(), "#EXTM3U\n# source\n".to_owned()),
                ("480p".to_owned(), "#EXTM3U\n# 480p\n".to_owned()),
            ],
            master: "#EXTM3U\n# master\n".to_owned(),
        })
    }

    #[tokio::test]
    async fn a_segment_its_state_and_its_playlists_are_on_the_volume_when_the_order_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::start(Volume::new(directory.path()));
        assert!(!writer.is_busy());
        writer.give(Order::Store {
            segment: SegmentFiles {
                number: 7,
                name: "0-7.ts".to_owned(),
                files: vec![("source".to_owned(), Bytes::from_static(b"media"))],
            },
            listing: listing(),
        });
        assert!(writer.is_busy());
        writer.report().await.unwrap();
        assert!(!writer.is_busy());
        let mut names: Vec<String> = walk(directory.path());
        names.sort();
        assert_eq!(
            names,
            [
                "master.m3u8",
                "source/0-7.ts",
                "source/index.m3u8",
                "state.json"
            ]
        );
        writer.give(Order::Remove(vec![(
            "source".to_owned(),
            "0-7.ts".to_owned(),
        )]));
        writer.report().await.unwrap();
        assert!(!directory.path().join("source/0-7.ts").exists());
    }

    #[tokio::test]
    async fn a_volume_that_is_gone_fails_the_order_and_not_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let mut writer = Writer::start(Volume::new(&gone));
        let order = || Order::Store {
            segment: SegmentFiles {
                number: 7,
                name: "0-7.ts".to_owned(),
                files: Vec::new(),
            },
            listing: listing(),
        };
        writer.give(order());
        assert!(writer.report().await.is_err());
        std::fs::create_dir(&gone).unwrap();
        writer.give(order());
        writer.report().await.unwrap();
    }

    fn walk(directory: &std::path::Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                names.extend(
                    walk(&entry.path())
                        .into_iter()
                        .map(|inner| format!("{name}/{inner}")),
                );
            } else {
                names.push(name);
            }
        }
        names
    }
}
