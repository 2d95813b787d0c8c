//! Encoders that cannot keep up or fail again and again: encoded renditions are left out, the costliest first, everything else goes on, and the
//! source is never blamed for it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use api::condition::Reason;
use api::control::JobStatus;
use api::playlists::Playlists;
use api::stream_class::TranscodeMode;
use rustix::process::{Pid, Signal, kill_process};
use testkit::checker::{CheckSettings, Report, Rule, Violation, check};
use testkit::source::ChannelSettings;
use tokio::time::timeout;
use transcoder::sandbox::Launcher;

use crate::attempt::{Attempt, HOST, Setup, told};
use crate::encode::{installed_ffmpeg, processes};

/// Longer than what was left out stays so the first time.
const RETURN: Duration = Duration::from_secs(120);

/// An FFmpeg under a name of its own, which can be told to hinder itself where it makes pictures of so many lines.
struct Hindered {
    program: PathBuf,
    mark: String,
    signal: Signal,
    directory: tempfile::TempDir,
}

impl Hindered {
    fn new(lines: u32, signal: Signal) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ffmpeg");
        let mark = format!("scale=-2:{lines},");
        // Confined, it may not read what lies there, and sees whether it does.
        let script = format!(
            "#!/bin/bash\nif [[ $* == *{mark}* && -e {directory}/told ]]; then kill -{signal} $$; fi\n\
             exec -a \"$0\" {ffmpeg} \"$@\"\n",
            directory = directory.path().display(),
            signal = signal.as_raw(),
            ffmpeg = installed_ffmpeg().display(),
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            program,
            mark,
            signal,
            directory,
        }
    }

    /// From now on none that makes such pictures gets anywhere.
    fn tell(&self) {
        std::fs::write(self.directory.path().join("told"), "").unwrap();
        let makes = |pid: &Pid| {
            let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            let line = std::fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.mark)
        };
        for pid in processes(&self.program).into_iter().filter(makes) {
            kill_process(pid, self.signal).unwrap();
        }
    }

    fn tell_no_more(&self) {
        std::fs::remove_file(self.directory.path().join("told")).unwrap();
    }
}

/// A stream with this ladder, and the FFmpeg that it runs.
fn ladder(channel: &str, heights: &[i32], lines: u32, signal: Signal) -> (Setup, Hindered) {
    let hindered = Hindered::new(lines, signal);
    let mut setup = Setup::auto(ChannelSettings::small(channel)).with_ladder(heights);
    setup.options.launcher = Launcher::through(HOST.into(), hindered.program.clone());
    (setup, hindered)
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
    let (setup, encoder) = ladder("below", &[180, 144, 120], 144, Signal::STOP);
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        encoder.tell();
        let status = trouble(&attempt, "144p is left out").await;
        attempt
            .playlists(|playlists| ends_without(playlists, &["144p"]))
            .await;
        encoder.tell_no_more();
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
    let (setup, encoder) = ladder("alone", &[180, 144], 144, Signal::STOP);
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        encoder.tell();
        let status = trouble(&attempt, "144p is left out").await;
        attempt.playlists_grow(3).await;
        assert_eq!(processes(&encoder.program).len(), 0);
        status
    };
    let (report, status) = tokio::join!(follow(&attempt, 30, &[1]), slow);
    assert_eq!(told(&report), "");
    is_blameless(&attempt, &status, "alone");
    attempt.stop().await;
}

#[tokio::test]
async fn a_full_ladder_that_is_too_much_keeps_its_cheapest_rendition_without_a_seam() {
    let (mut setup, encoder) = ladder("full", &[180, 144], 180, Signal::STOP);
    setup.job.class.mode = TranscodeMode::Transcode;
    let attempt = setup.start().await;
    let slow = async {
        attempt.playlists_grow(3).await;
        encoder.tell();
        trouble(&attempt, "180p is left out").await;
        attempt.playlists_grow(5).await
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
    let (mut setup, encoder) = ladder("again", &[180, 144], 180, Signal::KILL);
    setup.job.class.mode = TranscodeMode::Transcode;
    let attempt = setup.start().await;
    let killing = async {
        attempt.playlists_grow(3).await;
        encoder.tell();
        trouble(&attempt, "180p is left out").await;
        attempt.playlists_grow(5).await
    };
    let (report, playlists) = tokio::join!(follow(&attempt, 30, &[0]), killing);
    assert_eq!(told(&report), "");
    let has_144p = |one: &api::playlists::SegmentEntry| !one.gaps.contains(&"144p".to_owned());
    assert!(playlists.segments.iter().all(has_144p), "{playlists:?}");
    let status = attempt.read::<JobStatus>("status").await;
    is_blameless(&attempt, &status, "again");
    attempt.stop().await;
}
