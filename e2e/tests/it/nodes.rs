//! A node is lost, or drained, while somebody watches what runs on it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::LiveStream;
use api::live_stream::Phase;
use api::names::COMPONENT_GATEWAY;
use e2e::nodes::{self, AWAY, HOME};
use e2e::suite::placement::Placed;
use e2e::suite::{NAMESPACE, RELEASE, Suite};
use e2e::wait::{Seen, until};
use e2e::witness::{Witness, one_pod_a_stream, one_stream_moves};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use testkit::checker::Rule;
use tokio::time::Instant;

use crate::replacement::{leader_after, told};
use crate::sources::{follow_at, played_cleanly};
use crate::{SOON, START, phase};

const OPERATOR: &str = "operator";
const REDIS: &str = "redis";
/// How long a playlist may stand still when a node is lost: until the node is given up (8 s here, 40 s by default), its pods are (10 s),
/// another operator leads (15 s, meanwhile), and the next pod plays, on a machine that is busy.
const LOST: Duration = Duration::from_secs(60);

/// Starts a stream whose pod can only go to one node, and says which pod it is. It is not collected before somebody else watches it.
async fn start_on(suite: &Suite, node: &str, channel: &str) -> Result<String> {
    let other = if node == HOME { AWAY } else { HOME };
    let url = suite.source_url(channel)?;
    let spec = json!({ "className": "patient", "sources": [{ "url": url }] });
    let channel = &on(channel);
    suite.apply_stream(channel, spec).await?;
    nodes::close(&suite.client, other, true).await?;
    let started = suite.viewer(channel).start(START).await;
    nodes::close(&suite.client, other, false).await?;
    started?;
    let pods = suite.transcoders(Some(channel)).await?;
    let pod = pods.first().context("no pod")?;
    ensure!(node_of(pod) == node, "{channel} is on {}", node_of(pod));
    Ok(pod.name_any())
}

/// The stream of a channel here.
fn on(channel: &str) -> String {
    format!("{channel}-on-node")
}

fn node_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// What is to be lost: a gateway of two, and the operator that leads. What is not: Redis, which stays where it is until somebody says that
/// a node is gone for good, and says nothing of streams.
async fn arrange(suite: &Suite) -> Result<()> {
    let redis = suite.placed(REDIS).await?;
    if redis.iter().any(|pod| pod.node == AWAY) {
        suite
            .move_from(AWAY, REDIS, &format!("{RELEASE}-redis-0"))
            .await?;
    }
    suite.one_on_each_node(COMPONENT_GATEWAY).await?;
    lead_from_away(suite).await
}

