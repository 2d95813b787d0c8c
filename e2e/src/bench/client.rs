//! FFmpeg as a viewer: it decodes as fast as media come, and what a player with no more in hand than that would have shown is worked out
//! from the time at which each picture came. Plays nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::viewing::{SECONDS, Watched};

/// Longest time between two pictures.
const LIMIT: Duration = Duration::from_secs(60);

/// A picture: when it came and where it belongs, both in seconds.
type Picture = (f64, f64);

/// Watches an address until enough is played; seconds since `begun`.
pub(crate) async fn watch(address: &str, begun: Instant) -> Result<Watched> {
    let mut child = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "quiet", "-i", address])
        .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
        // A line for each picture, at once.
        .args(["-f", "framecrc", "-flush_packets", "1", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("failed to start ffmpeg: is it installed?")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let (mut base, mut pictures) = (0.0, Vec::<Picture>::new());
    let watched = loop {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
        let line = line.with_context(|| format!("no picture came within {LIMIT:?}"))?;
        let line = line.context("failed to read from ffmpeg")?;
        let line = line.context("ffmpeg ended before enough was played")?;
        match parse(&line) {
            Some(Line::TimeBase(seconds)) => base = seconds,
            Some(Line::Picture(ticks)) => {
                pictures.push((begun.elapsed().as_secs_f64(), ticks * base));
            }
            None => {}
        }
        if let Some(watched) = played(&pictures) {
            break watched;
        }
    };
    child.kill().await.context("failed to end ffmpeg")?;
    Ok(watched)
}

/// What a line of framecrc says.
#[derive(Debug, PartialEq)]
enum Line {
    /// Seconds of a tick.
    TimeBase(f64),
    /// Ticks at which a picture belongs.
    Picture(f64),
}

fn parse(line: &str) -> Option<Line> {
    if let Some(base) = line.strip_prefix("#tb 0:") {
        let (numerator, denominator) = base.trim().split_once('/')?;
        let seconds = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
        return Some(Line::TimeBase(seconds));
    }
    let ticks = line.strip_prefix("0,")?.split(',').nth(1)?;
    Some(Line::Picture(ticks.trim().parse().ok()?))
}

/// What was seen, when the pictures are enough: every one that comes later than its turn holds up all that follow.
fn played(pictures: &[Picture]) -> Option<Watched> {
    let (first_frame, start) = *pictures.first()?;
    let (_, last) = *pictures.last()?;
    let late = |(came, at): &Picture| (came - first_frame) - (at - start);
    let stalled = pictures.iter().map(late).fold(0.0, f64::max);
    (last - start >= SECONDS).then_some(Watched {
        first_frame,
        waited: first_frame + stalled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_framecrc_are_read() {
        assert_eq!(parse("#tb 0: 1/25"), Some(Line::TimeBase(0.04)));
        let line = "0,          7,          8,        1,  1382400, 0x0b8e3b4d";
        assert_eq!(parse(line), Some(Line::Picture(8.0)));
        assert_eq!(parse("#software: Lavf59.27.100"), None);
    }

    #[test]
    fn the_latest_picture_says_how_long_it_stood_still() {
        let pictures = [(2.0, 5.0), (2.1, 6.0), (4.5, 7.0), (8.5, 10.0)];
        assert_eq!(played(&pictures), None);
        let all = [pictures.as_slice(), &[(11.0, 15.0)]].concat();
        let expected = Watched {
            first_frame: 2.0,
            waited: 3.5,
        };
        assert_eq!(played(&all), Some(expected));
    }
}
