//! Where segments go besides a volume of all nodes: to one of a single node, and to memory of the pod.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use api::names::COMPONENT_GATEWAY;
use e2e::nodes::{AWAY, HOME, are_ours, close};
use e2e::suite::Suite;
use e2e::wait::{Seen, until};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::idle::{COLLECTED, directories};
use crate::sources::{follow, played_cleanly};
use crate::{SOON, START};

/// On a release whose output volume a single node mounts: everything that mounts it is on that node and plays. A stream whose segments
/// stay in its pod needs none of that, and plays from the other node. Both end without a trace.
pub(crate) async fn plays_with_a_volume_of_one_node(suite: &Suite) -> Result<()> {
    let mounting = [COMPONENT_GATEWAY, "sweeper"].map(|component| suite.placed(component));
    let mounting = futures::future::try_join_all(mounting).await?;
    let nodes: BTreeSet<String> = mounting.into_iter().flatten().map(|pod| pod.node).collect();
    let node = nodes.first().context("no gateway")?.clone();
    ensure!(nodes.len() == 1, "gateways and sweeper are on {nodes:?}");
    start_local(suite, &node).await?;
    let (plain, local) =
        tokio::try_join!(follow(suite, "plain", 20, 0), follow(suite, "local", 20, 0))?;
    played_cleanly("plain", &plain)?;
    played_cleanly("local", &local)?;
    let on_volume = suite.transcoders(Some("plain")).await?;
    let names: Vec<String> = on_volume.iter().map(ResourceExt::name_any).collect();
    ensure!(
        on_volume.iter().all(|pod| node_of(pod) == node),
        "{names:?} is not on {node}"
    );
    ensure!(directories(suite).await? == names, "of others");
    suite.nothing_left(COLLECTED).await?;
    until("the end of every directory on the volume", SOON, || async {
        let names = directories(suite).await?;
        Ok(Seen::when(names.is_empty(), names))
    })
    .await
    .map(drop)
}

/// Starts the stream that keeps its segments, on another node than that of the volume where there is one.
async fn start_local(suite: &Suite, volume: &str) -> Result<()> {
    let elsewhere = are_ours("a stream that keeps its segments on another node than the volume's");
    if elsewhere {
        close(&suite.client, volume, true).await?;
    }
    let started = suite.viewer("local").start(START).await;
    if elsewhere {
        close(&suite.client, volume, false).await?;
    }
    started?;
    let pods = suite.transcoders(Some("local")).await?;
    let pod = pods.first().context("no pod")?;
    let other = if volume == HOME { AWAY } else { HOME };
    ensure!(!elsewhere || node_of(pod) == other, "{}", node_of(pod));
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
    let mut volumes = volumes.unwrap_or_default().iter();
    ensure!(
        volumes.all(|volume| volume.persistent_volume_claim.is_none()),
        "it has a claim"
    );
    Ok(())
}

fn node_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}
