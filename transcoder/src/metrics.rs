//! The figures of this crate, by stream. Several attempts in one process share them.

use std::sync::atomic::AtomicU64;

use api::condition::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::sandbox::Level;

/// Which stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    stream: String,
}

/// Which stream, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    stream: String,
    reason: String,
}

/// How far encoders are confined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: String,
}

type SecondsGauge = Gauge<f64, AtomicU64>;

/// The figures of every stream of the process.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    source_bytes: Family<StreamLabels, Counter>,
    source_connections: Family<StreamLabels, Counter>,
    source_failures: Family<ReasonLabels, Counter>,
    segments: Family<StreamLabels, Counter>,
    segment_gaps: Family<StreamLabels, Counter>,
    forced_cuts: Family<StreamLabels, Counter>,
    encoder_starts: Family<StreamLabels, Counter>,
    encoder_delay: Family<StreamLabels, SecondsGauge>,
    encoder_sandbox: Family<LevelLabels, Gauge>,
    output_stalled: Family<StreamLabels, Gauge>,
    first_segment: Family<StreamLabels, SecondsGauge>,
}

impl Metrics {
    /// Registers the figures.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("headend_transcoder");
        registry.register_with_unit(
            "source",
            "Bytes read from sources",
            Unit::Bytes,
            metrics.source_bytes.clone(),
        );
        registry.register(
            "source_connections",
            "Connections opened to sources",
            metrics.source_connections.clone(),
        );
        registry.register(
            "source_failures",
            "Failures of sources by reason",
            metrics.source_failures.clone(),
        );
        registry.register("segments", "Segments published", metrics.segments.clone());
        registry.register(
            "segment_gaps",
            "Renditions of published segments that are missing",
            metrics.segment_gaps.clone(),
        );
        registry.register(
            "forced_cuts",
            "Segments that ended without a keyframe",
            metrics.forced_cuts.clone(),
        );
        registry.register(
            "encoder_starts",
            "Encoders started",
            metrics.encoder_starts.clone(),
        );
        registry.register_with_unit(
            "encoder_delay",
            "From the last time fed to the last time encoded",
            Unit::Seconds,
            metrics.encoder_delay.clone(),
        );
        registry.register(
            "encoder_sandbox",
            "How far encoders are confined: none, limits, or landlock with the version of its interface",
            metrics.encoder_sandbox.clone(),
        );
        registry.register(
            "output_stalled",
            "Whether segments are served from memory (1) or lie on the volume (0)",
            metrics.output_stalled.clone(),
        );
        registry.register_with_unit(
            "first_segment",
            "From the start to the first published segment",
            Unit::Seconds,
            metrics.first_segment.clone(),
        );
        metrics
    }

    /// How far encoders of this process are confined.
    pub(crate) fn encoder_sandbox(&self, level: Level) {
        let level = level.to_string();
        let labels = LevelLabels { level };
        self.encoder_sandbox.get_or_create(&labels).set(1);
    }

    /// The figures of one stream.
    pub(crate) fn stream(&self, name: &str) -> StreamMetrics {
        StreamMetrics {
            metrics: self.clone(),
            labels: StreamLabels {
                stream: name.to_owned(),
            },
        }
    }
}

/// What was counted of a stream over all attempts of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Bytes read from sources.
    pub(crate) source_bytes: u64,
    /// Connections to sources.
    pub(crate) source_connections: u64,
    /// Published segments.
    pub(crate) segments: u64,
    /// Renditions that published segments lacked.
    pub(crate) segment_gaps: u64,
    /// Encoders.
    pub(crate) encoder_starts: u64,
}

/// The figures of one stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamMetrics {
    metrics: Metrics,
    labels: StreamLabels,
}

impl StreamMetrics {
    /// What was counted so far: for the record of the stream.
    pub(crate) fn totals(&self) -> Totals {
        let of = |family: &Family<StreamLabels, Counter>| family.get_or_create(&self.labels).get();
        Totals {
            source_bytes: of(&self.metrics.source_bytes),
            source_connections: of(&self.metrics.source_connections),
            segments: of(&self.metrics.segments),
            segment_gaps: of(&self.metrics.segment_gaps),
            encoder_starts: of(&self.metrics.encoder_starts),
        }
    }

    /// Bytes came from the source.
    pub(crate) fn source_bytes(&self, count: usize) {
        self.metrics
            .source_bytes
            .get_or_create(&self.labels)
            .inc_by(count as u64);
    }

    /// A source answered.
    pub(crate) fn source_connected(&self) {
        self.metrics
            .source_connections
            .get_or_create(&self.labels)
            .inc();
    }

    /// A source failed.
    pub(crate) fn source_failed(&self, reason: Reason) {
        let labels = ReasonLabels {
            stream: self.labels.stream.clone(),
            reason: reason.as_str().to_owned(),
        };
        self.metrics.source_failures.get_or_create(&labels).inc();
    }

    /// A segment was published, with so many renditions missing.
    pub(crate) fn segment_published(&self, gaps: usize) {
        self.metrics.segments.get_or_create(&self.labels).inc();
        self.metrics
            .segment_gaps
            .get_or_create(&self.labels)
            .inc_by(gaps as u64);
    }

    /// A segment ended without a keyframe.
    pub(crate) fn forced_cut(&self) {
        self.metrics.forced_cuts.get_or_create(&self.labels).inc();
    }

    /// An encoder was started.
    pub(crate) fn encoder_started(&self) {
        self.metrics
            .encoder_starts
            .get_or_create(&self.labels)
            .inc();
    }

    /// How far the slowest rendition is behind what was fed, in seconds.
    pub(crate) fn encoder_delay(&self, seconds: f64) {
        self.metrics
            .encoder_delay
            .get_or_create(&self.labels)
            .set(seconds);
    }

    /// Whether segments are served from memory.
    pub(crate) fn output_stalled(&self, is_stalled: bool) {
        self.metrics
            .output_stalled
            .get_or_create(&self.labels)
            .set(i64::from(is_stalled));
    }

    /// How long the first segment took, in seconds.
    pub(crate) fn first_segment(&self, seconds: f64) {
        self.metrics
            .first_segment
            .get_or_create(&self.labels)
            .set(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_stream_has_what_was_counted_of_it() {
        let metrics = Metrics::register(&mut Registry::default());
        let stream = metrics.stream("one");
        stream.source_connected();
        stream.source_bytes(188);
        stream.segment_published(1);
        metrics.stream("two").encoder_started();
        let expected = Totals {
            source_bytes: 188,
            source_connections: 1,
            segments: 1,
            segment_gaps: 1,
            encoder_starts: 0,
        };
        assert_eq!(stream.totals(), expected);
    }

    #[test]
    fn streams_of_one_process_are_told_apart() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.stream("one").segment_published(0);
        metrics.stream("two").segment_published(2);
        metrics.stream("two").source_failed(Reason::Silent);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "headend_transcoder_segments_total{stream=\"one\"} 1",
            "headend_transcoder_segments_total{stream=\"two\"} 1",
            "headend_transcoder_segment_gaps_total{stream=\"two\"} 2",
            "headend_transcoder_source_failures_total{stream=\"two\",reason=\"Silent\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
