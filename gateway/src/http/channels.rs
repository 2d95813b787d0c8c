//! `GET /api/v1/channels`: the channels that a token may watch, for the start page. The token comes in a header only.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
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
struct Channels {
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

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/api/v1/channels", get(channels))
}

async fn channels(State(gateway): State<Arc<Gateway>>, client: Client, parts: Parts) -> Response {
    let response = list(&gateway, &client, &parts).unwrap_or_else(Error::into_json);
    gateway.metrics.answered(Surface::Api, response.status());
    response
}

fn list(gateway: &Gateway, client: &Client, parts: &Parts) -> Result<Response, Error> {
    let Admitted { user, .. } =
        gateway.authenticate(Surface::Api, client, viewer::bearer(parts))?;
    let channels = gateway
        .access
        .list(&user)
        .into_iter()
        .map(ChannelItem::from);
    let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let body = Channels {
        channels: channels.collect(),
    };
    Ok((headers, Json(body)).into_response())
}
