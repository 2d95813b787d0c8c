//! Media that are lost within a connection: what sounds and what is shown stay together, encoded by real FFmpeg or passed through.

use api::stream_class::Rung;
use media::ffmpeg::args::Encode;
use media::segmenter::io::{FinishedSegment, GenerationId, Input, Opening, Origin, RenditionId};
use media::time::Ticks;

use super::encoder::encode;
use super::rig::{aac, bytes, pass_through, play, rendition, source};
use crate::sample::run;
use crate::source::probe;
use crate::source::stream::{PACKET, events_of, make, pid, starts_unit};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// FFmpeg's muxer begins with this time.
const BEGIN: f64 = 1.4;

/// Sound and picture are this far apart at most, in seconds.
const IN_STEP: f64 = 0.040;

/// Nine seconds that begin with a flash and a beep each, with a key each second.
fn marked(codecs: &str) -> Vec<u8> {
    make(&format!(
        "-f lavfi -i color=black:size=160x96:rate=25,drawbox=w=iw:h=ih:t=fill:color=white:enable='lt(mod(n,25),4)' \
         -f lavfi -i aevalsrc=exprs='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.125)':s=48000 -t 9 \
         -pix_fmt yuv420p {codecs} -g 25 -sc_threshold 1000000000 -ac 2"
    ))
}

/// Without half a second of these tracks, from 3.3 s on.
fn with_hole(stream: &[u8], tracks: &[u16]) -> Vec<u8> {
    let (packets, _) = stream.as_chunks::<PACKET>();
    let mut lost = [false; 2];
    let mut kept = Vec::new();
    for packet in packets {
        let track = tracks.iter().position(|track| *track == pid(packet));
        if let Some(track) = track {
            if starts_unit(packet) {
                lost[track] = (3.3..3.8).contains(&(time(packet) - BEGIN));
            }
            if lost[track] {
                continue;
            }
        }
        kept.extend_from_slice(packet);
    }
    kept
}

/// The presentation time of the PES packet that starts here.
fn time(packet: &[u8; PACKET]) -> f64 {
    let start = match packet[3] & 0x20 {
        0 => 4,
        _ => 5 + usize::from(packet[4]),
    };
    let stamp = &packet[start + 9..start + 14];
    let high = u32::from(stamp[0] >> 1 & 7) << 29 | u32::from(stamp[1]) << 21;
    let low = u32::from(stamp[2] >> 1) << 14 | u32::from(stamp[3]) << 6 | u32::from(stamp[4]) >> 2;
    f64::from(high | low) / 45_000.0
}

/// When it gets bright, and when it gets loud.
fn marks(stream: &[u8]) -> (Vec<f64>, Vec<f64>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("joined.ts");
    std::fs::write(&file, stream).unwrap();
    let arguments = format!(
        "-nostdin -hide_banner -copyts -i {} -vf blackdetect=d=0.1 \
         -af silencedetect=n=-30dB:d=0.1 -f null -",
        file.display()
    );
    let output = run("ffmpeg", &arguments, &[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let times = |name: &str| {
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let parts = words.split(name).skip(1).map(str::to_owned);
        let times = parts.filter_map(|part| {
            let number = part.trim_start().split(' ').next()?;
            number.parse::<f64>().ok()
        });
        times.collect::<Vec<_>>()
    };
    (times("black_end:"), times("silence_end:"))
}

fn assert_in_step(what: &str, segments: &[FinishedSegment], id: &str) {
    let joined = bytes(segments, id).concat();
    let (flashes, beeps) = marks(&joined);
    // What is bright from the start, and black at the end, has no mark.
    assert!(flashes.len() >= 7, "{what}: {flashes:?}");
    for flash in &flashes[..flashes.len() - 1] {
        let distance = |beep: &f64| (beep - flash).abs();
        let nearest = beeps.iter().map(distance).min_by(f64::total_cmp);
        assert!(
            nearest.is_some_and(|nearest| nearest <= IN_STEP),
            "{what}: {flash} among {beeps:?}"
        );
    }
    let sound = probe::packets(&joined, "a");
    let longest = sound.windows(2).map(|pair| pair[1].pts - pair[0].pts).max();
    assert!(longest <= Some(2 * 1920), "{what}: {longest:?}");
}

const LOSSES: [(&str, &[u16]); 3] = [
    ("both tracks", &[VIDEO, AUDIO]),
    ("sound", &[AUDIO]),
    ("pictures", &[VIDEO]),
];

#[test]
fn what_is_lost_moves_no_sound_that_is_encoded() {
    let whole = marked("-c:v mpeg2video -b:v 2M -bf 2 -c:a mp2 -b:a 192k");
    for (what, tracks) in LOSSES {
        let events = events_of(&with_hole(&whole, tracks), 1316);
        let rung = Rung {
            height: 96,
            video_kilobits_per_second: 300,
        };
        let pipes = encode(
            &Encode {
                rungs: vec![rung],
                audio: true,
                deinterlace: false,
                frames_per_second: 25,
            },
            &events,
        );
        let opening = Opening {
            renditions: vec![rendition("96p", Origin::Encoded)],
            audio: Some(aac(Origin::Encoded)),
            ..pass_through()
        };
        let lag = Ticks::from_milliseconds(400);
        let generation = GenerationId(0);
        let mut inputs = source(&events);
        inputs.extend(pipes[0].iter().cloned().map(|unit| {
            let rendition = RenditionId::new("96p");
            let at = unit.dts + lag;
            let input = Input::EncodedVideo {
                generation,
                rendition,
                unit,
            };
            (at, input)
        }));
        inputs.extend(pipes[1].iter().cloned().map(|unit| {
            let at = unit.dts + lag;
            (at, Input::EncodedAudio { generation, unit })
        }));
        inputs.sort_by_key(|(at, _)| *at);
        assert_in_step(what, &play(opening, inputs), "96p");
    }
}

#[test]
fn what_is_lost_moves_no_sound_that_is_passed_through() {
    let whole = marked("-c:v libx264 -preset ultrafast -bf 2 -c:a aac -b:a 96k");
    for (what, tracks) in LOSSES {
        let events = events_of(&with_hole(&whole, tracks), 1316);
        assert_in_step(what, &play(pass_through(), source(&events)), "source");
    }
}
