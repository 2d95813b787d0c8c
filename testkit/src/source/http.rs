//! The source's HTTP surface: streams, statistics, faults at run time, liveness. Decides nothing about media.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::sync::watch;

use super::channel::{Channel, ChannelStats};
use super::client::{Client, duration, html};
use super::faults::{Cut, Faults, Malformed};

/// Most redirects in a chain that a test may ask for.
const MAX_REDIRECTS: u32 = 50;

/// Longest delay before an answer, in seconds.
const MAX_DELAY: f64 = 600.0;

/// The channels; empty until their media are made.
pub(crate) type Channels = Arc<BTreeMap<String, Arc<Channel>>>;

/// All routes.
pub(crate) fn router(channels: watch::Receiver<Option<Channels>>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/stats", get(stats))
        .route("/admin/{channel}/fault", post(set_faults).get(faults))
        .route("/admin/{channel}/cut", post(cut))
        .route("/admin/{channel}/jump", post(jump))
        .route("/{channel}", get(stream))
        .route("/{channel}/{file}", get(super::http_hls::file))
        .with_state(channels)
}

pub(crate) type Shared = State<watch::Receiver<Option<Channels>>>;

async fn ready(State(channels): Shared) -> (StatusCode, &'static str) {
    match *channels.borrow() {
        Some(_) => (StatusCode::OK, "ok"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "media are being made"),
    }
}

async fn stats(State(channels): Shared) -> Json<BTreeMap<String, ChannelStats>> {
    let channels = channels.borrow().clone().unwrap_or_default();
    let stats = |(name, channel): (&String, &Arc<Channel>)| (name.clone(), channel.stats());
    Json(channels.iter().map(stats).collect())
}

/// Waits until the media are made, and finds the channel.
pub(crate) async fn find(
    mut channels: watch::Receiver<Option<Channels>>,
    name: &str,
) -> Result<Arc<Channel>, StatusCode> {
    let channels = channels
        .wait_for(Option::is_some)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let channel = channels.as_ref().and_then(|channels| channels.get(name));
    channel.cloned().ok_or(StatusCode::NOT_FOUND)
}

/// Replaces the channel's faults; `cut` and `jump` act once.
#[derive(Debug, Deserialize)]
struct Actions {
    cut: Option<Cut>,
    jump: Option<f64>,
}

async fn set_faults(
    State(channels): Shared,
    Path(name): Path<String>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Result<Json<Faults>, Response> {
    let channel = find(channels, &name)
        .await
        .map_err(IntoResponse::into_response)?;
    let bad = |message: String| (StatusCode::BAD_REQUEST, message).into_response();
    let actions = ["cut", "jump"]
        .into_iter()
        .filter_map(|key| query.remove_entry(key));
    let actions: Actions = from_pairs(actions.collect()).map_err(bad)?;
    let faults: Faults = from_pairs(query).map_err(bad)?;
    channel.set_faults(faults.clone());
    if let Some(seconds) = actions.jump {
        channel.jump(seconds);
    }
    if let Some(how) = actions.cut {
        channel.cut(how);
    }
    Ok(Json(faults))
}

async fn faults(
    State(channels): Shared,
    Path(name): Path<String>,
) -> Result<Json<Faults>, StatusCode> {
    let channel = find(channels, &name).await?;
    let faults = channel.faults().borrow().clone();
    Ok(Json(faults))
}

#[derive(Debug, Deserialize)]
struct CutQuery {
    how: Option<Cut>,
}

async fn cut(
    State(channels): Shared,
    Path(name): Path<String>,
    Query(query): Query<CutQuery>,
) -> Result<(), StatusCode> {
    find(channels, &name)
        .await?
        .cut(query.how.unwrap_or(Cut::Clean));
    Ok(())
}

#[derive(Debug, Deserialize)]
struct JumpQuery {
    seconds: f64,
}

async fn jump(
    State(channels): Shared,
    Path(name): Path<String>,
    Query(query): Query<JumpQuery>,
) -> Result<(), StatusCode> {
    find(channels, &name).await?.jump(query.seconds);
    Ok(())
}

/// Reads typed fields out of query pairs.
pub(crate) fn from_pairs<T: serde::de::DeserializeOwned>(
    pairs: BTreeMap<String, String>,
) -> Result<T, String> {
    let value = |text: String| match serde_json::from_str(&text) {
        Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
        _ => serde_json::Value::String(text),
    };
    let object = pairs
        .into_iter()
        .map(|(key, text)| (key, value(text)))
        .collect();
    serde_json::from_value(serde_json::Value::Object(object)).map_err(|error| error.to_string())
}

async fn stream(
    State(channels): Shared,
    Path(file): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let name = file
        .strip_suffix(".ts")
        .ok_or(StatusCode::NOT_FOUND.into_response())?;
    let channel = find(channels, name)
        .await
        .map_err(IntoResponse::into_response)?;
    let query: Faults =
        from_pairs(query).map_err(|message| (StatusCode::BAD_REQUEST, message).into_response())?;
    let user_agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    channel.count_request(user_agent.map(str::to_owned));
    let faults = channel.faults().borrow().overlaid(&query);
    if let Some(seconds) = faults.delay {
        tokio::time::sleep(duration(seconds.min(MAX_DELAY))).await;
    }
    if let Some(refusal) = refusal(name, &faults) {
        return Ok(refusal);
    }
    let counted = channel
        .count_client(faults.limit)
        .ok_or((StatusCode::FORBIDDEN, "too many connections").into_response())?;
    let headers = [
        (header::CONTENT_TYPE, "video/mp2t"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let client = Client::new(channel, counted, query);
    Ok((headers, Body::from_stream(client.into_stream())).into_response())
}

/// The answer of a channel that does not give a stream.
fn refusal(name: &str, faults: &Faults) -> Option<Response> {
    if let Some(left @ 1..) = faults.redirect {
        let mut rest = faults.clone();
        rest.redirect = Some(left.min(MAX_REDIRECTS) - 1);
        rest.delay = None;
        let location = format!("/{name}.ts?{}", query_string(&rest));
        return Some((StatusCode::FOUND, [(header::LOCATION, location)]).into_response());
    }
    if let Some(status) = faults.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, "asked to fail").into_response();
        if let Some(seconds) = faults.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        return Some(response);
    }
    match faults.malformed {
        Some(Malformed::Html) => {
            let kind = [(header::CONTENT_TYPE, "text/html")];
            Some((kind, Body::from_stream(html())).into_response())
        }
        Some(Malformed::Empty) => Some(Body::empty().into_response()),
        Some(Malformed::Garbage) | None => None,
    }
}

/// The faults as the query that asks for them.
fn query_string(faults: &Faults) -> String {
    let value = serde_json::to_value(faults).unwrap_or_default();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in value.as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        query.append_pair(key, &text);
    }
    query.finish()
}
