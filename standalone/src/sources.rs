//! Where the channel list lies: files as they are named, and a list from the web as a file that is fetched anew every hour.
//! A list that cannot be fetched again leaves the last one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::fetch::{EgressPolicy, FetchError, channel_list};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use url::Url;

/// How often a list from the web is fetched.
const FETCH_EVERY: Duration = Duration::from_hours(1);

/// The user's own machine may name any address but those that nothing can have.
const EGRESS: EgressPolicy = EgressPolicy {
    allow_private: true,
    allow_loopback: true,
};

/// Why a list from the web is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourcesError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("failed to write the channel list to {path:?}: {reason}")]
    Write { path: PathBuf, reason: String },
}

/// A list from the web, and the file it becomes.
pub(crate) struct WebList {
    url: Url,
    file: PathBuf,
}

/// What a playlist setting names.
pub(crate) enum Playlist {
    File(PathBuf),
    Web(WebList),
}

impl Playlist {
    /// Tells an http address from a path; the list of an address is kept in `directory`.
    pub(crate) fn parse(text: &str, directory: &Path) -> Self {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Self::Web(WebList {
                url,
                file: directory.join("playlist.m3u"),
            }),
            _ => Self::File(PathBuf::from(text)),
        }
    }

    /// The file that has the list.
    pub(crate) fn file(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Web(list) => &list.file,
        }
    }
}

impl WebList {
    /// Fetches the list into its file.
    pub(crate) async fn fetch(&self) -> Result<(), SourcesError> {
        let list = channel_list(self.url.clone(), EGRESS).await?;
        let written = self.replace(&list).await;
        written.map_err(|error| SourcesError::Write {
            path: self.file.clone(),
            reason: error.to_string(),
        })
    }

    async fn replace(&self, list: &[u8]) -> io::Result<()> {
        let new = self.file.with_extension("new");
        tokio::fs::write(&new, list).await?;
        tokio::fs::rename(&new, &self.file).await
    }

    /// Fetches the list every hour.
    pub(crate) async fn keep(self, shutdown: CancellationToken) -> io::Result<()> {
        let mut ticks = interval(FETCH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now, and the list was fetched just before.
        ticks.tick().await;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => if let Err(error) = self.fetch().await {
                    tracing::warn!(%error, "keeping the last channel list");
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_address_is_fetched_and_anything_else_is_a_file() {
        let file = |text: &str| Playlist::parse(text, Path::new("/data")).file().to_owned();
        assert_eq!(
            file("https://panel.example/list?u=x"),
            Path::new("/data/playlist.m3u")
        );
        for text in [
            "channels.m3u",
            "/etc/channels.yaml",
            "C:/list.m3u",
            "ftp://x/y",
        ] {
            assert_eq!(file(text), Path::new(text));
        }
    }
}
