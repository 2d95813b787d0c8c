//! Sources whose media are no transport stream, or none that is whole: they are joined to one and play like any other, and what
//! becomes of either track has a name.

use api::condition::Reason;
use api::control::JobStatus;
use rustix::process::{Signal, kill_process};
use testkit::source::{
    ChannelSettings, Faults, HlsContainer, HlsEncryption, HlsSettings, VideoFormat,
};

use crate::attempt::{Attempt, Setup, told};
use crate::encode::own_ffmpeg;
use crate::hls::{channel, followed};

fn fragments() -> HlsSettings {
    HlsSettings {
        container: HlsContainer::Fmp4,
        ..HlsSettings::default()
    }
}

#[tokio::test]
async fn fragments_play_like_any_other_source_and_break_no_rule() {
    let setup = Setup::hls(channel("fragments", fragments()), "master");
    followed(setup, 16).await.stop().await;
}

#[tokio::test]
async fn encrypted_fragments_play_whose_initialization_is_a_part_of_a_resource() {
    let encrypted = HlsSettings {
        encryption: HlsEncryption::Aes128,
        byte_ranges: true,
        ..fragments()
    };
    let setup = Setup::hls(channel("sealed", encrypted), "index");
    followed(setup, 12).await.stop().await;
}

#[tokio::test]
async fn fragments_of_hevc_are_encoded_like_any_other() {
    let hevc = ChannelSettings {
        codec: VideoFormat::Hevc,
        ..channel("hevc", fragments())
    };
    let setup = Setup {
        playlist: Some("index"),
        ..Setup::auto(hevc)
    };
    followed(setup, 14).await.stop().await;
}

#[tokio::test]
async fn a_discontinuity_of_fragments_is_one_of_ours() {
    let setup = Setup::hls(channel("jump", fragments()), "index");
    let attempt = setup.start().await;
    attempt.live().await;
    let jumping = async {
        attempt.playlists_grow(2).await;
        attempt.source.jump("jump", -1800.0).unwrap();
    };
    let (report, ()) = tokio::join!(attempt.check(22, 1), jumping);
    assert_eq!(told(&report), "");
    let source = attempt.live().await.source;
    assert_eq!(source.reason, Reason::Receiving);
    attempt.stop().await;
}

fn apart(container: HlsContainer) -> HlsSettings {
    HlsSettings {
        container,
        audio_apart: true,
        ..HlsSettings::default()
    }
}

/// Plays with its sound.
async fn sounds(setup: Setup, seconds: u64) {
    let attempt = followed(setup, seconds).await;
    let media = attempt.live().await.media.unwrap();
    let audio = media.audio.unwrap();
    assert!(audio.starts_with("aac LC 48000 Hz 2 ch"), "{audio}");
    attempt.stop().await;
}

#[tokio::test]
async fn fragments_whose_sound_comes_apart_play_in_step() {
    let setup = Setup::hls(channel("apart", apart(HlsContainer::Fmp4)), "master");
    sounds(setup, 16).await;
}

#[tokio::test]
async fn streams_whose_sound_comes_apart_play_in_step() {
    let hls = HlsSettings {
        encryption: HlsEncryption::Aes128,
        ..apart(HlsContainer::Ts)
    };
    sounds(Setup::hls(channel("two-streams", hls), "master"), 16).await;
}

#[tokio::test]
async fn sound_without_a_container_plays_in_step_with_pictures_of_either_kind() {
    let packed = |container| HlsSettings {
        audio_packed: true,
        ..apart(container)
    };
    let stream = Setup::hls(channel("packed", packed(HlsContainer::Ts)), "master");
    let fragments = Setup::hls(channel("mixed", packed(HlsContainer::Fmp4)), "master");
    tokio::join!(sounds(stream, 16), sounds(fragments, 16));
}

#[tokio::test]
async fn a_discontinuity_of_tracks_that_come_apart_is_one_of_ours() {
    let setup = Setup::hls(channel("apart-jump", apart(HlsContainer::Fmp4)), "master");
    let attempt = setup.start().await;
    attempt.live().await;
    let jumping = async {
        attempt.playlists_grow(2).await;
        attempt.source.jump("apart-jump", -1800.0).unwrap();
    };
    let (report, ()) = tokio::join!(attempt.check(22, 1), jumping);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

async fn on_source(attempt: &Attempt, index: i32) {
    let healthy =
        |status: &JobStatus| status.source.index == index && status.source.healthy == Some(true);
    attempt.status(healthy).await;
    attempt.playlists_grow(2).await;
}

#[tokio::test]
async fn fragments_that_are_gone_give_way_to_a_stream_and_play_again_when_that_is_gone() {
    let mut setup = Setup::hls(channel("first", fragments()), "index");
    setup
        .channels
        .push(channel("second", HlsSettings::default()));
    let attempt = setup.start().await;
    attempt.live().await;
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    let following = async {
        attempt.playlists_grow(2).await;
        attempt.source.set_faults("first", gone.clone()).unwrap();
        on_source(&attempt, 1).await;
        attempt
            .source
            .set_faults("first", Faults::default())
            .unwrap();
        attempt.source.set_faults("second", gone).unwrap();
        on_source(&attempt, 0).await;
    };
    let (report, ()) = tokio::join!(attempt.check(40, 2), following);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

#[tokio::test]
async fn the_death_of_what_joins_them_is_named_and_got_over_and_none_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let (launcher, processes) = own_ffmpeg(directory.path());
    let mut setup = Setup::hls(channel("killed", fragments()), "index");
    setup.options.launcher = launcher;
    let attempt = setup.start().await;
    attempt.live().await;
    attempt.playlists_grow(2).await;
    let [joining] = processes()[..] else {
        panic!("{:?}", processes());
    };
    // What is over in a moment is not seen.
    let away = Faults {
        status: Some(503),
        ..Faults::default()
    };
    attempt.source.set_faults("killed", away).unwrap();
    kill_process(joining, Signal::KILL).unwrap();
    let status = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    let message = status.source.message;
    assert_eq!(status.source.reason, Reason::EndOfStream, "{message}");
    assert!(
        message.ends_with("the FFmpeg that joins its tracks is gone"),
        "{message}"
    );
    attempt
        .source
        .set_faults("killed", Faults::default())
        .unwrap();
    on_source(&attempt, 0).await;
    attempt.stop().await;
    assert_eq!(processes(), []);
}
