//! FFmpeg, which decodes what it plays as fast as it comes.

use std::process::Stdio;

use tokio::process::Command;

use super::{PASSED, PICTURES, SECONDS, Stage};
use crate::PATIENCE;

/// Decibels of sound that is no silence, on the whole.
const AUDIBLE: f64 = -50.0;

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_picture_and_sound_in_one_session() {
    let stage = Stage::start(PASSED).await;
    let playing = Command::new("ffmpeg")
        .args("-nostdin -hide_banner -nostats -progress pipe:1 -i".split(' '))
        .arg(stage.address())
        .arg("-t")
        .arg(SECONDS.to_string())
        .args("-map 0:v:0 -map 0:a:0 -af volumedetect -f null -".split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let played = tokio::time::timeout(PATIENCE, playing).await;
    let played = played.unwrap().unwrap();
    let [progress, said] = [played.stdout, played.stderr].map(|text| {
        let text = String::from_utf8(text).unwrap();
        eprintln!("{text}");
        text
    });
    assert!(played.status.success());
    let seconds = last(&progress, "out_time_us=") / 1e6;
    assert!(seconds > SECONDS - 1.0, "{seconds}");
    let pictures = last(&progress, "frame=");
    assert!(pictures > (SECONDS - 1.0) * PICTURES, "{pictures}");
    let volume = last(&said, "mean_volume:");
    assert!(volume > AUDIBLE, "{volume}");
    let visit = stage.end().await;
    visit.is_one_session();
    visit.takes_each_segment_once();
}

/// The number behind the last mention of a name.
fn last(text: &str, name: &str) -> f64 {
    let (_, behind) = text.rsplit_once(name).unwrap();
    behind.split_whitespace().next().unwrap().parse().unwrap()
}
