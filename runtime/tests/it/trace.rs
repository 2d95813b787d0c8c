//! Spans reach a collector as OTLP over HTTP says.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use runtime::trace::{Span, TraceContext, TraceSettings, start, tell};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// A collector that is ill the first time.
async fn collector() -> (String, mpsc::UnboundedReceiver<Value>) {
    let (sender, received) = mpsc::unbounded_channel();
    let take = async |State(sender): State<mpsc::UnboundedSender<Value>>,
                      Json(body): Json<Value>| {
        let is_first = body.to_string().contains("lost");
        sender.send(body).unwrap();
        match is_first {
            true => (StatusCode::BAD_REQUEST, Json(json!({}))),
            false => (StatusCode::OK, Json(json!({}))),
        }
    };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (format!("http://{address}"), received)
}

fn span(name: &'static str, context: TraceContext, parent: Option<TraceContext>) -> Span {
    Span {
        name,
        context,
        parent,
        start: UNIX_EPOCH + Duration::from_secs(1000),
        took: Duration::from_millis(1500),
        attributes: vec![("stream.name", "news-one".to_owned())],
    }
}

#[tokio::test]
async fn what_is_told_reaches_the_collector_even_after_it_was_ill() {
    let parent = TraceContext::begin();
    tell(span("nobody listens yet", parent, None));
    let (endpoint, mut received) = collector().await;
    let settings = TraceSettings {
        endpoint: Some(endpoint),
    };
    start(&settings, "headend-test").unwrap();
    start(&settings, "headend-test").unwrap_err();
    tell(span("lost", parent, None));
    let lost = timeout(SOON, received.recv()).await.unwrap().unwrap();
    assert!(lost.to_string().contains("lost"));

    let context = parent.another();
    tell(span("first_keyframe", context, Some(parent)));
    let sent = timeout(SOON, received.recv()).await.unwrap().unwrap();
    let sent = &sent["resourceSpans"][0];
    let service = json!({"key": "service.name", "value": {"stringValue": "headend-test"}});
    let resource = sent["resource"]["attributes"].as_array().unwrap();
    assert!(resource.contains(&service), "{resource:?}");
    let told = &sent["scopeSpans"][0]["spans"][0];
    assert_eq!(told["name"], "first_keyframe");
    assert_eq!(told["traceId"], parent.trace_id());
    let id = |context: &TraceContext| context.to_string()[36..52].to_owned();
    assert_eq!(told["parentSpanId"], id(&parent));
    assert_eq!(told["spanId"], id(&context));
    assert_eq!(told["startTimeUnixNano"], "1000000000000");
    assert_eq!(told["endTimeUnixNano"], "1001500000000");
    assert_eq!(told["attributes"][0]["value"]["stringValue"], "news-one");
}