/// Makes the operator lead that is on the node which may be lost.
async fn lead_from_away(suite: &Suite) -> Result<()> {
    suite.one_on_each_node(OPERATOR).await?;
    let leader = leader_after(suite, None).await?;
    let operators = suite.placed(OPERATOR).await?;
    let here = |pod: &Placed| pod.node == HOME && pod.pod == leader;
    if operators.iter().any(here) {
        // The other one leads at once, and what is made again comes here again.
        nodes::close(&suite.client, AWAY, true).await?;
        suite
            .pods()
            .delete(&leader, &DeleteParams::default())
            .await?;
        let moved = suite.ready(OPERATOR, 2).await;
        nodes::close(&suite.client, AWAY, false).await?;
        moved?;
        leader_after(suite, Some(&leader)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_whose_node_is_lost_is_back_on_another() -> Result<()> {
    if !nodes::are_ours("a_stream_whose_node_is_lost_is_back_on_another") {
        return Ok(());
    }
    let suite = Suite::start().await?;
    arrange(&suite).await?;
    start_on(&suite, HOME, "second").await?;
    let lost = start_on(&suite, AWAY, "plain").await?;
    let witness = Witness::start(suite.pods(), one_pod_a_stream).await?;
    let gateways = [suite.gateway_on(HOME).await?];
    let [plain, second] = ["plain", "second"].map(on);
    let (played, undisturbed, back) = tokio::join!(
        follow_at(&gateways, &plain, 75, 1, Some(LOST)),
        follow_at(&gateways, &second, 75, 0, None),
        lose_and_recover(&suite, &lost),
    );
    // Whatever came of it, those that come after have two nodes.
    let returned = nodes::bring_back().await;
    back?;
    let mut played = played?;
    // Nobody can ask a lost pod what it had listed, so the list of the next one begins with what that has.
    played
        .violations
        .retain(|violation| violation.rule != Rule::WindowTooShort);
    played_cleanly("the stream of the lost node", &played)?;
    played_cleanly("the other stream", &undisturbed?)?;
    returned?;
    until("the end of the lost pod", START, || async {
        let pods = suite.transcoders(Some(&on("plain"))).await?;
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        Ok(Seen::when(names.len() == 1 && names[0] != lost, names))
    })
    .await?;
    witness.end().await?;
    suite.ready(COMPONENT_GATEWAY, 2).await?;
    suite.ready(OPERATOR, 2).await
}

/// Returns when the stream plays on the node that is left, while the pod object of the lost one is still there.
async fn lose_and_recover(suite: &Suite, lost: &str) -> Result<()> {
    nodes::lose().await?;
    let began = Instant::now();
    let plays_elsewhere = |stream: &LiveStream| {
        let pod = stream.status.as_ref().and_then(|status| status.pod.clone());
        phase(stream) == Some(Phase::Live) && pod.is_some_and(|pod| pod.name != lost)
    };
    let stream = suite
        .stream_when(&on("plain"), "plays on another node", LOST, plays_elsewhere)
        .await?;
    eprintln!(
        "the stream of a lost node plays again after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let pods = suite.transcoders(Some(&on("plain"))).await?;
    let pods_on = |node: &str| pods.iter().filter(|pod| node_of(pod) == node).count();
    ensure!(
        (pods_on(HOME), pods_on(AWAY)) == (1, 1),
        "the pod of the lost node is expected beside the new one: {:?}",
        pods.iter().map(node_of).collect::<Vec<_>>()
    );
    let reasons = told(suite, &stream).await?;
    eprintln!("its events: {reasons:?}");
    Ok(())
}

/// The budget's expected pods, how many play, how many have to, and how many may go.
async fn budget(suite: &Suite) -> Result<(i32, i32, i32, i32)> {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let budget = budgets.get(&format!("{RELEASE}-transcoders")).await?;
    let status = budget.status.context("a budget without status")?;
    Ok((
        status.expected_pods.unwrap_or_default(),
        status.current_healthy.unwrap_or_default(),
        status.desired_healthy.unwrap_or_default(),
        status.disruptions_allowed.unwrap_or_default(),
    ))
}

#[tokio::test]
async fn a_drain_moves_one_stream_after_the_other_and_nobody_watching_notices() -> Result<()> {
    if !nodes::are_ours("a_drain_moves_one_stream_after_the_other_and_nobody_watching_notices") {
        return Ok(());
    }
    let suite = Suite::start().await?;
    suite.one_on_each_node(COMPONENT_GATEWAY).await?;
    // It goes along: another one finishes what it began.
    lead_from_away(&suite).await?;
    let channels = ["plain", "second", "all-access"];
    for channel in channels {
        start_on(&suite, AWAY, channel).await?;
    }
    let streams = channels.map(on);
    until("a budget for three streams", SOON, || async {
        let figures = budget(&suite).await?;
        Ok(Seen::when(figures == (3, 3, 2, 1), figures))
    })
    .await?;
    let witness = Witness::start(suite.pods(), one_stream_moves).await?;
    let gateways = [suite.gateway_on(HOME).await?];
    let followed = streams
        .iter()
        .map(|stream| follow_at(&gateways, stream, 60, 1, None));
    let (reports, drained) = tokio::join!(join_all(followed), nodes::drain());
    nodes::close(&suite.client, AWAY, false).await?;
    eprintln!("{}", drained?);
    for (stream, report) in streams.iter().zip(reports) {
        played_cleanly(stream, &report?)?;
    }
    witness.end().await?;
    let pods = suite.transcoders(None).await?;
    let nodes: Vec<&str> = pods.iter().map(node_of).collect();
    ensure!(nodes == [HOME; 3], "{nodes:?}");
    until("a budget for three streams again", SOON, || async {
        let figures = budget(&suite).await?;
        Ok(Seen::when(figures == (3, 3, 2, 1), figures))
    })
    .await
    .map(drop)
}
