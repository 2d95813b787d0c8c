//! From the first viewer's click to a playing stream, and the second viewer's.

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use e2e::suite::{NAMESPACE, Suite};
use e2e::viewer::Viewer;
use e2e::wait::{Seen, until};
use futures::future::try_join_all;
use kube::ResourceExt;

use crate::{SOON, START, phase};

#[tokio::test]
async fn a_viewers_click_starts_one_pod_and_a_second_viewer_joins_it() -> Result<()> {
    let suite = Suite::start().await?;
    let first = suite.viewer("plain");
    let playlist = first.start(START).await?;
    let stream = suite
        .stream_when("plain", "is live", SOON, |stream| {
            phase(stream) == Some(Phase::Live)
        })
        .await?;
    assert_eq!(
        stream
            .labels()
            .get(api::names::LABEL_ORIGIN)
            .map(String::as_str),
        Some(api::names::ORIGIN_GATEWAY)
    );
    let status = stream.status.clone().unwrap();
    assert_eq!(status.observed_generation, stream.metadata.generation);
    assert_eq!(status.replicas, 1);

    let second = suite.viewer("plain");
    let joined = second.start(SOON).await?;
    second.play(&joined, 3, SOON).await?;
    first.play(&playlist, 3, SOON).await?;
    let pods = suite.transcoders(Some("plain")).await?;
    assert_eq!(pods.len(), 1);
    assert_eq!(Some(pods[0].name_any()), status.pod.map(|pod| pod.name));
    assert_eq!(
        suite.source.stats("plain")?.clients,
        1,
        "the upstream is pulled once"
    );
    Ok(())
}

#[tokio::test]
async fn fifty_viewers_of_a_cold_channel_start_one_stream() -> Result<()> {
    let suite = Suite::start().await?;
    let viewers: Vec<Viewer> = (0..50).map(|_| suite.viewer("second")).collect();
    try_join_all(viewers.iter().map(|viewer| viewer.start(START))).await?;
    let streams = suite
        .streams()
        .list(&kube::api::ListParams::default())
        .await?
        .items;
    assert_eq!(
        streams
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["second"]
    );
    assert_eq!(suite.transcoders(None).await?.len(), 1);
    assert_eq!(suite.source.stats("second")?.clients_total, 1);
    Ok(())
}

#[tokio::test]
async fn the_master_of_a_ladder_describes_what_is_played() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("ladder");
    viewer.start(START).await?;
    let text = viewer.master().await?.text().await?;
    let variants: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("#EXT-X-STREAM-INF:"))
        .collect();
    assert_eq!(variants.len(), 3, "{text}");
    for (variant, resolution) in variants.iter().zip(["1280x720", "640x360", "426x240"]) {
        ensure!(
            variant.contains(&format!("RESOLUTION={resolution}")),
            "{variant}"
        );
        ensure!(variant.contains("FRAME-RATE=25.000"), "{variant}");
        ensure!(variant.contains("CODECS=\"avc1."), "{variant}");
        ensure!(variant.contains(",mp4a.40.2\""), "{variant}");
        ensure!(variant.contains("BANDWIDTH="), "{variant}");
    }
    Ok(())
}

#[tokio::test]
async fn encoders_in_a_pod_are_confined_and_its_figures_say_how_far() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("ladder");
    viewer.start(START).await?;
    // Encoders run while somebody asks for what they make.
    let rung = viewer.variants().await?.pop().context("no variant")?;
    until("an encoded rendition", START, || async {
        let look = viewer.look(&rung).await?;
        Ok(Seen::when(!look.segments.is_empty(), look))
    })
    .await?;
    let has_endpoint = |stream: &api::LiveStream| endpoint(stream).is_some();
    let ladder = suite
        .stream_when("ladder", "has an endpoint", SOON, has_endpoint)
        .await?;
    testkit::tls::choose_provider();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/metrics", endpoint(&ladder).unwrap());
    let text = client.get(url).send().await?.text().await?;
    let level = text
        .lines()
        .find_map(|line| line.strip_prefix("headend_transcoder_encoder_sandbox{level=\""))
        .and_then(|rest| rest.strip_suffix("\"} 1"))
        .context("no level among the figures")?;
    eprintln!("encoders in a pod reach the level {level}");
    ensure!(
        level.starts_with("limits") || level.starts_with("landlock-"),
        "{level}"
    );
    let one = "headend_transcoder_encoder_starts_total{stream=\"ladder\"} 1";
    ensure!(text.lines().any(|line| line == one), "{text}");
    Ok(())
}

/// Where the pod of a stream answers.
fn endpoint(stream: &api::LiveStream) -> Option<String> {
    stream.status.as_ref()?.pod.clone()?.endpoint
}

#[tokio::test]
async fn a_pod_answers_only_for_the_stream_that_it_runs() -> Result<()> {
    let suite = Suite::start().await?;
    suite.viewer("plain").start(START).await?;
    suite.viewer("second").start(START).await?;
    let running = |stream: &api::LiveStream| endpoint(stream).is_some();
    let plain = suite
        .stream_when("plain", "has an endpoint", SOON, running)
        .await?;
    let second = suite
        .stream_when("second", "has an endpoint", SOON, running)
        .await?;
    let pod = plain.status.unwrap().pod.unwrap();
    let endpoint = pod.endpoint.unwrap();
    let path = |uid: &str, attempt: i32| {
        format!(
            "http://{endpoint}{}/status",
            api::control::stream_path(uid, attempt)
        )
    };
    testkit::tls::choose_provider();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let own = client
        .get(path(plain.metadata.uid.as_deref().unwrap(), pod.attempt))
        .send()
        .await?;
    assert_eq!(own.status(), 200);
    let other = client
        .get(path(second.metadata.uid.as_deref().unwrap(), pod.attempt))
        .send()
        .await?;
    assert_eq!(
        other.status(),
        421,
        "a stream's name in {NAMESPACE} is not enough"
    );
    Ok(())
}
