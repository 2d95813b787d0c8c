//! The way of one start through all processes, as spans of one trace: who began it hands its context on (W3C Trace Context), and what
//! each part took is sent to an OpenTelemetry collector where one is configured. Never delays or fails what it tells of: a span that
//! cannot be sent is lost. Spans carry names and durations of ours, never an address, a token or a viewer.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;

/// Spans that wait to be sent at most; further ones are lost.
const QUEUE: usize = 1024;
/// Spans that are sent at once at most.
const BATCH: usize = 256;
/// How long a collector may take to answer.
const SEND_TIME: Duration = Duration::from_secs(5);

/// Where what is told goes, once sending has begun.
static QUEUED: OnceLock<mpsc::Sender<SpanData>> = OnceLock::new();

/// Where spans are sent. Flatten it into a process's settings.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TraceSettings {
    /// OpenTelemetry collector that is sent the spans of starts, by OTLP over HTTP: http://collector:4318 (none are sent when absent)
    #[arg(
        id = "otlp_endpoint",
        long = "otlp-endpoint",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = endpoint
    )]
    pub endpoint: Option<String>,
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim_end_matches('/');
    let host = trimmed.strip_prefix("http://");
    match host.filter(|host| !host.is_empty() && !host.contains('@')) {
        Some(_) => Ok(trimmed.to_owned()),
        None => {
            Err("must be http://host:port: a collector within the cluster, without TLS and login")
        }
    }
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The address or a variable of OpenTelemetry's is wrong.
    #[error("failed to prepare the sending of spans")]
    Prepare(#[from] ExporterBuildError),
    /// It was begun before.
    #[error("failed to begin the sending of spans: it was begun before")]
    Begun,
}

/// A place in a trace: which trace, and which span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
}

/// Something that was done, with its time.
#[derive(Debug, Clone)]
pub struct Span {
    /// What was done, in a few words that are always the same.
    pub name: &'static str,
    /// Its own place.
    pub context: TraceContext,
    /// The span that it is a part of; the first of a trace has none.
    pub parent: Option<TraceContext>,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// More of it, by names of OpenTelemetry's semantic conventions or of our metrics.
    pub attributes: Vec<(&'static str, String)>,
}

impl TraceContext {
    /// The first span of a new trace. Whoever knows one can not tell the next: ids are no secrets, but nobody is to hit another's.
    #[must_use]
    pub fn begin() -> Self {
        let high = u128::from(random()) << 64;
        Self {
            trace: TraceId::from(high | u128::from(random())),
            span: SpanId::from(random()),
        }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            trace: self.trace,
            span: SpanId::from(random()),
        }
    }

    /// The id of the trace, as logs have it: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }
}

/// Never 0, which would be no id. The standard library's hash keys are random for each process and table.
fn random() -> u64 {
    RandomState::new().hash_one(SystemTime::now()).max(1)
}

/// As header `traceparent` has it (W3C Trace Context, section 3.2), sampled.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-01", self.trace, self.span)
    }
}

/// What is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read a trace context: it must be 00-<32 hexadecimal digits>-<16>-<2>")]
pub struct InvalidContext;

impl FromStr for TraceContext {
    type Err = InvalidContext;

    fn from_str(text: &str) -> Result<Self, InvalidContext> {
        let parts: Vec<_> = text.split('-').collect();
        let &["00", trace, span, flags] = &parts[..] else {
            return Err(InvalidContext);
        };
        let is_id = |part: &str, digits| {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.len() == digits && part.bytes().all(is_digit)
        };
        if !is_id(trace, 32) || !is_id(span, 16) || !is_id(flags, 2) {
            return Err(InvalidContext);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| InvalidContext)?;
        let span = SpanId::from_hex(span).map_err(|_| InvalidContext)?;
        match trace == TraceId::INVALID || span == SpanId::INVALID {
            true => Err(InvalidContext),
            false => Ok(Self { trace, span }),
        }
    }
}

/// Begins to send what is told; call once, in the process's runtime. Without a collector nothing is sent.
///
/// # Errors
/// When what is said of the collector is wrong. One that is away is no error.
pub fn start(settings: &TraceSettings, service: &'static str) -> Result<(), TraceError> {
    let Some(endpoint) = &settings.endpoint else {
        return Ok(());
    };
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(SEND_TIME)
        .build()?;
    let version = KeyValue::new("service.version", crate::build::version());
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(version);
    exporter.set_resource(&resource.build());
    let (queue, queued) = mpsc::channel(QUEUE);
    QUEUED.set(queue).map_err(|_| TraceError::Begun)?;
    tokio::spawn(send(exporter, queued));
    Ok(())
}

/// Tells what was done. Returns at once, whatever becomes of it.
pub fn tell(span: Span) {
    if let Some(queue) = QUEUED.get() {
        // A collector that is away or slow costs spans, nothing else.
        let _ = queue.try_send(data(span));
    }
}

async fn send(exporter: SpanExporter, mut queued: mpsc::Receiver<SpanData>) {
    let mut failing = false;
    let mut batch = Vec::new();
    while queued.recv_many(&mut batch, BATCH).await > 0 {
        let sent = exporter.export(std::mem::take(&mut batch)).await;
        match &sent {
            Err(error) if !failing => {
                tracing::warn!(%error, "failed to send spans; those that cannot be sent are lost");
            }
            Ok(()) if failing => tracing::info!("spans are sent again"),
            _ => {}
        }
        failing = sent.is_err();
    }
}

fn data(span: Span) -> SpanData {
    let attributes = span.attributes.into_iter();
    SpanData {
        span_context: SpanContext::new(
            span.context.trace,
            span.context.span,
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| parent.span),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: span.start,
        end_time: span.start + span.took,
        attributes: attributes
            .map(|(name, value)| KeyValue::new(name, value))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("headend").build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_written_and_read_as_the_standard_says() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let another = context.another();
        assert_eq!(another.trace_id(), context.trace_id());
        assert_ne!(another, context);
        let fresh = TraceContext::begin();
        assert_eq!(fresh.to_string().parse(), Ok(fresh));
        assert_ne!(fresh.trace_id(), TraceContext::begin().trace_id());
    }

    #[test]
    fn what_is_no_context_is_refused() {
        for text in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-zz-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidContext), "{text}");
        }
    }

    #[test]
    fn a_collector_is_a_host_of_the_cluster() {
        assert_eq!(
            endpoint("http://collector:4318/").unwrap(),
            "http://collector:4318"
        );
        for bad in [
            "",
            "collector:4318",
            "https://collector",
            "http://",
            "http://me:word@collector",
        ] {
            endpoint(bad).unwrap_err();
        }
    }
}
