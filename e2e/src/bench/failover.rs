//! How long a stream stands still when its source dies and is there again at once, with timestamps of its own: until the first segment of
//! the new connection is listed. Beside FFmpeg with its own flags for that, on the same source.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::viewer::Viewer;
use testkit::source::{ChannelSettings, Cut, Faults, LiveSource, Size, SourceSettings};
use tokio::time::sleep;
use url::Url;

use crate::course::PHASES;
use crate::figure::{Figure, median};
use crate::peer::{Line, Peer};
use crate::standalone::{Renditions, Standalone, first_segment};

/// Longest time that anything may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// Nothing may stop while it is measured.
const IDLE: Duration = Duration::from_secs(3600);

/// How often a playlist is looked at: far below what is measured.
const LOOK: Duration = Duration::from_millis(5);

/// The channel, and seconds from key to key.
const NAME: &str = "failover";
const GOP: f64 = 2.0;

/// Segments that are listed before the source dies.
const SETTLED: u64 = 3;

/// How long after a segment was listed the source dies: late enough for FFmpeg to cut at the next key, too.
const INTO_GOP: Duration = Duration::from_millis(1200);

/// Longer than what the source has rendered already is on its way.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Far from the old timestamps, as after a restart of the source, in seconds.
const NEW_TIMES: f64 = 3600.0;

/// How much earlier than the key a segment of the peer may seem to begin, in seconds.
const KEY_SLACK: f64 = 0.1;

/// How a source dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// It breaks the connection in mid-body, which everybody sees at once. (At a clean end of a chunked body FFmpeg ends for good.)
    Breaks,
    /// It sends nothing any more.
    FallsSilent,
}

impl Death {
    /// Seconds after which it is to be seen: for silence what design and peer are both set to.
    fn detection(self) -> f64 {
        match self {
            Self::Breaks => 0.0,
            Self::FallsSilent => 4.0,
        }
    }
}

/// What is measured: how the source dies, how renditions are made, and the goal over what physics asks for, in seconds.
struct Case {
    name: &'static str,
    death: Death,
    renditions: Renditions,
    peer: Line,
    over: f64,
}

const CASES: [Case; 4] = [
    Case {
        name: "copy, source breaks off",
        death: Death::Breaks,
        renditions: Renditions::Copy,
        peer: Line::Reconnecting,
        over: 0.3,
    },
    Case {
        name: "copy, source falls silent",
        death: Death::FallsSilent,
        renditions: Renditions::Copy,
        peer: Line::Reconnecting,
        over: 0.3,
    },
    Case {
        name: "ladder, source breaks off",
        death: Death::Breaks,
        renditions: Renditions::Ladder,
        peer: Line::ReconnectingLadder,
        over: 0.8,
    },
    Case {
        name: "ladder, source falls silent",
        death: Death::FallsSilent,
        renditions: Renditions::Ladder,
        peer: Line::ReconnectingLadder,
        over: 0.8,
    },
];

/// One death for each, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// From the death until the first new segment is listed.
    product: f64,
    /// The product's time over detection, wait for the key and length of that segment.
    over: f64,
    peer: f64,
}

/// Measures so many rounds.
pub(crate) async fn measure(program: &Path, rounds: usize) -> Result<Vec<Figure>> {
    let channel = ChannelSettings {
        name: NAME.to_owned(),
        size: Size(1280, 720),
        bitrate: 2500,
        gop: GOP,
        ..ChannelSettings::default()
    };
    let source = LiveSource::start(SourceSettings::loopback(vec![channel])).await?;
    let mut figures = Vec::new();
    for case in &CASES {
        let mut samples = Vec::new();
        for round in 0..rounds {
            let phase = PHASES[round % PHASES.len()];
            let run = Run {
                program,
                source: &source,
                case,
                phase,
            };
            let sample = run.sample(round.is_multiple_of(2)).await;
            let sample = sample.with_context(|| case.name)?;
            eprintln!("{}, phase {phase}: {sample:.3?}", case.name);
            samples.push(sample);
        }
        figures.extend(case_figures(case, &samples));
    }
    source.shutdown().await;
    Ok(figures)
}

/// What each turn needs.
struct Run<'a> {
    program: &'a Path,
    source: &'a LiveSource,
    case: &'a Case,
    /// Where in the GOP every connection joins.
    phase: f64,
}

