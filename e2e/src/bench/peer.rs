//! The peer: FFmpeg's own HLS muxer, started as panels usually do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// How often the playlist is looked at: far below what is measured.
const LOOK: Duration = Duration::from_millis(2);

/// One FFmpeg that makes HLS of a source; killed when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    playlist: PathBuf,
    started: Instant,
}

impl Peer {
    /// Starts one in a directory of its own below `parent`.
    pub(crate) fn start(source: &str, parent: &Path, name: &str) -> Result<Self> {
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {directory:?}"))?;
        let started = Instant::now();
        let child = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "quiet",
                "-probesize",
                "5M",
                "-analyzeduration",
                "5M",
            ])
            .args(["-i", source, "-c", "copy", "-f", "hls", "-hls_time", "4"])
            .args([
                "-hls_list_size",
                "6",
                "-hls_flags",
                "delete_segments",
                "index.m3u8",
            ])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start ffmpeg: is it installed?")?;
        Ok(Self {
            child,
            playlist: directory.join("index.m3u8"),
            started,
        })
    }

    /// Waits until the playlist lists so many segments; the time since the start.
    pub(crate) async fn listed(&mut self, segments: usize, limit: Duration) -> Result<Duration> {
        loop {
            let text = tokio::fs::read_to_string(&self.playlist)
                .await
                .unwrap_or_default();
            if text.matches("#EXTINF").count() >= segments {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait().context("failed to watch ffmpeg")? {
                bail!("ffmpeg ended with {status}");
            }
            if self.started.elapsed() > limit {
                bail!("ffmpeg listed nothing within {limit:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("ffmpeg has ended")
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.child.kill().await.context("failed to end ffmpeg")
    }
}
