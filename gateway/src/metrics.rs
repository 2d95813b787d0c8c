//! What a gateway counts. One struct, registered once; nothing here decides anything.

mod starts;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub use starts::Starts;

/// Where viewers meet the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Surface {
    /// Master playlists.
    Live,
    /// Continuous streams.
    Continuous,
    /// Media playlists.
    Hls,
    /// Segments.
    Segment,
    /// The API.
    Api,
    /// The start page.
    Page,
}

/// What tells one count of requests from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Where it was asked.
    pub surface: Surface,
    /// The status code of the answer.
    pub code: u32,
}

/// What is too much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Limit {
    /// Requests of an address.
    Address,
    /// Requests of a user.
    User,
    /// Wrong tokens of an address.
    WrongTokens,
    /// Channels that a user has started.
    ColdStarts,
}

/// What tells one count of refusals from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// Where it was asked.
    pub surface: Surface,
    /// What there was too much of.
    pub what: Limit,
}

/// How a held request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum HoldEnd {
    /// What it waited for came.
    Ready,
    /// The stream cannot be played.
    Refused,
    /// It waited as long as is allowed.
    Timeout,
    /// Too many were held already.
    Overflow,
}

/// What tells one count of holds from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HoldLabels {
    /// How it ended.
    pub end: HoldEnd,
}

/// How a call to the stream directory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum EnsureEnd {
    /// The wish is recorded.
    Done,
    /// It failed.
    Failed,
}

/// What tells one count of directory calls from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EnsureLabels {
    /// How it ended.
    pub end: EnsureEnd,
}

/// How a continuous stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReaderEnd {
    /// The viewer left.
    Left,
    /// The viewer takes less than the stream brings.
    Slow,
    /// The viewer may not watch any more.
    Refused,
    /// The stream brings nothing any more.
    Over,
    /// This gateway ends.
    Drained,
}

/// What tells one count of ends from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReaderLabels {
    /// How it ended.
    pub end: ReaderEnd,
}

/// How a session's claim of a place ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ClaimEnd {
    /// It has a place.
    Taken,
    /// It has the place of another one, which has ended.
    TakenOver,
    /// None was free.
    Refused,
    /// Its place had been taken before.
    Ended,
    /// It has a place by this gateway's own count: the store was away.
    Local,
}

/// What tells one count of claims from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClaimLabels {
    /// How it ended.
    pub end: ClaimEnd,
}

/// Everything a gateway counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Requests refused because somebody asks too often.
    pub limited: Family<LimitLabels, Counter>,
    /// Wrong tokens that were looked at.
    pub wrong_tokens: Counter,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections refused because their address has too many.
    pub refused_connections: Counter,
    /// Requests held now.
    pub holding: Gauge,
    /// Holds that ended.
    pub holds: Family<HoldLabels, Counter>,
    /// Segments answered from the cache.
    pub cache_hits: Counter,
    /// Segments read from the origin.
    pub cache_misses: Counter,
    /// Bytes of segments sent.
    pub segment_bytes: Counter,
    /// Continuous streams that are being read.
    pub readers: Gauge,
    /// Bytes of segments sent in them.
    pub reader_bytes: Counter,
    /// Continuous streams that ended.
    pub reader_ends: Family<ReaderLabels, Counter>,
    /// Sessions in use.
    pub sessions: Gauge,
    /// Streams that are followed.
    pub streams: Gauge,
    /// Calls to the stream directory.
    pub ensures: Family<EnsureLabels, Counter>,
    /// Playlists that were refused because numbers would have gone back.
    pub refused_playlists: Counter,
    /// Flushes that the presence store did not take.
    pub failed_flushes: Counter,
    /// Claims of places, by users with a limit.
    pub claims: Family<ClaimLabels, Counter>,
    /// From the first request for a cold channel to its first listed segment.
    pub start: Starts,
}

impl Default for Metrics {
    fn default() -> Self {
        const START_SECONDS: [f64; 12] = [
            0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0,
        ];
        Self {
            requests: Family::default(),
            limited: Family::default(),
            wrong_tokens: Counter::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            holding: Gauge::default(),
            holds: Family::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            segment_bytes: Counter::default(),
            readers: Gauge::default(),
            reader_bytes: Counter::default(),
            reader_ends: Family::default(),
            sessions: Gauge::default(),
            streams: Gauge::default(),
            ensures: Family::default(),
            refused_playlists: Counter::default(),
            failed_flushes: Counter::default(),
            claims: Family::default(),
            start: Starts::new(START_SECONDS),
        }
    }
}

