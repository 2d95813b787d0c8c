//! Who is watching what: touch, count and fence, behind one port with two adapters (Redis, in-memory). The same adapters count the
//! places of users who may watch in so many ([`places`]), keep notes ([`notes`]) and what gateways report ([`reports`]).
//! Keys are per LiveStream *uid*. This crate never talks to Kubernetes and never decides that a stream is idle:
//! the operator (or standalone) asks, with the rules of the fence below.
//!
//! The fence, step by step: a collector calls [`Presence::begin_close`]; waits until every gateway has told what it gathered
//! after the moment it returned; calls [`Presence::seal`] with that moment; only a sealed (`closed`) stream may be deleted or scaled to zero.
//! A touch that arrives in between re-opens a `closing` fence, and a touch of a `closed` stream is told so ([`FlushOutcome::closed`]).
//! Every step may be repeated: an answer that was lost, or a collector that died between two steps, changes nothing.

pub mod memory;
pub mod notes;
pub mod places;
pub mod redis;
pub mod reports;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

/// How long a `closing` fence stands without being sealed.
pub const CLOSING_TIME_TO_LIVE: Duration = Duration::from_mins(10);

/// How long a `closed` fence stands without being opened or forgotten; by then its collector has acted or started over.
pub const CLOSED_TIME_TO_LIVE: Duration = Duration::from_hours(24);

/// A gateway that has not flushed for this long no longer counts viewers.
pub const GATEWAY_STALE_AFTER: Duration = Duration::from_secs(15);

/// How long the store remembers a touch, and a gateway, that nobody repeats. An idle timeout must be shorter.
pub const RETENTION: Duration = Duration::from_hours(31 * 24);

/// A moment on the store's own clock, in milliseconds since the Unix epoch. Only compared with other moments of the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTime(pub u64);

impl StoreTime {
    /// The moment so much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(span)))
    }
}

/// What one gateway knows of one stream at a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The LiveStream's uid.
    pub stream_uid: String,
    /// How long ago the last request for it was, on the gateway's monotonic clock.
    pub age: Duration,
    /// Viewers (sessions in use) this gateway counts for it now.
    pub viewers: u32,
}

/// The answer to a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushOutcome {
    /// The store's clock at the answer: what is gathered after it has come was gathered later than that.
    pub now: StoreTime,
    /// Touched streams that are already `closed`: the gateway must ensure them anew (they are going away or at zero).
    pub closed: Vec<String>,
}

/// Where the fence of a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// No collection under way.
    Open,
    /// A collector found it idle at this moment and waits for the gateways.
    Closing {
        /// When the fence was set, on the store's clock.
        since: StoreTime,
    },
    /// Sealed: may be collected. Ends by [`Presence::open`] when the stream is woken again.
    Closed {
        /// When the fence that was sealed was set, on the store's clock.
        since: StoreTime,
    },
}

/// What the store knows of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPresence {
    /// The store's clock at the answer.
    pub now: StoreTime,
    /// The last touch; `None` when the store has no entry (emptied, or never watched).
    pub last: Option<StoreTime>,
    /// The fence.
    pub fence: Fence,
    /// Sum of the viewers that gateways reported in their last flush, stale gateways ([`GATEWAY_STALE_AFTER`]) left out.
    pub viewers: u32,
}

/// The answer to [`Presence::begin_close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseStart {
    /// Idle long enough: the fence is `closing` since then.
    Closing {
        /// When the fence was set, on the store's clock; an earlier moment when it stood already.
        since: StoreTime,
    },
    /// Touched too recently; ask again after this long.
    InUse {
        /// Until the idle timeout would be reached without further touches.
        remaining: Duration,
    },
    /// The store had no entry: it now counts as touched at the answer's moment.
    Adopted,
}

/// Why the store could not answer. Never means that nobody watches.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The store cannot be reached or answered with an error.
    #[error("failed to {operation} in the presence store at {address}: {reason}")]
    Store {
        /// What was tried, for example "flush touches".
        operation: &'static str,
        /// Host and port, without credentials.
        address: String,
        /// The cause.
        reason: String,
    },
}

/// The port. Every method is one atomic step in the store, bounded in time, and may be repeated.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Records what this gateway saw, also when nothing is dirty (an empty flush still says "I am here and up to date").
    /// `touches` are the streams requested since the last flush and all that have viewers: a stream left out counts none of this gateway.
    /// `gathered` is a moment before they were gathered: by an earlier answer of the store, plus the time since. What arrives late says
    /// nothing of what was seen meanwhile. (A moment to come counts as now.)
    /// Stores `last = now − age` unless a later one is there, re-opens a `closing` fence it touches, records `flushed[gateway] = gathered`.
    async fn flush(
        &self,
        gateway: &str,
        touches: &[Touch],
        gathered: StoreTime,
    ) -> Result<FlushOutcome, PresenceError>;

    /// Reads one stream.
    async fn stream(&self, stream_uid: &str) -> Result<StreamPresence, PresenceError>;

    /// Step 1: fences the stream as `closing` (see [`CLOSING_TIME_TO_LIVE`]) if its last touch is at least `idle_timeout` ago.
    /// A stream without an entry counts as touched now. A fence that stands already, `closed` included, stays as it is.
    async fn begin_close(
        &self,
        stream_uid: &str,
        idle_timeout: Duration,
    ) -> Result<CloseStart, PresenceError>;

    /// Step 2: when each gateway gathered what it told last, by gateway name, on the store's clock; with the store's now.
    async fn flushes(&self) -> Result<(StoreTime, BTreeMap<String, StoreTime>), PresenceError>;

    /// Step 3: turns the fence that is `closing` since this very moment into `closed`; true as well when that is done already. False when
    /// it is open (a viewer came back), or was opened and set anew: of that one nobody knows yet what the gateways say.
    async fn seal(&self, stream_uid: &str, since: StoreTime) -> Result<bool, PresenceError>;

    /// Opens the fence (the stream is woken again, or stays for another reason) and counts it as touched now, if it still stands as it was
    /// seen: one that somebody has set or sealed since is not meant.
    async fn open(&self, stream_uid: &str, seen: Fence) -> Result<(), PresenceError>;

    /// Drops all that is known of the stream: its LiveStream is gone.
    async fn forget(&self, stream_uid: &str) -> Result<(), PresenceError>;
}

/// A span on the store's clock; spans no clock can hold are the longest there is.
fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
