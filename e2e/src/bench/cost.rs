//! What running streams cost: many copies in one product beside as many FFmpegs, all on one source and measured in the same windows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::viewer::Viewer;
use e2e::wait::{Seen, until};
use futures::future::try_join_all;
use testkit::source::{ChannelSettings, LiveSource, Size, SourceSettings};

use crate::figure::{Figure, median};
use crate::machine::{Usage, usage};
use crate::peer::{Line, Peer};
use crate::standalone::{Channel, Renditions, Standalone, first_segment};

/// Longest time until all streams run.
const LIMIT: Duration = Duration::from_secs(60);

/// Segments that are listed when a stream has been running long enough to be typical.
const SETTLED_SEGMENTS: u64 = 6;

/// Nothing may stop while it is measured, though nobody watches.
const IDLE: Duration = Duration::from_secs(3600);

/// Goals, as shares of the peer's.
const PROCESSOR_SHARE: f64 = 0.5;
const MEMORY_SHARE: f64 = 0.35;

/// Usage of both at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    product: Usage,
    peers: Usage,
}

/// Measures so many streams, in so many windows.
pub(crate) async fn measure(
    program: &Path,
    streams: usize,
    windows: usize,
    window: Duration,
) -> Result<Vec<Figure>> {
    ensure!(streams > 0, "no streams to measure");
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let channel = ChannelSettings {
        name: "copy".to_owned(),
        size: Size(1280, 720),
        bitrate: 3500,
        ..ChannelSettings::default()
    };
    let source = LiveSource::start(SourceSettings::loopback(vec![channel])).await?;
    let channels = (0..streams).map(|number| (format!("copy-{number}"), source.url("copy")));
    let channels = channels.collect::<Vec<Channel>>();
    let product =
        Standalone::start(program, Renditions::Copy, &channels, directory.path(), IDLE).await?;
    let idle = over_window(&[product.pid()?], window).await?;

    let viewers = channels
        .iter()
        .map(|(slug, _)| product.viewer(slug))
        .collect::<Vec<_>>();
    try_join_all(viewers.iter().map(settled)).await?;
    let names = channels.iter().map(|(slug, _)| slug);
    let mut peers = names
        .map(|name| Peer::start(Line::Panel, &source.url("copy"), directory.path(), name))
        .collect::<Result<Vec<_>>>()?;
    try_join_all(
        peers
            .iter_mut()
            .map(|peer| peer.listed(SETTLED_SEGMENTS / 2, LIMIT)),
    )
    .await?;

    let pids = peers.iter().map(Peer::pids).collect::<Result<Vec<_>>>()?;
    let pids = pids.concat();
    let mut readings = vec![reading(&product, &pids)?];
    for _ in 0..windows {
        tokio::time::sleep(window).await;
        readings.push(reading(&product, &pids)?);
    }
    let clients = source.stats("copy")?.clients;
    ensure!(
        clients == 2 * streams as u64,
        "streams ended while they were measured: the source has {clients} clients"
    );
    for peer in peers {
        peer.end().await?;
    }
    product.end().await?;
    source.shutdown().await;
    Ok(figures(&readings, idle, streams, window))
}

/// Usage of idle processes: what they take in a window, and what they hold after it.
async fn over_window(pids: &[u32], window: Duration) -> Result<Usage> {
    let before = usage(pids)?;
    tokio::time::sleep(window).await;
    let after = usage(pids)?;
    Ok(Usage {
        processor: after.processor - before.processor,
        private: after.private,
    })
}

fn reading(product: &Standalone, peers: &[u32]) -> Result<Reading> {
    Ok(Reading {
        product: usage(&[product.pid()?])?,
        peers: usage(peers)?,
    })
}

/// Starts a stream and waits until its playlist is full. Segments are not fetched: the peers have no viewers either.
pub(crate) async fn settled(viewer: &Viewer) -> Result<()> {
    first_segment(viewer, LIMIT).await?;
    let variants = viewer.variants().await?;
    let playlist = variants.first().context("the master lists nothing")?;
    until("fill the playlist", LIMIT, || async {
        let listed = viewer.look(playlist).await?.segments.len() as u64;
        Ok(match listed >= SETTLED_SEGMENTS {
            true => Seen::Yes(()),
            false => Seen::NotYet(format!("{listed} segments")),
        })
    })
    .await
}

/// Costs of one stream more, from readings one window apart.
fn figures(readings: &[Reading], idle: Usage, streams: usize, window: Duration) -> Vec<Figure> {
    let streams_f = streams as f64;
    let cores = |used: Duration| used.as_secs_f64() / window.as_secs_f64() / streams_f;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20) / streams_f;
    let (mut processor, mut memory) = (Vec::new(), Vec::new());
    for pair in readings.windows(2) {
        let [before, after] = pair else { continue };
        let product =
            (after.product.processor - before.product.processor).saturating_sub(idle.processor);
        let peers = after.peers.processor - before.peers.processor;
        processor.push((cores(product), cores(peers)));
        let product = after.product.private.saturating_sub(idle.private);
        memory.push((mebibytes(product), mebibytes(after.peers.private)));
    }
    let middle = |pairs: &[(f64, f64)]| {
        let products = pairs
            .iter()
            .map(|(product, _)| *product)
            .collect::<Vec<_>>();
        let peers = pairs.iter().map(|(_, peer)| *peer).collect::<Vec<_>>();
        (median(&products), median(&peers))
    };
    let figure = |what: &str, pairs: &[(f64, f64)], goal| {
        let (product, peer) = middle(pairs);
        Figure::relative(
            "cost",
            format!("copy, {streams} streams: {what}"),
            product,
            peer,
            Some(goal),
        )
    };
    vec![
        figure("cores per stream", &processor, PROCESSOR_SHARE),
        figure("private memory per stream, MiB", &memory, MEMORY_SHARE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(seconds: f64, mebibytes: u64) -> Usage {
        Usage {
            processor: Duration::from_secs_f64(seconds),
            private: mebibytes << 20,
        }
    }

    #[test]
    fn what_the_product_takes_without_streams_is_not_theirs() {
        let readings = (0..4).map(|window| Reading {
            product: used(f64::from(window) * 1.5, 60),
            peers: used(f64::from(window) * 4.0, 240),
        });
        let readings = readings.collect::<Vec<_>>();
        let figures = figures(&readings, used(0.5, 20), 20, Duration::from_secs(10));
        let told = figures
            .iter()
            .map(|figure| (figure.value, figure.peer, figure.holds));
        let expected = [
            (0.005, Some(0.02), Some(true)),
            (2.0, Some(12.0), Some(true)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
