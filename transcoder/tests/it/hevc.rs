//! HEVC is encoded for everybody and passed through for clients that ask for it: one list of segments, and nobody else notices.

use api::control::MediaMode;
use api::playlists::Playlists;
use testkit::checker::{CheckSettings, check};
use testkit::source::{AudioFormat, ChannelSettings, Cut, Faults, VideoFormat};

use crate::attempt::{Attempt, Setup, told};

const ASKING: &str = "hls/master.m3u8?video=hevc";

#[tokio::test]
async fn hevc_is_passed_through_for_clients_that_ask_and_costs_the_others_nothing() {
    let hevc = ChannelSettings {
        codec: VideoFormat::Hevc,
        audio: AudioFormat::Ac3,
        ..ChannelSettings::small("hevc")
    };
    let attempt = Setup::auto(hevc).with_ladder(&[144]).start().await;
    let media = attempt.live().await.media.unwrap();
    assert_eq!(media.mode, MediaMode::Transcode);
    assert_eq!(media.renditions, ["144p"]);
    let cold: Playlists = attempt.playlists_grow(2).await;
    assert!(cold.on_request.is_empty(), "{cold:?}");
    assert_eq!(cold.behind, ["hevc"]);
    assert!(!directory(&attempt).exists());
    let settings = CheckSettings {
        duration: std::time::Duration::from_secs(14),
        discontinuities: Some(0),
        ..CheckSettings::new(attempt.url(ASKING))
    };
    let (asking, usual) = tokio::join!(check(settings), attempt.check(14, 0));
    assert_eq!(told(&asking.unwrap()), "");
    assert_eq!(told(&usual), "");
    let asked = attempt.get(ASKING).await.text().await.unwrap();
    let variants: Vec<&str> = asked
        .lines()
        .filter(|line| !line.starts_with("#EXTM3U"))
        .collect();
    assert!(asked.contains("CODECS=\"hvc1.1."), "{asked}");
    assert_eq!(
        (variants[2], variants[4]),
        ("hevc/index.m3u8", "144p/index.m3u8")
    );
    let master = attempt.get("hls/master.m3u8").await.text().await.unwrap();
    assert!(
        !master.contains("hevc") && !master.contains("hvc1"),
        "{master}"
    );
    assert!(directory(&attempt).exists());
    attempt.stop().await;
}

fn directory(attempt: &Attempt) -> std::path::PathBuf {
    attempt.directory.path().join("hevc")
}

#[tokio::test]
async fn who_watches_hevc_goes_on_with_it_from_the_next_source() {
    let hevc = |name| ChannelSettings {
        codec: VideoFormat::Hevc,
        ..ChannelSettings::small(name)
    };
    let mut setup = Setup::auto(hevc("first")).with_ladder(&[144]);
    setup.channels.push(hevc("second"));
    let attempt = setup.start().await;
    attempt.live().await;
    let _: Playlists = attempt.read("playlists?requested=hevc").await;
    attempt.playlists(|listed| listed.behind.is_empty()).await;
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    attempt.source.set_faults("first", gone).unwrap();
    attempt.source.cut("first", Cut::Abort).unwrap();
    attempt.status(|status| status.source.index == 1).await;
    let behind_the_seam = |listed: &Playlists| {
        let mut segments = listed.segments.iter();
        segments.any(|entry| entry.discontinuity) && segments.any(|entry| entry.gaps.is_empty())
    };
    let listed = attempt.playlists(behind_the_seam).await;
    assert_eq!(listed.on_request.len(), 1);
    attempt.stop().await;
}
