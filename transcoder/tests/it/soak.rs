//! Streams of several kinds side by side while their sources do whatever sources do, at random times from a seed: afterwards every
//! playlist and segment was right, and nothing is left open, running or held.

mod schedule;
mod traces;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::stream_class::TranscodeMode;
use testkit::checker::{CheckSettings, Rule, Violation, check};
use testkit::source::{
    AccessIndicator, AccessPoints, AudioFormat, ChannelSettings, Size, VideoFormat,
};
use tokio::time::Instant;

use crate::attempt::{Attempt, Setup};
use schedule::Random;
use traces::Traces;

/// Sources are left alone for so long at the end, so that every stream can show that it plays.
const QUIET: Duration = Duration::from_secs(15);
/// A stream may be without anything new for so long: what a source does wrong lasts a few seconds, finding out and connecting as long.
const STALE: &str = "30";
/// Segments of a rendition that may lie on the volume: those listed and those that players may still ask for.
const FILES: usize = 60;

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().unwrap())
}

/// Stream number `index`: what it is, and what is done with it.
fn setup(index: usize) -> Setup {
    let small = |name: &str| ChannelSettings {
        resized: Some(Size(480, 270)),
        ..ChannelSettings::small(name)
    };
    let mut setup = match index % 5 {
        0 => Setup::auto(small("a")).with_ladder(&[180, 144]),
        1 => Setup::copy(ChannelSettings {
            access: AccessPoints::Recovery,
            rai: AccessIndicator::Never,
            audio_late: 1200,
            ..small("a")
        }),
        2 => Setup::hls(small("a"), "index"),
        3 => Setup::auto(ChannelSettings {
            codec: VideoFormat::Mpeg2,
            interlaced: true,
            audio: AudioFormat::Mp2,
            ..small("a")
        })
        .with_ladder(&[180, 144]),
        _ => Setup::auto(ChannelSettings {
            wrap: Some(20.0),
            gop: 4.0,
            audio: AudioFormat::Ac3,
            ..small("a")
        }),
    };
    if setup.job.class.mode == TranscodeMode::Auto {
        setup.job.stream.name = format!("encoded-{index}");
    }
    let other = ChannelSettings {
        name: "b".to_owned(),
        ..setup.channels[0].clone()
    };
    setup.channels.push(other);
    setup
}

/// The checker in a process of its own, which keeps all that it has seen.
fn checker(attempt: &Attempt, seconds: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "soak::a_stream_is_followed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("HEADEND_SOAK_URL", attempt.url("hls/master.m3u8").as_str())
        .env("HEADEND_SOAK_SECONDS", seconds.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "what the soak starts for each of its streams"]
async fn a_stream_is_followed() {
    let Ok(url) = std::env::var("HEADEND_SOAK_URL") else {
        return;
    };
    let settings = CheckSettings {
        duration: Duration::from_secs(number("HEADEND_SOAK_SECONDS", 60)),
        discontinuities: None,
        stale: Some(Duration::from_secs(STALE.parse().unwrap())),
        ..CheckSettings::new(url.parse().unwrap())
    };
    let report = check(settings).await.unwrap();
    let segments: Vec<_> = report
        .renditions
        .iter()
        .map(|rendition| (rendition.segments, rendition.discontinuities))
        .collect();
    println!("segments and discontinuities: {segments:?}");
    // A machine that is too slow for an encoded rung is left without it: its list may then be empty.
    let is_shed = |rule| matches!(rule, Rule::WindowTooShort | Rule::SequenceJump);
    let counts = |found: &&Violation| found.rendition == Some(0) || !is_shed(found.rule);
    let findings = report.violations.iter().filter(counts);
    let findings: Vec<_> = findings.map(ToString::to_string).collect();
    assert!(
        !segments.is_empty() && findings.is_empty(),
        "\n{}",
        findings.join("\n")
    );
}

/// What the checker of a stream has found in the end.
async fn verdict(index: usize, checker: Child) -> Option<String> {
    let ended = tokio::task::spawn_blocking(move || checker.wait_with_output());
    let output = ended.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let lines = said.lines();
    let told = lines.filter(|line| line.contains("rendition ") || line.starts_with("segments"));
    told.for_each(|line| println!("stream {index}: {line}"));
    (!output.status.success()).then(|| format!("stream {index}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told to, in a process of its own: `cargo xtask soak`"]
async fn random_faults_leave_nothing_behind() {
    let minutes = number("HEADEND_SOAK_MINUTES", 1);
    let streams = usize::try_from(number("HEADEND_SOAK_STREAMS", 2)).unwrap();
    let seed = number("HEADEND_SOAK_SEED", 1);
    println!("{minutes} minutes of {streams} streams, seed {seed}");
    let before = Traces::of_this_process();
    let mut attempts = Vec::new();
    for index in 0..streams {
        attempts.push(setup(index).start().await);
    }
    for attempt in &attempts {
        attempt.live().await;
    }
    let began = Instant::now();
    let time = Duration::from_secs(minutes * 60);
    let checkers: Vec<_> = attempts
        .iter()
        .map(|attempt| checker(attempt, minutes * 60))
        .collect();
    let faults = attempts.iter().enumerate().map(|(index, attempt)| {
        schedule::disturb(
            attempt,
            index,
            Random::new(seed, index),
            began + time.saturating_sub(QUIET),
        )
    });
    let warm = async {
        tokio::time::sleep(time / 3).await;
        Traces::of_this_process()
    };
    let (_, warm) = tokio::join!(futures::future::join_all(faults), warm);
    let mut findings = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        attempt.live().await;
        attempt.playlists_grow(2).await;
        findings.extend(
            traces::files(attempt, FILES).map(|finding| format!("stream {index}: {finding}")),
        );
    }
    for (index, checker) in checkers.into_iter().enumerate() {
        findings.extend(verdict(index, checker).await);
    }
    let end = Traces::of_this_process();
    for attempt in attempts {
        attempt.stop().await;
    }
    let after = Traces::of_this_process();
    println!("before {before:?}\nwarm {warm:?}\nend {end:?}\nafter {after:?}");
    findings.extend(traces::compare(&before, &warm, &end, &after));
    assert!(findings.is_empty(), "seed {seed}:\n{}", findings.join("\n"));
}

/// Memory, descriptors and children are a process's: other tests must not share them.
#[test]
fn a_minute_of_random_faults_leaves_nothing_behind() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "soak::random_faults_leave_nothing_behind",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
