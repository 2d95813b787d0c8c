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
use crate::figures::Figures;

/// How long the presence store may take to answer before it is called away.
const PRESENCE_TIME: Duration = Duration::from_secs(1);

/// Letters of a day; months have fewer.
const DAY: usize = "2026-11-22".len();

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
    /// Of all gateways, as they told some seconds ago; left out while they cannot be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateways: Option<Vec<ToldStats>>,
    /// Of all of them together.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Sums>,
    /// What all of them sent, as it was added up a minute ago at the latest; left out while it cannot be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficStats>,
}

/// What a gateway told of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ToldStats {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    #[serde(flatten)]
    sums: Sums,
}

/// Figures of a gateway, or of several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Sums {
    /// Sessions in use; one whose player asks several gateways is in use at each.
    sessions: u64,
    /// Segments that are sent now, as an average of half a minute.
    bits_per_second: u64,
    /// Segments answered from memory since it started.
    cache_hits: u64,
    /// Segments read from volume or pod since it started.
    cache_misses: u64,
    /// The share of segments that memory had; none where none were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_hit_ratio: Option<f64>,
    /// Streams that its viewers started since it started.
    starts: u64,
    /// How long a viewer waited for a stream's first segment, on an average; none where none started.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_start_seconds: Option<f64>,
}

/// What was sent.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct TrafficStats {
    /// The days of the last two months on which something was sent, in UTC.
    days: Vec<PeriodStats>,
    /// The months of the last years.
    months: Vec<PeriodStats>,
}

/// What was sent in a day or a month.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct PeriodStats {
    /// The day, such as `2026-11-22`, or the month, such as `2026-11`.
    period: String,
    /// Bytes of segments.
    bytes: u64,
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
    let asked = async { tokio::join!(gateway.reports.statuses(), gateway.reports.traffic()) };
    let asked = tokio::time::timeout(PRESENCE_TIME, asked).await;
    let (told, sent) = asked.map_or((None, None), |(told, sent)| (told.ok(), sent.ok()));
    let told = told.map(|told| figures(&told));
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
        total: told
            .as_ref()
            .map(|told| together(told.iter().map(|(_, figures)| figures))),
        gateways: told.map(|told| told.into_iter().map(of_gateway).collect()),
        traffic: sent.map(of_traffic),
    })
}

/// What gateways told; what cannot be read is of another version.
fn figures(told: &BTreeMap<String, String>) -> Vec<(String, Figures)> {
    let read = |(name, text): (&String, &String)| {
        let figures = serde_json::from_str(text).ok()?;
        Some((name.clone(), figures))
    };
    told.iter().filter_map(read).collect()
}

fn of_gateway((name, figures): (String, Figures)) -> ToldStats {
    ToldStats {
        name,
        sums: together(std::iter::once(&figures)),
        version: figures.version,
    }
}

fn together<'a>(told: impl Iterator<Item = &'a Figures>) -> Sums {
    let mut sums = Sums::default();
    let mut milliseconds = 0_u64;
    for figures in told {
        sums.sessions += figures.sessions;
        sums.bits_per_second += figures.bits_per_second;
        sums.cache_hits += figures.cache_hits;
        sums.cache_misses += figures.cache_misses;
        sums.starts += figures.starts;
        milliseconds += figures.start_milliseconds;
    }
    let seconds = milliseconds as f64 / 1000.0;
    Sums {
        cache_hit_ratio: ratio(sums.cache_hits, sums.cache_misses),
        mean_start_seconds: (sums.starts > 0).then(|| seconds / sums.starts as f64),
        ..sums
    }
}

fn of_traffic(sent: BTreeMap<String, u64>) -> TrafficStats {
    let rows = sent
        .into_iter()
        .map(|(period, bytes)| PeriodStats { period, bytes });
    let (days, months) = rows.partition(|row| row.period.len() == DAY);
    TrafficStats { days, months }
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
    fn figures_of_gateways_are_added_up_and_shares_are_of_the_sums() {
        let figures = |hits, starts, start_milliseconds| Figures {
            version: "1".to_owned(),
            sessions: 2,
            bits_per_second: 1000,
            cache_hits: hits,
            cache_misses: 1,
            starts,
            start_milliseconds,
        };
        let told = [figures(5, 1, 500), figures(1, 3, 3500)];
        let expected = Sums {
            sessions: 4,
            bits_per_second: 2000,
            cache_hits: 6,
            cache_misses: 2,
            cache_hit_ratio: Some(0.75),
            starts: 4,
            mean_start_seconds: Some(1.0),
        };
        assert_eq!(together(told.iter()), expected);
        assert_eq!(together([].iter()), Sums::default());
    }

    #[test]
    fn days_are_told_from_months() {
        let sent = [("2026-11", 9), ("2026-11-21", 4), ("2026-11-22", 5)];
        let sent = sent.map(|(period, bytes)| (period.to_owned(), bytes));
        let traffic = of_traffic(sent.into());
        let day = |period: &str, bytes| PeriodStats {
            period: period.to_owned(),
            bytes,
        };
        assert_eq!(traffic.days, [day("2026-11-21", 4), day("2026-11-22", 5)]);
        assert_eq!(traffic.months, [day("2026-11", 9)]);
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
