//! What a ladder of three rungs costs: processor time for a second of media, of the product beside FFmpegs that encode the same pictures.
//! They take turns, because together they would need more than the machine has.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::viewer::Viewer;
use e2e::wait::{Seen, until};
use testkit::source::{ChannelSettings, LiveSource, Size, SourceSettings};
use tokio::task::JoinHandle;
use tokio::time::interval;
use url::Url;

use crate::figure::{Figure, median};
use crate::machine::{Usage, command_lines, usage};
use crate::peer::{AUDIO, ENCODER, KEYS, Line, Peer};
use crate::standalone::{Renditions, Standalone, first_segment};

/// Longest time until something runs, or until it has made what is measured.
const LIMIT: Duration = Duration::from_secs(180);

/// Nothing may stop while it is measured.
const IDLE: Duration = Duration::from_secs(3600);

/// Seconds from key to key, and so of each segment of everybody.
const SEGMENT: u64 = 2;

/// Segments that are listed when a start is over.
const SETTLED: u64 = 3;

/// The channel.
const NAME: &str = "ladder";

/// Goals, as shares of a peer's processor time.
const SHARE_OF_THREE: f64 = 0.85;
const SHARE_OF_ONE: f64 = 1.0;
const PASSED_SHARE_OF_THREE: f64 = 0.50;

/// Who makes the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Product(Renditions),
    Peer(Line),
}

const MAKERS: [Maker; 5] = [
    Maker::Product(Renditions::Ladder),
    Maker::Product(Renditions::PassedLadder),
    Maker::Peer(Line::ThreeLadder),
    Maker::Peer(Line::OneLadder),
    // The product passes audio through with the top rung.
    Maker::Peer(Line::ThreeLadderSameAudio),
];

/// What a second of media costs: seconds of processor time, and mebibytes held while it is made.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    processor: f64,
    memory: f64,
}

/// Measures so many rounds of at least so many seconds of media each.
pub(crate) async fn measure(
    program: &Path,
    rounds: usize,
    window: Duration,
) -> Result<Vec<Figure>> {
    let channel = ChannelSettings {
        name: NAME.to_owned(),
        size: Size(1280, 720),
        bitrate: 3500,
        gop: SEGMENT as f64,
        ..ChannelSettings::default()
    };
    let source = LiveSource::start(SourceSettings::loopback(vec![channel])).await?;
    let run = Run {
        program,
        source: &source.url(NAME),
        segments: window.as_secs().div_ceil(SEGMENT).max(1),
    };
    let mut rounds_of = Vec::new();
    for round in 0..rounds {
        let mut costs = [None; MAKERS.len()];
        for turn in 0..MAKERS.len() {
            let whose = (turn + round) % MAKERS.len();
            let cost = run.cost(MAKERS[whose]).await?;
            eprintln!(
                "{:?}, round {round}: {:.3} s per second of media, {:.0} MiB",
                MAKERS[whose], cost.processor, cost.memory
            );
            costs[whose] = Some(cost);
        }
        rounds_of.extend(costs.iter().flatten().copied());
    }
    source.shutdown().await;
    Ok(figures(&rounds_of))
}

/// What each turn needs.
struct Run<'a> {
    program: &'a Path,
    source: &'a str,
    segments: u64,
}

impl Run<'_> {
    async fn cost(&self, maker: Maker) -> Result<Cost> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        match maker {
            Maker::Product(renditions) => self.of_product(renditions, directory.path()).await,
            Maker::Peer(line) => self.of_peer(line, directory.path()).await,
        }
    }

    async fn of_product(&self, renditions: Renditions, directory: &Path) -> Result<Cost> {
        let channels = [(NAME.to_owned(), self.source.to_owned())];
        let product =
            Standalone::start(self.program, renditions, &channels, directory, IDLE).await?;
        let viewer = product.viewer(NAME);
        first_segment(&viewer, LIMIT).await?;
        let playlists = viewer.variants().await?;
        ensure!(playlists.len() == 3, "{} renditions", playlists.len());
        let pid = product.pid()?;
        ensure!(
            encodes_as_the_peers(&command_lines(&[pid])?, renditions),
            "the product's encoder settings are not the peers': change the peers'"
        );
        // One tells for all, as they list the same. It is watched as a viewer watches, and counted by its files as the peers are: more
        // requests than viewers make would be counted as cost.
        let watching = watch(viewer, playlists[2].clone());
        let files = directory.join("output");
        let first = written(&files, 0).await?;
        let start = written(&files, first + SETTLED).await?;
        let before = usage(&[pid])?;
        let end = written(&files, start + self.segments).await?;
        let cost = cost(before, usage(&[pid])?, end - start);
        watching.abort();
        product.end().await?;
        Ok(cost)
    }

    async fn of_peer(&self, line: Line, directory: &Path) -> Result<Cost> {
        let mut peer = Peer::start(line, self.source, directory, NAME)?;
        let pids = peer.pids()?;
        peer.listed(SETTLED, LIMIT).await?;
        let (start, before) = (peer.next().await, usage(&pids)?);
        peer.listed(start + self.segments, LIMIT).await?;
        let cost = cost(before, usage(&pids)?, peer.next().await - start);
        peer.end().await?;
        Ok(cost)
    }
}

