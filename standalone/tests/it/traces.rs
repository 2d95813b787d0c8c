//! A start as a trace: who asked first, and what the stream's attempt did until its first segment.

use std::path::Path;

use testkit::collector::{Collector, ReceivedSpan};

use crate::standalone::Standalone;
use crate::viewer::Viewer;
use crate::{PATIENCE, list, source};

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Option<&'a ReceivedSpan> {
    spans.iter().find(|span| span.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_one_trace_from_the_first_request_to_the_first_segment() {
    let source = source(&["one"]).await;
    let collector = Collector::start("127.0.0.1:0".parse().unwrap()).await;
    let collector = collector.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let endpoint = collector.endpoint();
    let arguments = ["--otlp-endpoint", &endpoint];
    let standalone = Standalone::start(Path::new(&file), &arguments).await;
    let viewer = Viewer::new(&standalone, "one");
    let playlist = viewer.tune_in().await;
    viewer.look(&playlist).await;
    let whole = [
        "start stream",
        "first segment of an attempt",
        "connect",
        "first_byte",
        "first_keyframe",
        "first_segment",
    ];
    let spans = collector
        .wait_for(PATIENCE, |spans| {
            whole.iter().all(|name| named(spans, name).is_some())
        })
        .await
        .unwrap();
    let [begun, attempt] = [whole[0], whole[1]].map(|name| named(&spans, name).unwrap());
    assert_eq!(begun.parent_span_id, "");
    assert_eq!(attempt.parent_span_id, begun.span_id);
    for name in &whole[2..] {
        assert_eq!(named(&spans, name).unwrap().parent_span_id, attempt.span_id);
    }
    for span in &spans {
        assert_eq!(span.trace_id, begun.trace_id);
        assert_eq!(span.service, "headend-standalone");
    }
    assert!(standalone.end().await.success());
}
