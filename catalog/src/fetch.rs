//! Fetches a channel list from a web address, whole and bounded. Keeps nothing and reads nothing out of it.

use std::time::Duration;

use tokio::time::timeout;
use upstream::failure::SourceFailure;
use upstream::source::{Opener, Patience, SourceRequest};
use url::Url;

pub use upstream::egress::EgressPolicy;

/// Bytes of a list at most.
const LIST_MAXIMUM: usize = 64 * 1024 * 1024;

/// How long everything together may take.
const LIMIT: Duration = Duration::from_mins(2);

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    // Panels put a list together only when it is asked for.
    first_byte: Duration::from_mins(1),
    silence: Duration::from_secs(20),
};

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address does not deliver.
    #[error("failed to fetch the channel list: {0}")]
    Source(#[source] SourceFailure),
    /// There is more than anybody's list has.
    #[error("failed to fetch the channel list: it has more than {LIST_MAXIMUM} bytes")]
    TooLong,
    /// It comes too slowly.
    #[error("failed to fetch the channel list: it took more than {LIMIT:?}")]
    TooSlow,
}

/// The list at an address.
///
/// # Errors
/// When the address does not deliver a list of bounded size in bounded time.
pub async fn channel_list(url: Url, policy: EgressPolicy) -> Result<Vec<u8>, FetchError> {
    timeout(LIMIT, read(url, policy))
        .await
        .unwrap_or(Err(FetchError::TooSlow))
}

async fn read(url: Url, policy: EgressPolicy) -> Result<Vec<u8>, FetchError> {
    let request = SourceRequest {
        url,
        user_agent: None,
        headers: Vec::new(),
    };
    let opener = Opener::new(policy, PATIENCE).map_err(FetchError::Source)?;
    let mut source = opener.open(&request).await.map_err(FetchError::Source)?;
    let mut list = Vec::new();
    loop {
        match source.next().await {
            Ok(bytes) if list.len() + bytes.len() > LIST_MAXIMUM => {
                return Err(FetchError::TooLong);
            }
            Ok(bytes) => list.extend_from_slice(&bytes),
            // What is a failure of a live source is the end of a list.
            Err(SourceFailure::EndOfStream { detail: None, .. }) => return Ok(list),
            Err(failure) => return Err(FetchError::Source(failure)),
        }
    }
}
