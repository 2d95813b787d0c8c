//! Short texts that the gateways of a release leave each other, for some days: a second port of the same stores. Whoever loses them waits
//! longer once, and nothing else; nothing may depend on them.

use std::time::Duration;

use async_trait::async_trait;

use crate::PresenceError;

/// How long a text is kept that nobody leaves again.
pub const NOTE_TIME_TO_LIVE: Duration = Duration::from_hours(7 * 24);

/// Bytes of a text at most; what is longer is not kept.
pub const NOTE_MAXIMUM: usize = 8 * 1024;

/// The port. Bounded in time; `name` is one of a bounded set, such as a channel's slug.
#[async_trait]
pub trait Notes: Send + Sync {
    /// Keeps a text under a name, instead of the one before.
    async fn note(&self, name: &str, text: &str) -> Result<(), PresenceError>;

    /// The text under a name.
    async fn recall(&self, name: &str) -> Result<Option<String>, PresenceError>;
}
