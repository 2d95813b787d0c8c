//! Sources that are encoded, wholly or in part: renditions stay aligned, and a failing encoder costs no stream.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use api::condition::Reason;
use api::control::MediaMode;
use api::stream_class::TranscodeMode;
use rustix::process::{Pid, Signal, kill_process};
use testkit::source::{AudioFormat, ChannelSettings};
use transcoder::sandbox::Launcher;

use crate::attempt::{HOST, Setup, told};

#[tokio::test]
async fn encoded_rungs_below_a_source_that_is_passed_through_break_no_rule() {
    let setup = Setup::auto(ChannelSettings::small("ladder")).with_ladder(&[180, 144]);
    let attempt = setup.start().await;
    let report = attempt.check(16, 0).await;
    assert_eq!(told(&report), "");
    let status = attempt.live().await;
    let media = status.media.unwrap();
    assert_eq!(media.mode, MediaMode::Transcode);
    assert_eq!(media.renditions, ["180p", "144p"]);
    attempt.stop().await;
}

#[tokio::test]
async fn a_full_ladder_with_its_audio_breaks_no_rule() {
    let interlaced = ChannelSettings {
        audio: AudioFormat::Ac3,
        interlaced: true,
        ..ChannelSettings::small("interlaced")
    };
    let attempt = Setup::auto(interlaced)
        .with_ladder(&[180, 144])
        .start()
        .await;
    let report = attempt.check(16, 0).await;
    assert_eq!(told(&report), "");
    let media = attempt.live().await.media.unwrap();
    assert_eq!(media.mode, MediaMode::Transcode);
    attempt.stop().await;
}

#[tokio::test]
async fn audio_alone_is_encoded_where_only_audio_does_not_fit() {
    let mp2 = ChannelSettings {
        audio: AudioFormat::Mp2,
        ..ChannelSettings::small("mp2")
    };
    let attempt = Setup::auto(mp2).start().await;
    let report = attempt.check(14, 0).await;
    assert_eq!(told(&report), "");
    let media = attempt.live().await.media.unwrap();
    assert_eq!(media.mode, MediaMode::AudioTranscode);
    assert_eq!(media.reason, "the audio is mpeg audio");
    attempt.stop().await;
}

#[tokio::test]
async fn a_class_that_says_transcode_encodes_what_would_fit() {
    let mut setup = Setup::copy(ChannelSettings::small("forced"));
    setup.job.class.mode = TranscodeMode::Transcode;
    let attempt = setup.start().await;
    let report = attempt.check(14, 0).await;
    assert_eq!(told(&report), "");
    let media = attempt.live().await.media.unwrap();
    assert_eq!(media.mode, MediaMode::Transcode);
    assert_eq!(media.reason, "the class says Transcode");
    attempt.stop().await;
}

#[tokio::test]
async fn an_encoder_that_is_killed_is_replaced_and_what_it_owed_is_made_again() {
    let (setup, program, _directory) = ladder("killed");
    let attempt = setup.start().await;
    let killing = async {
        attempt.playlists_grow(5).await;
        let first = processes(&program);
        assert_eq!(first.len(), 1);
        kill_process(first[0], Signal::KILL).unwrap();
        let status = attempt.status(is_in_trouble).await;
        assert_eq!(status.source.healthy, Some(true));
        let playlists = attempt.playlists_grow(5).await;
        let second = processes(&program);
        assert_eq!(second.len(), 1);
        assert_ne!(second, first);
        playlists
    };
    let (report, playlists) = tokio::join!(attempt.check(22, 0), killing);
    assert_eq!(told(&report), "");
    assert!(
        playlists
            .segments
            .iter()
            .all(|entry| entry.gaps.is_empty() && !entry.discontinuity),
        "{playlists:?}"
    );
    attempt.stop().await;
}

#[tokio::test]
async fn a_ladder_of_encoded_pictures_alone_goes_on_without_a_seam_when_its_encoder_is_killed() {
    let (mut setup, program, _directory) = ladder("alone");
    setup.job.class.mode = TranscodeMode::Transcode;
    setup.channels[0].audio = AudioFormat::Mp2;
    let attempt = setup.start().await;
    let killing = async {
        attempt.playlists_grow(3).await;
        kill_process(processes(&program)[0], Signal::KILL).unwrap();
        attempt.playlists_grow(5).await
    };
    let (report, playlists) = tokio::join!(attempt.check(20, 0), killing);
    assert_eq!(told(&report), "");
    assert!(
        playlists
            .segments
            .iter()
            .all(|entry| entry.gaps.is_empty() && !entry.discontinuity),
        "{playlists:?}"
    );
    attempt.stop().await;
}

#[tokio::test]
async fn pictures_that_are_passed_through_keep_their_sound_when_an_encoder_of_others_is_killed() {
    let (mut setup, program, _directory) = ladder("sound");
    setup.channels[0].audio = AudioFormat::Mp2;
    let attempt = setup.start().await;
    let killing = async {
        attempt.playlists_grow(3).await;
        let both = processes(&program);
        assert_eq!(both.len(), 2);
        for one in both {
            kill_process(one, Signal::KILL).unwrap();
            attempt.playlists_grow(3).await;
        }
    };
    let (report, ()) = tokio::join!(attempt.check(24, 0), killing);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

fn is_in_trouble(status: &api::control::JobStatus) -> bool {
    let mut troubles = status.troubles.iter();
    troubles.any(|trouble| trouble.reason == Reason::EncoderTooSlow)
}

/// A channel with two encoded rungs, and the FFmpeg that it runs under a name of its own, by which its processes are found.
fn ladder(channel: &str) -> (Setup, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ffmpeg");
    let (launcher, _) = own_ffmpeg(directory.path());
    let mut setup = Setup::auto(ChannelSettings::small(channel)).with_ladder(&[180, 144]);
    setup.options.launcher = launcher;
    (setup, program, directory)
}

/// Where FFmpeg is installed.
pub(crate) fn installed_ffmpeg() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|place| place.join("ffmpeg"));
    places.find(|place| place.exists()).unwrap()
}

/// The installed FFmpeg under a name of its own, by which its processes are found.
pub(crate) fn own_ffmpeg(directory: &Path) -> (Launcher, impl Fn() -> Vec<Pid>) {
    let program = directory.join("ffmpeg");
    symlink(installed_ffmpeg(), &program).unwrap();
    let launcher = Launcher::through(HOST.into(), program.clone());
    (launcher, move || processes(&program))
}

/// The processes that run a program, by the name they were started under.
pub(crate) fn processes(program: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let name = line.split(|byte| *byte == 0).next()?;
            (name == program.as_os_str().as_bytes()).then(|| Pid::from_raw(id))?
        })
        .collect()
}
