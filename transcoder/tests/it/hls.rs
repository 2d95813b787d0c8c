//! Sources that are HLS playlists: they play like any other, however their segments come, and what they do wrong has a name.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::condition::Reason;
use api::control::{JobPhase, MediaMode};
use api::stream_class::{Preset, TranscodeMode};
use axum::Router;
use axum::routing::get;
use testkit::source::{ChannelSettings, Faults, HlsEncryption, HlsSettings};
use tokio::net::TcpListener;
use transcoder::job::Outcome;

use crate::attempt::{Attempt, Setup, job_source, named, told};

pub(crate) fn channel(name: &str, hls: HlsSettings) -> ChannelSettings {
    ChannelSettings {
        hls,
        ..ChannelSettings::small(name)
    }
}

/// Follows a stream that must break no rule and stay with its first source.
pub(crate) async fn followed(setup: Setup, seconds: u64) -> Attempt {
    let attempt = setup.start().await;
    let report = attempt.check(seconds, 0).await;
    assert_eq!(told(&report), "");
    assert!(
        report
            .renditions
            .iter()
            .all(|one| one.segments >= 5 && one.sync_marks > 0),
        "{report:?}"
    );
    let source = attempt.live().await.source;
    assert_eq!((source.index, source.reason), (0, Reason::Receiving));
    assert_eq!(source.healthy, Some(true));
    attempt
}

#[tokio::test]
async fn a_playlist_plays_like_any_other_source_and_breaks_no_rule() {
    let setup = Setup::hls(channel("plain", HlsSettings::default()), "master");
    followed(setup, 16).await.stop().await;
}

/// A list of two variants that say how large they are; whichever is asked for, is followed.
async fn chosen(limit: i32) -> (Attempt, u64) {
    let variants = Arc::new(OnceLock::new());
    let listed = Arc::clone(&variants);
    let list = move || async move { listed.get().cloned().unwrap_or_default() };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/list.m3u8", listener.local_addr().unwrap());
    let app = Router::new().route("/list.m3u8", get(list));
    tokio::spawn(axum::serve(listener, app).into_future());
    let mut setup = Setup::auto(channel("tall", HlsSettings::default())).with_ladder(&[144]);
    setup.channels.push(channel("fits", HlsSettings::default()));
    setup.job.class.preset = Preset::Ultra;
    setup.job.class.max_decode_height = Some(limit);
    let attempt = setup.start_with(|source| {
        let (tall, fits) = (
            source.hls_url("tall", "index"),
            source.hls_url("fits", "index"),
        );
        let list = format!(
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=3840x2160\n{tall}\n\
             #EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080\n{fits}\n"
        );
        variants.set(list).unwrap();
        vec![job_source(0, url)]
    });
    let attempt = attempt.await;
    attempt.live().await;
    let requests = attempt.source.stats("tall").unwrap().requests;
    (attempt, requests)
}

#[tokio::test]
async fn of_several_variants_one_is_followed_that_the_class_may_decode() {
    let ((within, unasked), (beyond, asked)) = tokio::join!(chosen(1080), chosen(2160));
    assert_eq!(unasked, 0);
    assert!(asked > 0);
    tokio::join!(within.stop(), beyond.stop());
}

#[tokio::test]
async fn segments_of_ten_seconds_come_out_evenly_and_no_source_is_switched() {
    let long = HlsSettings {
        segment: 10.0,
        window: 3,
        ..HlsSettings::default()
    };
    let mut setup = Setup::hls(channel("long", long.clone()), "index");
    setup.channels.push(channel("spare", long));
    let attempt = followed(setup, 36).await;
    assert_eq!(attempt.source.stats("spare").unwrap().requests, 0);
    attempt.stop().await;
}

#[tokio::test]
async fn an_encoder_keeps_up_with_what_comes_at_once() {
    let long = HlsSettings {
        segment: 6.0,
        window: 4,
        ..HlsSettings::default()
    };
    let mut setup = Setup::hls(channel("encoded", long), "index").with_ladder(&[180, 144]);
    setup.job.class.mode = TranscodeMode::Auto;
    let attempt = followed(setup, 20).await;
    let status = attempt.live().await;
    assert_eq!(status.troubles, []);
    assert_eq!(status.media.unwrap().mode, MediaMode::Transcode);
    attempt.stop().await;
}

#[tokio::test]
async fn encrypted_segments_that_are_parts_of_a_resource_play() {
    let encrypted = HlsSettings {
        encryption: HlsEncryption::Aes128,
        byte_ranges: true,
        ..HlsSettings::default()
    };
    let setup = Setup::hls(channel("encrypted", encrypted), "index");
    followed(setup, 12).await.stop().await;
}

