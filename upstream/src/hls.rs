//! A source that is an HLS playlist (RFC 8216), as the bytes of its segments in their order. Every address that a playlist
//! names is asked for under the same policy, limits and headers as the source itself.

mod cipher;
mod fetch;
mod follow;
mod lane;
mod run;
mod segment;
mod select;
mod site;
mod turn;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::failure::SourceFailure;
use crate::input::{Piece, Wish};
use crate::redirect;
use crate::source::{Opener, SourceRequest};

pub(crate) use fetch::whole;

/// Pieces that are read ahead at most: with the size of each, what an open source takes of memory.
const AHEAD: usize = 64;

/// A playlist, and where it came from. Not to be shown: its address carries logins.
pub(crate) struct Loaded {
    pub(crate) url: Url,
    pub(crate) text: Bytes,
}

/// The bytes of an HLS source. Dropping it ends whatever is fetched for it.
#[derive(Debug)]
pub(crate) struct HlsStream {
    origin: String,
    pieces: mpsc::Receiver<Result<Piece, SourceFailure>>,
    _fetching: AbortOnDropHandle<()>,
}

impl HlsStream {
    /// Follows a playlist whose first copy is there. What it names is asked for over connections that are kept for that.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub(crate) fn start(
        opener: &Opener,
        request: SourceRequest,
        wish: Wish,
        first: Loaded,
    ) -> Result<Self, SourceFailure> {
        let (out, pieces) = mpsc::channel(AHEAD);
        let origin = redirect::origin(&first.url);
        let run = run::Fetching::new(opener.keeping()?, request, wish, out);
        let fetching = tokio::spawn(run.run(first));
        Ok(Self {
            origin,
            pieces,
            _fetching: AbortOnDropHandle::new(fetching),
        })
    }

    /// What comes next. May be cancelled.
    pub(crate) async fn next(&mut self) -> Result<Piece, SourceFailure> {
        let ended = || SourceFailure::EndOfStream {
            origin: self.origin.clone(),
            detail: None,
        };
        self.pieces.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

#[cfg(test)]
mod tests;
