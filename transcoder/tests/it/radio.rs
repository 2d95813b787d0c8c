//! Sources without pictures, however their sound comes: each is one rendition of sound, cut by its times.

use testkit::source::{AudioFormat, ChannelSettings, HlsContainer, HlsSettings, VideoFormat};

use crate::attempt::Setup;
use crate::hls::jumps;
use crate::play::followed;

fn radio(name: &str, audio: AudioFormat, hls: HlsSettings) -> ChannelSettings {
    ChannelSettings {
        codec: VideoFormat::None,
        audio,
        hls,
        ..ChannelSettings::small(name)
    }
}

fn packed() -> HlsSettings {
    HlsSettings {
        audio_packed: true,
        ..HlsSettings::default()
    }
}

/// Has one rendition, which every player takes.
async fn sounds(setup: Setup) {
    let attempt = followed(setup, 14).await;
    let playlists = attempt
        .playlists(|playlists| !playlists.renditions.is_empty())
        .await;
    let [rendition] = playlists.renditions.as_slice() else {
        panic!("{playlists:?}");
    };
    assert_eq!(
        (rendition.id.as_str(), rendition.codecs.as_str()),
        ("audio", "mp4a.40.2")
    );
    attempt.stop().await;
}

fn listed(channel: ChannelSettings, playlist: &'static str) -> Setup {
    Setup {
        playlist: Some(playlist),
        ..Setup::auto(channel)
    }
}

#[tokio::test]
async fn radio_has_one_rendition_of_sound() {
    let stream = radio("radio", AudioFormat::Aac, HlsSettings::default());
    let listed_stream = stream.clone();
    tokio::join!(
        sounds(Setup::auto(stream)),
        sounds(listed(listed_stream, "master"))
    );
}

#[tokio::test]
async fn sound_without_a_container_is_radio_by_itself_and_as_the_only_variant() {
    let aac = || radio("bare", AudioFormat::Aac, packed());
    let mpeg = radio("mpeg", AudioFormat::Mp2, packed());
    tokio::join!(
        sounds(listed(aac(), "index")),
        sounds(listed(aac(), "master")),
        sounds(listed(mpeg, "index")),
    );
}

#[tokio::test]
async fn fragments_of_sound_are_radio() {
    let fragments = HlsSettings {
        container: HlsContainer::Fmp4,
        ..HlsSettings::default()
    };
    let channel = radio("fragments", AudioFormat::Aac, fragments);
    sounds(listed(channel, "master")).await;
}

#[tokio::test]
async fn a_discontinuity_of_bare_sound_is_one_of_ours() {
    let channel = radio("jumping", AudioFormat::Aac, packed());
    jumps(listed(channel, "index")).await;
}