#[tokio::test]
async fn addresses_that_expire_are_resolved_anew_without_a_seam() {
    let expiring = HlsSettings {
        token: Some(5.0),
        ..HlsSettings::default()
    };
    let setup = Setup::hls(channel("expiring", expiring), "entry");
    followed(setup, 16).await.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_not_noticed() {
    let attempt = Setup::hls(channel("away", HlsSettings::default()), "index")
        .start()
        .await;
    attempt.live().await;
    let away = Faults {
        status: Some(503),
        ..Faults::default()
    };
    let being_away = async {
        attempt.playlists_grow(2).await;
        let requests = || attempt.source.stats("away").unwrap().requests;
        let before = requests();
        attempt.source.set_faults("away", away).unwrap();
        while requests() < before + 2 {
            tokio::task::yield_now().await;
        }
        attempt
            .source
            .set_faults("away", Faults::default())
            .unwrap();
    };
    let (report, ()) = tokio::join!(attempt.check(16, 0), being_away);
    assert_eq!(told(&report), "");
    let source = attempt.live().await.source;
    assert_eq!(source.reason, Reason::Receiving);
    attempt.stop().await;
}

/// Follows a stream whose source's timestamps jump back.
pub(crate) async fn jumps(setup: Setup) {
    let name = setup.channels[0].name.clone();
    let attempt = setup.start().await;
    attempt.live().await;
    let jumping = async {
        attempt.playlists_grow(2).await;
        attempt.source.jump(&name, -1800.0).unwrap();
    };
    let (report, ()) = tokio::join!(attempt.check(22, 1), jumping);
    assert_eq!(told(&report), "");
    let source = attempt.live().await.source;
    assert_eq!(source.reason, Reason::Receiving);
    attempt.stop().await;
}

#[tokio::test]
async fn a_discontinuity_of_the_playlist_is_one_of_ours() {
    jumps(Setup::hls(channel("jump", HlsSettings::default()), "index")).await;
}

#[tokio::test]
async fn a_playlist_that_does_not_grow_is_silence_and_the_next_source_takes_over() {
    let mut setup = Setup::hls(channel("stalls", HlsSettings::default()), "index");
    setup.channels.push(channel("next", HlsSettings::default()));
    let attempt = setup.start().await;
    attempt.live().await;
    let silent = Faults {
        silence: Some(true),
        ..Faults::default()
    };
    attempt.source.set_faults("stalls", silent).unwrap();
    let status = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    assert_eq!(status.source.reason, Reason::Silent);
    let message = status.source.message;
    assert!(message.contains("listed no new segment for 1"), "{message}");
    attempt
        .status(|status| status.source.index == 1 && status.source.healthy == Some(true))
        .await;
    attempt.playlists_grow(2).await;
    attempt.stop().await;
}

#[tokio::test]
async fn a_playlist_that_stays_as_it_is_is_not_taken_for_media_again_and_again() {
    let mut setup = Setup::hls(channel("stale", HlsSettings::default()), "index");
    setup.options.give_up_after = Duration::from_secs(15);
    setup.job.class.start_deadline_seconds = 20;
    let mut attempt = setup.start().await;
    attempt.live().await;
    let silent = Faults {
        silence: Some(true),
        ..Faults::default()
    };
    attempt.source.set_faults("stale", silent).unwrap();
    attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    attempt
        .status(|status| status.phase == JobPhase::Failed)
        .await;
    let Outcome::Failed { reason, .. } = attempt.outcome().await else {
        panic!("it did not fail");
    };
    assert_eq!(reason, Reason::Silent);
}

#[tokio::test]
async fn what_of_hls_is_not_supported_is_named() {
    let sample = HlsSettings {
        encryption: HlsEncryption::SampleAes,
        ..HlsSettings::default()
    };
    let (reason, message) = named(Setup::hls(channel("odd", sample), "master")).await;
    assert_eq!(reason, Reason::UnsupportedMedia);
    let expected = "its segments are encrypted with SAMPLE-AES, which is not supported";
    assert!(message.ends_with(expected), "{message}");
}

#[tokio::test]
async fn a_playlist_that_points_into_our_own_network_is_named_without_its_secrets() {
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://user:secret@169.254.169.254/latest/secret.ts?token=secret\n";
    let app = Router::new().route("/list.m3u8", get(move || async move { list }));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/list.m3u8", listener.local_addr().unwrap());
    let serving = tokio::spawn(axum::serve(listener, app).into_future());
    let mut setup = Setup::copy(ChannelSettings::small("inward"));
    setup.job.sources = vec![job_source(0, url)];
    let (reason, message) = named(setup).await;
    serving.abort();
    assert_eq!(reason, Reason::EgressRefused);
    assert!(
        message.contains("169.254.169.254") && !message.contains("secret"),
        "{message}"
    );
}