/// Asks for the playlist once a segment.
fn watch(viewer: Viewer, playlist: Url) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(SEGMENT));
        loop {
            ticks.tick().await;
            // What is wrong with it is seen in the files, too.
            drop(viewer.look(&playlist).await);
        }
    })
}

/// Waits until the product has written segments up to that number, and tells to which it has.
async fn written(output: &Path, number: u64) -> Result<u64> {
    until("write the segments", LIMIT, || async {
        let next = numbers(output)?.max().map_or(0, |last| last + 1);
        Ok(Seen::when(next > 0 && next >= number, next))
    })
    .await
}

/// The numbers of the segments of every rendition: `pods/<pod>/<rendition>/<attempt>-<number>.ts`.
fn numbers(output: &Path) -> Result<impl Iterator<Item = u64>> {
    let mut directories = vec![output.join("pods")];
    let mut numbers = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("failed to read {directory:?}"))?
        {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ts") {
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                let number = stem.and_then(|stem| stem.split_once('-'));
                numbers.extend(number.and_then(|(_, number)| number.parse::<u64>().ok()));
            }
        }
    }
    Ok(numbers.into_iter())
}

/// Whether one FFmpeg encodes with the settings that the peers are given.
fn encodes_as_the_peers(lines: &[Vec<String>], renditions: Renditions) -> bool {
    let has = |line: &[String], words: &str| {
        let words = words.split_whitespace().collect::<Vec<_>>();
        line.windows(words.len())
            .any(|window| window.iter().eq(words.iter()))
    };
    lines.iter().any(|line| {
        let has_audio = has(line, AUDIO);
        has(line, ENCODER) && has(line, KEYS) && has_audio == (renditions == Renditions::Ladder)
    })
}

/// By the media that were made, not by the clock: a machine that is too slow must not look cheap.
fn cost(before: Usage, after: Usage, segments: u64) -> Cost {
    let used = after.processor.saturating_sub(before.processor);
    Cost {
        processor: used.as_secs_f64() / (segments * SEGMENT) as f64,
        memory: after.private as f64 / f64::from(1 << 20),
    }
}

/// From the costs of all makers, round after round.
fn figures(costs: &[Cost]) -> Vec<Figure> {
    let of = |maker: usize, what: fn(&Cost) -> f64| {
        let own = costs.iter().skip(maker).step_by(MAKERS.len());
        median(&own.map(what).collect::<Vec<_>>())
    };
    let figure = |case: &str, product: usize, peer: usize, what: fn(&Cost) -> f64, goal| {
        let case = format!("ladder, {case}");
        Figure::relative("cost", case, of(product, what), of(peer, what), goal)
    };
    let processor: fn(&Cost) -> f64 = |cost| cost.processor;
    let memory: fn(&Cost) -> f64 = |cost| cost.memory;
    vec![
        figure(
            "all encoded beside three FFmpegs: cores",
            0,
            2,
            processor,
            Some(SHARE_OF_THREE),
        ),
        figure(
            "all encoded beside one FFmpeg: cores",
            0,
            3,
            processor,
            Some(SHARE_OF_ONE),
        ),
        figure(
            "top rung passed through beside three FFmpegs: cores",
            1,
            4,
            processor,
            Some(PASSED_SHARE_OF_THREE),
        ),
        figure(
            "all encoded beside three FFmpegs: private memory, MiB",
            0,
            2,
            memory,
            None,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_maker_is_compared_by_the_middle_of_its_own_rounds() {
        let round = |noise: f64| {
            [0.8, 0.45, 1.0, 0.9, 0.95].map(|processor| Cost {
                processor: processor + noise,
                memory: 100.0,
            })
        };
        let costs = [round(0.0), round(9.0), round(0.0)].concat();
        let told = figures(&costs)
            .iter()
            .map(|figure| (figure.value, figure.peer, figure.holds))
            .collect::<Vec<_>>();
        let expected = [
            (0.8, Some(1.0), Some(true)),
            (0.8, Some(0.9), Some(true)),
            (0.45, Some(0.95), Some(true)),
            (100.0, Some(100.0), None),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn media_that_were_made_count_and_not_the_time_they_took() {
        let at = |seconds| Usage {
            processor: Duration::from_secs(seconds),
            private: 3 << 20,
        };
        let expected = Cost {
            processor: 1.5,
            memory: 3.0,
        };
        assert_eq!(cost(at(10), at(40), 10), expected);
    }

    #[test]
    fn encoder_settings_are_the_peers_only_when_every_word_is_there_in_order() {
        let line = |text: &str| vec![text.split_whitespace().map(str::to_owned).collect()];
        let passed = line(&format!("ffmpeg -map x {ENCODER} -b:v 1k {KEYS} pipe:3"));
        let all = line(&format!(
            "ffmpeg {ENCODER} -b:v 1k {KEYS} pipe:3 {AUDIO} pipe:4"
        ));
        let other = line(&format!("ffmpeg {KEYS} -preset fast"));
        let alike = [passed, all, other].map(|lines| {
            [Renditions::PassedLadder, Renditions::Ladder]
                .map(|renditions| encodes_as_the_peers(&lines, renditions))
        });
        assert_eq!(alike, [[true, false], [false, true], [false, false]]);
    }
}
