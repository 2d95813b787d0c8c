//! An OpenTelemetry collector that keeps what it is sent by OTLP over HTTP (JSON), for a test to look at. Knows spans only.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// `service.name` of the process.
    pub service: String,
    /// What was done.
    pub name: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits; empty for the first span of a trace.
    pub parent_span_id: String,
}

/// A collector that listens until it is dropped.
pub struct Collector {
    address: SocketAddr,
    spans: watch::Receiver<Vec<ReceivedSpan>>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    /// Listens at an address; port 0 is any.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, spans) = watch::channel(Vec::new());
        let routes = Router::new().route("/v1/traces", post(take));
        let router = routes.with_state(sender);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the collector broke");
            }
        });
        Ok(Self {
            address,
            spans,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// What processes are told as their collector.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far as soon as they are as wanted; `None` when they are not in time.
    pub async fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&[ReceivedSpan]) -> bool,
    ) -> Option<Vec<ReceivedSpan>> {
        let mut spans = self.spans.clone();
        let waiting = spans.wait_for(|spans| wanted(spans));
        let spans = tokio::time::timeout(limit, waiting).await.ok()?.ok()?;
        Some(spans.clone())
    }
}

async fn take(
    State(spans): State<watch::Sender<Vec<ReceivedSpan>>>,
    Json(body): Json<Value>,
) -> Json<Value> {
    let received = each(&body, "resourceSpans").flat_map(of_resource);
    let received: Vec<_> = received.collect();
    spans.send_modify(|spans| spans.extend(received));
    Json(json!({}))
}

fn of_resource(resource: &Value) -> impl Iterator<Item = ReceivedSpan> {
    let service = each(&resource["resource"], "attributes")
        .find(|attribute| attribute["key"] == "service.name")
        .map(|attribute| text(&attribute["value"]["stringValue"]))
        .unwrap_or_default();
    let spans = each(resource, "scopeSpans").flat_map(|scope| each(scope, "spans"));
    spans.map(move |span| ReceivedSpan {
        service: service.clone(),
        name: text(&span["name"]),
        trace_id: text(&span["traceId"]),
        span_id: text(&span["spanId"]),
        parent_span_id: text(&span["parentSpanId"]),
    })
}

fn each<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
