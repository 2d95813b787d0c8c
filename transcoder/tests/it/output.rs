//! The output volume, well and unwell: files are whole, numbers go on after a restart, a stalled volume costs no viewer anything.

use std::path::Path;

use api::condition::Reason;
use api::control::JobStatus;
use api::playlists::Playlists;
use reqwest::StatusCode;
use testkit::source::ChannelSettings;

use crate::attempt::{Attempt, Setup, told};

fn stalled(status: &JobStatus) -> bool {
    let mut troubles = status.troubles.iter();
    troubles.any(|trouble| trouble.reason == Reason::OutputStalled)
}

fn state(directory: &Path) -> Playlists {
    let text = std::fs::read_to_string(directory.join("state.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn listed_segments_can_be_read(attempt: &Attempt) {
    for entry in attempt.playlists(|_| true).await.segments {
        let path = format!("hls/source/3-{}.ts", entry.number);
        assert_eq!(attempt.get(&path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn what_is_published_lies_on_the_volume_with_state_and_playlists() {
    let attempt = Setup::copy(ChannelSettings::small("files")).start().await;
    let playlists = attempt.playlists_grow(3).await;
    let directory = attempt.directory.path();
    for entry in &playlists.segments {
        let name = format!("source/3-{}.ts", entry.number);
        let bytes = std::fs::read(directory.join(&name)).unwrap();
        assert!(!bytes.is_empty() && bytes.len() % 188 == 0, "{name}");
    }
    let newest = playlists.segments.last().unwrap();
    assert!(state(directory).segments.contains(newest));
    for (file, line) in [
        ("source/index.m3u8", format!("3-{}.ts", newest.number)),
        ("master.m3u8", "source/index.m3u8".to_owned()),
    ] {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    attempt.stop().await;
}

#[tokio::test]
async fn a_restart_in_the_same_directory_never_takes_numbers_back() {
    let directory = tempfile::tempdir().unwrap();
    let setup = || {
        let mut setup = Setup::copy(ChannelSettings::small("restart"));
        setup.job.output.directory = directory.path().to_string_lossy().into_owned();
        setup
    };
    let first = setup().start().await;
    first.playlists_grow(4).await;
    first.stop().await;
    let before = state(directory.path()).next;
    let second = setup().start().await;
    let after = second.playlists_grow(1).await;
    assert!(after.segments[0].number >= u64::try_from(before.media_sequence).unwrap());
    assert!(after.segments[0].discontinuity);
    second.stop().await;
}

#[tokio::test]
async fn a_volume_that_is_full_is_said_and_segments_come_from_memory() {
    let mut setup = Setup::copy(ChannelSettings::small("full"));
    setup.job.output.byte_limit = 200_000;
    let attempt = setup.start().await;
    let (report, status) = tokio::join!(attempt.check(14, 0), attempt.status(stalled));
    assert_eq!(told(&report), "");
    assert!(
        status.troubles[0].message.contains("byte limit"),
        "{status:?}"
    );
    listed_segments_can_be_read(&attempt).await;
    attempt.stop().await;
}

#[tokio::test]
async fn a_volume_that_comes_back_takes_what_waited() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("volume");
    let mut setup = Setup::copy(ChannelSettings::small("volume"));
    setup.job.output.directory = directory.to_string_lossy().into_owned();
    let attempt = setup.start().await;
    attempt.playlists_grow(1).await;
    let elsewhere = parent.path().join("elsewhere");
    std::fs::rename(&directory, &elsewhere).unwrap();
    std::fs::write(&directory, b"no directory").unwrap();
    attempt.status(stalled).await;
    attempt.playlists_grow(1).await;
    std::fs::remove_file(&directory).unwrap();
    std::fs::rename(&elsewhere, &directory).unwrap();
    attempt.status(|status| !stalled(status)).await;
    listed_segments_can_be_read(&attempt).await;
    let listed = attempt.playlists(|_| true).await;
    assert_eq!(state(&directory).segments.first(), listed.segments.first());
    attempt.stop().await;
}
