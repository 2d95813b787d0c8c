//! The product in one process, started on a list of channels. Ends with the bench, however that ends.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::viewer::Viewer;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

/// How long it may take until it listens, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two attempts to start a stream that was not ready.
const AGAIN: Duration = Duration::from_millis(10);

/// How a product makes its renditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renditions {
    /// The source alone, passed through.
    Copy,
    /// The same, with segments that aim at a second.
    ShortCopy,
    /// Three rungs of which the source is the highest, passed through.
    PassedLadder,
    /// Three rungs, all encoded.
    Ladder,
}

impl Renditions {
    fn arguments(self) -> [&'static str; 4] {
        let (preset, mode) = match self {
            Self::Copy | Self::ShortCopy => ("source", "Copy"),
            Self::PassedLadder => ("high", "Auto"),
            Self::Ladder => ("high", "Transcode"),
        };
        ["--preset", preset, "--mode", mode]
    }

    /// The class `default`.
    fn class(self) -> String {
        let seconds = if self == Self::ShortCopy { 1 } else { 2 };
        format!(
            "apiVersion: headend.dev/v1alpha1\nkind: StreamClass\nmetadata: {{name: default}}\nspec: {{segmentDurationSeconds: {seconds}}}\n"
        )
    }
}

/// A channel: its slug and its source.
pub(crate) type Channel = (String, String);

/// A running product.
#[derive(Debug)]
pub(crate) struct Standalone {
    child: Child,
    gateway: String,
    token: Option<String>,
    _output: tokio::task::JoinHandle<()>,
}

impl Standalone {
    /// Starts it and waits until it says where its channels are. `idle` is how long it keeps what nobody watches.
    pub(crate) async fn start(
        program: &Path,
        renditions: Renditions,
        channels: &[Channel],
        directory: &Path,
        idle: Duration,
    ) -> Result<Self> {
        Self::start_by(Command::new(program), renditions, channels, directory, idle).await
    }

    /// The same by a command that runs it.
    pub(crate) async fn start_by(
        mut command: Command,
        renditions: Renditions,
        channels: &[Channel],
        directory: &Path,
        idle: Duration,
    ) -> Result<Self> {
        let list = directory.join("channels.m3u");
        std::fs::write(&list, channel_list(channels))
            .context("failed to write the channel list")?;
        let classes = directory.join("classes.yaml");
        std::fs::write(&classes, renditions.class()).context("failed to write the class")?;
        let log = std::fs::File::create(directory.join("standalone.log"))
            .context("failed to create a log")?;
        let mut child = command
            .arg("--playlist")
            .arg(&list)
            .args(renditions.arguments())
            .arg("--classes")
            .arg(&classes)
            .args(["--listen", "127.0.0.1:0", "--idle-timeout-seconds"])
            .arg(idle.as_secs().to_string())
            .arg("--directory")
            .arg(directory.join("output"))
            .env("HEADEND_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {:?}", command.as_std()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let announced = tokio::time::timeout(PATIENCE, announced(&mut lines)).await;
        let Ok(Some(url)) = announced else {
            let log = std::fs::read_to_string(directory.join("standalone.log")).unwrap_or_default();
            bail!("{:?} named no channel: {}", command.as_std(), log.trim());
        };
        let token = url.query_pairs().find(|(name, _)| name == "token");
        let token = token.map(|(_, token)| token.into_owned());
        // What it goes on to say must not block it.
        let output =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            gateway: url.origin().ascii_serialization(),
            token,
            _output: output,
        })
    }

    /// A viewer of a channel.
    pub(crate) fn viewer(&self, slug: &str) -> Viewer {
        Viewer::new(&self.gateway, slug, self.token.as_deref())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the product has ended")
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .is_err()
        {
            self.child
                .kill()
                .await
                .context("failed to end the product")?;
        }
        Ok(())
    }
}

/// From the viewer's first request until a first segment is there whole, in every rendition.
pub(crate) async fn first_segment(viewer: &Viewer, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let error = match attempt(viewer).await {
            Ok(()) => return Ok(started.elapsed()),
            Err(error) => error,
        };
        if started.elapsed() > limit {
            return Err(error.context(format!(
                "no segment of {} within {limit:?}",
                viewer.master_url().path()
            )));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn attempt(viewer: &Viewer) -> Result<()> {
    let variants = viewer.variants().await?;
    ensure!(!variants.is_empty(), "the master lists nothing");
    for playlist in &variants {
        let look = viewer.look(playlist).await?;
        let segment = look.segments.first();
        let segment = segment.context("the playlist lists nothing")?;
        viewer.segment(segment).await?;
    }
    Ok(())
}

/// The first address of a channel that is printed.
async fn announced(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<Url> {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(url) = channel_url(&line) {
            return Some(url);
        }
    }
    None
}

fn channel_url(line: &str) -> Option<Url> {
    let words = line
        .split_whitespace()
        .filter(|word| word.contains("/live/"));
    words.filter_map(|word| Url::parse(word).ok()).next()
}

fn channel_list(channels: &[Channel]) -> String {
    let entry =
        |(slug, source): &Channel| format!("#EXTINF:-1 headend-slug=\"{slug}\",{slug}\n{source}\n");
    let entries = channels.iter().map(entry).collect::<String>();
    format!("#EXTM3U\n{entries}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_a_list() {
        let channels = [("one".to_owned(), "http://a/1.ts?phase=0.1".to_owned())];
        let expected = "#EXTM3U\n#EXTINF:-1 headend-slug=\"one\",one\nhttp://a/1.ts?phase=0.1\n";
        assert_eq!(channel_list(&channels), expected);
    }

    #[test]
    fn the_address_of_a_channel_is_found_in_what_is_printed() {
        let line = "  News One   http://127.0.0.1:1/live/one/master.m3u8?token=abc";
        let url = channel_url(line).unwrap();
        assert_eq!(url.origin().ascii_serialization(), "http://127.0.0.1:1");
        assert_eq!(url.query(), Some("token=abc"));
        assert_eq!(channel_url("page: http://127.0.0.1:1/"), None);
    }
}
