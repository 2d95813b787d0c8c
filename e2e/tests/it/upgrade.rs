//! The release is upgraded while its streams are watched.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use api::StreamClass;
use api::live_stream::Phase;
use e2e::helm;
use e2e::suite::{NAMESPACE, Suite, values};
use e2e::wait::{Seen, until};
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::refusals::apply_class;
use crate::replacement::told;
use crate::sources::{follow_at, played_cleanly};
use crate::{START, phase};

/// Streams that are to notice nothing, by the channel they play.
const STAYING: [&str; 3] = ["plain", "second", "all-access"];
/// The stream whose class changes.
const CHANGING: &str = "changing";

/// The chart as the next release might have it: another version of it and of the application, so that every pod of it is another one.
fn next_chart(folder: &Path) -> Result<()> {
    copy(&helm::chart(), folder)?;
    let file = folder.join("Chart.yaml");
    let text = fs::read_to_string(&file)?.replace("ersion: 0.1.0", "ersion: 0.1.1");
    ensure!(text.contains("appVersion: 0.1.1"), "{text}");
    Ok(fs::write(file, text)?)
}

/// Copies a folder, following its links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
        }
    }
    Ok(())
}

/// The images of the next release: on a cluster of our own the same ones have another name.
fn next_images() -> Value {
    let is_ours = std::env::var_os("HEADEND_E2E_OWN_CLUSTER").is_some();
    let tag = if is_ours {
        "next".to_owned()
    } else {
        values::tag()
    };
    json!({ "image": { "tag": tag }, "transcoderImage": { "tag": tag } })
}

/// The one pod of each stream: its uid and its image.
async fn pods(suite: &Suite) -> Result<BTreeMap<String, (String, String)>> {
    let pods = suite.transcoders(None).await?;
    let image = |pod: &Pod| pod.spec.as_ref()?.containers.first()?.image.clone();
    let pods = pods.iter().map(|pod| {
        let stream = pod.labels().get(api::names::LABEL_STREAM).cloned();
        let of_pod = (
            pod.uid().unwrap_or_default(),
            image(pod).unwrap_or_default(),
        );
        (stream.unwrap_or_default(), of_pod)
    });
    Ok(pods.collect())
}

fn staying(channel: &str) -> String {
    format!("{channel}-stays")
}

async fn start(suite: &Suite) -> Result<()> {
    apply_class(
        suite,
        CHANGING,
        json!({ "egress": { "allowPrivateAddresses": true } }),
    )
    .await?;
    let mut streams: Vec<(String, &str, &str)> = STAYING
        .iter()
        .map(|channel| (staying(channel), "patient", *channel))
        .collect();
    streams.push((CHANGING.to_owned(), CHANGING, "plain"));
    let started = streams.iter().map(|(name, class, channel)| async move {
        let url = suite.source_url(channel)?;
        let spec = json!({ "className": class, "sources": [{ "url": url }] });
        suite.apply_stream(name, spec).await?;
        suite.viewer(name).start(START).await
    });
    try_join_all(started).await.map(drop)
}

/// Upgrades, and changes one class as whoever upgrades may.
async fn upgrade(suite: &Suite, chart: &Path, before: &str) -> Result<()> {
    suite.upgrade(chart, &next_images()).await?;
    let changed =
        json!({ "egress": { "allowPrivateAddresses": true }, "startDeadlineSeconds": 25 });
    apply_class(suite, CHANGING, changed).await?;
    until(
        "another pod of the stream whose class changed",
        START,
        || async {
            let pods = suite.transcoders(Some(CHANGING)).await?;
            let uids: Vec<_> = pods.iter().filter_map(ResourceExt::uid).collect();
            Ok(Seen::when(uids.len() == 1 && uids[0] != before, uids))
        },
    )
    .await?;
    let is_live = |stream: &api::LiveStream| phase(stream) == Some(Phase::Live);
    let stream = suite
        .stream_when(CHANGING, "plays again", START, is_live)
        .await?;
    let told = told(suite, &stream).await?;
    ensure!(told.iter().any(|one| one == "TookOver"), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn an_upgrade_restarts_no_stream_whose_class_stays() -> Result<()> {
    let suite = Suite::start().await?;
    let folder = tempfile::tempdir()?;
    next_chart(folder.path())?;
    start(&suite).await?;
    let before = pods(&suite).await?;
    // Through the Service: gateways come and go meanwhile.
    let gateway = [suite.gateway.clone()];
    let names = STAYING.map(staying);
    let followed = names
        .iter()
        .map(|name| follow_at(&gateway, name, 50, 0, None));
    let upgraded = upgrade(&suite, folder.path(), &before[CHANGING].0);
    let (reports, upgraded) = tokio::join!(join_all(followed), upgraded);
    upgraded?;
    for (name, report) in names.iter().zip(reports) {
        played_cleanly(name, &report?)?;
    }
    let after = pods(&suite).await?;
    for name in &names {
        ensure!(before.get(name) == after.get(name), "{name} was restarted");
    }
    let image = &after[CHANGING].1;
    ensure!(
        image.ends_with(
            next_images()["transcoderImage"]["tag"]
                .as_str()
                .unwrap_or_default()
        ),
        "the new operator makes pods of {image}"
    );
    suite.clean().await?;
    let classes: Api<StreamClass> = Api::namespaced(suite.client.clone(), NAMESPACE);
    classes.delete(CHANGING, &DeleteParams::default()).await?;
    Ok(())
}
