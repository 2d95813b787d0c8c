//! The product on live channels whose segments have the sizes that are measured, and the same playlists and segments as files for nginx.
//! Measures nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::viewer::Viewer;
use futures::{StreamExt, TryStreamExt};
use reqwest::Client;
use reqwest::header::USER_AGENT;
use testkit::source::{ChannelSettings, LiveSource, Size as Picture, SourceSettings};
use tokio::task::JoinHandle;
use url::Url;

use super::cores::Cores;
use crate::cost::settled;
use crate::standalone::{Channel, Renditions, Standalone};

/// Nothing may stop while it is measured.
const IDLE: Duration = Duration::from_secs(3600);

/// How often segments are asked for that are listed no more: the product forgets what nobody asks for within a minute.
const WARM_EVERY: Duration = Duration::from_secs(10);

/// Sessions that begin at once.
const AT_ONCE: usize = 32;

/// How far segments may be from their size, as a share of it.
const TOLERANCE: f64 = 0.2;

/// How large segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Half,
    One,
}

impl Size {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Half => "512 KB",
            Self::One => "1 MB",
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::One => "one",
        }
    }

    fn bytes(self) -> f64 {
        match self {
            Self::Half => 524_288.0,
            Self::One => 1_048_576.0,
        }
    }

    /// Two seconds of it are a segment: the video's kilobits per second, with what sound and packets add.
    fn channel(self) -> ChannelSettings {
        ChannelSettings {
            name: self.slug().to_owned(),
            size: Picture(1280, 720),
            bitrate: match self {
                Self::Half => 2360,
                Self::One => 4750,
            },
            ..ChannelSettings::default()
        }
    }
}

/// The playlist and the segments of a channel at one moment.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) size: Size,
    playlist: String,
    segments: Vec<(String, Bytes)>,
}

impl Media {
    /// Paths of the segments, on the product and on nginx.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.segments.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Path of the playlist on nginx.
    pub(crate) fn playlist(&self) -> String {
        format!("/{}/index.m3u8", self.size.slug())
    }

    fn mean(&self) -> f64 {
        let bytes: usize = self.segments.iter().map(|(_, bytes)| bytes.len()).sum();
        bytes as f64 / self.segments.len() as f64
    }

    /// Writes them where a server of files finds them under their paths.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let write = |path: &str, bytes: &[u8]| -> Result<()> {
            let file = directory.join(path.trim_start_matches('/'));
            let folder = file.parent().context("a file is in no folder")?;
            std::fs::create_dir_all(folder)?;
            Ok(std::fs::write(&file, bytes)?)
        };
        let written = write(&self.playlist(), self.playlist.as_bytes()).and_then(|()| {
            let mut segments = self.segments.iter();
            segments.try_for_each(|(path, bytes)| write(path, bytes))
        });
        written.context("failed to write what nginx serves")
    }
}

/// The running product, on the servers' processor.
pub(crate) struct Product {
    standalone: Standalone,
    address: SocketAddr,
    media: Vec<Media>,
    warming: JoinHandle<()>,
    source: LiveSource,
}

