//! Sources that cannot be played: each gives a named reason in bounded time, and no stream is tried for ever in silence.

use std::time::Duration;

use api::condition::Reason;
use api::control::{JobPhase, JobStatus, MediaMode};
use testkit::source::{AudioFormat, ChannelSettings, Faults, Malformed, Mute, VideoFormat};
use transcoder::job::Outcome;

use crate::attempt::{Setup, job_source};

fn with(name: &str, faults: Faults) -> ChannelSettings {
    ChannelSettings {
        faults,
        ..ChannelSettings::small(name)
    }
}

async fn named(setup: Setup) -> (Reason, String) {
    let attempt = setup.start().await;
    let status = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    assert_eq!(status.phase, JobPhase::Starting);
    attempt.stop().await;
    (status.source.reason, status.source.message)
}

#[tokio::test]
async fn what_is_no_stream_is_named() {
    let faults = |malformed| Faults {
        malformed: Some(malformed),
        ..Faults::default()
    };
    let (reason, message) = named(Setup::copy(with("html", faults(Malformed::Html)))).await;
    assert_eq!(reason, Reason::NotTransportStream);
    assert!(message.contains("HTML"), "{message}");
    let (reason, _) = named(Setup::copy(with("garbage", faults(Malformed::Garbage)))).await;
    assert_eq!(reason, Reason::NotTransportStream);
    let (reason, _) = named(Setup::copy(with("empty", faults(Malformed::Empty)))).await;
    assert_eq!(reason, Reason::EndOfStream);
}

#[tokio::test]
async fn a_stream_without_tracks_is_named() {
    let nothing = ChannelSettings {
        codec: VideoFormat::None,
        audio: AudioFormat::None,
        ..ChannelSettings::small("nothing")
    };
    assert_eq!(named(Setup::copy(nothing)).await.0, Reason::NoTracks);
}

#[tokio::test]
async fn video_that_never_comes_is_named_at_the_deadline() {
    let announced = ChannelSettings {
        mute: Mute::Video,
        ..ChannelSettings::small("announced")
    };
    let mut setup = Setup::copy(announced);
    setup.job.class.start_deadline_seconds = 3;
    let (reason, message) = named(setup).await;
    assert_eq!(reason, Reason::NoKeyframe);
    assert_eq!(message, "no keyframe came within 3 s");
}

#[tokio::test]
async fn media_that_hls_cannot_carry_are_named_where_the_class_says_copy() {
    let mpeg2 = ChannelSettings {
        codec: VideoFormat::Mpeg2,
        ..ChannelSettings::small("mpeg2")
    };
    let (reason, message) = named(Setup::copy(mpeg2)).await;
    assert_eq!(reason, Reason::UnsupportedMedia);
    assert_eq!(message, "the class says Copy, but HLS cannot carry mpeg2");
}

#[tokio::test]
async fn a_source_that_is_too_large_to_decode_gives_way_to_one_that_is_passed_through() {
    let hevc = |name| ChannelSettings {
        codec: VideoFormat::Hevc,
        ..ChannelSettings::small(name)
    };
    let limited = |channel| {
        let mut setup = Setup::auto(channel).with_ladder(&[144]);
        setup.job.class.max_decode_height = Some(144);
        setup
    };
    let (reason, message) = named(limited(hevc("alone"))).await;
    assert_eq!(reason, Reason::SourceTooLargeToTranscode);
    assert!(message.contains("its 180 lines are more"), "{message}");
    let mut setup = limited(hevc("large"));
    setup.channels.push(ChannelSettings::small("fits"));
    let attempt = setup.start().await;
    let status = attempt.live().await;
    assert_eq!(status.source.index, 1);
    assert_eq!(attempt.source.stats("large").unwrap().requests, 1);
    let media = status.media.unwrap();
    assert_eq!(
        (media.mode, &*media.renditions),
        (MediaMode::Copy, &["source".to_owned()][..])
    );
    assert!(
        media.reason.contains("no rendition is encoded"),
        "{}",
        media.reason
    );
    attempt.stop().await;
}

#[tokio::test]
async fn addresses_that_the_policy_refuses_are_named_without_their_secrets() {
    let mut setup = Setup::copy(ChannelSettings::small("refused"));
    setup.options.allow_loopback = false;
    let (reason, message) = named(setup).await;
    assert_eq!(reason, Reason::EgressRefused);
    assert!(message.contains("loopback"), "{message}");
    let mut setup = Setup::copy(ChannelSettings::small("metadata"));
    let url = "http://user:secret@169.254.169.254/live/user/secret/1.ts?token=secret";
    setup.job.sources = vec![job_source(0, url.to_owned())];
    let (reason, message) = named(setup).await;
    assert_eq!(reason, Reason::EgressRefused);
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn a_source_that_stays_away_is_given_up_in_bounded_time_and_the_poll_sees_why() {
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    let mut setup = Setup::copy(with("gone", gone));
    setup.options.give_up_after = Duration::from_secs(2);
    let mut attempt = setup.start().await;
    let failed: JobStatus = attempt
        .status(|status| status.phase == JobPhase::Failed)
        .await;
    assert_eq!(failed.source.reason, Reason::HttpError);
    let Outcome::Failed { reason, message } = attempt.outcome().await else {
        panic!("it did not fail");
    };
    assert_eq!(reason, Reason::HttpError);
    assert!(
        message.ends_with("answered with HTTP status 404"),
        "{message}"
    );
    assert!(attempt.source.stats("gone").unwrap().requests >= 2);
}
