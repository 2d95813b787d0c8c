//! What a panel in front of this source needs of it: its channels, and their streams as one client each.

use std::io;

use axum::http::StatusCode;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::watch;

use super::client::Client;
use super::faults::Faults;
use super::http::find;

pub(crate) use super::http::Channels;

/// The stream of a channel, with the channel's own faults.
pub(crate) async fn stream_of(
    channels: watch::Receiver<Option<Channels>>,
    name: &str,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, StatusCode> {
    let channel = find(channels, name).await?;
    channel.count_request(None);
    let counted = channel.count_client(None).ok_or(StatusCode::FORBIDDEN)?;
    Ok(Client::new(channel, counted, Faults::default()).into_stream())
}
