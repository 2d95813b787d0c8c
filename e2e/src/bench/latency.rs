//! How long a start takes: the first complete segment against what physics asks for, and against FFmpeg on the same source.
//! Product and peer take turns; each start of the product is a channel that nobody has watched before.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::source::{LiveSource, SourceSettings};

use crate::course::{GOPS, PHASES, Start, channels, starts};
use crate::figure::{Figure, median};
use crate::peer::Peer;
use crate::standalone::{Channel, Standalone, first_segment};

/// Longest time a start may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a stream is kept that nobody watches: no longer than the product allows.
const IDLE: Duration = Duration::from_secs(30);

/// Goal for the first segment over its physical limit, in seconds.
const OVER_LIMIT: f64 = 0.15;

/// Goal for the start at a GOP of two seconds, as a share of the peer's.
const SHARE_OF_PEER: f64 = 0.55;

/// One start of each.
#[derive(Debug, Clone, Copy)]
struct Sample {
    start: Start,
    product: f64,
    peer: f64,
}

/// Measures so many rounds.
pub(crate) async fn measure(program: &Path, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let source = LiveSource::start(SourceSettings::loopback(channels())).await?;
    let address = |start: &Start| format!("http://{}/{}", source.address(), start.path());
    let starts = starts(rounds);
    let listed = starts.iter().map(|start| (start.slug(), address(start)));
    let listed = listed.collect::<Vec<Channel>>();
    let product = Standalone::start(program, &listed, directory.path(), IDLE).await?;
    let mut samples = Vec::new();
    for start in &starts {
        let slug = start.slug();
        let source = address(start);
        let ours = async {
            let time = first_segment(&product.viewer(&slug), LIMIT).await?;
            anyhow::Ok(time.as_secs_f64())
        };
        let theirs = async {
            let mut peer = Peer::start(&source, directory.path(), &slug)?;
            let time = peer.listed(1, LIMIT).await?;
            peer.end().await?;
            anyhow::Ok(time.as_secs_f64())
        };
        // One after the other, and not always in the same order.
        let (product, peer) = if start.round.is_multiple_of(2) {
            (ours.await?, theirs.await?)
        } else {
            let peer = theirs.await?;
            (ours.await?, peer)
        };
        samples.push(Sample {
            start: *start,
            product,
            peer,
        });
    }
    product.end().await?;
    source.shutdown().await;
    Ok(figures(&samples))
}

fn figures(samples: &[Sample]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for gop in GOPS {
        let of_gop = samples
            .iter()
            .filter(|sample| sample.start.gop == gop)
            .collect::<Vec<_>>();
        let worst = |over: fn(&Sample) -> f64| {
            let at = |phase: f64| {
                let samples = of_gop.iter().filter(|sample| sample.start.phase == phase);
                median(&samples.map(|sample| over(sample)).collect::<Vec<_>>())
            };
            PHASES.map(at).into_iter().fold(f64::NEG_INFINITY, f64::max)
        };
        let mut over = |what: &str, product: f64, peer: f64| {
            let case = format!("copy, gop {gop} s: first segment over {what}, worst phase, s");
            figures.push(Figure {
                peer: Some(peer),
                ..Figure::absolute("start", case, product, OVER_LIMIT)
            });
        };
        let product = worst(|sample| sample.product - sample.start.limit());
        let peer = worst(|sample| sample.peer - sample.start.limit());
        over("key wait + GOP", product, peer);
        if gop > 1 {
            // The first GOP is cut early, so the limit above would hide a second.
            let product = worst(|sample| sample.product - sample.start.first_cut());
            let peer = worst(|sample| sample.peer - sample.start.first_cut());
            over("key wait + 1 s", product, peer);
        }
        let middle = |of: fn(&Sample) -> f64| {
            median(&of_gop.iter().map(|sample| of(sample)).collect::<Vec<_>>())
        };
        let goal = (gop == 2).then_some(SHARE_OF_PEER);
        let case = format!("copy, gop {gop} s: first segment, s");
        let (product, peer) = (
            middle(|sample| sample.product),
            middle(|sample| sample.peer),
        );
        figures.push(Figure::relative("start", case, product, peer, goal));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_tell_the_worst_phase_and_the_middle_of_all() {
        let sample = |start, product| Sample {
            start,
            product,
            peer: 7.0,
        };
        let mut samples = Vec::new();
        for start in starts(1) {
            let over = if start.phase == 0.5 { 0.2 } else { 0.05 };
            let noisy = [-0.01, 0.0, 5.0].map(|noise| start.limit() + over + noise);
            samples.extend(noisy.map(|product| sample(start, product)));
        }
        let figures = figures(&samples);
        let hundredths = |value: f64| (value * 100.0).round();
        let told = figures
            .iter()
            .map(|figure| (hundredths(figure.value), figure.goal, figure.holds));
        let expected = [
            (20.0, Some(0.15), Some(false)),
            (175.0, None, None),
            (20.0, Some(0.15), Some(false)),
            (120.0, Some(0.15), Some(false)),
            (345.0, Some(0.55), Some(true)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
