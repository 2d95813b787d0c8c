//! `/api/v1/streams`: the streams that there are, who watches them over all gateways, and the switches of one. Viewers are counted where all gateways
//! tell them; while that place is away, a stream says nothing of its viewers rather than something wrong.

use std::sync::Arc;
use std::time::Duration;

use api::live_stream::Phase;
use axum::Json;
use axum::extract::{Path, State};
use futures::StreamExt;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, ControlStreams, ReadStreams};
use super::listing::{ListQuery, Listing};
use super::refusal::{Refusal, RefusalBody};
use crate::Gateway;
use crate::directory::{SteerError, Steering, StreamSummary};

/// What refusals call it.
const WHAT: &str = "stream";

/// How long the viewers of a page may take to be counted.
const COUNT_TIME: Duration = Duration::from_secs(2);

/// Streams whose viewers are asked for at once.
const COUNTS: usize = 16;

/// Bytes of a stream in a list, about.
const STREAM_BYTES: usize = 256;

/// Streams of the list that has no pages.
const ACTIVE_MAXIMUM: usize = 1_000;

/// A stream.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamDocument {
    /// Its name: the slug of its channel.
    name: String,
    /// What tells it from those that had the name before.
    uid: String,
    /// The name that people read.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// `Idle`, `Pending`, `Starting`, `Live`, `Degraded`, `Stopping`, `Failed` or `Suspended`.
    #[schema(value_type = String)]
    phase: Phase,
    /// Why it cannot be played, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Viewers over all gateways, as of some seconds ago; left out while they cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    viewers: Option<u32>,
}

/// A page of streams.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamsPage {
    /// By name.
    streams: Vec<StreamDocument>,
    /// `cursor` of the next page; none after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(stop))
        .routes(routes!(suspend))
        .routes(routes!(resume))
}

/// Lists streams. A channel that nobody watches has none.
#[utoipa::path(
    get, path = "/api/v1/streams", operation_id = "listStreams", tag = "streams", params(ListQuery),
    responses((status = 200, description = "As asked for", body = StreamsPage), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
    listing: Listing,
) -> Json<StreamsPage> {
    let streams = gateway.directory.streams().into_iter().map(Arc::new);
    let streams: Vec<_> = streams.collect();
    let after = &listing.after.1;
    let behind = streams
        .iter()
        .filter(|stream| stream.identity.name > *after);
    let (page, next) = listing.page(
        behind,
        |stream: &StreamSummary| {
            let display_name = stream.display_name.as_deref();
            [
                stream.identity.name.as_str(),
                display_name.unwrap_or_default(),
            ]
        },
        |stream| (0, stream.identity.name.as_str()),
        |stream| (stream.clone(), STREAM_BYTES),
    );
    let streams = gateway.counted(&page).await;
    Json(StreamsPage { streams, next })
}

/// `/api/streams/active`: those that run, or are on their way to; the first ones by name.
pub(super) async fn active(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
) -> Json<StreamsPage> {
    let streams = gateway.directory.streams().into_iter();
    let active = streams.filter(|stream| !matches!(stream.phase, Phase::Idle | Phase::Suspended));
    let active: Vec<_> = active.take(ACTIVE_MAXIMUM).map(Arc::new).collect();
    let streams = gateway.counted(&active).await;
    Json(StreamsPage {
        streams,
        next: None,
    })
}

/// One stream.
#[utoipa::path(
    get, path = "/api/v1/streams/{name}", operation_id = "readStream", tag = "streams", params(("name" = String, Path)),
    responses((status = 200, description = "As asked for", body = StreamDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
    Path(name): Path<String>,
) -> Result<Json<StreamDocument>, Refusal> {
    let mut streams = gateway.directory.streams().into_iter();
    let stream = streams.find(|stream| stream.identity.name == name);
    let stream = stream.ok_or_else(|| Refusal::missing(WHAT, &name))?;
    let counted = gateway.counted(&[Arc::new(stream)]).await;
    let document = counted.into_iter().next();
    document
        .map(Json)
        .ok_or_else(|| Refusal::missing(WHAT, &name))
}

/// Stops a stream. Who watches it starts it again with the next playlist: suspend it, or disable its channel, to keep it from running.
#[utoipa::path(
    post, path = "/api/v1/streams/{name}/stop", operation_id = "stopStream", tag = "streams", params(("name" = String, Path)),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn stop(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ControlStreams>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    gateway.steer(&caller, &name, Steering::Stop).await
}

/// Suspends a stream: it stops, nothing wakes it, and who asks for it is told so.
#[utoipa::path(
    post, path = "/api/v1/streams/{name}/suspend", operation_id = "suspendStream", tag = "streams", params(("name" = String, Path)),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn suspend(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ControlStreams>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    gateway.steer(&caller, &name, Steering::Suspend).await
}

/// Lets a suspended stream run again.
#[utoipa::path(
    post, path = "/api/v1/streams/{name}/resume", operation_id = "resumeStream", tag = "streams", params(("name" = String, Path)),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn resume(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ControlStreams>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    gateway.steer(&caller, &name, Steering::Resume).await
}

impl Gateway {
    async fn steer(
        &self,
        caller: &Caller<ControlStreams>,
        name: &str,
        steering: Steering,
    ) -> Result<StatusCode, Refusal> {
        let action = match steering {
            Steering::Stop => "stop",
            Steering::Suspend => "suspend",
            Steering::Resume => "resume",
        };
        let steered = self.directory.steer(name, steering).await;
        let steered = steered.map_err(|error| match error {
            SteerError::Unknown => Refusal::missing(WHAT, name),
            SteerError::Unavailable { .. } => {
                tracing::warn!(stream.name = name, action, %error, "failed to steer a stream");
                Refusal::StreamsAway
            }
        });
        caller.audit(action, &format!("the stream {name:?}"), steered)?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// Streams with their viewers, as far as those can be counted in time.
    pub(super) async fn counted(&self, streams: &[Arc<StreamSummary>]) -> Vec<StreamDocument> {
        let uids = streams.iter().map(|stream| stream.identity.uid.clone());
        let uids: Vec<String> = uids.collect();
        let counts = futures::stream::iter(uids).map(|uid| {
            let presence = self.presence.clone();
            async move { presence.stream(&uid).await.ok() }
        });
        let mut counts = std::pin::pin!(counts.buffered(COUNTS));
        let deadline = tokio::time::Instant::now() + COUNT_TIME;
        let mut documents = Vec::with_capacity(streams.len());
        for stream in streams {
            let count = tokio::time::timeout_at(deadline, counts.next()).await;
            let presence = count.ok().flatten().flatten();
            let viewers = presence.map(|presence| presence.viewers);
            documents.push(document(stream, viewers));
        }
        documents
    }
}

fn document(stream: &StreamSummary, viewers: Option<u32>) -> StreamDocument {
    let refusal = stream.refusal.as_ref();
    StreamDocument {
        name: stream.identity.name.clone(),
        uid: stream.identity.uid.clone(),
        display_name: stream.display_name.clone(),
        phase: stream.phase,
        reason: refusal.map(|refusal| refusal.reason.clone()),
        message: refusal.map(|refusal| refusal.message.clone()),
        viewers,
    }
}
