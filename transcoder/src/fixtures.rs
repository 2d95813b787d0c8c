//! Job documents and small media for tests. Compiled into tests only.

use std::process::Command;

use api::job::{
    JOB_VERSION, JobClass, JobOutput, JobSource, ResumeFloor, SourceAddress, StreamIdentity,
    TranscodeJob,
};
use api::stream_class::{EgressPolicy, EncodedRenditions, Preset, TranscodeMode};
use bytes::Bytes;

/// A job that passes one source through.
pub(crate) fn job(directory: &str) -> TranscodeJob {
    TranscodeJob {
        version: JOB_VERSION,
        stream: StreamIdentity {
            namespace: "tv".to_owned(),
            name: "news-one".to_owned(),
            uid: "0f9c2a41-7b1e".to_owned(),
        },
        attempt: 3,
        sources: vec![source(0, "http://source.example/one.ts")],
        reserve: Vec::new(),
        class: JobClass {
            mode: TranscodeMode::Copy,
            preset: Preset::Source,
            ladder: Vec::new(),
            encoded_renditions: EncodedRenditions::Always,
            max_decode_height: None,
            segment_duration_seconds: 2,
            target_duration_seconds: 4,
            playlist_duration_seconds: 12,
            start_deadline_seconds: 20,
            audio_language: None,
            egress: EgressPolicy::default(),
            files_directory: None,
            slate: false,
        },
        resume: ResumeFloor::default(),
        output: JobOutput {
            directory: directory.to_owned(),
            byte_limit: 512 << 20,
        },
        standby: None,
        traceparent: None,
    }
}

/// A source at an address.
pub(crate) fn source(index: i32, url: &str) -> JobSource {
    JobSource::new(index, SourceAddress::Url(url.to_owned()))
}

/// Two seconds of small television with a key each second, whose times begin with this second.
pub(crate) fn television(start: u32) -> Bytes {
    television_with(&format!("-t 2 -output_ts_offset {start}"))
}

/// Small television with a key each second, as long and as FFmpeg's options say.
pub(crate) fn television_with(options: &str) -> Bytes {
    let arguments = format!(
        "-nostdin -loglevel error -f lavfi -i testsrc2=s=160x90:r=25 -f lavfi -i sine=r=48000 -c:v libx264 \
         -preset ultrafast -pix_fmt yuv420p -bf 0 -g 25 -c:a aac -ac 2 {options} -f mpegts pipe:1"
    );
    let made = Command::new("ffmpeg")
        .args(arguments.split_whitespace())
        .output();
    Bytes::from(made.unwrap().stdout)
}
