//! Streams of good and odd sources, followed by the playlist checker through both gateways at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use e2e::suite::{Suite, TOKEN};
use futures::future::try_join_all;
use testkit::checker::{CheckSettings, Report, check};
use url::Url;

use crate::{SOON, START};

/// Follows a channel through every gateway, over so many discontinuities.
pub(crate) async fn follow(
    suite: &Suite,
    channel: &str,
    seconds: u64,
    discontinuities: u64,
) -> Result<Report> {
    let gateways = suite.gateways().await?;
    ensure!(
        gateways.len() == 2,
        "two gateways must agree, there are {gateways:?}"
    );
    follow_at(&gateways, channel, seconds, discontinuities, None).await
}

/// Follows a channel through these gateways; where it is given, a playlist may stand still for so long.
pub(crate) async fn follow_at(
    gateways: &[String],
    channel: &str,
    seconds: u64,
    discontinuities: u64,
    stale: Option<Duration>,
) -> Result<Report> {
    let master = |gateway: &String| {
        Url::parse(&format!(
            "{gateway}/live/{channel}/master.m3u8?token={TOKEN}"
        ))
    };
    let settings = CheckSettings {
        urls: gateways.iter().map(master).collect::<Result<_, _>>()?,
        duration: Duration::from_secs(seconds),
        start_timeout: START,
        discontinuities: Some(discontinuities),
        stale,
        decode: true,
        user_agent: Some("headend-e2e".to_owned()),
    };
    check(settings)
        .await
        .with_context(|| format!("failed to check {channel}"))
}

/// Follows channels at the same time; each must be clean.
async fn clean(suite: &Suite, channels: &[&str], seconds: u64) -> Result<Vec<Report>> {
    let reports = try_join_all(
        channels
            .iter()
            .map(|channel| follow(suite, channel, seconds, 0)),
    )
    .await?;
    for (channel, report) in channels.iter().zip(&reports) {
        played_cleanly(channel, report)?;
    }
    Ok(reports)
}

pub(crate) fn played_cleanly(channel: &str, report: &Report) -> Result<()> {
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    ensure!(report.is_clean(), "{channel}:\n{}", violations.join("\n"));
    let mut renditions = report.renditions.iter();
    ensure!(
        renditions.all(|rendition| rendition.segments > 4),
        "{channel} hardly played: {:?}",
        report.renditions
    );
    Ok(())
}

#[tokio::test]
async fn a_passed_through_channel_is_clean_for_a_minute() -> Result<()> {
    let suite = Suite::start().await?;
    clean(&suite, &["plain"], 60).await?;
    suite.clean().await
}

#[tokio::test]
async fn a_ladder_is_clean_for_a_minute_and_in_step() -> Result<()> {
    let suite = Suite::start().await?;
    let reports = clean(&suite, &["ladder"], 60).await?;
    ensure!(
        reports[0].renditions.len() == 6,
        "three renditions at two gateways: {:?}",
        reports[0].renditions
    );
    suite.clean().await
}

#[tokio::test]
async fn access_points_are_read_from_the_pictures_whatever_the_indicator_says() -> Result<()> {
    let suite = Suite::start().await?;
    clean(&suite, &["no-access", "all-access"], 20).await?;
    suite.clean().await
}

#[tokio::test]
async fn recovery_points_and_late_audio_are_played() -> Result<()> {
    let suite = Suite::start().await?;
    clean(&suite, &["recovery", "late-audio"], 20).await?;
    suite.clean().await
}

#[tokio::test]
async fn odd_clocks_bursts_and_other_codecs_are_played() -> Result<()> {
    let suite = Suite::start().await?;
    clean(&suite, &["clock-apart", "burst"], 20).await?;
    clean(&suite, &["wrap", "old-audio"], 40).await?;
    suite.clean().await
}

#[tokio::test]
async fn a_gop_of_forty_seconds_is_cut_then_encoded_and_the_status_says_so() -> Result<()> {
    let suite = Suite::start().await?;
    let viewer = suite.viewer("long-gop");
    let watching = tokio::spawn(async move {
        let playlist = viewer.start(START * 2).await?;
        viewer.play(&playlist, 20, START * 2).await
    });
    let stream = suite
        .stream_when(
            "long-gop",
            "is encoded because of its GOP",
            START * 3,
            |stream| {
                let status = stream.status.as_ref();
                status.is_some_and(|status| {
                    let encoded = status
                        .media
                        .as_ref()
                        .is_some_and(|media| media.mode == "Transcode");
                    encoded && matches!(status.phase, Some(Phase::Live | Phase::Degraded))
                })
            },
        )
        .await?;
    let reason = stream
        .status
        .and_then(|status| status.media)
        .map(|media| media.reason)
        .unwrap_or_default();
    ensure!(reason.to_lowercase().contains("key"), "{reason}");
    watching.await??;
    let end = suite.viewer("long-gop");
    let playlist = end.start(SOON).await?;
    end.play(&playlist, 3, SOON).await?;
    suite.clean().await
}
