//! Two writers meet: a proxy before the API server delays one of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::fence::Fence;
use e2e::proxy::DelayProxy;
use e2e::suite::{IDLE_SECONDS, NAMESPACE, RELEASE, Suite};
use e2e::wait::{Seen, until};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::{SOON, START};

/// Where the operator finds the API server during a race: an address that the API server's certificate names.
const PROXY: ([u8; 4], u16) = ([198, 18, 0, 1], 18443);
const API_SERVER: ([u8; 4], u16) = ([198, 18, 0, 1], 6443);

/// Gives the operator's container these variables and waits until it runs with them.
async fn restart_operator(suite: &Suite, variables: Value) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let name = format!("{RELEASE}-operator");
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "operator", "env": variables }] } } } });
    deployments
        .patch(&name, &PatchParams::default(), &Patch::Strategic(&patch))
        .await?;
    until("the operator's restart", START, || async {
        let deployment = deployments.get(&name).await?;
        let status = deployment.status.unwrap_or_default();
        let current = status.observed_generation == deployment.metadata.generation;
        let wanted = deployment.spec.replicas;
        let settled = [
            status.updated_replicas,
            status.ready_replicas,
            status.replicas,
        ]
        .iter()
        .all(|count| *count == wanted);
        Ok(Seen::when(current && settled, (current, settled)))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_viewer_who_comes_back_beats_a_scale_down_that_is_under_way() -> Result<()> {
    let suite = Suite::start().await?;
    let proxy = DelayProxy::start(SocketAddr::from(PROXY), SocketAddr::from(API_SERVER)).await?;
    let through = json!([
        { "name": "KUBERNETES_SERVICE_HOST", "value": "198.18.0.1" },
        { "name": "KUBERNETES_SERVICE_PORT", "value": PROXY.1.to_string() },
    ]);
    restart_operator(&suite, through).await?;
    let raced = race(&suite, &proxy).await;
    proxy.let_go();
    let direct = json!([
        { "name": "KUBERNETES_SERVICE_HOST", "$patch": "delete" },
        { "name": "KUBERNETES_SERVICE_PORT", "$patch": "delete" },
    ]);
    restart_operator(&suite, direct).await?;
    raced?;
    suite.clean().await
}

async fn race(suite: &Suite, proxy: &DelayProxy) -> Result<()> {
    let url = suite.source_url("plain")?;
    suite
        .apply_stream(
            "raced",
            json!({ "className": "quick", "sources": [{ "url": url }] }),
        )
        .await?;
    let viewer = suite.viewer("raced");
    viewer.start(START).await?;
    let pod = suite
        .transcoders(Some("raced"))
        .await?
        .first()
        .context("no pod")?
        .uid();

    let limit = Duration::from_secs(IDLE_SECONDS) + START;
    let idle = suite.streams().get("raced").await?;
    suite.fence_when(&idle, Fence::Closing, limit).await?;
    proxy.hold();
    suite.fence_when(&idle, Fence::Closed, SOON).await?;
    until(
        "the operator's scale-down to wait in the proxy",
        SOON,
        || async { Ok(Seen::when(proxy.held_bytes() > 0, proxy.held_bytes())) },
    )
    .await?;
    let playlist = viewer.start(SOON).await?;
    let woken = |stream: &api::LiveStream| {
        stream.annotations().get(api::names::ANNOTATION_WOKEN_AT)
            != idle.annotations().get(api::names::ANNOTATION_WOKEN_AT)
    };
    suite.stream_when("raced", "is woken", SOON, woken).await?;
    proxy.let_go();

    viewer.play(&playlist, 8, SOON * 2).await?;
    let stream = suite.streams().get("raced").await?;
    ensure!(
        stream.spec.replicas == 1,
        "scaled down in spite of the wake-up: {stream:?}"
    );
    let after = suite.transcoders(Some("raced")).await?;
    ensure!(
        after.len() == 1 && after[0].uid() == pod,
        "the pod was replaced"
    );
    Ok(())
}
