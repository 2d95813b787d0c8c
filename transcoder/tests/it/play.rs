//! Sources that are passed through, good and odd: what viewers get breaks no rule.

use api::control::{JobPhase, MediaMode};
use testkit::source::{AccessIndicator, AccessPoints, AudioFormat, ChannelSettings, Faults};

use crate::attempt::{Attempt, Setup, told};

/// Follows a stream that must break no rule.
pub(crate) async fn followed(setup: Setup, seconds: u64) -> Attempt {
    let attempt = setup.start().await;
    let report = attempt.check(seconds, 0).await;
    assert_eq!(told(&report), "");
    assert!(
        report.renditions.iter().all(|one| one.segments >= 5),
        "{report:?}"
    );
    attempt
}

#[tokio::test]
async fn a_plain_source_is_passed_through_and_breaks_no_rule() {
    let attempt = followed(Setup::copy(ChannelSettings::small("plain")), 16).await;
    let status = attempt.live().await;
    assert_eq!(status.phase, JobPhase::Live);
    let media = status.media.unwrap();
    assert_eq!(
        (media.mode, media.renditions),
        (MediaMode::Copy, vec!["source".to_owned()])
    );
    assert_eq!(media.video.as_deref(), Some("h264 High@1.2 320x180 25.000"));
    assert_eq!(attempt.source.stats("plain").unwrap().clients_total, 1);
    let start = status.start.unwrap();
    let passed = [
        start.connected_milliseconds,
        start.first_byte_milliseconds,
        start.first_keyframe_milliseconds,
        status.first_segment_milliseconds,
    ];
    assert!(
        passed.iter().all(Option::is_some) && passed.is_sorted(),
        "{start:?}"
    );
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_sends_its_audio_late_in_recovery_points_without_any_hint_breaks_no_rule() {
    let odd = ChannelSettings {
        audio_late: 1200,
        access: AccessPoints::Recovery,
        rai: AccessIndicator::Never,
        pcr_pid: true,
        ..ChannelSettings::small("odd")
    };
    followed(Setup::copy(odd), 14).await.stop().await;
}

#[tokio::test]
async fn a_burst_at_the_start_is_played_at_once_and_then_grows_steadily() {
    let bursting = ChannelSettings {
        faults: Faults {
            burst: Some(4.0),
            ..Faults::default()
        },
        ..ChannelSettings::small("bursting")
    };
    followed(Setup::copy(bursting), 14).await.stop().await;
}

#[tokio::test]
async fn timestamps_that_wrap_break_no_rule() {
    let wrapping = ChannelSettings {
        wrap: Some(6.0),
        ..ChannelSettings::small("wrapping")
    };
    followed(Setup::copy(wrapping), 14).await.stop().await;
}

#[tokio::test]
async fn pictures_without_sound_are_played() {
    let mute = ChannelSettings {
        audio: AudioFormat::None,
        ..ChannelSettings::small("mute")
    };
    followed(Setup::auto(mute), 10).await.stop().await;
}

#[tokio::test]
async fn a_long_poll_is_answered_at_the_moment_of_the_news() {
    let attempt = Setup::copy(ChannelSettings::small("news")).start().await;
    let first = attempt
        .playlists(|playlists| !playlists.segments.is_empty())
        .await;
    let second = attempt
        .playlists(|playlists| playlists.version > first.version)
        .await;
    assert_eq!(second.segments.len(), first.segments.len() + 1);
    let listed = attempt
        .get("hls/source/index.m3u8")
        .await
        .text()
        .await
        .unwrap();
    let newest = second.segments.last().unwrap();
    assert!(
        listed.contains(&format!("3-{}.ts", newest.number)),
        "{listed}"
    );
    attempt.stop().await;
}
