//! What the gateway's own account may do to streams, asked of the API server as that account.

use anyhow::{Result, ensure};
use api::LiveStream;
use e2e::suite::{NAMESPACE, RELEASE, Suite};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// LiveStreams, as the gateway's ServiceAccount.
async fn as_gateway() -> Result<Api<LiveStream>> {
    let mut config = Config::infer().await?;
    config.auth_info.impersonate = Some(format!(
        "system:serviceaccount:{NAMESPACE}:{RELEASE}-gateway"
    ));
    config.auth_info.impersonate_groups = Some(vec![
        "system:serviceaccounts".to_owned(),
        "system:authenticated".to_owned(),
    ]);
    Ok(Api::namespaced(Client::try_from(config)?, NAMESPACE))
}

fn stream(labels: &Value, spec: &Value) -> Result<LiveStream> {
    let mut whole =
        json!({ "sources": [{ "url": "http://source.example/one.ts" }], "suspend": true });
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    let object = json!({ "apiVersion": "headend.dev/v1alpha1", "kind": "LiveStream", "metadata": { "name": "held", "labels": labels }, "spec": whole });
    Ok(serde_json::from_value(object)?)
}

fn refused<T: std::fmt::Debug>(answer: &kube::Result<T>, says: &str) -> Result<()> {
    let message = format!("{answer:?}");
    ensure!(
        answer.is_err() && message.contains(says),
        "expected a refusal that says {says:?}: {message}"
    );
    Ok(())
}

#[tokio::test]
async fn the_gateway_is_held_to_the_streams_that_it_needs() -> Result<()> {
    let suite = Suite::start().await?;
    let gateway = as_gateway().await?;
    let own = json!({ api::names::LABEL_ORIGIN: api::names::ORIGIN_GATEWAY });
    let new = PostParams::default();
    let delete = json!({ "whenIdle": "Delete" });
    refused(
        &gateway.create(&new, &stream(&json!({}), &delete)?).await,
        "origin=gateway",
    )?;
    refused(
        &gateway.create(&new, &stream(&own, &json!({}))?).await,
        "whenIdle Delete",
    )?;
    let secret = json!({ "whenIdle": "Delete", "sources": [{ "urlSecretRef": { "name": "headend-source-a", "key": "url" } }] });
    refused(
        &gateway.create(&new, &stream(&own, &secret)?).await,
        "name no Secrets",
    )?;
    gateway.create(&new, &stream(&own, &delete)?).await?;

    let patch = async |body: Value| {
        gateway
            .patch("held", &PatchParams::default(), &Patch::Merge(&body))
            .await
    };
    patch(json!({ "spec": { "replicas": 0 }, "metadata": { "annotations": { api::names::ANNOTATION_WOKEN_AT: "now" } } })).await?;
    patch(json!({ "spec": { "sources": [{ "url": "http://source.example/two.ts" }] } })).await?;
    refused(
        &patch(json!({ "spec": { "className": "other" } })).await,
        "only replicas and suspend",
    )?;
    refused(
        &patch(json!({ "metadata": { "annotations": { "other": "x" } } })).await,
        "only the annotations",
    )?;
    refused(
        &patch(json!({ "metadata": { "labels": { api::names::LABEL_ORIGIN: null } } })).await,
        "no labels",
    )?;
    refused(
        &gateway.delete("held", &DeleteParams::default()).await,
        "forbidden",
    )?;

    suite
        .apply_stream(
            "by-hand",
            json!({ "sources": [{ "url": "http://source.example/one.ts" }], "suspend": true }),
        )
        .await?;
    let other = json!({ "spec": { "sources": [{ "url": "http://source.example/two.ts" }] } });
    refused(
        &gateway
            .patch("by-hand", &PatchParams::default(), &Patch::Merge(&other))
            .await,
        "only on its own streams",
    )?;
    suite.clean().await
}
