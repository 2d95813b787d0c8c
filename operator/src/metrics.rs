//! What the operator counts. Names end where Prometheus expects it; labels have few values, and never a stream's name.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

type Labelled<const N: usize> = Family<[(&'static str, &'static str); N], Counter>;

/// Upper bounds of the buckets of reconcile durations, in seconds.
const SECONDS: [f64; 8] = [0.01, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    reconciled: Counter,
    failed: Labelled<1>,
    seconds: Histogram,
    writes: Labelled<2>,
    polls: Labelled<1>,
    collections: Labelled<1>,
    presence_failures: Counter,
    blind: Gauge,
}

impl Metrics {
    /// Counters that are read through `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let Self {
            reconciled,
            failed,
            seconds,
            writes,
            polls,
            collections,
            presence_failures,
            blind,
        } = metrics.clone();
        let mut add = |name: &str, help: &str, metric| registry.register(name, help, metric);
        add(
            "headend_reconciliations",
            "Reconciles of LiveStreams",
            Any::Counter(reconciled),
        );
        add(
            "headend_reconcile_failures",
            "Reconciles that failed, by kind",
            Any::One(failed),
        );
        add(
            "headend_reconcile_duration_seconds",
            "Duration of reconciles",
            Any::Histogram(seconds),
        );
        add(
            "headend_api_writes",
            "Writing requests to the API server",
            Any::Two(writes),
        );
        add(
            "headend_polls",
            "Polls of transcoder pods, by outcome",
            Any::One(polls),
        );
        add(
            "headend_collections",
            "Idle streams removed, or kept at the last moment",
            Any::One(collections),
        );
        add(
            "headend_presence_failures",
            "Requests that the presence store did not answer",
            Any::Counter(presence_failures),
        );
        add(
            "headend_blind",
            "Whether so many pods are silent at once (1) that none is replaced for being silent",
            Any::Gauge(blind),
        );
        metrics
    }

    fn unregistered() -> Self {
        Self {
            reconciled: Counter::default(),
            failed: Family::default(),
            seconds: Histogram::new(SECONDS),
            writes: Family::default(),
            polls: Family::default(),
            collections: Family::default(),
            presence_failures: Counter::default(),
            blind: Gauge::default(),
        }
    }

    pub(crate) fn reconciled(&self, took: Duration, failure: Option<&'static str>) {
        self.reconciled.inc();
        self.seconds.observe(took.as_secs_f64());
        if let Some(kind) = failure {
            self.failed.get_or_create(&[("kind", kind)]).inc();
        }
    }

    pub(crate) fn wrote(&self, verb: &'static str, resource: &'static str) {
        let labels = [("verb", verb), ("resource", resource)];
        self.writes.get_or_create(&labels).inc();
    }

    pub(crate) fn polled(&self, answered: bool) {
        let outcome = if answered { "answered" } else { "failed" };
        self.polls.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn collected(&self, removed: bool) {
        let outcome = if removed { "removed" } else { "kept" };
        self.collections
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// Says whether the operator sees so few of the pods that it trusts its eyes no more; answers whether that is news.
    pub(crate) fn blind(&self, is_blind: bool) -> bool {
        let now = i64::from(is_blind);
        self.blind.inner().swap(now, Ordering::Relaxed) != now
    }

    pub(crate) fn presence_failed(&self) {
        self.presence_failures.inc();
    }
}

/// The kinds of metrics above, so that one table registers them all.
#[derive(Debug)]
enum Any {
    Counter(Counter),
    One(Labelled<1>),
    Two(Labelled<2>),
    Histogram(Histogram),
    Gauge(Gauge),
}

impl EncodeMetric for Any {
    fn encode(
        &self,
        encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ) -> Result<(), fmt::Error> {
        match self {
            Self::Counter(metric) => metric.encode(encoder),
            Self::One(metric) => metric.encode(encoder),
            Self::Two(metric) => metric.encode(encoder),
            Self::Histogram(metric) => metric.encode(encoder),
            Self::Gauge(metric) => metric.encode(encoder),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Histogram(_) => Histogram::TYPE,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Counter(_) | Self::One(_) | Self::Two(_) => Counter::<u64>::TYPE,
        }
    }
}

type Count = dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync;

/// A gauge that is counted when it is read: one value per label.
pub(crate) struct Counted {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    count: Arc<Count>,
}

impl Counted {
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        count: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            name,
            help,
            label,
            count: Arc::new(count),
        })
    }
}

impl Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor(self.name, self.help, None, gauge)?;
        for (value, count) in (self.count)() {
            let labels = [(self.label, value)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let phases = || vec![("Live", 3), ("Idle", 0)];
        let phases = Counted::new("headend_streams", "LiveStreams by phase", "phase", phases);
        registry.register_collector(phases);
        metrics.reconciled(Duration::from_millis(5), Some("slow"));
        metrics.wrote("create", "pods");
        metrics.polled(true);
        metrics.collected(false);
        metrics.presence_failed();
        assert!(metrics.blind(true) && !metrics.blind(true));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "headend_reconciliations_total 1",
            "headend_reconcile_failures_total{kind=\"slow\"} 1",
            "headend_reconcile_duration_seconds_bucket{le=\"0.01\"} 1",
            "headend_api_writes_total{verb=\"create\",resource=\"pods\"} 1",
            "headend_polls_total{outcome=\"answered\"} 1",
            "headend_collections_total{outcome=\"kept\"} 1",
            "headend_presence_failures_total 1",
            "headend_blind 1",
            "headend_streams{phase=\"Live\"} 3",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
    }
}
