//! The one connection to a source that an attempt has: opened after a delay, read until it fails, closed when told.
//! Decides nothing: which source is next, and when, is said from outside.

mod request;

use std::time::Duration;

use api::job::JobSource;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use upstream::failure::SourceFailure;
use upstream::input::{Pace, Piece};
use upstream::milestones::Reached;
use upstream::provider::Playing;
use upstream::source::Opener;

use crate::metrics::StreamMetrics;

/// Sockets are ours to close, so they are gone at once; this only bounds what should not be.
const CLOSING: Duration = Duration::from_secs(2);

/// What happens to the connection.
#[derive(Debug)]
pub(crate) enum SourceEvent {
    /// It answered and its stream follows.
    Opened,
    /// What follows comes in segments.
    Paced(Pace),
    /// The next bytes.
    Bytes(Bytes),
    /// It failed, and is closed.
    Failed(SourceFailure),
}

impl From<Piece> for SourceEvent {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Bytes(bytes) => Self::Bytes(bytes),
            Piece::Pace(pace) => Self::Paced(pace),
        }
    }
}

/// Goes on whether anybody looks at it or not: the answer is on its way while everything else is made.
type Opening = AbortOnDropHandle<Result<Playing, SourceFailure>>;

enum State {
    Closed,
    Opening(Opening),
    Open(Box<Playing>),
}

/// The connection.
pub(crate) struct Source {
    opener: Opener,
    /// Lines of the highest picture that is shown, where that is not the source's own.
    enough: Option<u32>,
    metrics: StreamMetrics,
    state: State,
}

impl Source {
    /// No connection yet. What a source does not say itself is as the opener has it. A source that offers several qualities need
    /// not have more than `enough` lines.
    pub(crate) fn new(opener: Opener, enough: Option<u32>, metrics: StreamMetrics) -> Self {
        Self {
            opener,
            enough,
            metrics,
            state: State::Closed,
        }
    }

    /// Closes what is open and connects to a source after a delay. Always from its own address: what that was resolved to, over
    /// redirects and with tokens, serves one connection (or the reloads of one playlist) and is kept nowhere, as no two streams
    /// of a process share it.
    pub(crate) fn connect(&mut self, source: &JobSource, delay: Duration) {
        self.close();
        let (opener, enough) = (self.opener.clone(), self.enough);
        let source = source.clone();
        let start = Instant::now() + delay;
        let opening = async move {
            if !delay.is_zero() {
                sleep_until(start).await;
            }
            // A provider counts connections: the one before must be gone.
            closed(&opener).await;
            opener.sockets().allow();
            opener.milestones().begin();
            // Read each time: a mounted Secret may have been changed since.
            let target = request::of(&source).await?;
            let opener = opener.under(request::terms(&source, opener.terms()))?;
            Playing::open(&opener, target, enough).await
        };
        let opening = tokio::spawn(opening.in_current_span());
        self.state = State::Opening(AbortOnDropHandle::new(opening));
    }

    /// How far the connection has come, and when.
    pub(crate) fn reached(&self) -> Reached {
        self.opener.milestones().reached()
    }

    /// Closes the connection, whatever it is doing. Its sockets are gone when [`Source::closed`] says so.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.opener.sockets().end();
    }

    /// Waits until no socket of a closed connection is left, in bounded time.
    pub(crate) async fn closed(&self) {
        closed(&self.opener).await;
    }

    /// What happens next; nothing does while it is closed. May be cancelled.
    pub(crate) async fn next(&mut self) -> SourceEvent {
        let outcome = match &mut self.state {
            State::Closed => std::future::pending().await,
            State::Open(playing) => playing.next().await.map(SourceEvent::from),
            State::Opening(opening) => match opening.await {
                Ok(Ok(playing)) => {
                    self.metrics.source_resolved(true);
                    self.state = State::Open(Box::new(playing));
                    Ok(SourceEvent::Opened)
                }
                Ok(Err(failure)) => {
                    self.metrics.source_resolved(false);
                    Err(failure)
                }
                Err(broken) => Err(SourceFailure::InvalidRequest {
                    detail: broken.to_string(),
                }),
            },
        };
        outcome.unwrap_or_else(|failure| {
            self.close();
            SourceEvent::Failed(failure)
        })
    }
}

async fn closed(opener: &Opener) {
    if timeout(CLOSING, opener.sockets().none_left())
        .await
        .is_err()
    {
        tracing::warn!("a socket to the source is still open");
    }
}
