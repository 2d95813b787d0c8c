//! What FFmpeg writes into our pipes, by the options that we give it.

use bytes::Bytes;
use media::pipe::PipeDemuxer;
use media::time::Ticks;
use media::unit::{AccessUnit, RandomAccess};

use crate::source::probe;
use crate::source::stream::make;

const PIPE: &str = "-mpegts_copyts 1 -muxdelay 0 -muxpreload 0 -avoid_negative_ts disabled \
                    -flush_packets 1 -pat_period 2 -sdt_period 3600";

fn push(demuxer: &mut PipeDemuxer, bytes: &[u8]) -> Vec<AccessUnit> {
    bytes
        .chunks(4096)
        .flat_map(|chunk| demuxer.push(&Bytes::copy_from_slice(chunk)))
        .collect()
}

#[test]
fn every_picture_is_complete_when_its_bytes_are() {
    let bytes = make(&format!(
        "-f lavfi -i testsrc2=size=320x180:rate=25 -t 4 -c:v libx264 -preset veryfast \
         -profile:v main -pix_fmt yuv420p -bf 2 -rc-lookahead 5 -g 50 {PIPE}"
    ));
    let mut demuxer = PipeDemuxer::video(Ticks(0));
    let mut units = push(&mut demuxer, &bytes);
    let waiting = demuxer.finish();
    // Only a last picture that fills its packets to the byte would wait for the end.
    assert!(waiting.is_empty() || bytes[bytes.len() - 188 + 3] & 0x20 == 0);
    units.extend(waiting);
    let ours: Vec<_> = units
        .iter()
        .map(|unit| probe::ProbedPacket {
            pts: unit.pts.0,
            dts: unit.dts.0,
            is_key: unit.random_access == RandomAccess::Full,
        })
        .collect();
    assert_eq!(ours, probe::packets(&bytes, "v"));
    let parameters = demuxer.video_parameters().expect("a parameter set");
    assert_eq!(parameters.codecs, "avc1.4d400c");
}

#[test]
fn every_audio_frame_comes_out_with_its_time() {
    let bytes = make(&format!(
        "-f lavfi -i sine=sample_rate=48000 -t 2 -c:a aac -b:a 96k -ac 2 -ar 48000 {PIPE}"
    ));
    let mut demuxer = PipeDemuxer::audio(Ticks(0));
    let mut units = push(&mut demuxer, &bytes);
    units.extend(demuxer.finish());
    let probed = probe::packets(&bytes, "a");
    assert_eq!(units.len(), probed.len());
    // The encoder's priming samples sound before zero.
    let ours: Vec<_> = units.iter().map(|unit| unit.pts.wrapped()).collect();
    let theirs: Vec<_> = probed
        .iter()
        .map(|packet| Ticks(packet.pts).wrapped())
        .collect();
    assert_eq!(ours, theirs);
}
