//! What happens when nobody watches any more, and when somebody comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use e2e::fence::Fence;
use e2e::suite::{IDLE_SECONDS, NAMESPACE, RELEASE, Suite};
use e2e::wait::{Seen, until};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use crate::{SOON, START, phase};

/// Longer than the idle timeout, two flushes, the fence and a pod's end.
pub(crate) const COLLECTED: Duration = Duration::from_secs(IDLE_SECONDS + 60);

#[tokio::test]
async fn when_the_last_viewer_is_gone_nothing_is_left() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("plain");
    let playlist = viewer.start(START).await?;
    viewer.play(&playlist, 2, SOON).await?;
    let left = Instant::now();
    suite.nothing_left(COLLECTED).await?;
    ensure!(
        left.elapsed() >= Duration::from_secs(IDLE_SECONDS),
        "collected before the idle timeout"
    );
    until("the end of every directory on the volume", SOON, || async {
        let names = directories(&suite).await?;
        Ok(Seen::when(names.is_empty(), names))
    })
    .await?;
    assert_eq!(suite.source.stats("plain")?.clients, 0);
    Ok(())
}

#[tokio::test]
async fn one_viewer_keeps_the_stream_and_its_pod() -> Result<()> {
    let suite = Suite::start().await?;
    let (stays, leaves) = (suite.viewer("plain"), suite.viewer("plain"));
    let playlist = stays.start(START).await?;
    leaves.start(SOON).await?;
    let before = suite.transcoders(Some("plain")).await?;
    let end = Instant::now() + Duration::from_secs(2 * IDLE_SECONDS + 10);
    while Instant::now() < end {
        stays.play(&playlist, 2, SOON).await?;
    }
    let after = suite.transcoders(Some("plain")).await?;
    assert_eq!(
        before.iter().map(ResourceExt::uid).collect::<Vec<_>>(),
        after.iter().map(ResourceExt::uid).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
async fn a_hand_made_stream_is_scaled_to_zero_and_woken_by_a_viewer() -> Result<()> {
    let suite = Suite::start().await?;
    let url = suite.source_url("plain")?;
    suite
        .apply_stream(
            "by-hand",
            json!({ "className": "quick", "sources": [{ "url": url }] }),
        )
        .await?;
    let viewer = suite.viewer("by-hand");
    viewer.start(START).await?;
    let asleep = suite
        .stream_when("by-hand", "is at zero", COLLECTED, |stream| {
            stream.spec.replicas == 0
        })
        .await?;
    suite
        .stream_when("by-hand", "has no pod", SOON, |stream| {
            let pod = stream
                .status
                .as_ref()
                .and_then(|status| status.pod.as_ref());
            phase(stream) == Some(Phase::Idle) && pod.is_none()
        })
        .await?;
    viewer.start(START).await?;
    let awake = suite
        .stream_when("by-hand", "is at one", SOON, |stream| {
            stream.spec.replicas == 1
        })
        .await?;
    assert_eq!(asleep.uid(), awake.uid());
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_kept_runs_without_viewers() -> Result<()> {
    let suite = Suite::start().await?;
    let url = suite.source_url("plain")?;
    let spec = json!({ "className": "quick", "sources": [{ "url": url }], "whenIdle": "KeepRunning", "replicas": 1 });
    suite.apply_stream("kept", spec).await?;
    suite
        .stream_when("kept", "is live", START, |stream| {
            phase(stream) == Some(Phase::Live)
        })
        .await?;
    suite.apply_stream("kept", json!({ "className": "quick", "sources": [{ "url": suite.source_url("plain")? }], "suspend": true, "whenIdle": "KeepRunning", "replicas": 1 })).await?;
    suite
        .stream_when("kept", "is suspended", SOON, |stream| {
            phase(stream) == Some(Phase::Suspended)
        })
        .await?;
    let refused = suite.viewer("kept").master().await?;
    assert_eq!(refused.status(), 503);
    ensure!(refused.text().await?.contains("uspended"));
    until("the end of its pod", SOON, || async {
        let pods = suite.transcoders(Some("kept")).await?.len();
        Ok(Seen::when(pods == 0, pods))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_redis_that_was_away_for_longer_than_the_timeout_costs_no_watched_stream() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("plain");
    let playlist = viewer.start(START).await?;
    let before = suite.transcoders(Some("plain")).await?[0].uid();
    scale_redis(&suite, 0).await?;
    let back = Instant::now() + Duration::from_secs(IDLE_SECONDS + 10);
    while Instant::now() < back {
        viewer.play(&playlist, 1, SOON).await?;
    }
    scale_redis(&suite, 1).await?;
    let settled = Instant::now() + Duration::from_secs(IDLE_SECONDS + 10);
    while Instant::now() < settled {
        viewer.play(&playlist, 1, SOON).await?;
    }
    assert_eq!(suite.transcoders(Some("plain")).await?[0].uid(), before);
    Ok(())
}

/// Scales Redis and waits until its pod is there or gone.
async fn scale_redis(suite: &Suite, replicas: i32) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let name = format!("{RELEASE}-redis");
    let scale = json!({ "spec": { "replicas": replicas } });
    sets.patch(&name, &PatchParams::default(), &Patch::Merge(&scale))
        .await?;
    let pods: Api<Pod> = suite.pods();
    until("the scaling of Redis", START, || async {
        let labels = format!(
            "{}=redis,{}={RELEASE}",
            api::names::LABEL_COMPONENT,
            api::names::LABEL_INSTANCE
        );
        let found = pods
            .list(&ListParams::default().labels(&labels))
            .await?
            .items;
        let ready = found.iter().filter(|pod| is_ready(pod)).count();
        let done = if replicas == 0 {
            found.is_empty()
        } else {
            ready == 1
        };
        Ok(Seen::when(done, (found.len(), ready)))
    })
    .await?;
    Ok(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|list| {
        list.iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// Names of the directories on the output volume, read where the volume lies.
pub(crate) async fn directories(suite: &Suite) -> Result<Vec<String>> {
    let volumes: Api<PersistentVolume> = Api::all(suite.client.clone());
    let bound = volumes
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .find(|volume| {
            let claim = volume
                .spec
                .as_ref()
                .and_then(|spec| spec.claim_ref.as_ref());
            claim.is_some_and(|claim| claim.name.as_deref() == Some(&format!("{RELEASE}-output")))
        });
    let path = bound
        .and_then(|volume| volume.spec?.host_path)
        .context("the output volume is a folder of this machine")?
        .path;
    let pods = std::path::Path::new(&path).join(api::names::PODS_DIRECTORY);
    let entries = match std::fs::read_dir(&pods) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("failed to list the volume"),
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[tokio::test]
async fn a_viewer_who_comes_back_between_fence_and_deletion_keeps_the_stream_or_gets_it_again()
-> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("plain");
    viewer.start(START).await?;
    let stream = suite.streams().get("plain").await?;
    suite.fence_when(&stream, Fence::Closing, COLLECTED).await?;
    let playlist = viewer.start(START).await?;
    viewer.play(&playlist, 8, START).await?;
    let kept = suite.streams().get("plain").await?;
    ensure!(kept.metadata.deletion_timestamp.is_none());
    ensure!(suite.transcoders(Some("plain")).await?.len() == 1);
    Ok(())
}
