//! A start as a viewer sees it: until a picture is there, and how long it stood still until ten seconds are played. FFmpeg and hls.js in
//! Chromium watch the product, FFmpeg's own HLS and GStreamer's, each started by the viewer's click and with segments of a second where the
//! GOP allows it; all take turns on the same source.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::source::{LiveSource, SourceSettings};

use crate::browser::{Browser, Server};
use crate::client;
use crate::course::{GOPS, PHASES, Start, channels};
use crate::figure::{Figure, Goal};
use crate::peer::{Line, Peer};
use crate::standalone::{Renditions, Standalone};

/// Seconds that are to be played.
pub(crate) const SECONDS: f64 = 10.0;

/// Longest time until a peer lists a segment.
const LIMIT: Duration = Duration::from_secs(60);

/// Nothing may stop while it is watched.
const IDLE: Duration = Duration::from_secs(300);

/// Where the peers' files are, below the server's directory.
const PEER: &str = "peer";

/// What a viewer saw, in seconds since the click.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Watched {
    /// Until the first picture.
    pub(crate) first_frame: f64,
    /// Without a moving picture until ten seconds were played: before the first and after it.
    pub(crate) waited: f64,
}

/// What watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Ffmpeg,
    HlsJs,
}

const CLIENTS: [(Client, &str); 2] = [(Client::Ffmpeg, "FFmpeg"), (Client::HlsJs, "hls.js")];

/// One start of each.
#[derive(Debug, Clone, Copy)]
struct Sample {
    gop: u32,
    client: Client,
    /// Of the product, FFmpeg and GStreamer.
    watched: [Watched; 3],
}

/// Measures so many rounds, each at another phase. `hls_js` is the player's file.
pub(crate) async fn measure(program: &Path, hls_js: &Path, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let source = LiveSource::start(SourceSettings::loopback(channels(&GOPS))).await?;
    let mut run = Run {
        program,
        directory: directory.path(),
        server: Server::start(directory.path(), hls_js).await?,
    };
    let browser = Browser::open(&run.server)?;
    let mut samples = Vec::new();
    for round in 0..rounds {
        for gop in GOPS {
            let phase = PHASES[round % PHASES.len()];
            let start = Start { round, gop, phase };
            let address = format!("http://{}/{}", source.address(), start.path());
            for (client, name) in CLIENTS {
                let watched = run.turns(client, round, &address).await;
                let watched = watched.with_context(|| format!("{name}, {}", start.slug()))?;
                eprintln!("{name}, {}: {watched:.3?}", start.slug());
                samples.push(Sample {
                    gop,
                    client,
                    watched,
                });
            }
        }
    }
    browser.end().await?;
    source.shutdown().await;
    Ok(figures(&samples))
}

/// What each turn needs.
struct Run<'a> {
    program: &'a Path,
    directory: &'a Path,
    server: Server,
}

impl Run<'_> {
    /// One after the other, and not always in the same order.
    async fn turns(&mut self, client: Client, round: usize, source: &str) -> Result<[Watched; 3]> {
        let mut watched = [None; 3];
        for turn in 0..watched.len() {
            let whose = (turn + round) % watched.len();
            watched[whose] = Some(match whose {
                0 => self.product(client, source).await?,
                1 => self.peer(client, Line::Tuned, source).await?,
                _ => self.peer(client, Line::GStreamer, source).await?,
            });
        }
        let [Some(product), Some(ffmpeg), Some(gstreamer)] = watched else {
            anyhow::bail!("not everybody had a turn");
        };
        Ok([product, ffmpeg, gstreamer])
    }

    async fn product(&mut self, client: Client, source: &str) -> Result<Watched> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let channels = [("watched".to_owned(), source.to_owned())];
        let product = Standalone::start(
            self.program,
            Renditions::ShortCopy,
            &channels,
            directory.path(),
            IDLE,
        )
        .await?;
        let viewer = product.viewer("watched");
        let watched = self.watch(client, viewer.master_url().as_str(), Instant::now());
        let watched = watched.await.context("the product")?;
        product.end().await?;
        Ok(watched)
    }

    /// Its viewer asks as soon as there is something, and so loses no time with asking again.
    async fn peer(&mut self, client: Client, line: Line, source: &str) -> Result<Watched> {
        let begun = Instant::now();
        let mut peer = Peer::start(line, source, self.directory, PEER)?;
        peer.listed(1, LIMIT).await?;
        let address = self.server.url(PEER, peer.playlist_name());
        let watched = self.watch(client, &address, begun).await;
        let watched = watched.with_context(|| format!("{line:?}"))?;
        peer.end().await?;
        std::fs::remove_dir_all(self.directory.join(PEER)).context("failed to clean up")?;
        Ok(watched)
    }

    async fn watch(&mut self, client: Client, address: &str, begun: Instant) -> Result<Watched> {
        match client {
            Client::Ffmpeg => client::watch(address, begun).await,
            Client::HlsJs => self.server.watch(address, begun).await,
        }
    }
}

/// Every start is compared with its peers' at the same phase: rounds differ in it by more than the programs differ.
fn figures(samples: &[Sample]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (client, name) in CLIENTS {
        for gop in GOPS {
            let starts = samples
                .iter()
                .filter(|sample| sample.client == client && sample.gop == gop);
            let starts = starts.collect::<Vec<_>>();
            let mut figure = |what: &str, of: fn(&Watched) -> f64, goal: Option<f64>| {
                for (whose, peer) in [(1, "FFmpeg"), (2, "GStreamer")] {
                    let case = format!("{name} as viewer, gop {gop} s: {what} beside {peer}, s");
                    let turn = |start: &&Sample| (of(&start.watched[0]), of(&start.watched[whose]));
                    let turns = starts.iter().map(turn).collect::<Vec<_>>();
                    figures.push(Figure::paired(
                        "start",
                        case,
                        &turns,
                        goal.map(Goal::AtMost),
                    ));
                }
            };
            figure("first frame", |watched| watched.first_frame, Some(1.0));
            figure(
                "waited until 10 s are played",
                |watched| watched.waited,
                Some(1.0),
            );
            figure(
                "of that after the first frame",
                |watched| watched.waited - watched.first_frame,
                None,
            );
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_to_be_ahead_of_both_peers_and_stalls_are_told() {
        let watched = |first_frame, waited| Watched {
            first_frame,
            waited,
        };
        let sample = |gop, client| Sample {
            gop,
            client,
            watched: [watched(1.5, 2.5), watched(2.0, 2.0), watched(3.0, 5.0)],
        };
        let clients = [Client::Ffmpeg, Client::HlsJs];
        let samples = GOPS
            .iter()
            .flat_map(|gop| clients.map(|client| sample(*gop, client)));
        let figures = figures(&samples.collect::<Vec<_>>());
        assert_eq!(figures.len(), 36);
        let holds = figures[..6].iter().map(|figure| figure.holds);
        let expected = [Some(true), Some(true), Some(false), Some(true), None, None];
        assert_eq!(holds.collect::<Vec<_>>(), expected);
    }
}
