//! Sources whose media are no transport stream, or none that is whole: they are joined to one and play like any other, and what
//! becomes of either track has a name.

use std::collections::BTreeMap;

use api::condition::Reason;
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use reqwest::Url;
use rustix::process::{Signal, kill_process};
use testkit::source::{
    ChannelSettings, Faults, HlsContainer, HlsEncryption, HlsSettings, LiveSource, SourceSettings,
    VideoFormat,
};
use tokio::net::TcpListener;

use crate::attempt::{Setup, job_source, told};
use crate::encode::own_ffmpeg;
use crate::hls::{channel, followed, jumps};

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
    jumps(Setup::hls(channel("jump", fragments()), "index")).await;
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
    jumps(setup).await;
}

/// What a channel lists at a time, twice with a seam between, and then no more: all of it is there at once. Answers where.
async fn recorded(mut channel: ChannelSettings, playlist: &str, lists: &[&str]) -> String {
    testkit::tls::choose_provider();
    // Its lists stand still.
    channel.faults.silence = Some(true);
    let source = SourceSettings::loopback(vec![channel.clone()]);
    let source = LiveSource::start(source).await.unwrap();
    let master = Url::parse(&source.hls_url(&channel.name, playlist)).unwrap();
    let fetch = async |name: &str| {
        let answer = reqwest::get(master.join(name).unwrap()).await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap()
    };
    let mut files = BTreeMap::new();
    let name = format!("{playlist}.m3u8");
    files.insert(name.clone(), fetch(&name).await);
    for list in lists {
        let text = String::from_utf8(fetch(list).await.to_vec()).unwrap();
        let (head, segments) = text.split_at(text.find("#EXTINF").unwrap());
        let named = segments.lines().filter(|line| !line.starts_with('#'));
        let init = head.split('"').filter(|word| word.ends_with(".mp4"));
        for file in named.chain(init) {
            files.insert(file.to_owned(), fetch(file).await);
        }
        let text = format!("{head}{segments}#EXT-X-DISCONTINUITY\n{segments}#EXT-X-ENDLIST\n");
        files.insert((*list).to_owned(), Bytes::from(text));
    }
    let app = Router::new().fallback(move |uri: Uri| {
        let file = files.get(uri.path().trim_start_matches('/')).cloned();
        async move { file.ok_or(StatusCode::NOT_FOUND) }
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/{name}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    url
}

/// Plays what is listed before a seam to its end.
async fn plays_to_the_seam(hls: HlsSettings, playlist: &str, lists: &[&str]) {
    let hls = HlsSettings { window: 3, ..hls };
    let url = recorded(channel("recorded", hls), playlist, lists).await;
    let mut setup = Setup::copy(ChannelSettings::small("idle"));
    setup.job.sources = vec![job_source(0, url)];
    let attempt = setup.start().await;
    let playlists = attempt
        .playlists(|playlists| playlists.segments.iter().any(|one| one.discontinuity))
        .await;
    let before = playlists.segments.iter();
    let before = before.take_while(|one| !one.discontinuity);
    let ticks: u64 = before.map(|one| one.duration_ticks).sum();
    // Three segments of two seconds; a picture takes 3600 ticks.
    assert!(ticks.abs_diff(6 * 90_000) <= 3600, "{playlists:?}");
    attempt.stop().await;
}

#[tokio::test]
async fn what_is_listed_before_a_seam_is_played_to_its_end() {
    tokio::join!(
        plays_to_the_seam(fragments(), "index", &["index.m3u8"]),
        plays_to_the_seam(
            apart(HlsContainer::Fmp4),
            "master",
            &["index.m3u8", "audio.m3u8"]
        ),
    );
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
        attempt.delivers(1).await;
        attempt
            .source
            .set_faults("first", Faults::default())
            .unwrap();
        attempt.source.set_faults("second", gone).unwrap();
        attempt.delivers(0).await;
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
    attempt.delivers(0).await;
    attempt.stop().await;
    assert_eq!(processes(), []);
}
