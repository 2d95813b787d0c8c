//! Pods and the operator die; viewers go on.

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use api::{LiveStream, StreamClass};
use e2e::fence::Fence;
use e2e::suite::{NAMESPACE, RELEASE, Suite};
use e2e::viewer::{Look, Viewer};
use e2e::wait::{Seen, until};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use url::Url;

use crate::refusals::apply_class;
use crate::sources::{follow, played_cleanly};
use crate::{SOON, START};

/// Plays on until another pod's segments are listed; numbers must never go back meanwhile.
async fn until_replaced(viewer: &Viewer, playlist: &Url, before: &Look) -> Result<Look> {
    let attempt = |look: &Look| {
        look.segments.last().and_then(|url| {
            url.path()
                .rsplit('/')
                .next()?
                .split('-')
                .next()
                .map(str::to_owned)
        })
    };
    let old = attempt(before).context("nothing was listed")?;
    let latest = std::cell::RefCell::new(before.clone());
    until("segments of the next attempt", START, || async {
        let look = viewer.look(playlist).await?;
        let last = latest.replace(look.clone());
        let went_back = look.media_sequence < last.media_sequence
            || look.next() < last.next()
            || look.discontinuity_sequence < last.discontinuity_sequence;
        // An error would be asked again: this must end the test.
        assert!(!went_back, "numbers went back from {last:?} to {look:?}");
        Ok(Seen::when(
            attempt(&look).is_some_and(|now| now != old),
            look,
        ))
    })
    .await
}