impl Metrics {
    /// Registers everything under `headend_gateway_`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("headend_gateway");
        metrics.register_edge(registry);
        metrics.register_requests(registry);
        metrics.register_readers(registry);
        metrics.register_streams(registry);
        metrics
    }

    fn register_edge(&self, registry: &mut Registry) {
        registry.register(
            "limited",
            "Requests refused because an address or a user asks too often",
            self.limited.clone(),
        );
        registry.register(
            "wrong_tokens",
            "Wrong tokens that were looked at",
            self.wrong_tokens.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "refused_connections",
            "Connections refused because their address has too many",
            self.refused_connections.clone(),
        );
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests answered, by surface and status code",
            self.requests.clone(),
        );
        registry.register(
            "holding",
            "Requests held now until a stream is playable",
            self.holding.clone(),
        );
        registry.register(
            "holds",
            "Held requests that ended, by how",
            self.holds.clone(),
        );
        registry.register(
            "segment_cache_hits",
            "Segments answered from memory",
            self.cache_hits.clone(),
        );
        registry.register(
            "segment_cache_misses",
            "Segments read from volume or pod",
            self.cache_misses.clone(),
        );
        registry.register_with_unit(
            "segment",
            "Bytes of segments sent",
            Unit::Bytes,
            self.segment_bytes.clone(),
        );
    }

    fn register_readers(&self, registry: &mut Registry) {
        registry.register(
            "continuous_readers",
            "Continuous streams that are being read",
            self.readers.clone(),
        );
        registry.register_with_unit(
            "continuous",
            "Bytes of segments sent in continuous streams",
            Unit::Bytes,
            self.reader_bytes.clone(),
        );
        registry.register(
            "continuous_ends",
            "Continuous streams that ended, by how",
            self.reader_ends.clone(),
        );
    }

    fn register_streams(&self, registry: &mut Registry) {
        registry.register("sessions", "Sessions in use", self.sessions.clone());
        registry.register("streams", "Streams followed", self.streams.clone());
        registry.register(
            "ensures",
            "Calls to the stream directory, by how they ended",
            self.ensures.clone(),
        );
        registry.register(
            "refused_playlists",
            "Playlists refused because numbers would have gone back",
            self.refused_playlists.clone(),
        );
        registry.register(
            "failed_flushes",
            "Flushes that the presence store did not take",
            self.failed_flushes.clone(),
        );
        registry.register(
            "place_claims",
            "Claims of a place by sessions of users with a limit, by how they ended",
            self.claims.clone(),
        );
        registry.register_with_unit(
            "start",
            "From the first request for a cold channel to its first listed segment",
            Unit::Seconds,
            self.start.histogram(),
        );
    }

    /// Counts an answer.
    pub fn answered(&self, surface: Surface, code: http::StatusCode) {
        let code = u32::from(code.as_u16());
        self.requests
            .get_or_create(&RequestLabels { surface, code })
            .inc();
    }

    /// Counts a refusal by a limit.
    pub fn limited(&self, surface: Surface, what: Limit) {
        let labels = LimitLabels { surface, what };
        self.limited.get_or_create(&labels).inc();
    }

    /// Counts the end of a continuous stream.
    pub fn read(&self, end: ReaderEnd) {
        self.reader_ends.get_or_create(&ReaderLabels { end }).inc();
    }

    /// Counts the end of a hold.
    pub fn held(&self, end: HoldEnd) {
        self.holds.get_or_create(&HoldLabels { end }).inc();
    }

    /// Counts the claim of a place.
    pub fn claimed(&self, end: ClaimEnd) {
        self.claims.get_or_create(&ClaimLabels { end }).inc();
    }

    /// Counts a call to the stream directory.
    pub fn ensured(&self, end: EnsureEnd) {
        self.ensures.get_or_create(&EnsureLabels { end }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_table_of_metrics_has_everything_that_is_registered() {
        let mut registry = Registry::default();
        runtime::build::register(&mut registry);
        // No `..`: a family that is new and not counted here does not compile, and would not be seen below.
        let Metrics {
            requests: _,
            limited: _,
            wrong_tokens: _,
            connections: _,
            refused_connections: _,
            holding: _,
            holds: _,
            cache_hits: _,
            cache_misses: _,
            segment_bytes: _,
            readers: _,
            reader_bytes: _,
            reader_ends: _,
            sessions: _,
            streams: _,
            ensures: _,
            refused_playlists: _,
            failed_flushes: _,
            claims: _,
            start: _,
        } = &{
            let metrics = Metrics::register(&mut registry);
            metrics.answered(Surface::Live, http::StatusCode::OK);
            metrics.limited(Surface::Live, Limit::Address);
            metrics.held(HoldEnd::Ready);
            metrics.ensured(EnsureEnd::Done);
            metrics.claimed(ClaimEnd::Taken);
            metrics.read(ReaderEnd::Left);
            metrics
        };
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let documented = testkit::metrics::documented("gateway").unwrap();
        assert_eq!(testkit::metrics::exposed(&text), documented);
    }

    #[test]
    fn everything_is_registered_under_one_prefix() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.answered(Surface::Hls, http::StatusCode::OK);
        metrics.limited(Surface::Segment, Limit::Address);
        metrics.held(HoldEnd::Timeout);
        metrics.ensured(EnsureEnd::Failed);
        metrics.claimed(ClaimEnd::TakenOver);
        metrics.segment_bytes.inc_by(7);
        metrics.read(ReaderEnd::Slow);
        metrics.start.observe(Duration::from_millis(1200));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "headend_gateway_requests_total{surface=\"Hls\",code=\"200\"} 1",
            "headend_gateway_limited_total{surface=\"Segment\",what=\"Address\"} 1",
            "headend_gateway_wrong_tokens_total 0",
            "headend_gateway_connections 0",
            "headend_gateway_refused_connections_total 0",
            "headend_gateway_holding 0",
            "headend_gateway_holds_total{end=\"Timeout\"} 1",
            "headend_gateway_segment_cache_hits_total 0",
            "headend_gateway_segment_cache_misses_total 0",
            "headend_gateway_segment_bytes_total 7",
            "headend_gateway_continuous_readers 0",
            "headend_gateway_continuous_bytes_total 0",
            "headend_gateway_continuous_ends_total{end=\"Slow\"} 1",
            "headend_gateway_sessions 0",
            "headend_gateway_streams 0",
            "headend_gateway_ensures_total{end=\"Failed\"} 1",
            "headend_gateway_refused_playlists_total 0",
            "headend_gateway_failed_flushes_total 0",
            "headend_gateway_place_claims_total{end=\"TakenOver\"} 1",
            "headend_gateway_start_seconds_bucket{le=\"1.5\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
