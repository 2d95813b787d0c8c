//! The one connection to a source that an attempt has: opened after a delay, read until it fails, closed when told.
//! Decides nothing: which source is next, and when, is said from outside.

mod adapter;
mod child;
mod file;
mod remux;
mod request;
mod wish;
mod words;

use std::time::Duration;

use api::job::JobSource;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument;
use upstream::failure::SourceFailure;
use upstream::foreign::{self, Protocol};
use upstream::input::{Pace, Wish};
use upstream::milestones::Reached;
use upstream::provider::{Playing, Target};
use upstream::source::Opener;

use crate::metrics::StreamMetrics;
use crate::sandbox::Launcher;
use adapter::Adapter;
use remux::Remux;
use request::Wanted;

pub(crate) use file::Files;
pub(crate) use wish::wish;

/// Sockets are ours to close, so they are gone at once, and a process is killed after a second; this only bounds what should not be.
const CLOSING: Duration = Duration::from_secs(3);

/// What happens to the connection.
#[derive(Debug)]
pub(crate) enum SourceEvent {
    /// It answered and its stream follows.
    Opened,
    /// The times of what follows begin with the connection.
    OwnTimes,
    /// What follows is there as soon as it is read.
    AtWill,
    /// What follows comes in segments.
    Paced(Pace),
    /// The next bytes.
    Bytes(Bytes),
    /// It failed, and is closed.
    Failed(SourceFailure),
}

/// Goes on whether anybody looks at it or not: the answer is on its way while everything else is made.
type Opening = AbortOnDropHandle<Result<Open, SourceFailure>>;

enum State {
    Closed,
    Opening(Opening),
    Open(Open),
}

/// A source that delivers.
enum Open {
    /// Over HTTP, read by us.
    Playing(Box<Remux>),
    /// Over anything else, or a file: read by FFmpeg.
    Adapter(Box<Adapter>),
}

impl Open {
    async fn next(&mut self) -> Result<SourceEvent, SourceFailure> {
        match self {
            Self::Playing(playing) => playing.next().await,
            Self::Adapter(adapter) => adapter.next().await,
        }
    }
}

/// By what sources are opened, and which.
#[derive(Clone)]
pub(crate) struct Means {
    /// Opens what is asked by HTTP. What a source does not say itself is as the opener has it.
    pub(crate) opener: Opener,
    /// Starts the FFmpeg that opens anything else.
    pub(crate) launcher: Launcher,
    /// Sources may be opened by FFmpeg, unless they say themselves whether.
    pub(crate) allow_unpinned: bool,
    /// The files that sources may be.
    pub(crate) files: Files,
    /// What is wanted of what sources may offer: of several qualities none that has more lines than are shown.
    pub(crate) wish: Wish,
    /// The stream's figures.
    pub(crate) metrics: StreamMetrics,
}

impl Means {
    async fn open(
        &self,
        source: &JobSource,
        processes: &TaskTracker,
    ) -> Result<Open, SourceFailure> {
        // A provider counts connections: the one before must be gone.
        closed(&self.opener, processes).await;
        self.opener.sockets().allow();
        self.opener.milestones().begin();
        // Read each time: a mounted Secret may have been changed since.
        let wanted = request::of(source).await?;
        let terms = request::terms(source, self.opener.terms()).await?;
        let target = match wanted {
            Wanted::Target(target) => *target,
            Wanted::File(path) => {
                let (launcher, milestones) = (&self.launcher, self.opener.milestones());
                let opening =
                    self.files
                        .open(&path, launcher, terms.patience, milestones, processes);
                return Ok(Open::Adapter(Box::new(opening.await?)));
            }
        };
        if let Target::Address(request) = &target
            && let Some(protocol) = Protocol::of(&request.url)
        {
            let own = source.egress.map(|egress| egress.allow_unpinned);
            let allowed = own.unwrap_or(self.allow_unpinned);
            let patience = terms.patience;
            let (url, milestones) = (&request.url, self.opener.milestones());
            foreign::admit(terms, allowed, protocol, url, milestones).await?;
            let start = adapter::connecting(&self.launcher, protocol, url, milestones);
            let adapter = Adapter::open(start, foreign::origin(url), patience, processes).await?;
            return Ok(Open::Adapter(Box::new(adapter)));
        }
        let opener = self.opener.under(terms)?;
        let playing = Playing::open(&opener, target, &self.wish).await?;
        let whole = Remux::new(playing, &self.launcher, processes);
        Ok(Open::Playing(Box::new(whole)))
    }
}

/// The connection.
pub(crate) struct Source {
    means: Means,
    /// The processes that have not ended yet.
    processes: TaskTracker,
    state: State,
}

impl Source {
    /// No connection yet.
    pub(crate) fn new(means: Means) -> Self {
        let processes = TaskTracker::new();
        // Then it can be waited for; there may be more of them after that all the same.
        processes.close();
        Self {
            means,
            processes,
            state: State::Closed,
        }
    }

    /// Closes what is open and connects to a source after a delay. Always from its own address: what that was resolved to, over
    /// redirects and with tokens, serves one connection (or the reloads of one playlist) and is kept nowhere, as no two streams
    /// of a process share it.
    pub(crate) fn connect(&mut self, source: &JobSource, delay: Duration) {
        self.close();
        let (means, processes) = (self.means.clone(), self.processes.clone());
        let source = source.clone();
        let start = Instant::now() + delay;
        let opening = async move {
            if !delay.is_zero() {
                sleep_until(start).await;
            }
            means.open(&source, &processes).await
        };
        let opening = tokio::spawn(opening.in_current_span());
        self.state = State::Opening(AbortOnDropHandle::new(opening));
    }

    /// How far the connection has come, and when.
    pub(crate) fn reached(&self) -> Reached {
        self.means.opener.milestones().reached()
    }

    /// Closes the connection, whatever it is doing. Its sockets are gone when [`Source::closed`] says so.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.means.opener.sockets().end();
    }

    /// Whether there is a connection, or one on its way.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// Waits until no socket and no process of a closed connection is left, in bounded time.
    pub(crate) async fn closed(&self) {
        closed(&self.means.opener, &self.processes).await;
    }

    /// What happens next; nothing does while it is closed. May be cancelled.
    pub(crate) async fn next(&mut self) -> SourceEvent {
        let outcome = match &mut self.state {
            State::Closed => std::future::pending().await,
            State::Open(open) => open.next().await,
            State::Opening(opening) => match opening.await {
                Ok(Ok(open)) => {
                    self.means.metrics.source_resolved(true);
                    self.state = State::Open(open);
                    Ok(SourceEvent::Opened)
                }
                Ok(Err(failure)) => {
                    self.means.metrics.source_resolved(false);
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

async fn closed(opener: &Opener, processes: &TaskTracker) {
    let closing = async { tokio::join!(opener.sockets().none_left(), processes.wait()) };
    if timeout(CLOSING, closing).await.is_err() {
        tracing::warn!("a socket or a process of the source is still there");
    }
}
