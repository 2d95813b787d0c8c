//! The figures of one stream, as the parts of an attempt count them. Decides nothing.

use api::condition::Reason;
use api::control::StartTimes;
use api::playlists::SegmentEntry;
use media::time::Ticks;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, PhaseLabels, ReasonLabels, RenditionLabels, ResultLabels, StreamLabels};

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
    pub(super) fn new(metrics: Metrics, stream: &str) -> Self {
        let stream = stream.to_owned();
        Self {
            metrics,
            labels: StreamLabels { stream },
        }
    }

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

    /// A source's address was resolved to one that answers, or not.
    pub(crate) fn source_resolved(&self, succeeded: bool) {
        let labels = ResultLabels {
            stream: self.labels.stream.clone(),
            result: if succeeded { "succeeded" } else { "failed" },
        };
        self.metrics.source_resolutions.get_or_create(&labels).inc();
    }

    /// A source failed.
    pub(crate) fn source_failed(&self, reason: Reason) {
        let labels = ReasonLabels {
            stream: self.labels.stream.clone(),
            reason: reason.as_str().to_owned(),
        };
        self.metrics.source_failures.get_or_create(&labels).inc();
    }

    /// Another source takes over.
    pub(crate) fn source_switched(&self) {
        self.metrics
            .source_switches
            .get_or_create(&self.labels)
            .inc();
    }

    /// A segment was published.
    pub(crate) fn segment_published(&self, entry: &SegmentEntry) {
        let (metrics, labels) = (&self.metrics, &self.labels);
        metrics.segments.get_or_create(labels).inc();
        let gaps = entry.gaps.len() as u64;
        metrics.segment_gaps.get_or_create(labels).inc_by(gaps);
        if entry.discontinuity {
            metrics.discontinuities.get_or_create(labels).inc();
        }
        let ticks = i64::try_from(entry.duration_ticks).unwrap_or(i64::MAX);
        metrics.segment_seconds.observe(Ticks(ticks).as_seconds());
    }

    /// A rendition of a segment was made.
    pub(crate) fn segment_bytes(&self, rendition: &str, count: usize) {
        let labels = RenditionLabels {
            stream: self.labels.stream.clone(),
            rendition: rendition.to_owned(),
        };
        let bytes = self.metrics.segment_bytes.get_or_create(&labels);
        bytes.inc_by(count as u64);
    }

    /// There was no room for a segment.
    pub(crate) fn segment_dropped(&self) {
        self.metrics
            .segments_dropped
            .get_or_create(&self.labels)
            .inc();
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

    /// How many encoded renditions an encoder that cannot keep up goes without.
    pub(crate) fn renditions_left_out(&self, count: usize) {
        self.metrics
            .renditions_left_out
            .get_or_create(&self.labels)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether segments are served from memory.
    pub(crate) fn output_stalled(&self, is_stalled: bool) {
        self.metrics
            .output_stalled
            .get_or_create(&self.labels)
            .set(i64::from(is_stalled));
    }

    /// The first segment is published, so many milliseconds after the start, and what came before it.
    pub(crate) fn first_segment(&self, milliseconds: i64, start: Option<StartTimes>) {
        self.metrics
            .first_segment
            .get_or_create(&self.labels)
            .set(seconds(milliseconds));
        for (phase, took) in start.unwrap_or_default().phases(milliseconds) {
            let phase = self
                .metrics
                .start_phases
                .get_or_create(&PhaseLabels { phase });
            phase.observe(seconds(took));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a start is a matter of seconds")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
