//! Pods that wait for a stream, on real nodes: one is taken, plays, is replaced like any other; another is made; all go with their class.

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use api::names::{LABEL_STREAM, LABEL_WARM_POOL, is_warm_pod_name};
use api::{LiveStream, StreamClass};
use e2e::suite::{IDLE_SECONDS, NAMESPACE, Suite};
use e2e::wait::{Seen, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{SOON, START, phase};

const CLASS: &str = "warmed";
const STREAM: &str = "warm-one";

#[tokio::test]
async fn a_start_takes_a_pod_that_waits_and_another_is_made() -> Result<()> {
    let suite = Suite::start().await?;
    let classes: Api<StreamClass> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let spec = json!({
        "idleTimeoutSeconds": 4 * IDLE_SECONDS, "egress": { "allowPrivateAddresses": true }, "warmPods": { "count": 2 },
    });
    let class = json!({ "apiVersion": "headend.dev/v1alpha1", "kind": "StreamClass", "metadata": { "name": CLASS }, "spec": spec });
    let parameters = PatchParams::apply("e2e").force();
    classes
        .patch(CLASS, &parameters, &Patch::Apply(&class))
        .await?;
    let outcome = takes_one(&suite, &classes).await;
    // Whatever came of it, no other test is to find pods of this one.
    drop(classes.delete(CLASS, &DeleteParams::default()).await);
    outcome?;
    suite.clean().await
}

async fn takes_one(suite: &Suite, classes: &Api<StreamClass>) -> Result<()> {
    let before = two_wait(suite).await?;
    let url = suite.source_url("plain")?;
    let spec =
        json!({ "className": CLASS, "whenIdle": "ScaleToZero", "sources": [{ "url": url }] });
    suite.apply_stream(STREAM, spec).await?;
    let viewer = suite.viewer(STREAM);
    let playlist = viewer.start(START).await?;
    let is_live = |stream: &LiveStream| phase(stream) == Some(Phase::Live);
    let stream = suite.stream_when(STREAM, "is live", SOON, is_live).await?;
    let named = stream.status.as_ref().and_then(|status| status.pod.clone());
    let named = named.context("no pod")?;
    ensure!(
        before.contains(&named.name),
        "{named:?} is none of {before:?}"
    );
    assert_eq!(named.attempt, 1);
    let pod = suite.pods().get(&named.name).await?;
    let owners = pod.owner_references();
    assert_eq!(
        (owners.len(), Some(&owners[0].uid)),
        (1, stream.metadata.uid.as_ref())
    );
    assert_eq!(
        pod.labels().get(LABEL_STREAM).map(String::as_str),
        Some(STREAM)
    );
    viewer.play(&playlist, 3, SOON).await?;
    let after = two_wait(suite).await?;
    ensure!(!after.contains(&named.name), "{} still waits", named.name);
    assert_eq!(suite.transcoders(None).await?.len(), 3);
    assert_eq!(suite.source.stats("plain")?.clients_total, 1);

    // It is replaced like any other.
    suite
        .pods()
        .delete(&named.name, &DeleteParams::default())
        .await?;
    until("another pod alone", START, || async {
        let pods = suite.transcoders(Some(STREAM)).await?;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        Ok(Seen::when(
            names.len() == 1 && names[0] != named.name,
            names,
        ))
    })
    .await?;
    viewer.play(&playlist, 3, SOON).await?;

    // Those that wait go with their class; what plays does not.
    classes.delete(CLASS, &DeleteParams::default()).await?;
    until("nobody waits", START, || async {
        let left = waiting(suite).await?;
        Ok(Seen::when(left.is_empty(), left.len()))
    })
    .await?;
    viewer.play(&playlist, 2, SOON).await?;
    assert_eq!(suite.transcoders(Some(STREAM)).await?.len(), 1);
    Ok(())
}

/// The pods that wait.
async fn waiting(suite: &Suite) -> Result<Vec<Pod>> {
    let mut pods = suite.transcoders(None).await?;
    pods.retain(|pod| pod.labels().contains_key(LABEL_WARM_POOL));
    Ok(pods)
}

/// Names of the two that wait, once they are ready and alone.
async fn two_wait(suite: &Suite) -> Result<Vec<String>> {
    until("two pods that wait", START, || async {
        let pods = waiting(suite).await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        ensure!(names.iter().all(|name| is_warm_pod_name(name)), "{names:?}");
        Ok(match (ready, names.len()) {
            (2, 2) => Seen::Yes(names),
            _ => Seen::NotYet(format!("{ready} of {names:?} are ready")),
        })
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}
