//! The figures of this crate, by stream. Several attempts in one process share them.

mod stream;

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::sandbox::Level;

pub(crate) use stream::StreamMetrics;

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

/// Which stream, and which rendition of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenditionLabels {
    stream: String,
    rendition: String,
}

/// Which part of a start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

/// Which stream, and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    stream: String,
    result: &'static str,
}

/// How far encoders are confined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: String,
}

type SecondsGauge = Gauge<f64, AtomicU64>;
type Phases = Family<PhaseLabels, Histogram, fn() -> Histogram>;

/// Parts of a start are looked at by these, in seconds.
const PHASE_SECONDS: [f64; 12] = [
    0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 20.0,
];
/// Segments are looked at by these, in seconds.
const SEGMENT_SECONDS: [f64; 9] = [0.25, 0.5, 1.0, 1.5, 2.1, 3.0, 4.5, 6.5, 10.5];

/// The figures of every stream of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    source_bytes: Family<StreamLabels, Counter>,
    source_connections: Family<StreamLabels, Counter>,
    source_resolutions: Family<ResultLabels, Counter>,
    source_failures: Family<ReasonLabels, Counter>,
    source_switches: Family<StreamLabels, Counter>,
    segments: Family<StreamLabels, Counter>,
    segment_gaps: Family<StreamLabels, Counter>,
    segments_dropped: Family<StreamLabels, Counter>,
    segment_seconds: Histogram,
    segment_bytes: Family<RenditionLabels, Counter>,
    discontinuities: Family<StreamLabels, Counter>,
    forced_cuts: Family<StreamLabels, Counter>,
    encoder_starts: Family<StreamLabels, Counter>,
    encoder_delay: Family<StreamLabels, SecondsGauge>,
    renditions_left_out: Family<StreamLabels, Gauge>,
    encoder_sandbox: Family<LevelLabels, Gauge>,
    output_stalled: Family<StreamLabels, Gauge>,
    first_segment: Family<StreamLabels, SecondsGauge>,
    start_phases: Phases,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            source_bytes: Family::default(),
            source_connections: Family::default(),
            source_resolutions: Family::default(),
            source_failures: Family::default(),
            source_switches: Family::default(),
            segments: Family::default(),
            segment_gaps: Family::default(),
            segments_dropped: Family::default(),
            segment_seconds: Histogram::new(SEGMENT_SECONDS),
            segment_bytes: Family::default(),
            discontinuities: Family::default(),
            forced_cuts: Family::default(),
            encoder_starts: Family::default(),
            encoder_delay: Family::default(),
            renditions_left_out: Family::default(),
            encoder_sandbox: Family::default(),
            output_stalled: Family::default(),
            first_segment: Family::default(),
            start_phases: Family::new_with_constructor(|| Histogram::new(PHASE_SECONDS)),
        }
    }
}

impl Metrics {
    /// Registers the figures.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("headend_transcoder");
        metrics.register_sources(registry);
        metrics.register_segments(registry);
        metrics.register_encoders(registry);
        metrics.register_starts(registry);
        metrics
    }

    fn register_sources(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "source",
            "Bytes read from sources",
            Unit::Bytes,
            self.source_bytes.clone(),
        );
        registry.register(
            "source_connections",
            "Connections opened to sources",
            self.source_connections.clone(),
        );
        registry.register(
            "source_resolutions",
            "Times that a source's address led to one that answers, links of a provider and redirects included, or did not",
            self.source_resolutions.clone(),
        );
        registry.register(
            "source_failures",
            "Failures of sources by reason",
            self.source_failures.clone(),
        );
        registry.register(
            "source_switches",
            "Changes from one source to another",
            self.source_switches.clone(),
        );
    }

    fn register_segments(&self, registry: &mut Registry) {
        registry.register("segments", "Segments published", self.segments.clone());
        registry.register(
            "segment_gaps",
            "Renditions of published segments that are missing",
            self.segment_gaps.clone(),
        );
        registry.register(
            "segments_dropped",
            "Segments listed as gaps because neither the volume nor memory had room",
            self.segments_dropped.clone(),
        );
        registry.register_with_unit(
            "segment_duration",
            "Duration of published segments",
            Unit::Seconds,
            self.segment_seconds.clone(),
        );
        registry.register_with_unit(
            "segment",
            "Bytes of segments by rendition",
            Unit::Bytes,
            self.segment_bytes.clone(),
        );
        registry.register(
            "discontinuities",
            "Discontinuities in what was published",
            self.discontinuities.clone(),
        );
        registry.register(
            "forced_cuts",
            "Segments that ended without a keyframe",
            self.forced_cuts.clone(),
        );
        registry.register(
            "output_stalled",
            "Whether segments are served from memory (1) or lie on the volume (0)",
            self.output_stalled.clone(),
        );
    }

    fn register_encoders(&self, registry: &mut Registry) {
        registry.register(
            "encoder_starts",
            "Encoders started",
            self.encoder_starts.clone(),
        );
        registry.register_with_unit(
            "encoder_delay",
            "From the last time fed to the last time encoded",
            Unit::Seconds,
            self.encoder_delay.clone(),
        );
        registry.register(
            "renditions_left_out",
            "Encoded renditions that an encoder which cannot keep up goes without",
            self.renditions_left_out.clone(),
        );
        registry.register(
            "encoder_sandbox",
            "How far encoders are confined: none, limits, or landlock with the version of its interface",
            self.encoder_sandbox.clone(),
        );
    }

    fn register_starts(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "first_segment",
            "From the start to the first published segment",
            Unit::Seconds,
            self.first_segment.clone(),
        );
        registry.register_with_unit(
            "start_phase",
            "How long each part of a start took: resolve, connect, first_byte, first_keyframe, first_segment",
            Unit::Seconds,
            self.start_phases.clone(),
        );
    }

    /// How far encoders of this process are confined.
    pub(crate) fn encoder_sandbox(&self, level: Level) {
        let level = level.to_string();
        let labels = LevelLabels { level };
        self.encoder_sandbox.get_or_create(&labels).set(1);
    }

    /// The figures of one stream.
    pub(crate) fn stream(&self, name: &str) -> StreamMetrics {
        StreamMetrics::new(self.clone(), name)
    }
}

