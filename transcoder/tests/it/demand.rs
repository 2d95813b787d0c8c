//! Encoded renditions beside one that is passed through: they run while somebody asks for one of them.

use std::time::Duration;

use api::playlists::Playlists;
use api::stream_class::EncodedRenditions;
use testkit::source::ChannelSettings;
use tokio::time::timeout;

use crate::attempt::{Setup, told};
use crate::encode::own_ffmpeg;

/// Longer than encoders go on after the last request.
const LEFT: Duration = Duration::from_secs(80);

#[tokio::test]
async fn encoded_renditions_run_while_they_are_asked_for_and_have_the_same_numbers_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let (launcher, processes) = own_ffmpeg(directory.path());
    let mut setup = Setup::auto(ChannelSettings::small("demand")).with_ladder(&[180, 144]);
    setup.job.class.encoded_renditions = EncodedRenditions::OnDemand;
    setup.options.launcher = launcher;
    let attempt = setup.start().await;
    let cold = attempt.playlists_grow(5).await;
    assert_eq!(processes().len(), 0);
    assert_eq!(cold.behind, ["144p"]);
    let ids: Vec<&str> = cold.renditions.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["180p", "144p"]);
    // The checker asks for it and follows it: from what is listed already on, without a gap.
    let report = attempt.check(12, 0).await;
    assert_eq!(told(&report), "");
    assert_eq!(processes().len(), 1);
    let is_complete = |playlists: &Playlists| {
        let mut segments = playlists.segments.iter();
        playlists.behind.is_empty() && segments.all(|entry| entry.gaps.is_empty())
    };
    attempt.playlists(is_complete).await;
    let left = async {
        while !processes().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LEFT, left).await.unwrap();
    attempt.playlists_grow(8).await;
    let report = attempt.check(12, 0).await;
    assert_eq!(told(&report), "");
    attempt.playlists(is_complete).await;
    attempt.stop().await;
}
