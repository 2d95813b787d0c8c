//! Asks for what playlists name: whole for playlists and keys, piece by piece for segments. All of it bounded in bytes and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iptv::hls::{ByteRange, MediaPlaylist, Playlist, parse};
use tokio::time::{Instant, timeout};
use url::Url;

use super::Loaded;
use crate::failure::SourceFailure;
use crate::redirect;
use crate::source::{Opener, SourceRequest, SourceStream};

/// Bytes of a segment at most: ten seconds of more than any channel has.
const SEGMENT_MAXIMUM: u64 = 128 << 20;

/// What of the waiting for others is still allowed; the time that we let them wait does not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: Duration,
    given: Duration,
}

impl Budget {
    pub(super) fn new(given: Duration) -> Self {
        Self { left: given, given }
    }

    /// All that was allowed.
    pub(super) fn given(self) -> Duration {
        self.given
    }

    pub(super) fn is_spent(self) -> bool {
        self.left.is_zero()
    }

    /// Waits for an answer of an origin.
    pub(super) async fn wait<T>(
        &mut self,
        origin: &str,
        answer: impl Future<Output = Result<T, SourceFailure>>,
    ) -> Result<T, SourceFailure> {
        let started = Instant::now();
        let answer = timeout(self.left, answer).await;
        self.left = self.left.saturating_sub(started.elapsed());
        answer.unwrap_or_else(|_| {
            self.left = Duration::ZERO;
            Err(SourceFailure::Silent {
                origin: origin.to_owned(),
                waited: self.given,
            })
        })
    }
}

/// What is wrong with what an address delivers.
pub(super) fn bad(url: &Url, detail: impl Into<String>) -> SourceFailure {
    SourceFailure::BadAnswer {
        origin: redirect::origin(url),
        detail: detail.into(),
    }
}

/// What cannot be played, of what an address delivers.
pub(super) fn unsupported(url: &Url, what: &impl ToString) -> SourceFailure {
    SourceFailure::Unsupported {
        origin: redirect::origin(url),
        detail: what.to_string(),
    }
}

/// The playlist that was loaded.
pub(super) fn read(loaded: &Loaded) -> Result<Playlist, SourceFailure> {
    parse(&loaded.text).map_err(|error| bad(&loaded.url, error.to_string()))
}

/// The playlist that was loaded, where it must be one of segments.
pub(super) fn read_media(loaded: &Loaded) -> Result<MediaPlaylist, SourceFailure> {
    match read(loaded)? {
        Playlist::Media(list) => Ok(list),
        Playlist::Master(_) => Err(bad(&loaded.url, "a master playlist names another one")),
    }
}

/// Trying again without a change is of no use.
pub(super) fn is_final(failure: &SourceFailure) -> bool {
    matches!(
        failure,
        SourceFailure::EgressRefused { .. }
            | SourceFailure::InvalidRequest { .. }
            | SourceFailure::Unsupported { .. }
    )
}

/// The address may have been good for a time only.
pub(super) fn is_refusal(failure: &SourceFailure) -> bool {
    matches!(
        failure,
        SourceFailure::HttpStatus {
            status: 401 | 403 | 404 | 410,
            ..
        }
    )
}

/// The address that a playlist names.
pub(super) fn address(base: &Url, uri: &str) -> Result<Url, SourceFailure> {
    match base.join(uri) {
        Ok(url) if redirect::is_http(&url) => Ok(url),
        Ok(url) => {
            let scheme = url.scheme();
            let detail = format!("its playlist names an address of scheme {scheme:?}");
            Err(bad(base, detail))
        }
        Err(error) => {
            let detail = format!("its playlist names an unusable address ({error})");
            Err(bad(base, detail))
        }
    }
}

/// The request for an address that a playlist of this source names: what belongs to the source's origin stays with it.
pub(super) fn derived(source: &SourceRequest, url: Url) -> SourceRequest {
    let stays = url.origin() == source.url.origin();
    let is_credential = |name: &str| {
        let credentials = redirect::CREDENTIALS.iter();
        credentials
            .clone()
            .any(|one| one.as_str().eq_ignore_ascii_case(name))
    };
    let headers = source.headers.iter();
    SourceRequest {
        url,
        user_agent: source.user_agent.clone(),
        headers: headers
            .filter(|(name, _)| stays || !is_credential(name))
            .cloned()
            .collect(),
    }
}

/// All that an address delivers.
pub(crate) async fn whole(
    opener: &Opener,
    request: &SourceRequest,
    maximum: usize,
    patience: Duration,
) -> Result<Loaded, SourceFailure> {
    let reading = async {
        let mut stream = opener.open(request).await?;
        let mut text = BytesMut::new();
        loop {
            match stream.next().await {
                Ok(bytes) => text.extend_from_slice(&bytes),
                Err(SourceFailure::EndOfStream { detail: None, .. }) => break,
                Err(failure) => return Err(failure),
            }
            if text.len() > maximum {
                return Err(bad(
                    &stream.url,
                    format!("it is longer than {maximum} bytes"),
                ));
            }
        }
        Ok(Loaded {
            url: stream.url.clone(),
            text: text.freeze(),
        })
    };
    let origin = redirect::origin(&request.url);
    Budget::new(patience).wait(&origin, reading).await
}

/// The bytes of one segment as they come.
pub(super) struct Body {
    stream: SourceStream,
    /// Bytes before it, where the server sends more than was asked for.
    skip: u64,
    /// Bytes that may still come, and whether they must.
    left: u64,
    is_exact: bool,
}

impl Body {
    pub(super) async fn open(
        opener: &Opener,
        mut request: SourceRequest,
        range: Option<ByteRange>,
        budget: &mut Budget,
    ) -> Result<Self, SourceFailure> {
        if let Some(ByteRange { offset, length }) = range {
            let value = format!("bytes={offset}-{}", offset + (length - 1));
            request.headers.push(("range".to_owned(), value));
        }
        let origin = redirect::origin(&request.url);
        let stream = budget.wait(&origin, opener.open(&request)).await?;
        Ok(Self {
            skip: match range {
                Some(range) if !stream.is_part => range.offset,
                _ => 0,
            },
            left: range.map_or(SEGMENT_MAXIMUM, |range| range.length),
            is_exact: range.is_some(),
            stream,
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.stream.url
    }

    /// The next bytes, which may be none; `None` at the end.
    pub(super) async fn next(
        &mut self,
        budget: &mut Budget,
    ) -> Result<Option<Bytes>, SourceFailure> {
        if self.is_exact && self.left == 0 {
            return Ok(None);
        }
        let origin = self.stream.origin().to_owned();
        let mut bytes = match budget.wait(&origin, self.stream.next()).await {
            Ok(bytes) => bytes,
            Err(SourceFailure::EndOfStream { detail: None, .. }) if !self.is_exact => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let before = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.skip -= before as u64;
        drop(bytes.split_to(before));
        if bytes.len() as u64 > self.left {
            if !self.is_exact {
                return Err(bad(
                    self.url(),
                    format!("a segment is longer than {SEGMENT_MAXIMUM} bytes"),
                ));
            }
            bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}