#[cfg(test)]
mod tests {
    use api::condition::Reason;
    use api::control::StartTimes;
    use api::playlists::SegmentEntry;

    use super::stream::Totals;
    use super::*;

    fn entry(gaps: &[&str], discontinuity: bool) -> SegmentEntry {
        SegmentEntry {
            number: 1,
            attempt: 0,
            duration_ticks: 180_000,
            discontinuity,
            independent: true,
            program_date_time_unix_milliseconds: 0,
            gaps: gaps.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[test]
    fn the_record_of_a_stream_has_what_was_counted_of_it() {
        let metrics = Metrics::register(&mut Registry::default());
        let stream = metrics.stream("one");
        stream.source_connected();
        stream.source_bytes(188);
        stream.segment_published(&entry(&["480p"], false));
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
    fn the_table_of_metrics_has_everything_that_is_registered() {
        let mut registry = Registry::default();
        runtime::build::register(&mut registry);
        let metrics = Metrics::register(&mut registry);
        let labels = &StreamLabels {
            stream: "one".to_owned(),
        };
        // No `..`: a family that is new and not touched here does not compile, and would not be seen below.
        let Metrics {
            source_bytes,
            source_connections,
            source_resolutions: _,
            source_failures: _,
            source_switches,
            segments,
            segment_gaps,
            segments_dropped,
            segment_seconds: _,
            segment_bytes: _,
            discontinuities,
            forced_cuts,
            encoder_starts,
            encoder_delay,
            renditions_left_out,
            encoder_sandbox: _,
            output_stalled,
            first_segment,
            start_phases: _,
        } = &metrics;
        for counter in [
            source_bytes,
            source_connections,
            source_switches,
            segments,
            segment_gaps,
            segments_dropped,
            discontinuities,
            forced_cuts,
            encoder_starts,
        ] {
            drop(counter.get_or_create(labels));
        }
        drop(encoder_delay.get_or_create(labels));
        drop(first_segment.get_or_create(labels));
        drop(renditions_left_out.get_or_create(labels));
        drop(output_stalled.get_or_create(labels));
        metrics.encoder_sandbox(Level::None);
        let stream = metrics.stream("one");
        stream.source_resolved(true);
        stream.source_failed(Reason::Silent);
        stream.segment_bytes("source", 1);
        stream.first_segment(1, None);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let documented = testkit::metrics::documented("transcoder").unwrap();
        assert_eq!(testkit::metrics::exposed(&text), documented);
    }

    #[test]
    fn streams_of_one_process_are_told_apart() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.stream("one").segment_published(&entry(&[], false));
        metrics
            .stream("two")
            .segment_published(&entry(&["480p", "360p"], true));
        metrics.stream("two").segment_bytes("480p", 188);
        let start = StartTimes::default();
        metrics.stream("two").first_segment(1200, Some(start));
        metrics.stream("two").source_failed(Reason::Silent);
        metrics.stream("two").source_resolved(false);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "headend_transcoder_segments_total{stream=\"one\"} 1",
            "headend_transcoder_segments_total{stream=\"two\"} 1",
            "headend_transcoder_segment_gaps_total{stream=\"two\"} 2",
            "headend_transcoder_discontinuities_total{stream=\"two\"} 1",
            "headend_transcoder_segment_bytes_total{stream=\"two\",rendition=\"480p\"} 188",
            "headend_transcoder_segment_duration_seconds_count 2",
            "headend_transcoder_start_phase_seconds_count{phase=\"first_segment\"} 1",
            "headend_transcoder_first_segment_seconds{stream=\"two\"} 1.2",
            "headend_transcoder_source_resolutions_total{stream=\"two\",result=\"failed\"} 1",
            "headend_transcoder_source_failures_total{stream=\"two\",reason=\"Silent\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
