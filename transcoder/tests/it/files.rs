//! Files as sources: played from their beginning again and again without a seam, and what is wrong with one has a name.

use std::path::Path;
use std::process::{Command, Stdio};

use api::condition::Reason;
use testkit::source::ChannelSettings;

use crate::attempt::{Attempt, Setup, job_source, named, told};

const PICTURE: &str = "-f lavfi -i testsrc2=s=160x90:r=25";
const SOUND: &str = "-f lavfi -i sine=r=48000";

/// Makes a file by a line of FFmpeg's arguments.
fn make(directory: &Path, name: &str, arguments: &str) {
    let mut ffmpeg = Command::new("ffmpeg");
    let made = ffmpeg
        .args("-nostdin -loglevel error".split_whitespace())
        .args(arguments.split_whitespace())
        .arg(directory.join(name))
        .stdin(Stdio::null())
        .status();
    assert!(made.unwrap().success(), "{name}");
}

/// Television of so many seconds with a key each second.
fn television(seconds: f32) -> String {
    format!(
        "{PICTURE} {SOUND} -t {seconds} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 25 -c:a aac -ac 2"
    )
}

fn setup(directory: &Path, urls: &[&str]) -> Setup {
    let mut setup = Setup::auto(ChannelSettings::small("spare"));
    let sources = (0..).zip(urls);
    setup.job.sources = sources
        .map(|(index, &url)| job_source(index, url.to_owned()))
        .collect();
    setup.job.class.files_directory = Some(directory.to_string_lossy().into_owned());
    setup
}

/// Arguments of the processes of ours that read a file.
fn readers() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let arguments = arguments.map(|one| String::from_utf8_lossy(&one).into_owned());
    arguments
        .filter(|one| one.contains("/proc/self/fd/3"))
        .collect()
}

/// Plays a file of a few seconds for far longer, in one go.
async fn loops(name: &str, arguments: &str) -> Attempt {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("loops");
    std::fs::create_dir(&inner).unwrap();
    make(&inner, name, arguments);
    let attempt = setup(directory.path(), &[&format!("file:///loops/{name}")]);
    let attempt = attempt.start().await;
    let report = attempt.check(14, 0).await;
    assert_eq!(told(&report), "", "{name}");
    let status = attempt.live().await;
    assert_eq!(status.source.reason, Reason::Receiving, "{name}");
    assert_eq!(status.troubles, [], "{name}");
    let readers = readers();
    assert!(!readers.is_empty() && !readers.iter().any(|one| one.contains(name)));
    attempt
}

#[tokio::test]
async fn a_file_is_played_again_and_again_in_real_time_without_a_seam() {
    // Two as long as each other, one with its index at its end, which has to be looked for, and one whose sound is longer.
    let longer = format!(
        "-t 4 {PICTURE} -t 4.3 {SOUND} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -c:a aac -ac 2"
    );
    let (even, index) = (television(9.0), television(3.5));
    let (even, index, longer) = tokio::join!(
        loops("even.ts", &even),
        loops("index.mp4", &index),
        loops("longer.mkv", &longer),
    );
    for attempt in [even, index, longer] {
        attempt.stop().await;
    }
}

#[tokio::test]
async fn a_file_of_sound_is_radio() {
    let sound = format!("{SOUND} -t 5 -c:a aac -ac 2");
    let attempt = loops("jingle.m4a", &sound).await;
    let playlists = attempt.playlists(|one| !one.renditions.is_empty()).await;
    assert_eq!(playlists.renditions[0].id.as_str(), "audio");
    attempt.stop().await;
}

#[tokio::test]
async fn a_class_without_files_is_told_what_to_set() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path(), "one.ts", &television(1.0));
    let mut setup = setup(directory.path(), &["file:///one.ts"]);
    setup.job.class.files_directory = None;
    // What FFmpeg may connect to is another matter.
    setup.job.class.egress.allow_unpinned = true;
    let (reason, message) = named(setup).await;
    assert_eq!(reason, Reason::EgressRefused);
    assert!(message.contains("files.claimName"), "{message}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("words.ts"), "no television\n".repeat(1000)).unwrap();
    std::fs::write(at("empty.ts"), "").unwrap();
    std::fs::create_dir(at("shelf")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("out.ts")).unwrap();
    let unavailable = Reason::FileUnavailable;
    let unsupported = Reason::UnsupportedMedia;
    for (name, expected, told) in [
        (
            "gone.ts",
            unavailable,
            "failed to open file:///gone.ts: there is no such file",
        ),
        (
            "empty.ts",
            unavailable,
            "failed to open file:///empty.ts: it is empty",
        ),
        (
            "shelf",
            unavailable,
            "failed to open file:///shelf: it is a directory",
        ),
        (
            "out.ts",
            unavailable,
            "failed to open file:///out.ts: a link leads out",
        ),
        (
            "words.ts",
            unsupported,
            "file:///words.ts cannot be played: ",
        ),
        (
            "../words.ts",
            Reason::ConnectFailed,
            "has dots for directories",
        ),
    ] {
        let url = format!("file:///{name}");
        let (reason, message) = named(setup(directory.path(), &[&url])).await;
        assert_eq!(reason, expected, "{name}: {message}");
        assert!(message.contains(told), "{name}: {message}");
    }
}

#[tokio::test]
async fn a_file_that_is_missing_gives_way_to_the_next_source() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path(), "spare.ts", &television(2.0));
    let urls = ["file:///gone.ts", "file:///spare.ts"];
    let attempt = setup(directory.path(), &urls).start().await;
    attempt.delivers(1).await;
    attempt.stop().await;
}
