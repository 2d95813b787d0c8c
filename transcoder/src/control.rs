//! Control HTTP of one attempt: what operator and gateway ask it, and what they tell it. The paths are those of `api::control`.
//! Every path carries an identity, and another stream's or attempt's is refused before anything is said.

mod poll;
mod refusal;
mod segments;

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Query, RawPathParams, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::request::Parts;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use api::control::{FinishAnswer, GrantRequest, JobStatus, PublishRequest};
use api::playlists::Playlists;

use crate::handle::JobHandle;
use refusal::Refusal;

/// What the handlers share.
#[derive(Debug, Clone)]
struct Control {
    job: JobHandle,
    /// Cancelled when the server is about to end: long polls are answered with what there is.
    closing: CancellationToken,
}

/// The control HTTP of one attempt. Long polls end when `closing` is cancelled.
pub fn router(job: JobHandle, closing: CancellationToken) -> Router {
    let stream = Router::new()
        .route("/status", get(status))
        .route("/playlists", get(playlists))
        .route("/finish", post(finish))
        .route("/publish", post(publish))
        .route("/grant", post(grant))
        .route("/stop", post(stop))
        .merge(segments::router());
    Router::new()
        .nest("/v1/streams/{uid}/{attempt}", stream)
        .with_state(Control { job, closing })
}

/// Proof that a request means this stream and this attempt.
struct Ours;

impl FromRequestParts<Control> for Ours {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Refusal> {
        let parameters = RawPathParams::from_request_parts(parts, control).await;
        let parameters = parameters.map_err(|_| Refusal::Misdirected)?;
        let find = |wanted| {
            parameters
                .iter()
                .find_map(|(name, value)| (name == wanted).then_some(value))
        };
        let job = &control.job;
        let is_ours = find("uid") == Some(job.stream_uid())
            && find("attempt") == Some(job.attempt().to_string().as_str());
        is_ours.then_some(Self).ok_or(Refusal::Misdirected)
    }
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
    #[serde(default)]
    requested: String,
    gateway: Option<String>,
    viewers: Option<u32>,
}

async fn status(
    _: Ours,
    State(control): State<Control>,
    Query(query): Query<After>,
) -> Json<JobStatus> {
    let mut status = control.job.status();
    let is_newer = |status: &JobStatus| query.after.is_none_or(|after| status.version > after);
    poll::until(&mut status, is_newer, &control.closing).await;
    let answer = status.borrow().clone();
    control.job.answered(answer.version);
    Json(answer)
}

async fn playlists(
    _: Ours,
    State(control): State<Control>,
    Query(query): Query<After>,
) -> Json<Playlists> {
    let requested: BTreeSet<String> = query
        .requested
        .split(',')
        .filter(|id| api::names::is_rendition_id(id))
        .map(str::to_owned)
        .collect();
    control.job.request_renditions(requested);
    if let (Some(gateway), Some(viewers)) = (&query.gateway, query.viewers) {
        control.job.watched(gateway, viewers);
    }
    let mut playlists = control.job.playlists();
    let is_newer = |playlists: &std::sync::Arc<Playlists>| {
        query.after.is_none_or(|after| playlists.version > after)
    };
    poll::until(&mut playlists, is_newer, &control.closing).await;
    let answer = playlists.borrow().as_ref().clone();
    Json(answer)
}

async fn finish(_: Ours, State(control): State<Control>) -> Result<Json<FinishAnswer>, Refusal> {
    Ok(Json(control.job.finish().await?))
}

async fn publish(
    _: Ours,
    State(control): State<Control>,
    Json(request): Json<PublishRequest>,
) -> Result<(), Refusal> {
    Ok(control.job.publish(request).await?)
}

async fn grant(
    _: Ours,
    State(control): State<Control>,
    Json(request): Json<GrantRequest>,
) -> Result<(), Refusal> {
    match control.job.grant(request).await? {
        true => Ok(()),
        false => Err(Refusal::NotWanted),
    }
}

async fn stop(_: Ours, State(control): State<Control>) -> Result<(), Refusal> {
    Ok(control.job.stop().await?)
}

#[cfg(test)]
mod tests;
