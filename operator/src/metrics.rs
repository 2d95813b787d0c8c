//! What the operator counts. Names end where Prometheus expects it; labels have few values, and never a stream's name.
//! `docs/metrics.md` says what each means; a test holds the two together.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

type Label = (&'static str, &'static str);
type Labelled<const N: usize> = Family<[Label; N], Counter>;
type Durations = Family<[Label; 2], Histogram, fn() -> Histogram>;

/// Upper bounds of the buckets of reconcile durations, in seconds.
const RECONCILE_SECONDS: [f64; 8] = [0.01, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
/// Upper bounds of the buckets of the parts of a start, in seconds.
const START_SECONDS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
];

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    reconciled: Counter,
    failed: Labelled<1>,
    seconds: Histogram,
    writes: Labelled<2>,
    polls: Labelled<1>,
    attempts_failed: Labelled<1>,
    starts: Durations,
    warm_claims: Labelled<1>,
    decisions: Labelled<1>,
    collections: Labelled<1>,
    collecting: Gauge,
    presence_failures: Counter,
    blind: Gauge,
    leader: Gauge,
}

impl Metrics {
    /// Counters that are read through `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        metrics.register_work(registry);
        metrics.register_streams(registry);
        metrics
    }

    fn unregistered() -> Self {
        Self {
            reconciled: Counter::default(),
            failed: Family::default(),
            seconds: Histogram::new(RECONCILE_SECONDS),
            writes: Family::default(),
            polls: Family::default(),
            attempts_failed: Family::default(),
            starts: Family::new_with_constructor(|| Histogram::new(START_SECONDS)),
            warm_claims: Family::default(),
            decisions: Family::default(),
            collections: Family::default(),
            collecting: Gauge::default(),
            presence_failures: Counter::default(),
            blind: Gauge::default(),
            leader: Gauge::default(),
        }
    }

    /// What the operator itself does.
    fn register_work(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, metric| registry.register(name, help, metric);
        add(
            "headend_reconciliations",
            "Reconciles of LiveStreams",
            Any::Counter(self.reconciled.clone()),
        );
        add(
            "headend_reconcile_failures",
            "Reconciles that failed, by reason",
            Any::One(self.failed.clone()),
        );
        add(
            "headend_reconcile_duration_seconds",
            "Duration of reconciles",
            Any::Histogram(self.seconds.clone()),
        );
        add(
            "headend_api_writes",
            "Writing requests to the API server",
            Any::Two(self.writes.clone()),
        );
        add(
            "headend_polls",
            "Polls of transcoder pods, by outcome",
            Any::One(self.polls.clone()),
        );
        add(
            "headend_blind",
            "Whether so many pods are silent at once (1) that none is replaced for being silent",
            Any::Gauge(self.blind.clone()),
        );
        add(
            "headend_leader",
            "Whether this replica leads (1) or stands by (0)",
            Any::Gauge(self.leader.clone()),
        );
    }

    /// What becomes of streams.
    fn register_streams(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, metric| registry.register(name, help, metric);
        add(
            "headend_attempt_failures",
            "Pods that ended before their stream did, by reason",
            Any::One(self.attempts_failed.clone()),
        );
        add(
            "headend_start_duration_seconds",
            "How long starts took from the naming of the pod, in all and by part, with a pod that waited or with one that was made",
            Any::Histograms(self.starts.clone()),
        );
        add(
            "headend_warm_claims",
            "Pods that waited and that a stream wanted, by what came of it",
            Any::One(self.warm_claims.clone()),
        );
        add(
            "headend_collection_decisions",
            "Steps of the collection of idle streams that were decided",
            Any::One(self.decisions.clone()),
        );
        add(
            "headend_collections",
            "Idle streams removed, or kept at the last moment",
            Any::One(self.collections.clone()),
        );
        add(
            "headend_collecting",
            "Whether idle streams are collected (1) or the release is told not to (0)",
            Any::Gauge(self.collecting.clone()),
        );
        add(
            "headend_presence_failures",
            "Requests that the presence store did not answer",
            Any::Counter(self.presence_failures.clone()),
        );
    }

    pub(crate) fn reconciled(&self, took: Duration, failure: Option<&'static str>) {
        self.reconciled.inc();
        self.seconds.observe(took.as_secs_f64());
        if let Some(reason) = failure {
            self.failed.get_or_create(&[("reason", reason)]).inc();
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

    pub(crate) fn attempt_failed(&self, reason: &'static str) {
        let labels = [("reason", reason)];
        self.attempts_failed.get_or_create(&labels).inc();
    }

    /// What came of the wish for a pod that waited.
    pub(crate) fn warm_claimed(&self, outcome: &'static str) {
        let labels = [("outcome", outcome)];
        self.warm_claims.get_or_create(&labels).inc();
    }

    /// A stream is live for the first time, by way of a pod that was `warm` or `cold`; the parts of its start, in milliseconds.
    pub(crate) fn started(&self, path: &'static str, phases: &[(&'static str, i64)]) {
        for (phase, milliseconds) in phases {
            let took = Duration::from_millis(u64::try_from(*milliseconds).unwrap_or(0));
            let phase = self
                .starts
                .get_or_create(&[("phase", *phase), ("path", path)]);
            phase.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn decided(&self, decision: &'static str) {
        let labels = [("decision", decision)];
        self.decisions.get_or_create(&labels).inc();
    }

    pub(crate) fn collected(&self, removed: bool) {
        let outcome = if removed { "removed" } else { "kept" };
        self.collections
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// Says whether the release collects.
    pub(crate) fn collects(&self, collects: bool) {
        self.collecting.set(i64::from(collects));
    }

    /// Says whether this replica leads.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
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

/// The kinds of metrics above, so that one table registers them all. Shown also while nothing is counted.
#[derive(Debug)]
enum Any {
    Counter(Counter),
    One(Labelled<1>),
    Two(Labelled<2>),
    Histogram(Histogram),
    Histograms(Durations),
    Gauge(Gauge),
}

impl EncodeMetric for Any {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Counter(metric) => metric.encode(encoder),
            Self::One(metric) => metric.encode(encoder),
            Self::Two(metric) => metric.encode(encoder),
            Self::Histogram(metric) => metric.encode(encoder),
            Self::Histograms(metric) => metric.encode(encoder),
            Self::Gauge(metric) => metric.encode(encoder),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Histogram(_) | Self::Histograms(_) => Histogram::TYPE,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Counter(_) | Self::One(_) | Self::Two(_) => Counter::<u64>::TYPE,
        }
    }
}

type Count<const N: usize> = dyn Fn() -> Vec<([&'static str; N], u64)> + Send + Sync;

/// A gauge that is counted when it is read: one value per row of labels.
pub(crate) struct Counted<const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    count: Arc<Count<N>>,
}

impl<const N: usize> Counted<N> {
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        count: impl Fn() -> Vec<([&'static str; N], u64)> + Send + Sync + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            name,
            help,
            labels,
            count: Arc::new(count),
        })
    }
}

impl<const N: usize> Debug for Counted<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl<const N: usize> Collector for Counted<N> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor(self.name, self.help, None, gauge)?;
        for (values, count) in (self.count)() {
            let mut values = values.into_iter();
            let labels = self
                .labels
                .map(|label| (label, values.next().unwrap_or_default()));
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

type OfObjects = dyn Fn() -> Vec<(String, &'static str, u64)> + Send + Sync;

/// What there is of each Provider or StreamClass by state, counted when it is read. Those are few and named by the platform team, so a
/// label may have their names.
pub(crate) struct ByState {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    count: Arc<OfObjects>,
}

impl ByState {
    /// `count` answers name of the object, state, how many; `label` is what the object is.
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        count: impl Fn() -> Vec<(String, &'static str, u64)> + Send + Sync + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            name,
            help,
            label,
            count: Arc::new(count),
        })
    }
}

impl Debug for ByState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Collector for ByState {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor(self.name, self.help, None, gauge)?;
        for (object, state, count) in (self.count)() {
            let labels = [(self.label, object.as_str()), ("state", state)];
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
        let rows = || vec![(["Ready", "True"], 3), (["Idle", "Unknown"], 0)];
        let conditions = Counted::new("headend_said", "By condition", ["type", "status"], rows);
        registry.register_collector(conditions);
        metrics.reconciled(Duration::from_millis(5), Some("forbidden"));
        let connections = || vec![("panel".to_owned(), "used", 1)];
        registry.register_collector(ByState::new(
            "headend_provider_connections",
            "Connections",
            "provider",
            connections,
        ));
        metrics.wrote("create", "pods");
        metrics.polled(true);
        metrics.attempt_failed("PodFailed");
        metrics.started("cold", &[("total", 2100), ("connect", 40)]);
        metrics.warm_claimed("given");
        metrics.decided("begin");
        metrics.collected(false);
        metrics.collects(true);
        metrics.leads(true);
        metrics.presence_failed();
        assert!(metrics.blind(true) && !metrics.blind(true));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "headend_reconciliations_total 1",
            "headend_reconcile_failures_total{reason=\"forbidden\"} 1",
            "headend_reconcile_duration_seconds_bucket{le=\"0.01\"} 1",
            "headend_api_writes_total{verb=\"create\",resource=\"pods\"} 1",
            "headend_polls_total{outcome=\"answered\"} 1",
            "headend_attempt_failures_total{reason=\"PodFailed\"} 1",
            "headend_start_duration_seconds_sum{phase=\"total\",path=\"cold\"} 2.1",
            "headend_warm_claims_total{outcome=\"given\"} 1",
            "headend_start_duration_seconds_bucket{le=\"0.05\",phase=\"connect\",path=\"cold\"} 1",
            "headend_collection_decisions_total{decision=\"begin\"} 1",
            "headend_collections_total{outcome=\"kept\"} 1",
            "headend_collecting 1",
            "headend_presence_failures_total 1",
            "headend_blind 1",
            "headend_leader 1",
            "headend_said{type=\"Ready\",status=\"True\"} 3",
            "headend_provider_connections{provider=\"panel\",state=\"used\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
    }
}
