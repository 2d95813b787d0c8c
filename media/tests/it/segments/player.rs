//! A player of its own reads our playlists and plays what they list.

use std::time::Duration;

use api::job::ResumeFloor;
use api::playlists::Rendition;
use media::playlist::numbers::Numbers;
use media::playlist::render;
use media::playlist::window::{Window, WindowSettings};

use super::rig::{pass_through, play, source};
use crate::sample::run;
use crate::source::stream::{events_of, television};

#[test]
fn ffmpeg_plays_every_picture_that_the_playlists_list() {
    let codecs = "-c:v libx264 -preset ultrafast -g 50 -keyint_min 50 -sc_threshold 0 -pix_fmt yuv420p \
                  -c:a aac -b:a 96k -ac 2";
    let events = events_of(&television("320x180", "25", 9.0, codecs), 1316);
    let segments = play(pass_through(), source(&events));
    let mut window = Window::new(WindowSettings {
        class: String::new(),
        stream_uid: "uid".to_owned(),
        attempt: 1,
        version: 0,
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        playlist_duration_seconds: 12,
        start: ResumeFloor::default(),
    });
    window.set_renditions(vec![Rendition {
        id: "source".to_owned(),
        bandwidth: 900_000,
        average_bandwidth: 700_000,
        codecs: "avc1.64000d,mp4a.40.2".to_owned(),
        resolution: None,
        frame_rate_thousandths: Some(25_000),
    }]);
    let directory = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::new(ResumeFloor::default(), false);
    for segment in segments {
        let segment = numbers.give(segment);
        let file = directory.path().join(format!("{}.ts", segment.number));
        std::fs::write(file, &segment.renditions[0].bytes).unwrap();
        window.push(&segment, Duration::ZERO);
    }
    let document = window.document(0);
    let media = render::media(&document, "source", |entry| format!("{}.ts", entry.number));
    // Without an end a player would wait for more.
    std::fs::write(
        directory.path().join("media.m3u8"),
        media + "#EXT-X-ENDLIST\n",
    )
    .unwrap();
    let master = render::master(&document, |_| "media.m3u8".to_owned());
    let path = directory.path().join("master.m3u8");
    std::fs::write(&path, master).unwrap();
    let arguments = format!(
        "-v warning -xerror -err_detect explode -i {} -map 0:v -f framecrc -",
        path.display()
    );
    let output = run("ffmpeg", &arguments, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let frames = String::from_utf8_lossy(&output.stdout);
    let frames = frames.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(frames, 225);
}
