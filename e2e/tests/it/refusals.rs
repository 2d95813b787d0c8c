//! What is refused, and what the one who asked gets to read.

use anyhow::{Result, ensure};
use api::live_stream::Phase;
use api::{LiveStream, StreamClass};
use e2e::suite::{NAMESPACE, NARROW_TOKEN, Suite};
use e2e::viewer::Viewer;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{SOON, START, phase};

/// Whether a condition does not hold for that reason, and says so in words with these in them. Names as scripts and alerts know them.
fn fails(stream: &LiveStream, kind: &str, reason: &str, words: &str) -> bool {
    let mut conditions = stream.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| {
        condition.type_ == kind
            && condition.status == "False"
            && condition.reason == reason
            && condition.message.contains(words)
    })
}

/// Requests that name LiveStreams, reads included, watches and lists left out, by the API server's own count.
async fn requests(suite: &Suite) -> Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = suite.client.request_text(request).await?;
    let lines = text.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"livestreams\"")
            && ["POST", "PATCH", "PUT", "DELETE", "GET"]
                .iter()
                .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
    });
    Ok(lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|count| count as u64)
        .sum())
}

#[tokio::test]
async fn who_may_not_watch_costs_no_call_to_the_api_server() -> Result<()> {
    let suite = Suite::start().await?;
    let before = requests(&suite).await?;
    let gateway = &suite.gateway;
    for (viewer, status) in [
        (Viewer::new(gateway, "plain", None), 401),
        (Viewer::new(gateway, "plain", Some("guessed")), 401),
        (
            Viewer::new(gateway, "no-such-channel", Some("guessed")),
            401,
        ),
        (
            Viewer::new(gateway, "no-such-channel", Some(e2e::suite::TOKEN)),
            404,
        ),
        (Viewer::new(gateway, "second", Some(NARROW_TOKEN)), 403),
    ] {
        let answer = viewer.master().await?;
        assert_eq!(answer.status(), status, "{}", viewer.master_url().path());
    }
    assert_eq!(requests(&suite).await?, before);
    assert_eq!(
        suite
            .streams()
            .list(&ListParams::default())
            .await?
            .items
            .len(),
        0
    );
    Ok(())
}

#[tokio::test]
async fn a_bad_stream_is_refused_with_the_fields_name() -> Result<()> {
    let suite = Suite::start().await?;
    for (spec, field) in [
        (
            json!({ "sources": [{ "url": "ftp://source.example/x" }] }),
            "spec.sources[0].url",
        ),
        (json!({ "sources": [{}] }), "spec.sources[0]"),
        (json!({ "sources": [] }), "spec.sources"),
        (
            json!({ "sources": [{ "url": "http://source.example/x" }], "replicas": 2 }),
            "spec.replicas",
        ),
        (
            json!({ "sources": [{ "urlSecretRef": { "name": "database", "key": "url" } }] }),
            "urlSecretRef.name",
        ),
    ] {
        let refused = suite.apply_stream("bad", spec.clone()).await.unwrap_err();
        let message = format!("{refused:#}");
        ensure!(
            message.contains(field),
            "{spec} was refused without {field}: {message}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_source_that_answers_404_is_named_in_the_status_and_to_the_viewer() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("missing");
    let answer = viewer.master().await?;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    ensure!(answer.headers().contains_key("retry-after"));
    let stream = suite
        .stream_when("missing", "names the 404", START, |stream| {
            fails(stream, "SourceHealthy", "HttpError", "404")
        })
        .await?;
    ensure!(stream.status.unwrap().viewers <= 1);
    let told = viewer.master().await?;
    assert_eq!(told.status(), 503);
    ensure!(told.text().await?.contains("404"));
    Ok(())
}

#[tokio::test]
async fn a_page_instead_of_a_stream_is_named() -> Result<()> {
    let suite = Suite::start().await?;
    assert_eq!(suite.viewer("page").master().await?.status(), 503);
    suite
        .stream_when("page", "names the page", START, |stream| {
            fails(stream, "SourceHealthy", "NotTransportStream", "")
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_class_that_does_not_exist_is_named_and_starts_no_pod() -> Result<()> {
    let suite = Suite::start().await?;
    assert_eq!(suite.viewer("wrong-class").master().await?.status(), 503);
    suite
        .stream_when("wrong-class", "names the class", SOON, |stream| {
            fails(stream, "Provisioned", "ClassNotFound", "no-such-class")
        })
        .await?;
    assert_eq!(suite.transcoders(Some("wrong-class")).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stream_whose_class_was_missing_starts_when_the_class_appears() -> Result<()> {
    let suite = Suite::start().await?;
    let url = suite.source_url("plain")?;
    let spec = json!({ "className": "late", "sources": [{ "url": url }], "replicas": 1 });
    suite.apply_stream("early", spec).await?;
    suite
        .stream_when("early", "names the class", SOON, |stream| {
            fails(stream, "Provisioned", "ClassNotFound", "late")
        })
        .await?;
    assert_eq!(suite.transcoders(Some("early")).await?.len(), 0);
    // From here on nobody touches the stream: only the watch of classes can tell the operator to look at it again in time.
    let private = json!({ "egress": { "allowPrivateAddresses": true } });
    starts_by_class(&suite, "early", "late", private).await
}

#[tokio::test]
async fn a_stream_that_its_class_refuses_starts_when_the_class_is_corrected() -> Result<()> {
    let suite = Suite::start().await?;
    let strict = json!({ "egress": { "allowPrivateAddresses": false } });
    apply_class(&suite, "strict", strict).await?;
    let url = suite.source_url("plain")?;
    let spec = json!({ "className": "strict", "sources": [{ "url": url }], "replicas": 1 });
    suite.apply_stream("refused", spec).await?;
    suite
        .stream_when("refused", "names the refusal", START, |stream| {
            fails(stream, "SourceHealthy", "EgressRefused", "private")
        })
        .await?;
    let corrected = json!({ "egress": { "allowPrivateAddresses": true } });
    starts_by_class(&suite, "refused", "strict", corrected).await
}

pub(crate) async fn apply_class(
    suite: &Suite,
    name: &str,
    spec: Value,
) -> Result<Api<StreamClass>> {
    let classes: Api<StreamClass> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let class = json!({ "apiVersion": "headend.dev/v1alpha1", "kind": "StreamClass", "metadata": { "name": name }, "spec": spec });
    let parameters = PatchParams::apply("e2e");
    classes
        .patch(name, &parameters, &Patch::Apply(&class))
        .await?;
    Ok(classes)
}

/// The stream becomes live and playable once its class is so. The class is gone afterwards.
async fn starts_by_class(suite: &Suite, stream: &str, class: &str, spec: Value) -> Result<()> {
    let classes = apply_class(suite, class, spec).await?;
    let started = async {
        let is_live = |stream: &LiveStream| phase(stream) == Some(Phase::Live);
        suite.stream_when(stream, "is live", START, is_live).await?;
        suite.viewer(stream).start(SOON).await
    }
    .await;
    classes.delete(class, &DeleteParams::default()).await?;
    started?;
    suite.clean().await
}