#[tokio::test]
async fn a_deleted_pod_is_replaced_behind_the_same_address() -> Result<()> {
    replaced_after(|pods, name| async move {
        pods.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_pod_is_replaced_behind_the_same_address() -> Result<()> {
    replaced_after(|pods, name| async move {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        pods.delete(&name, &now).await?;
        Ok(())
    })
    .await
}

/// What a drain does to each pod.
#[tokio::test]
async fn an_evicted_pod_plays_on_until_another_takes_over() -> Result<()> {
    let suite = Suite::start().await?;
    let pods = suite.pods();
    hands_over_after(&suite, "plain", |pod| async move {
        pods.evict(&pod, &EvictParams::default()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_class_that_changes_reaches_a_stream_that_plays() -> Result<()> {
    let suite = Suite::start().await?;
    let egress = json!({ "allowPrivateAddresses": true });
    apply_class(&suite, "rolled", json!({ "egress": egress })).await?;
    let url = suite.source_url("plain")?;
    let spec = json!({ "className": "rolled", "sources": [{ "url": url }] });
    suite.apply_stream("rolled", spec).await?;
    hands_over_after(&suite, "rolled", |_| async {
        let changed = json!({ "egress": egress, "startDeadlineSeconds": 25 });
        apply_class(&suite, "rolled", changed).await?;
        Ok(())
    })
    .await?;
    let one = DeleteParams::default();
    suite.streams().delete("rolled", &one).await?;
    let classes: Api<StreamClass> = Api::namespaced(suite.client.clone(), NAMESPACE);
    classes.delete("rolled", &one).await?;
    Ok(())
}

/// Something happens to the pod of a channel that somebody watches: no rule of a playlist is broken by it, nor does one stand still.
async fn hands_over_after<Happens>(
    suite: &Suite,
    channel: &str,
    happens: impl FnOnce(String) -> Happens,
) -> Result<()>
where
    Happens: Future<Output = Result<()>>,
{
    let happens = async {
        let is_live = |stream: &LiveStream| {
            let status = stream.status.as_ref();
            status.is_some_and(|status| status.phase == Some(Phase::Live))
        };
        let stream = suite
            .stream_when(channel, "is live", START, is_live)
            .await?;
        let pod = stream.status.as_ref().and_then(|status| status.pod.clone());
        let before = pod.context("no pod")?.name;
        happens(before.clone()).await?;
        until("another pod alone", START, || async {
            let pods = suite.transcoders(Some(channel)).await?;
            let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            Ok(Seen::when(names.len() == 1 && names[0] != before, names))
        })
        .await?;
        told(suite, &stream).await
    };
    let (report, told) = tokio::join!(follow(suite, channel, 40, 1), happens);
    let told = told?;
    played_cleanly(channel, &report?)?;
    for reason in ["HandingOver", "TookOver"] {
        ensure!(told.iter().any(|one| one == reason), "{told:?}");
    }
    Ok(())
}

/// The reasons of a stream's events.
pub(crate) async fn told(suite: &Suite, stream: &LiveStream) -> Result<Vec<String>> {
    let events: Api<Event> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let of_stream = format!("involvedObject.uid={}", stream.uid().unwrap_or_default());
    let events = events
        .list(&ListParams::default().fields(&of_stream))
        .await?;
    let reasons = events.items.into_iter().filter_map(|event| event.reason);
    Ok(reasons.collect())
}

async fn replaced_after<Ends>(end: impl FnOnce(Api<Pod>, String) -> Ends) -> Result<()>
where
    Ends: Future<Output = Result<()>>,
{
    let suite = Suite::start().await?;
    let viewer = suite.viewer("plain");
    let playlist = viewer.start(START).await?;
    let before = viewer.play(&playlist, 4, SOON).await?;
    let pod = suite
        .transcoders(Some("plain"))
        .await?
        .first()
        .context("no pod")?
        .name_any();
    end(suite.pods(), pod.clone()).await?;
    let after = until_replaced(&viewer, &playlist, &before).await?;
    ensure!(after.next() > before.next());
    let seams = |look: &Look| look.discontinuity_sequence as usize + look.discontinuities;
    ensure!(
        seams(&after) > seams(&before),
        "no discontinuity between {before:?} and {after:?}"
    );
    viewer.play(&playlist, 2, SOON).await?;
    until("the end of the old pod", START, || async {
        let names: Vec<String> = suite
            .transcoders(Some("plain"))
            .await?
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        Ok(Seen::when(names.len() == 1 && names[0] != pod, names))
    })
    .await?;
    Ok(())
}

/// Ends every operator at once, as a crash would; their Deployment brings them back.
async fn kill_operator(suite: &Suite) -> Result<()> {
    let labels = format!(
        "{}=operator,{}={RELEASE}",
        api::names::LABEL_COMPONENT,
        api::names::LABEL_INSTANCE
    );
    let pods: Api<Pod> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    for pod in pods.list(&ListParams::default().labels(&labels)).await? {
        pods.delete(&pod.name_any(), &now).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_during_a_start_changes_nothing_for_the_viewer() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("plain");
    let master = viewer.master();
    let (first, killed) = tokio::join!(master, async {
        suite.stream_when("plain", "exists", SOON, |_| true).await?;
        kill_operator(&suite).await
    });
    first?;
    killed?;
    viewer.start(START).await?;
    // A pod that could not be asked all that time may have been replaced: the one before it still ends then.
    until(
        "one pod and one connection to the source",
        START,
        || async {
            let pods = suite.transcoders(None).await?.len();
            let clients = suite.source.stats("plain")?.clients;
            Ok(Seen::when((pods, clients) == (1, 1), (pods, clients)))
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_during_a_collection_finishes_it() -> Result<()> {
    let suite = Suite::start().await?;
    suite.viewer("plain").start(START).await?;
    let stream = suite.streams().get("plain").await?;
    suite.fence_when(&stream, Fence::Closing, START).await?;
    kill_operator(&suite).await?;
    suite.nothing_left(START * 2).await
}

/// Who of the operators leads, once it is somebody else than `before`.
pub(crate) async fn leader_after(suite: &Suite, before: Option<&str>) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(suite.client.clone(), NAMESPACE);
    until("an operator that leads", START, || async {
        let lease = leases.get(&format!("{RELEASE}-operator")).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let holder = holder.unwrap_or_default();
        let is_new = !holder.is_empty() && before != Some(holder.as_str());
        Ok(Seen::when(is_new, holder))
    })
    .await
}

#[tokio::test]
async fn another_operator_leads_when_the_leader_goes_and_nobody_watching_notices() -> Result<()> {
    let suite = Suite::start().await?;
    let watching = suite.viewer("plain");
    let playlist = watching.start(START).await?;
    let pod = suite.transcoders(Some("plain")).await?;
    let leader = leader_after(&suite, None).await?;
    let pods: Api<Pod> = Api::namespaced(suite.client.clone(), NAMESPACE);
    pods.delete(&leader, &DeleteParams::default()).await?;
    leader_after(&suite, Some(&leader)).await?;
    suite.viewer("second").start(START).await?;
    watching.play(&playlist, 6, SOON).await?;
    let after = suite.transcoders(Some("plain")).await?;
    ensure!(
        pod.first().map(ResourceExt::uid) == after.first().map(ResourceExt::uid),
        "the pod was replaced"
    );
    Ok(())
}