impl Product {
    /// Starts it with a channel for each size, and waits until their playlists are full.
    pub(crate) async fn start(
        cores: Cores,
        program: &Path,
        directory: &Path,
        sizes: &[Size],
    ) -> Result<Self> {
        let channels = sizes.iter().map(|size| size.channel()).collect();
        let source = LiveSource::start(SourceSettings::loopback(channels)).await?;
        let slugs = sizes.iter().map(|size| size.slug());
        let channels = slugs.map(|slug| (slug.to_owned(), source.url(slug)));
        let channels = channels.collect::<Vec<Channel>>();
        let command = cores.server(program);
        let standalone =
            Standalone::start_by(command, Renditions::Copy, &channels, directory, IDLE).await?;
        let mut media = Vec::new();
        for size in sizes {
            media.push(record(&standalone.viewer(size.slug()), *size).await?);
        }
        let address = address(standalone.viewer("").master_url())?;
        let segments = media.iter().flat_map(Media::segments);
        let warming = tokio::spawn(keep_warm(client()?, address, segments.collect()));
        Ok(Self {
            standalone,
            address,
            media,
            warming,
            source,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.standalone.pid()
    }

    /// What it has of each size.
    pub(crate) fn media(&self) -> &[Media] {
        &self.media
    }

    /// Paths of that many media playlists, each of a session of its own that is counted.
    pub(crate) async fn sessions(&self, size: Size, count: usize) -> Result<Vec<String>> {
        let client = client()?;
        let viewer = self.standalone.viewer(size.slug());
        let begin = |number| begin(&client, viewer.master_url(), number);
        let sessions = futures::stream::iter((0..count).map(begin)).buffered(AT_ONCE);
        sessions.try_collect().await.context("no session began")
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(self) -> Result<()> {
        self.warming.abort();
        self.standalone.end().await?;
        self.source.shutdown().await;
        Ok(())
    }
}

/// What the channel has once its playlist is full.
async fn record(viewer: &Viewer, size: Size) -> Result<Media> {
    settled(viewer).await?;
    let variants = viewer.variants().await?;
    let playlist = variants.first().context("the master lists nothing")?;
    let look = viewer.look(playlist).await?;
    let mut segments = Vec::new();
    for url in &look.segments {
        segments.push((url.path().to_owned(), viewer.segment(url).await?));
    }
    let media = Media {
        size,
        playlist: look.text,
        segments,
    };
    let (mean, wanted) = (media.mean(), size.bytes());
    ensure!(
        (mean / wanted - 1.0).abs() <= TOLERANCE,
        "segments have {mean:.0} bytes instead of {wanted}: the bit rate of their channel is not right"
    );
    eprintln!(
        "segments of {}: {} of {mean:.0} bytes, playlist of {} bytes",
        size.name(),
        media.segments.len(),
        media.playlist.len()
    );
    Ok(media)
}

/// One session: a user agent makes it another viewer's.
async fn begin(client: &Client, master: &Url, number: usize) -> Result<String> {
    let agent = format!("bench-{number}");
    let asked = client.get(master.clone()).header(USER_AGENT, agent);
    let text = asked.send().await?.error_for_status()?.text().await?;
    let path = text.lines().find(|line| line.starts_with("/hls/"));
    let path = path.context("the master lists nothing")?;
    let first = client.get(master.join(path)?).send().await?;
    first.error_for_status()?;
    Ok(path.to_owned())
}

/// Asks for each segment now and then, until it is aborted. A connection each time: none is to be open while they are counted.
async fn keep_warm(client: Client, address: SocketAddr, segments: Vec<String>) {
    loop {
        for path in &segments {
            let _ = client.head(format!("http://{address}{path}")).send().await;
        }
        tokio::time::sleep(WARM_EVERY).await;
    }
}

fn client() -> Result<Client> {
    testkit::tls::choose_provider();
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.build().context("failed to make a client")
}

fn address(url: &Url) -> Result<SocketAddr> {
    let addresses = url.socket_addrs(|| None)?;
    let first = addresses.first();
    first.copied().context("the product has no address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_lies_under_its_paths() {
        let media = Media {
            size: Size::Half,
            playlist: "#EXTM3U\n".to_owned(),
            segments: vec![("/seg/a/1.ts".to_owned(), Bytes::from_static(b"media"))],
        };
        let directory = tempfile::tempdir().unwrap();
        media.write(directory.path()).unwrap();
        let read = |path: &str| std::fs::read(directory.path().join(path)).unwrap();
        assert_eq!(read("half/index.m3u8"), b"#EXTM3U\n");
        assert_eq!(read("seg/a/1.ts"), b"media");
        assert_eq!(
            (media.mean(), media.segments()),
            (5.0, vec!["/seg/a/1.ts".to_owned()])
        );
    }
}
