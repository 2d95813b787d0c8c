//! Tiny transport streams made by FFmpeg, and ways to spoil them. Never touches a file.

use std::process::Command;

use bytes::Bytes;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent};
use media::unit::{AccessUnit, Track};

pub(crate) const PACKET: usize = 188;

/// Runs FFmpeg with these arguments, separated by blanks; its standard output is the sample.
pub(crate) fn make(arguments: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error"])
        .args(arguments.split_whitespace())
        .args(["-f", "mpegts", "pipe:1"])
        .output()
        .expect("ffmpeg must be installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {arguments}: {errors}");
    output.stdout
}

/// A moving picture of `seconds` and a tone, encoded as `codecs` say.
pub(crate) fn television(size: &str, rate: &str, seconds: f32, codecs: &str) -> Vec<u8> {
    make(&format!(
        "-f lavfi -i testsrc2=size={size}:rate={rate} \
         -f lavfi -i sine=frequency=440:sample_rate=48000 -t {seconds} {codecs}"
    ))
}

/// H.264 with B pictures and closed groups of 10 pictures, AAC stereo; 25 pictures per second.
pub(crate) fn usual(seconds: f32) -> Vec<u8> {
    usual_with(seconds, "")
}

/// The usual sample with further output options.
pub(crate) fn usual_with(seconds: f32, options: &str) -> Vec<u8> {
    let codecs = format!(
        "-c:v libx264 -preset ultrafast -bf 2 -g 10 -sc_threshold 0 -pix_fmt yuv420p \
         -c:a aac -ac 2 {options}"
    );
    television("160x96", "25", seconds, &codecs)
}

/// What a front end makes of these bytes, in chunks of `chunk`.
pub(crate) fn events_of(bytes: &[u8], chunk: usize) -> Vec<FrontEvent> {
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    });
    let mut events = push_all(&mut front, bytes, chunk);
    events.extend(front.finish());
    events
}

pub(crate) fn push_all(front: &mut FrontEnd, bytes: &[u8], chunk: usize) -> Vec<FrontEvent> {
    bytes
        .chunks(chunk)
        .flat_map(|chunk| front.push(&Bytes::copy_from_slice(chunk)))
        .collect()
}

pub(crate) fn units(events: &[FrontEvent], track: Track) -> Vec<AccessUnit> {
    events
        .iter()
        .filter_map(|event| match event {
            FrontEvent::Unit(unit) if unit.track == track => Some(unit.clone()),
            _ => None,
        })
        .collect()
}

/// The encoder's input, tables included, without where it begins anew.
pub(crate) fn fed(events: &[FrontEvent]) -> Vec<u8> {
    let parts = events.iter().filter_map(|event| match event {
        FrontEvent::FeedStart(bytes) | FrontEvent::Feed(bytes) => Some(bytes.clone()),
        _ => None,
    });
    parts.flatten().collect()
}

/// Changes each packet in place.
pub(crate) fn each_packet(bytes: &mut [u8], change: impl FnMut(&mut [u8; PACKET])) {
    let (packets, _) = bytes.as_chunks_mut::<PACKET>();
    packets.iter_mut().for_each(change);
}

pub(crate) fn pid(packet: &[u8; PACKET]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1F, packet[2]])
}

pub(crate) fn starts_unit(packet: &[u8; PACKET]) -> bool {
    packet[1] & 0x40 != 0
}
