//! What the chart renders for values that the suite's own release does not have: the API server takes it, and what cannot work is refused
//! before. Creates nothing.

use anyhow::{Context, Result, ensure};
use e2e::helm;
use e2e::suite::{NAMESPACE, RELEASE, Suite};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// The gateway's manifests with this autoscaling.
async fn gateway(autoscaling: &Value) -> Result<Vec<Value>> {
    let chart = helm::chart();
    let chart = chart.to_string_lossy();
    let words = ["template", RELEASE, &chart, "--show-only"];
    let words = [&words[..], &["templates/gateway.yaml"]].concat();
    let values = json!({ "gateway": { "autoscaling": autoscaling } });
    let rendered = helm::helm(NAMESPACE, &words, Some(&values)).await?;
    serde_saphyr::from_multiple(&rendered).context("failed to read what the chart renders")
}

#[tokio::test]
async fn gateways_are_as_many_as_their_viewers_need() -> Result<()> {
    let suite = Suite::start().await?;
    let rendered = gateway(&json!({ "enabled": true, "maxReplicas": 7 })).await?;
    let find = |kind: &str| rendered.iter().find(|object| object["kind"] == kind);
    let deployment = find("Deployment").context("no Deployment")?;
    ensure!(
        deployment["spec"]["replicas"].is_null(),
        "each upgrade would undo what the autoscaler did"
    );
    let autoscaler = find("HorizontalPodAutoscaler").context("no HorizontalPodAutoscaler")?;
    let name = autoscaler["metadata"]["name"].as_str().unwrap_or_default();
    let autoscalers: Api<HorizontalPodAutoscaler> =
        Api::namespaced(suite.client.clone(), NAMESPACE);
    let trial = PatchParams::apply("trial").dry_run().validation_strict();
    let wanted = Patch::Apply(autoscaler);
    let taken = autoscalers.patch(name, &trial, &wanted).await?.spec;
    let figures: Vec<_> = taken.metrics.iter().flatten().collect();
    ensure!((taken.max_replicas, figures.len()) == (7, 2), "{taken:?}");

    let unwatched = json!({ "enabled": true, "connections": 0, "egressMebibytesPerSecond": 0 });
    for (autoscaling, says) in [
        (json!({ "enabled": true, "minReplicas": 11 }), "minReplicas"),
        (unwatched, "needs connections or egressMebibytesPerSecond"),
    ] {
        let refused = gateway(&autoscaling).await;
        let message = refused.err().map(|error| format!("{error:#}"));
        ensure!(
            message.as_ref().is_some_and(|text| text.contains(says)),
            "expected a refusal that says {says:?}: {message:?}"
        );
    }
    Ok(())
}
