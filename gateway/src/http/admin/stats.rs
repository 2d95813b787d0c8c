//! `/api/v1/health` and `/api/v1/stats`: how the gateway that answers is, and what it and its like do. What a machine watches are the metrics; this is for
//! panels and people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, ReadStreams};
use super::refusal::RefusalBody;
use crate::Gateway;
use crate::directory::StreamSummary;

/// How long the presence store may take to answer before it is called away.
const PRESENCE_TIME: Duration = Duration::from_secs(1);

/// How a gateway is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// `ok`, or `degraded`: then viewers who play go on playing, and something does not work.
    status: &'static str,
    /// The gateway that answers.
    gateway: String,
    /// Its version.
    version: &'static str,
    /// Whether it was told who watches, and tells the others: `ok` or `away`.
    presence: &'static str,
    /// What it has of the catalog.
    catalog: CatalogHealth,
}

/// What a gateway has of the catalog.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CatalogHealth {
    channels: usize,
    users: usize,
    /// Whether it can be changed here.
    writable: bool,
}

/// What is going on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    /// Of all gateways.
    streams: StreamStats,
    /// Of the gateway that answers.
    gateway: GatewayStats,
}

/// The streams there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StreamStats {
    /// How many can be played.
    active: usize,
    /// How many are in each phase.
    phases: BTreeMap<&'static str, usize>,
}

/// What one gateway did since it started, and does now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GatewayStats {
    /// Its name.
    name: String,
    /// Sessions in use.
    sessions: i64,
    /// Streams that it follows for its viewers.
    streams: i64,
    /// Connections that are open.
    connections: i64,
    /// Requests that wait for a stream.
    waiting: i64,
    /// Bytes of segments sent since it started.
    segment_bytes: u64,
    /// Segments answered from memory since it started.
    cache_hits: u64,
    /// Segments read from volume or pod since it started.
    cache_misses: u64,
    /// The share of segments that memory had; none where none were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_hit_ratio: Option<f64>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(stats))
}

/// How the gateway that answers is.
#[utoipa::path(
    get, path = "/api/v1/health", operation_id = "readHealth", tag = "gateway",
    responses((status = 200, description = "As asked for", body = Health), (status = "default", description = "Why not", body = RefusalBody))
)]
pub(super) async fn health(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
) -> Json<Health> {
    let flushes = tokio::time::timeout(PRESENCE_TIME, gateway.presence.flushes()).await;
    let is_there = matches!(flushes, Ok(Ok(_)));
    let snapshot = gateway.access.snapshot();
    Json(Health {
        status: if is_there { "ok" } else { "degraded" },
        gateway: gateway.name.clone(),
        version: runtime::build::version(),
        presence: if is_there { "ok" } else { "away" },
        catalog: CatalogHealth {
            channels: snapshot.channel_count(),
            users: snapshot.user_count(),
            writable: gateway.store.is_some(),
        },
    })
}

/// What is going on: all streams, and what the gateway that answers does.
#[utoipa::path(
    get, path = "/api/v1/stats", operation_id = "readStats", tag = "gateway",
    responses((status = 200, description = "As asked for", body = Stats), (status = "default", description = "Why not", body = RefusalBody))
)]
pub(super) async fn stats(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
) -> Json<Stats> {
    let metrics = &gateway.metrics;
    let (hits, misses) = (metrics.cache_hits.get(), metrics.cache_misses.get());
    Json(Stats {
        streams: of_streams(&gateway.directory.streams()),
        gateway: GatewayStats {
            name: gateway.name.clone(),
            sessions: metrics.sessions.get(),
            streams: metrics.streams.get(),
            connections: metrics.connections.get(),
            waiting: metrics.holding.get(),
            segment_bytes: metrics.segment_bytes.get(),
            cache_hits: hits,
            cache_misses: misses,
            cache_hit_ratio: ratio(hits, misses),
        },
    })
}

fn of_streams(streams: &[StreamSummary]) -> StreamStats {
    use api::live_stream::Phase;
    let is_active = |stream: &&StreamSummary| matches!(stream.phase, Phase::Live | Phase::Degraded);
    let mut phases = BTreeMap::new();
    for stream in streams {
        *phases.entry(stream.phase.into()).or_insert(0) += 1;
    }
    StreamStats {
        active: streams.iter().filter(is_active).count(),
        phases,
    }
}

/// The share of hits among all.
fn ratio(hits: u64, misses: u64) -> Option<f64> {
    let all = hits + misses;
    (all > 0).then(|| hits as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use api::job::StreamIdentity;
    use api::live_stream::Phase;

    use super::*;

    #[test]
    fn a_ratio_is_of_something() {
        assert_eq!(ratio(3, 1), Some(0.75));
        assert_eq!(ratio(0, 1), Some(0.0));
        assert_eq!(ratio(0, 0), None);
    }

    #[test]
    fn what_plays_is_active_whatever_is_wrong_with_it() {
        let stream = |phase| StreamSummary {
            identity: Arc::new(StreamIdentity {
                namespace: String::new(),
                name: "one".to_owned(),
                uid: "1".to_owned(),
            }),
            display_name: None,
            phase,
            refusal: None,
        };
        let phases = [Phase::Live, Phase::Degraded, Phase::Starting, Phase::Live];
        let stats = of_streams(&phases.map(stream));
        let expected = BTreeMap::from([("Live", 2), ("Degraded", 1), ("Starting", 1)]);
        assert_eq!((stats.active, stats.phases), (3, expected));
    }
}
