//! Places: which sessions of a user are in use, counted over all gateways, so that a limit holds wherever the requests go. A third port of
//! the same stores, with the same adapters. Knows nothing of why a user has a limit.
//!
//! A place is a user's client at a channel; the sessions that a player begins there one after the other share it. A gateway claims
//! it once, at its first media playlist, and says when it is no longer in use; in between nothing is said: it counts while that gateway
//! tells who is watching ([`crate::Presence::flush`]), at the longest for [`PLACE_TIME_TO_LIVE`].
//!
//! Where no place is free, one that the same client has at another channel is taken over (it zapped); else the user's
//! [`OverLimit`] decides. Sessions of a place that was taken never get it back: they began before that, and are told so.
//! Every step may be repeated.

use std::time::Duration;

use async_trait::async_trait;

use crate::{PresenceError, StoreTime};

/// How long a place counts at the longest, and how long it is remembered that its sessions were ended: longer than a session lives.
pub const PLACE_TIME_TO_LIVE: Duration = Duration::from_hours(25);

/// How long [`Places::settle`] tells of a place that was taken. A gateway that asks less often has its places claimed anew.
pub const ENDED_TIME_TO_LIVE: Duration = Duration::from_mins(10);

/// A user's client at a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Id of the user.
    pub user: String,
    /// Where the viewer comes from, as a gateway tells clients apart.
    pub client: [u8; 8],
    /// Slug of the channel: a DNS label.
    pub channel: String,
}

/// A place, and when the last session there began, in Unix seconds by the clocks of the gateways.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// The place.
    pub place: Place,
    /// Of the last session that claimed it.
    pub issued_at: u64,
}

/// How many places a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So many; any number when absent.
    pub places: Option<u32>,
    /// What happens to one more.
    pub over: OverLimit,
}

/// What happens to a session that would be one too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the place that has been in use the longest.
    NewestWins,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The place is the session's.
    Taken {
        /// Whose sessions have ended for it.
        ended: Option<Held>,
    },
    /// So many are in use, and no more may be.
    Refused {
        /// How many.
        in_use: u32,
    },
    /// The session's place was taken after it began.
    Ended,
}

/// What a gateway says of a place that it claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is no longer in use here.
    Left(Place),
    /// It is in use, and the store may have lost it. Never refused: nobody is sent away because a store was.
    Kept(Held),
}

/// The answer to [`Places::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The store's clock at the answer: what to give as `since` the next time.
    pub now: StoreTime,
    /// Places that were taken since then, here or elsewhere, and those that were kept in vain.
    pub ended: Vec<Held>,
}

/// The port. Every method is one atomic step in the store and bounded in time.
#[async_trait]
pub trait Places: Send + Sync {
    /// Claims a place for a session of this gateway.
    async fn claim(
        &self,
        gateway: &str,
        session: &Held,
        limit: Limit,
    ) -> Result<Claimed, PresenceError>;

    /// Says what became of places that this gateway claimed, and hears which ones were taken since.
    async fn settle(
        &self,
        gateway: &str,
        since: StoreTime,
        changes: &[Change],
    ) -> Result<Settled, PresenceError>;
}
