//! Channels, groups and users behind one port. Readers hold an immutable [`Snapshot`], so that no request ever waits for a store;
//! adapters replace it as a whole. What is here never knows who watches, and never holds a token, only its keyed hash.

mod check;
pub mod draft;
pub mod embedded;
pub mod fetch;
pub mod files;
pub mod model;
pub mod redis;
pub mod row;
pub mod slug;
pub mod snapshot;
pub mod store;
pub mod token;
pub mod transfer;

use std::sync::Arc;

use tokio::sync::watch;

pub use model::{Allowed, Channel, ChannelSource, Group, SourceAddress, User, UserToken};
pub use row::{Row, RowKey};
pub use snapshot::Snapshot;
pub use token::{TokenHash, TokenKey, TokenTag};

/// The port. Reading is free of I/O and never fails: a store that is away or wrong leaves the last good snapshot.
pub trait Catalog: Send + Sync {
    /// What the catalog says now.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Grows by one with each new snapshot.
    fn versions(&self) -> watch::Receiver<u64>;
}
