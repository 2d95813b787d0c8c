//! What a stream that runs for long leaves: files and bytes on disk and entries in its playlist, early and late, beside the usual panel
//! flags on the same source. What does not grow is all that is asked of the product.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};

use crate::figure::Figure;
use crate::peer::{Line, Peer};
use crate::standalone::{Renditions, Standalone, first_segment};

/// Longest time until both run.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a stream is kept that nobody watches.
const IDLE: Duration = Duration::from_secs(86_400);

/// When a window is full and what leaves it is deleted: its length, and as long again for what is no longer listed.
const FULL: Duration = Duration::from_secs(60);

/// The most that anything may have grown by: bit rates vary, and a segment may be there or not at the moment of the look.
const GROWTH: f64 = 1.25;

/// The channel.
const NAME: &str = "soak";

/// What one look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kept {
    files: u64,
    bytes: u64,
    entries: u64,
}

/// Both at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    product: Kept,
    panel: Kept,
}

/// Measures over so long a time, from the moment at which windows are full.
pub(crate) async fn measure(program: &Path, time: Duration) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let source =
        LiveSource::start(SourceSettings::loopback(vec![ChannelSettings::small(NAME)])).await?;
    let channels = [(NAME.to_owned(), source.url(NAME))];
    let product =
        Standalone::start(program, Renditions::Copy, &channels, directory.path(), IDLE).await?;
    let viewer = product.viewer(NAME);
    first_segment(&viewer, LIMIT).await?;
    let playlists = viewer.variants().await?;
    let playlist = playlists.first().context("the master lists nothing")?;
    let mut peer = Peer::start(
        Line::PanelEvent,
        &source.url(NAME),
        directory.path(),
        "panel",
    )?;
    peer.listed(1, LIMIT).await?;
    tokio::time::sleep(FULL).await;
    let look = || async {
        let text = tokio::fs::read_to_string(peer.playlist()).await?;
        anyhow::Ok(Look {
            product: kept(
                &directory.path().join("output"),
                &viewer.look(playlist).await?.text,
            )?,
            panel: kept(&directory.path().join("panel"), &text)?,
        })
    };
    let early = look().await?;
    eprintln!("early: {early:?}");
    tokio::time::sleep(time).await;
    let late = look().await?;
    eprintln!("late: {late:?}");
    let clients = source.stats(NAME)?.clients;
    ensure!(clients == 2, "the source has {clients} clients, not 2");
    peer.end().await?;
    product.end().await?;
    source.shutdown().await;
    Ok(figures(early, late))
}

fn kept(directory: &Path, playlist: &str) -> Result<Kept> {
    let mut kept = Kept {
        entries: playlist.matches("#EXTINF").count() as u64,
        ..Kept::default()
    };
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = std::fs::read_dir(&directory);
        for entry in entries.with_context(|| format!("failed to read {directory:?}"))? {
            // A segment may be deleted between the two.
            let Ok((path, metadata)) =
                entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))
            else {
                continue;
            };
            if metadata.is_dir() {
                directories.push(path);
            } else {
                kept.files += 1;
                kept.bytes += metadata.len();
            }
        }
    }
    Ok(kept)
}

fn figures(early: Look, late: Look) -> Vec<Figure> {
    let growth =
        |of: fn(&Kept) -> u64, early: &Kept, late: &Kept| of(late) as f64 / of(early) as f64;
    let figure = |what: &str, of: fn(&Kept) -> u64| {
        let case = format!("{what} late over early, beside the panel flags");
        let value = growth(of, &early.product, &late.product);
        Figure {
            peer: Some(growth(of, &early.panel, &late.panel)),
            ..Figure::absolute("soak", case, value, GROWTH)
        }
    };
    vec![
        figure("files", |kept| kept.files),
        figure("bytes", |kept| kept.bytes),
        figure("playlist entries", |kept| kept.entries),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_in_directories_of_directories() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
        for (name, bytes) in [("one", 3), ("a/two", 4), ("a/b/three", 5)] {
            std::fs::write(directory.path().join(name), vec![0; bytes]).unwrap();
        }
        let expected = Kept {
            files: 3,
            bytes: 12,
            entries: 2,
        };
        let playlist = "#EXTINF:2,\na\n#EXTINF:2,\nb\n";
        assert_eq!(kept(directory.path(), playlist).unwrap(), expected);
    }

    #[test]
    fn what_grows_misses_the_goal() {
        let kept = |files, entries| Kept {
            files,
            bytes: 1000,
            entries,
        };
        let look = |product, panel| Look { product, panel };
        let early = look(kept(10, 6), kept(15, 15));
        let told = figures(early, look(kept(11, 12), kept(90, 90)));
        let told = told
            .iter()
            .map(|figure| (figure.value, figure.peer, figure.holds));
        let expected = [
            (1.1, Some(6.0), Some(true)),
            (1.0, Some(1.0), Some(true)),
            (2.0, Some(6.0), Some(false)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
