//! How long a start takes until the first segment is there whole, copied or encoded: against what physics asks for, and against FFmpeg on
//! the same source as panels start it and as it starts fastest. All take turns; each start is of a channel that nobody has watched before.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::source::{LiveSource, SourceSettings};

use crate::course::{GOPS, PHASES, Start, channels, starts};
use crate::figure::{Figure, median};
use crate::peer::{Line, Peer};
use crate::standalone::{Renditions, Standalone, first_segment};

/// Longest time a start may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than any start takes; what is started is ended before the next one.
const IDLE: Duration = Duration::from_secs(120);

/// Goals for the start as a share of the usual line's, by GOP.
const SHARE_OF_PANEL: [(u32, f64); 2] = [(1, 0.35), (2, 0.55)];

/// What is measured: the product's renditions, the lines it takes turns with, and its goal over the physical limit, in seconds.
struct Way {
    name: &'static str,
    renditions: Renditions,
    panel: Line,
    tuned: Line,
    over_limit: f64,
}

const WAYS: [Way; 2] = [
    Way {
        name: "copy",
        renditions: Renditions::Copy,
        panel: Line::Panel,
        tuned: Line::Tuned,
        over_limit: 0.10,
    },
    Way {
        name: "ladder",
        renditions: Renditions::Ladder,
        panel: Line::PanelLadder,
        tuned: Line::TunedLadder,
        over_limit: 0.6,
    },
];

/// One start of each, in seconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    start: Start,
    product: f64,
    panel: f64,
    tuned: f64,
}

/// Measures so many rounds.
pub(crate) async fn measure(program: &Path, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let source = LiveSource::start(SourceSettings::loopback(channels(&GOPS))).await?;
    let mut all = Vec::new();
    for way in &WAYS {
        let mut samples = Vec::new();
        for start in starts(&GOPS, rounds) {
            let address = format!("http://{}/{}", source.address(), start.path());
            let name = format!("{}-{}", way.name, start.slug());
            let turns = Turns {
                program,
                way,
                start,
                address: &address,
                directory: &directory.path().join(&name),
            };
            let sample = turns.take().await.with_context(|| name.clone())?;
            eprintln!(
                "{name}: {:.3} s, {:.3} s over key wait + 1 s; panel {:.3} s, tuned {:.3} s",
                sample.product,
                sample.product - start.first_cut(),
                sample.panel,
                sample.tuned
            );
            samples.push(sample);
        }
        all.extend(figures(way, &samples));
    }
    source.shutdown().await;
    Ok(all)
}

/// One start of each, and what they need.
struct Turns<'a> {
    program: &'a Path,
    way: &'a Way,
    start: Start,
    address: &'a str,
    directory: &'a Path,
}

impl Turns<'_> {
    /// One after the other, and not always in the same order.
    async fn take(&self) -> Result<Sample> {
        std::fs::create_dir(self.directory).context("failed to create a directory")?;
        let mut times = [0.0; 3];
        for turn in 0..times.len() {
            let whose = (turn + self.start.round) % times.len();
            times[whose] = match whose {
                0 => self.product().await?,
                1 => self.peer(self.way.panel, "panel").await?,
                _ => self.peer(self.way.tuned, "tuned").await?,
            };
        }
        let [product, panel, tuned] = times;
        Ok(Sample {
            start: self.start,
            product,
            panel,
            tuned,
        })
    }

    async fn product(&self) -> Result<f64> {
        let channels = [(self.start.slug(), self.address.to_owned())];
        let renditions = self.way.renditions;
        let product =
            Standalone::start(self.program, renditions, &channels, self.directory, IDLE).await?;
        let time = first_segment(&product.viewer(&self.start.slug()), LIMIT).await?;
        product.end().await?;
        Ok(time.as_secs_f64())
    }

    async fn peer(&self, line: Line, name: &str) -> Result<f64> {
        let mut peer = Peer::start(line, self.address, self.directory, name)?;
        let time = peer.listed(1, LIMIT).await?;
        peer.end().await?;
        Ok(time.as_secs_f64())
    }
}

fn figures(way: &Way, samples: &[Sample]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for gop in GOPS {
        let case = |what: &str| format!("{}, gop {gop} s: first segment{what}, s", way.name);
        let of_gop = samples
            .iter()
            .filter(|sample| sample.start.gop == gop)
            .collect::<Vec<_>>();
        let worst = |over: &dyn Fn(&Sample) -> f64| {
            let at = |phase: f64| {
                let samples = of_gop.iter().filter(|sample| sample.start.phase == phase);
                median(&samples.map(|sample| over(sample)).collect::<Vec<_>>())
            };
            PHASES.map(at).into_iter().fold(f64::NEG_INFINITY, f64::max)
        };
        let mut over = |what: &str, limit: fn(&Start) -> f64| {
            let product = worst(&|sample| sample.product - limit(&sample.start));
            let tuned = worst(&|sample| sample.tuned - limit(&sample.start));
            let case = case(&format!(" over {what}, worst phase, beside tuned FFmpeg"));
            figures.push(Figure {
                peer: Some(tuned),
                ..Figure::absolute("start", case, product, way.over_limit)
            });
        };
        over("key wait + GOP", Start::limit);
        if gop > 1 {
            // The first GOP is cut early, so the limit above would hide a second.
            over("key wait + 1 s", Start::first_cut);
        }
        let middle = |of: fn(&Sample) -> f64| {
            median(&of_gop.iter().map(|sample| of(sample)).collect::<Vec<_>>())
        };
        let product = middle(|sample| sample.product);
        let goal = SHARE_OF_PANEL.iter().find(|(of, _)| *of == gop);
        figures.extend([
            Figure::relative(
                "start",
                case(" beside the panel line"),
                product,
                middle(|sample| sample.panel),
                goal.map(|(_, share)| *share),
            ),
            Figure::relative(
                "start",
                case(" beside tuned FFmpeg"),
                product,
                middle(|sample| sample.tuned),
                None,
            ),
        ]);
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
            panel: 7.0,
            tuned: 5.0,
        };
        let mut samples = Vec::new();
        for start in starts(&GOPS, 1) {
            let over = if start.phase == 0.5 { 0.2 } else { 0.05 };
            let noisy = [-0.01, 0.0, 5.0].map(|noise| start.first_cut() + over + noise);
            samples.extend(noisy.map(|product| sample(start, product)));
        }
        let figures = figures(&WAYS[0], &samples);
        let hundredths = |value: f64| (value * 100.0).round();
        let told = figures
            .iter()
            .map(|figure| (hundredths(figure.value), figure.goal, figure.holds));
        let expected = [
            (20.0, Some(0.1), Some(false)),
            (175.0, Some(0.35), Some(true)),
            (175.0, None, None),
            (-80.0, Some(0.1), Some(true)),
            (20.0, Some(0.1), Some(false)),
            (245.0, Some(0.55), Some(true)),
            (245.0, None, None),
            (-280.0, Some(0.1), Some(true)),
            (20.0, Some(0.1), Some(false)),
            (385.0, None, None),
            (385.0, None, None),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