impl Run<'_> {
    async fn sample(&self, product_first: bool) -> Result<Sample> {
        // One after the other, and not always in the same order.
        let ((product, length), peer) = if product_first {
            (self.product().await?, self.peer().await?)
        } else {
            let peer = self.peer().await?;
            (self.product().await?, peer)
        };
        Ok(Sample {
            product,
            over: product - self.key() - length,
            peer,
        })
    }

    /// Seconds until the first new segment is listed in every rendition, and its length.
    async fn product(&self) -> Result<(f64, f64)> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let channels = [(NAME.to_owned(), self.address())];
        let renditions = self.case.renditions;
        let product =
            Standalone::start(self.program, renditions, &channels, directory.path(), IDLE).await?;
        let viewer = product.viewer(NAME);
        first_segment(&viewer, LIMIT).await?;
        let playlists = viewer.variants().await?;
        ensure!(!playlists.is_empty(), "the master lists nothing");
        let first = viewer.look(&playlists[0]).await?.next();
        within("list segments", async || {
            let next = viewer.look(&playlists[0]).await?.next();
            Ok((next >= first + SETTLED).then_some(()))
        })
        .await?;
        sleep(INTO_GOP).await;
        let died = self.die().await?;
        let length = within("list a segment behind a discontinuity", async || {
            new_segment(&viewer, &playlists).await
        })
        .await?;
        let time = died.elapsed();
        product.end().await?;
        Ok((time.as_secs_f64(), length))
    }

    /// Seconds until a segment is listed that began at a key of the new connection or later. What FFmpeg lists before goes on with what
    /// comes ahead of that key, which cannot be decoded.
    async fn peer(&self) -> Result<f64> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let mut peer = Peer::start(self.case.peer, &self.address(), directory.path(), NAME)?;
        peer.listed(SETTLED + 1, LIMIT).await?;
        sleep(INTO_GOP).await;
        let (mut number, _) = peer.newest().await;
        let died = self.die().await?;
        let time = within("list a segment of the new connection", async || {
            let (next, length) = peer.newest().await;
            let time = died.elapsed().as_secs_f64();
            let is_new = next > number && time - length > self.key() - KEY_SLACK;
            number = next;
            Ok(is_new.then_some(time))
        })
        .await?;
        peer.end().await?;
        Ok(time)
    }

    /// Seconds from the death until the first key of the new connection: what is to be seen, and the wait.
    fn key(&self) -> f64 {
        self.case.death.detection() + (1.0 - self.phase) * GOP
    }

    fn address(&self) -> String {
        format!("{}?phase={}", self.source.url(NAME), self.phase)
    }

    /// Takes the source away from its only client and is there for the next connection; the moment of the death.
    async fn die(&self) -> Result<Instant> {
        let requests = self.source.stats(NAME)?.requests;
        let silenced = Instant::now();
        self.silent(true)?;
        let died = match self.case.death {
            Death::FallsSilent => silenced,
            Death::Breaks => {
                // The old connection must not get a byte of the new times.
                sleep(LAST_WORDS).await;
                self.source.cut(NAME, Cut::Abort)?;
                Instant::now()
            }
        };
        self.source.jump(NAME, NEW_TIMES)?;
        within("connect again", async || {
            let now = self.source.stats(NAME)?.requests;
            Ok((now > requests).then_some(()))
        })
        .await?;
        self.silent(false)?;
        Ok(died)
    }

    fn silent(&self, silence: bool) -> Result<()> {
        let faults = Faults {
            silence: silence.then_some(true),
            ..Faults::default()
        };
        Ok(self.source.set_faults(NAME, faults)?)
    }
}

/// Asks often until there is an answer.
async fn within<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        sleep(LOOK).await;
    }
}

/// The length of the first segment behind the seam, once all renditions list it.
async fn new_segment(viewer: &Viewer, playlists: &[Url]) -> Result<Option<f64>> {
    let mut length = None;
    for playlist in playlists {
        length = behind_seam(&viewer.look(playlist).await?.text);
        if length.is_none() {
            break;
        }
    }
    Ok(length)
}

fn behind_seam(playlist: &str) -> Option<f64> {
    let mut lines = playlist
        .lines()
        .skip_while(|line| *line != "#EXT-X-DISCONTINUITY");
    let length = lines.find_map(|line| line.strip_prefix("#EXTINF:"))?;
    length.split(',').next()?.parse().ok()
}

fn case_figures(case: &Case, samples: &[Sample]) -> [Figure; 2] {
    let middle = |of: fn(&Sample) -> f64| median(&samples.iter().map(of).collect::<Vec<_>>());
    let name = case.name;
    [
        Figure::absolute(
            "failover",
            format!("{name}: next segment over detection + key wait + its length, s"),
            middle(|sample| sample.over),
            case.over,
        ),
        Figure::relative(
            "failover",
            format!("{name}: next segment, beside FFmpeg -reconnect, s"),
            middle(|sample| sample.product),
            middle(|sample| sample.peer),
            Some(1.0),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_behind_the_seam_is_found() {
        let playlist = |rest: &str| format!("#EXTM3U\n#EXTINF:2.0,\na.ts\n{rest}");
        assert_eq!(behind_seam(&playlist("")), None);
        assert_eq!(behind_seam(&playlist("#EXT-X-DISCONTINUITY\n")), None);
        let seam = "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:x\n#EXTINF:1.960000,\nb.ts\n#EXTINF:2,\n";
        assert_eq!(behind_seam(&playlist(seam)), Some(1.96));
    }

    #[test]
    fn a_case_is_told_by_its_middle_against_goal_and_peer() {
        let sample = |product| Sample {
            product,
            over: product - 3.0,
            peer: 4.0,
        };
        let told = case_figures(&CASES[0], &[3.2, 9.0, 3.1].map(sample));
        let hundredths = |value: f64| (value * 100.0).round();
        assert_eq!(hundredths(told[0].value), 20.0);
        assert_eq!((told[0].holds, told[1].holds), (Some(true), Some(true)));
        let slow = case_figures(&CASES[0], &[sample(4.5)]);
        assert_eq!((slow[0].holds, slow[1].holds), (Some(false), Some(false)));
    }
}
