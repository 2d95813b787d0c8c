//! The channels that a viewer's token may watch, for the start page. The token comes in a header only.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;

use super::error::Error;
use super::viewer;
use crate::Gateway;
use crate::access::{Admitted, Listed};
use crate::client::Client;
use crate::metrics::Surface;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct ListedChannels {
    channels: Vec<ChannelItem>,
}

#[derive(Debug, Serialize)]
struct ChannelItem {
    slug: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<String>,
}

impl From<Listed> for ChannelItem {
    fn from(listed: Listed) -> Self {
        let Listed {
            slug,
            name,
            number,
            group,
            logo,
        } = listed;
        Self {
            slug,
            name,
            number,
            group,
            logo,
        }
    }
}

/// What the viewer whose token it is may watch.
pub(super) async fn list(
    gateway: &Arc<Gateway>,
    parts: &mut Parts,
) -> Result<ListedChannels, Error> {
    let Ok(client) = Client::from_request_parts(parts, gateway).await;
    let token = viewer::bearer(parts);
    let admitted = gateway.authenticate(Surface::Api, &client, token);
    let Admitted { user, .. } = admitted.map_err(|error| match error {
        Error::NoToken => Error::NoBearer,
        other => other,
    })?;
    let channels = gateway.access.list(&user).into_iter();
    let channels = channels.map(ChannelItem::from).collect();
    Ok(ListedChannels { channels })
}
