//! What FFmpeg's prober says about a sample. Tests only: the product never runs it.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

/// One packet as the prober sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbedPacket {
    pub(crate) pts: i64,
    pub(crate) dts: i64,
    pub(crate) is_key: bool,
}

/// The streams of a sample.
pub(crate) fn streams(bytes: &[u8]) -> Vec<Value> {
    let probed = probe(bytes, &["-show_streams"]);
    probed["streams"].as_array().cloned().unwrap_or_default()
}

/// The stream of this kind, `video` or `audio`.
pub(crate) fn stream(bytes: &[u8], kind: &str) -> Value {
    streams(bytes)
        .into_iter()
        .find(|stream| stream["codec_type"] == kind)
        .unwrap_or_default()
}

/// The packets of the first stream of a kind: `v` or `a`.
pub(crate) fn packets(bytes: &[u8], kind: &str) -> Vec<ProbedPacket> {
    let probed = probe(bytes, &["-show_packets", "-select_streams", kind]);
    let packets = probed["packets"].as_array().cloned().unwrap_or_default();
    let number = |packet: &Value, name: &str| packet[name].as_i64().unwrap_or(i64::MIN);
    packets
        .iter()
        .map(|packet| ProbedPacket {
            pts: number(packet, "pts"),
            dts: number(packet, "dts"),
            is_key: packet["flags"]
                .as_str()
                .is_some_and(|flags| flags.starts_with('K')),
        })
        .collect()
}

/// How many pictures of a sample there are, and how many of them decode.
pub(crate) fn pictures_and_decoded(bytes: &[u8]) -> (usize, usize) {
    let arguments = [
        "-count_packets",
        "-count_frames",
        "-show_streams",
        "-select_streams",
        "v",
    ];
    let probed = probe(bytes, &arguments);
    let stream = &probed["streams"][0];
    let number = |name: &str| stream[name].as_str().and_then(|text| text.parse().ok());
    (
        number("nb_read_packets").unwrap_or(0),
        number("nb_read_frames").unwrap_or(0),
    )
}

/// What FFmpeg complains of when it decodes a sample; empty when nothing.
pub(crate) fn complaints(bytes: &[u8]) -> String {
    let file = file_of(bytes);
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "warning", "-copyts", "-f", "mpegts", "-i"])
        .arg(file.path())
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg must be installed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn probe(bytes: &[u8], arguments: &[&str]) -> Value {
    let file = file_of(bytes);
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-correct_ts_overflow", "0"])
        .args(arguments)
        .args(["-f", "mpegts"])
        .arg(file.path())
        .output()
        .expect("ffprobe must be installed");
    serde_json::from_slice(&output.stdout).expect("ffprobe writes JSON")
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a sample");
    file
}
