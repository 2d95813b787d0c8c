//! Encoders that cannot keep up or fail again and again: encoded renditions are left out, the costliest first, everything else goes on, and the
//! source is never blamed for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::condition::Reason;
use api::control::JobStatus;
use api::playlists::Playlists;
use api::stream_class::TranscodeMode;
use rustix::process::{Pid, Signal, kill_process};
use testkit::checker::{CheckSettings, Report, Rule, Violation, check};
use testkit::source::ChannelSettings;
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Setup, told};
use crate::encode::{own_ffmpeg, processes};

/// Longer than what was left out stays so the first time.
const RETURN: Duration = Duration::from_secs(120);

/// A stream with this ladder, and the FFmpeg that it runs under a name of its own.
fn ladder(channel: &str, heights: &[i32]) -> (Setup, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (launcher, _) = own_ffmpeg(directory.path());
    let mut setup = Setup::auto(ChannelSettings::small(channel)).with_ladder(heights);
    setup.options.launcher = launcher;
    (setup, directory.path().join("ffmpeg"), directory)
}

/// The encoders that make pictures of so many lines.
fn makers(program: &Path, lines: u32) -> Vec<Pid> {
    let wanted = format!("scale=-2:{lines},");
    let makes = |pid: &Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        let line = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    };
    processes(program).into_iter().filter(makes).collect()
}

/// No encoder that makes pictures of so many lines gets anywhere.
async fn stall(program: &Path, lines: u32) {
    loop {
        for pid in makers(program, lines) {
            // One that has just ended is as good.
            let _ = kill_process(pid, Signal::STOP);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn trouble(attempt: &Attempt, words: &str) -> JobStatus {
    let says = |status: &JobStatus| {
        let mut troubles = status.troubles.iter();
        troubles.any(|one| one.reason == Reason::EncoderTooSlow && one.message.contains(words))
    };
    attempt.status(says).await
}

/// Whether the last segments are there in every rendition but these.
fn ends_without(playlists: &Playlists, left_out: &[&str]) -> bool {
    let mut last = playlists.segments.iter().rev().take(3);
    last.all(|entry| entry.gaps == left_out)
}

/// What breaks a rule, where some renditions were out for as long as a list is: such a one has no list meanwhile, and nobody can say when
/// what was in it should have gone.
async fn follow(attempt: &Attempt, seconds: u64, left_out: &[usize]) -> Report {
    let settings = CheckSettings {
        duration: Duration::from_secs(seconds),
        stale: Some(Duration::from_secs(25)),
        ..CheckSettings::new(attempt.url("hls/master.m3u8"))
    };
    let mut report = check(settings).await.unwrap();
    let is_absence = |rule| {
        matches!(
            rule,
            Rule::WindowTooShort
                | Rule::SequenceJump
                | Rule::Stale
                | Rule::PlaylistFetch
                | Rule::Retention
        )
    };
    let counts = |found: &Violation| {
        let mut left_out = left_out.iter();
        !is_absence(found.rule) || left_out.all(|one| found.rendition != Some(*one))
    };
    report.violations.retain(counts);
    report
}

fn is_blameless(attempt: &Attempt, status: &JobStatus, channel: &str) {
    assert_eq!(status.source.healthy, Some(true));
    assert_eq!(attempt.source.stats(channel).unwrap().clients_total, 1);
}

#[tokio::test]
async fn what_is_too_much_below_a_source_is_left_out_and_comes_back_after_a_calm_time() {
    let (setup, program, _directory) = ladder("below", &[180, 144, 120]);
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        let stalled = async {
            let status = trouble(&attempt, "144p is left out").await;
            attempt
                .playlists(|playlists| ends_without(playlists, &["144p"]))
                .await;
            status
        };
        let status = tokio::select! {
            () = stall(&program, 144) => unreachable!(),
            status = stalled => status,
        };
        is_blameless(&attempt, &status, "below");
        let back = async {
            loop {
                let playlists = attempt.playlists_grow(1).await;
                if ends_without(&playlists, &[]) {
                    return attempt.read::<JobStatus>("status").await;
                }
            }
        };
        let status = timeout(RETURN, back).await.unwrap();
        assert_eq!(status.troubles, []);
        is_blameless(&attempt, &status, "below");
    };
    // The other rendition is of the same encoder, and stands still with it until that is replaced.
    let (report, ()) = tokio::join!(follow(&attempt, 100, &[1, 2]), slow);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_is_passed_through_goes_on_without_any_encoder() {
    let (setup, program, _directory) = ladder("alone", &[180, 144]);
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        let stalled = async {
            let status = trouble(&attempt, "144p is left out").await;
            attempt.playlists_grow(3).await;
            assert_eq!(processes(&program).len(), 0);
            status
        };
        tokio::select! {
            () = stall(&program, 144) => unreachable!(),
            status = stalled => status,
        }
    };
    let (report, status) = tokio::join!(follow(&attempt, 30, &[1]), slow);
    assert_eq!(told(&report), "");
    is_blameless(&attempt, &status, "alone");
    attempt.stop().await;
}

#[tokio::test]
async fn a_full_ladder_that_is_too_much_keeps_its_cheapest_rendition_without_a_seam() {
    let (mut setup, program, _directory) = ladder("full", &[180, 144]);
    setup.job.class.mode = TranscodeMode::Transcode;
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        let stalled = async {
            trouble(&attempt, "180p is left out").await;
            attempt.playlists_grow(5).await
        };
        tokio::select! {
            () = stall(&program, 180) => unreachable!(),
            playlists = stalled => playlists,
        }
    };
    let (report, playlists) = tokio::join!(follow(&attempt, 40, &[0]), slow);
    assert_eq!(told(&report), "");
    let lacks = |id: &str| {
        playlists
            .segments
            .iter()
            .any(|one| one.gaps.iter().any(|gap| gap == id))
    };
    assert!(lacks("180p") && !lacks("144p"), "{playlists:?}");
    assert!(playlists.segments.iter().all(|one| !one.discontinuity));
    let status = attempt.read::<JobStatus>("status").await;
    is_blameless(&attempt, &status, "full");
    attempt.stop().await;
}

#[tokio::test]
async fn an_encoder_that_is_killed_again_and_again_makes_fewer_renditions() {
    let (mut setup, program, _directory) = ladder("again", &[180, 144]);
    setup.job.class.mode = TranscodeMode::Transcode;
    let attempt = setup.start().await;
    let killing = async {
        attempt.playlists_grow(3).await;
        let kill = async {
            let mut killed = Vec::new();
            loop {
                for pid in makers(&program, 180) {
                    if !killed.contains(&pid) {
                        let _ = kill_process(pid, Signal::KILL);
                        killed.push(pid);
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let lasting = async {
            trouble(&attempt, "180p is left out").await;
            attempt.playlists_grow(5).await
        };
        tokio::select! {
            () = kill => unreachable!(),
            playlists = lasting => playlists,
        }
    };
    let (report, playlists) = tokio::join!(follow(&attempt, 30, &[0]), killing);
    assert_eq!(told(&report), "");
    let has_144p = |one: &api::playlists::SegmentEntry| !one.gaps.contains(&"144p".to_owned());
    assert!(playlists.segments.iter().all(has_144p), "{playlists:?}");
    let status = attempt.read::<JobStatus>("status").await;
    is_blameless(&attempt, &status, "again");
    attempt.stop().await;
}
