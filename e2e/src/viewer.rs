//! A viewer as a player is one: master, media playlist, new segments, at the pace of the playlist. Judges nothing; the checker does.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::wait::{Seen, until};

/// How long one request may take: longer than a gateway holds one.
const REQUEST: Duration = Duration::from_secs(15);

/// For so long after a request a gateway makes its stream again when somebody deletes it: six seconds, and the way there and back.
const WISHED: Duration = Duration::from_secs(7);

/// When a viewer of this process asked for a playlist last.
static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether a gateway may still make a stream that a viewer of this process has asked for.
#[must_use]
pub fn wish_is_fresh() -> bool {
    let asked = *ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    asked.is_some_and(|asked| asked.elapsed() < WISHED)
}

/// One viewer of one channel.
#[derive(Clone)]
pub struct Viewer {
    client: Client,
    master: Url,
}

/// What one look at a media playlist showed.
#[derive(Debug, Clone)]
pub struct Look {
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// Discontinuity tags in the list.
    pub discontinuities: usize,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// Addresses of the segments, oldest first.
    pub segments: Vec<Url>,
    /// The playlist itself.
    pub text: String,
}

impl Look {
    /// The number after the last listed one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.media_sequence + self.segments.len() as u64
    }
}

impl Viewer {
    /// A viewer of the channel at that gateway.
    ///
    /// # Panics
    /// When the gateway's address is none.
    #[must_use]
    pub fn new(gateway: &str, channel: &str, token: Option<&str>) -> Self {
        let query = token
            .map(|token| format!("?token={token}"))
            .unwrap_or_default();
        let master = Url::parse(&format!("{gateway}/live/{channel}/master.m3u8{query}"))
            .expect("a gateway has an address");
        testkit::tls::choose_provider();
        let client = Client::builder()
            .timeout(REQUEST)
            .user_agent("headend-e2e")
            .no_proxy()
            .build()
            .expect("a client without TLS");
        Self { client, master }
    }

    /// The master playlist's address, with the token.
    #[must_use]
    pub fn master_url(&self) -> &Url {
        &self.master
    }

    /// The answer to the request for the master playlist.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn master(&self) -> Result<Response> {
        self.ask(&self.master).await
    }

    /// The addresses of the media playlists, in the master's order.
    ///
    /// # Errors
    /// When the master is refused; the error has status and body.
    pub async fn variants(&self) -> Result<Vec<Url>> {
        let answer = self.master().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(
            status == StatusCode::OK,
            "the master was answered {status}: {text}"
        );
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines
            .map(|line| self.master.join(line).context("a variant's address"))
            .collect()
    }

    /// One look at a media playlist.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn look(&self, playlist: &Url) -> Result<Look> {
        let answer = self.ask(playlist).await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(
            status == StatusCode::OK,
            "the playlist was answered {status}: {text}"
        );
        let tag = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
        };
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        Ok(Look {
            media_sequence: tag("#EXT-X-MEDIA-SEQUENCE:").context("no media sequence")?,
            discontinuities: text
                .lines()
                .filter(|line| *line == "#EXT-X-DISCONTINUITY")
                .count(),
            discontinuity_sequence: tag("#EXT-X-DISCONTINUITY-SEQUENCE:").unwrap_or(0),
            segments: lines
                .map(|line| playlist.join(line).context("a segment's address"))
                .collect::<Result<_>>()?,
            text,
        })
    }

    /// The answer to the request for a playlist.
    async fn ask(&self, playlist: &Url) -> Result<Response> {
        let answer = self.client.get(playlist.clone()).send().await;
        *ASKED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(answer?)
    }

    /// The bytes of a segment.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn segment(&self, address: &Url) -> Result<Bytes> {
        let answer = self.client.get(address.clone()).send().await?;
        let status = answer.status();
        if status != StatusCode::OK {
            bail!("segment {address} was answered {status}");
        }
        Ok(answer.bytes().await?)
    }

    /// Starts: master, then the first media playlist that lists a segment, then that segment. Returns the media playlist's address.
    ///
    /// # Errors
    /// When the stream is not playable within `limit`.
    pub async fn start(&self, limit: Duration) -> Result<Url> {
        until(&format!("play {}", self.master.path()), limit, || async {
            let playlist = self
                .variants()
                .await?
                .first()
                .cloned()
                .context("the master lists nothing")?;
            let look = self.look(&playlist).await?;
            let Some(segment) = look.segments.last() else {
                return Ok(Seen::NotYet("an empty playlist".to_owned()));
            };
            self.segment(segment).await?;
            Ok(Seen::Yes(playlist))
        })
        .await
    }

    /// Plays until `count` further segments have been fetched, each once.
    ///
    /// # Errors
    /// When they do not come within `limit`, or one cannot be had.
    pub async fn play(&self, playlist: &Url, count: usize, limit: Duration) -> Result<Look> {
        let mut seen: BTreeSet<Url> = self.look(playlist).await?.segments.into_iter().collect();
        let goal = seen.len() + count;
        let end = tokio::time::Instant::now() + limit;
        loop {
            let look = self.look(playlist).await?;
            for segment in &look.segments {
                if seen.insert(segment.clone()) {
                    self.segment(segment).await?;
                }
            }
            if seen.len() >= goal {
                return Ok(look);
            }
            ensure!(
                tokio::time::Instant::now() < end,
                "only {} of {goal} segments came in time",
                seen.len()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
