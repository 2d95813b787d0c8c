//! Lets FFmpeg decode segments and measure brightness and loudness. Only this file of the checker starts processes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::segment::FirstPicture;
use super::sync::{Sample, samples};

/// Longest time one decoding may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a segment is need not be guessed, and is guessed wrongly where it holds fewer than ten packets: those are MP3 to FFmpeg.
const TRANSPORT_STREAM: [&str; 2] = ["-f", "mpegts"];

/// What decoding a stretch of segments told.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// First lines of what FFmpeg complained of; empty when all is well.
    pub(crate) complaints: String,
    pub(crate) brightness: Vec<Sample>,
    pub(crate) loudness: Vec<Sample>,
}

/// Why nothing could be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The directory for segments is not usable.
    #[error("failed to use a temporary directory")]
    Directory(#[source] std::io::Error),
    /// FFmpeg is not there.
    #[error("failed to start {program}: is it installed?")]
    Start {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It did not come to an end.
    #[error("failed to decode within {0:?}")]
    Timeout(Duration),
}

/// What FFmpeg says where it starts at a recovery point: the pictures behind that take those before it off the list of references, and
/// a decoder that has just started has none of them. It says so where numbers of frames happen to begin at that point (a healthy
/// stream with open groups, cut at each of its keys, shows it at one in sixteen), and every picture is whole.
const AT_RECOVERY_POINT: &str = "mmco: unref short failure";

/// Pictures have the times that they have: FFmpeg would round them to a rate that it guesses, and find two at once where one comes a
/// part of its length late.
const TIMES: [&str; 2] = ["-enc_time_base:v", "1/90000"];

/// Decodes a file and throws the result away; returns the complaints.
pub(crate) async fn complaints(file: &Path) -> Result<String, DecodeError> {
    let mut command = ffmpeg(file);
    command.args(["-map", "0"]).args(TIMES);
    command.args(["-f", "null", "-"]);
    run(command, FirstPicture::Independent).await
}

/// Decodes a file that starts with such a picture, and measures every picture and every 2.5 ms of sound.
pub(crate) async fn measure(
    file: &Path,
    directory: &Path,
    first: FirstPicture,
) -> Result<Decoded, DecodeError> {
    let (pictures, sounds) = (directory.join("pictures"), directory.join("sounds"));
    for stale in [&pictures, &sounds] {
        let _ = tokio::fs::remove_file(stale).await;
    }
    let brightness = "lavfi.signalstats.YAVG";
    let loudness = "lavfi.astats.Overall.RMS_level";
    let video = format!(
        "scale=32:32,format=gray,signalstats,metadata=mode=print:key={brightness}:file={}",
        pictures.display()
    );
    let audio = format!(
        "aresample=48000,asetnsamples=n=120:p=0,astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=RMS_level,ametadata=mode=print:key={loudness}:file={}",
        sounds.display()
    );
    let mut command = ffmpeg(file);
    command.args(["-map", "0:v?", "-map", "0:a?", "-vf", &video, "-af", &audio]);
    command.args(TIMES).args(["-f", "null", "-"]);
    let complaints = run(command, first).await?;
    let read = |path| async move { tokio::fs::read_to_string(path).await.unwrap_or_default() };
    Ok(Decoded {
        complaints,
        brightness: samples(&read(&pictures).await, brightness),
        loudness: samples(&read(&sounds).await, loudness),
    })
}

/// Width and height of the first video stream.
pub(crate) async fn size(file: &Path) -> Result<Option<(u32, u32)>, DecodeError> {
    #[derive(Deserialize)]
    struct Answer {
        streams: Vec<Stream>,
    }
    #[derive(Deserialize)]
    struct Stream {
        width: u32,
        height: u32,
    }
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "quiet",
        "-select_streams",
        "v:0",
        "-show_entries",
        "stream=width,height",
        "-of",
        "json",
    ]);
    command.args(TRANSPORT_STREAM);
    command.arg(file).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await;
    let output = output.map_err(|_| DecodeError::Timeout(TIMEOUT))?;
    let output = output.map_err(|source| DecodeError::Start {
        program: "ffprobe",
        source,
    })?;
    let answer = serde_json::from_slice::<Answer>(&output.stdout).ok();
    let stream = answer.and_then(|answer| answer.streams.into_iter().next());
    Ok(stream.map(|stream| (stream.width, stream.height)))
}

fn ffmpeg(file: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-nostats", "-v", "error"]);
    command.args(TRANSPORT_STREAM).arg("-i").arg(file);
    command
}

async fn run(mut command: Command, first: FirstPicture) -> Result<String, DecodeError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await;
    let output = output.map_err(|_| DecodeError::Timeout(TIMEOUT))?;
    let output = output.map_err(|source| DecodeError::Start {
        program: "ffmpeg",
        source,
    })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut complaints = first_lines(&text, first);
    if complaints.is_empty() && !output.status.success() {
        complaints = format!("ffmpeg ended with {}", output.status);
    }
    Ok(complaints)
}

/// The first lines of complaints, without what is said at the very start of a stream that begins with such a picture.
fn first_lines(text: &str, first: FirstPicture) -> String {
    let belongs_to_start = |line: &&str| {
        let is_told = line.ends_with(AT_RECOVERY_POINT) || line.contains("Last message repeated");
        first == FirstPicture::Recovery && is_told
    };
    let lines = text.lines().skip_while(belongs_to_start).take(3);
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_at_a_recovery_point_may_lack_references() {
        let start = "[h264 @ 0x1] mmco: unref short failure\n    Last message repeated 1 times\n";
        let broken = "[h264 @ 0x1] error while decoding MB 14 7\n";
        let both = [start, broken].concat();
        assert_eq!(first_lines(start, FirstPicture::Recovery), "");
        assert!(!first_lines(start, FirstPicture::Independent).is_empty());
        assert_eq!(first_lines(&both, FirstPicture::Recovery), broken.trim());
        let later = [broken, start].concat();
        assert!(first_lines(&later, FirstPicture::Recovery).contains("mmco"));
    }

    #[tokio::test]
    async fn a_segment_of_a_few_packets_is_no_riddle() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("segment.ts");
        let input = "-f lavfi -i color=white:size=320x180:rate=25 -f lavfi -i anullsrc=r=48000";
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error"])
            .args(input.split_whitespace())
            .args("-t 0.04 -c:v libx264 -c:a aac -f mpegts".split_whitespace())
            .arg(&file)
            .status();
        assert!(made.await.unwrap().success());
        let packets = std::fs::metadata(&file).unwrap().len() / 188;
        assert!(packets < 10, "{packets}");
        assert_eq!(complaints(&file).await.unwrap(), "");
        assert_eq!(size(&file).await.unwrap(), Some((320, 180)));
        let measured = measure(&file, directory.path(), FirstPicture::Independent)
            .await
            .unwrap();
        assert_eq!(measured.complaints, "");
    }
}
