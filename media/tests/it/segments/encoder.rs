//! FFmpeg with our arguments, its pipes led into files: what each pipe brought, as units.

use std::process::{Command, Stdio};

use bytes::Bytes;
use media::ffmpeg::args::Encode;
use media::front_end::FrontEvent;
use media::pipe::PipeDemuxer;
use media::time::Ticks;
use media::unit::AccessUnit;

/// Encodes what a front end feeds and returns the units of each pipe.
pub(super) fn encode(encode: &Encode, events: &[FrontEvent]) -> Vec<Vec<AccessUnit>> {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input.ts");
    let feed = events.iter().filter_map(|event| match event {
        FrontEvent::FeedStart(bytes) | FrontEvent::Feed(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    std::fs::write(&input, feed.collect::<Vec<_>>().concat()).unwrap();
    let redirections: String = (0..encode.pipes())
        .map(|pipe| format!(" {}>pipe{pipe}", pipe + 3))
        .collect();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("exec ffmpeg \"$@\" <input.ts{redirections}"))
        .arg("sh")
        .args(encode.arguments())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    (0..encode.pipes())
        .map(|pipe| {
            let bytes = std::fs::read(directory.path().join(format!("pipe{pipe}"))).unwrap();
            let mut demuxer = if encode.audio_pipe() == Some(pipe) {
                PipeDemuxer::audio(Ticks::ZERO)
            } else {
                PipeDemuxer::video(Ticks::ZERO)
            };
            let mut units = demuxer.push(&Bytes::from(bytes));
            units.extend(demuxer.finish());
            units
        })
        .collect()
}
