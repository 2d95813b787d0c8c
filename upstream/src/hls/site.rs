//! What everything that is fetched of one source has in common: by what it is asked for, and who is handed it.

use std::time::Duration;

use iptv::hls::BYTES_MAXIMUM;
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::Loaded;
use super::fetch::{derived, whole};
use crate::failure::SourceFailure;
use crate::input::Piece;
use crate::redirect;
use crate::source::{Opener, SourceRequest};

/// The source.
pub(super) struct Site {
    pub(super) opener: Opener,
    /// Its own address.
    pub(super) source: SourceRequest,
    pub(super) out: mpsc::Sender<Result<Piece, SourceFailure>>,
    pub(super) started: Instant,
}

impl Site {
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The playlist at an address.
    pub(super) async fn load(&self, url: Url, patience: Duration) -> Result<Loaded, SourceFailure> {
        let request = derived(&self.source, url);
        whole(&self.opener, &request, BYTES_MAXIMUM, patience).await
    }

    pub(super) async fn hand_on(&self, piece: Piece) -> Result<(), SourceFailure> {
        let nobody = |_| SourceFailure::EndOfStream {
            origin: redirect::origin(&self.source.url),
            detail: None,
        };
        self.out.send(Ok(piece)).await.map_err(nobody)
    }
}
