//! Sources that fail while they play: what is lost is named, and what follows goes on under the same URLs.

use api::condition::Reason;
use api::control::JobPhase;
use testkit::source::{ChannelSettings, Cut, Faults};

use crate::attempt::{Setup, told};

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_and_what_it_repeats_is_played_once() {
    let repeating = ChannelSettings {
        faults: Faults {
            burst: Some(4.0),
            ..Faults::default()
        },
        ..ChannelSettings::small("repeating")
    };
    let setup = Setup::auto(repeating).with_ladder(&[180, 144]);
    let attempt = setup.start().await;
    let cutting = async {
        attempt.playlists_grow(3).await;
        attempt.source.cut("repeating", Cut::Abort).unwrap();
        attempt.playlists_grow(3).await;
    };
    let (report, ()) = tokio::join!(attempt.check(16, 0), cutting);
    assert_eq!(told(&report), "");
    assert_eq!(attempt.source.stats("repeating").unwrap().clients_total, 2);
    attempt.stop().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_picture_costs_one_discontinuity_at_most() {
    let attempt = Setup::copy(ChannelSettings::small("cut")).start().await;
    attempt.playlists_grow(3).await;
    attempt.source.cut("cut", Cut::Clean).unwrap();
    let status = attempt
        .status(|status| status.phase == JobPhase::Interrupted)
        .await;
    assert_eq!(status.source.reason, Reason::EndOfStream);
    attempt.live().await;
    let playlists = attempt.playlists_grow(2).await;
    let seams = playlists
        .segments
        .iter()
        .filter(|entry| entry.discontinuity);
    assert!(seams.count() <= 1, "{playlists:?}");
    assert_eq!(attempt.source.stats("cut").unwrap().clients_total, 2);
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_falls_silent_is_named_and_taken_back() {
    let attempt = Setup::copy(ChannelSettings::small("silent")).start().await;
    attempt.live().await;
    let silent = Faults {
        silence: Some(true),
        ..Faults::default()
    };
    attempt.source.set_faults("silent", silent).unwrap();
    let status = attempt
        .status(|status| status.phase == JobPhase::Interrupted)
        .await;
    assert_eq!(
        (status.source.healthy, status.source.reason),
        (Some(false), Reason::Silent)
    );
    attempt
        .source
        .set_faults("silent", Faults::default())
        .unwrap();
    let status = attempt.live().await;
    assert_eq!(
        (status.source.healthy, status.source.reason),
        (Some(true), Reason::Receiving)
    );
    let listed = attempt.playlists_grow(2).await;
    let seams = listed.segments.iter().filter(|entry| entry.discontinuity);
    assert_eq!(seams.count(), 1);
    attempt.stop().await;
}

#[tokio::test]
async fn another_source_takes_over_behind_one_discontinuity() {
    let mut setup = Setup::copy(ChannelSettings::small("first"));
    setup.channels.push(ChannelSettings::small("second"));
    let attempt = setup.start().await;
    attempt.live().await;
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    let taking_over = async {
        attempt.playlists_grow(2).await;
        attempt.source.set_faults("first", gone).unwrap();
        attempt.source.cut("first", Cut::Clean).unwrap();
        attempt
            .status(|status| status.source.index == 1 && status.source.healthy == Some(true))
            .await
    };
    let (report, status) = tokio::join!(attempt.check(16, 1), taking_over);
    assert_eq!(told(&report), "");
    assert_eq!(status.source.reason, Reason::Receiving);
    attempt.stop().await;
}

#[tokio::test]
async fn timestamps_that_jump_are_one_discontinuity() {
    let attempt = Setup::auto(ChannelSettings::small("jump"))
        .with_ladder(&[180, 144])
        .start()
        .await;
    attempt.live().await;
    let jumping = async {
        attempt.playlists_grow(2).await;
        attempt.source.jump("jump", 3600.0).unwrap();
    };
    let (report, ()) = tokio::join!(attempt.check(18, 1), jumping);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

#[tokio::test]
async fn keyframes_that_do_not_come_are_done_without_and_said() {
    let long = ChannelSettings {
        gop: 12.0,
        ..ChannelSettings::small("long")
    };
    let attempt = Setup::auto(long).start().await;
    let status = attempt
        .status(|status| {
            status
                .troubles
                .iter()
                .any(|trouble| trouble.reason == Reason::LongGop)
        })
        .await;
    assert_eq!(status.phase, JobPhase::Live);
    let is_encoded = |status: &api::control::JobStatus| {
        let media = status.media.as_ref();
        media.is_some_and(|media| media.mode == api::control::MediaMode::Transcode)
    };
    let media = attempt.status(is_encoded).await.media.unwrap();
    assert_eq!(
        media.reason,
        "the source's keyframes come too rarely to cut at"
    );
    attempt.playlists_grow(6).await;
    attempt.stop().await;
}
