//! Headers of every format: a growing picture is judged as the whole one is, and no bytes make a reader fail.

use std::sync::LazyLock;

use media::codec::audio::{AudioFramer, parse_header};
use media::codec::video::VideoReader;
use media::time::Ticks;
use media::unit::{AudioCodec, Track, VideoCodec};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::one_in;
use crate::source::stream::{events_of, television, units};

const VIDEO: [(VideoCodec, &str); 3] = [
    (
        VideoCodec::H264,
        "-c:v libx264 -preset ultrafast -g 10 -x264-params tff=1:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500 \
         -pix_fmt yuv420p -c:a aac",
    ),
    (
        VideoCodec::Hevc,
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=10 -pix_fmt yuv420p -c:a ac3",
    ),
    (VideoCodec::Mpeg2, "-c:v mpeg2video -g 10 -bf 2 -c:a mp2"),
];

const AUDIO: [AudioCodec; 4] = [
    AudioCodec::Aac,
    AudioCodec::Ac3,
    AudioCodec::Mpeg,
    AudioCodec::Eac3,
];

struct Sample {
    pictures: Vec<Vec<u8>>,
    sound: Vec<u8>,
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let samples = VIDEO.iter().map(|(_, codecs)| {
        let events = events_of(&television("160x96", "25", 0.6, codecs), 1316);
        let of = |track| {
            units(&events, track)
                .into_iter()
                .map(|unit| unit.payload.to_vec())
        };
        Sample {
            pictures: of(Track::Video).collect(),
            sound: of(Track::Audio).flatten().collect(),
        }
    });
    samples.collect()
});

/// A picture of a real encoder with some bytes changed, most of them where headers are.
fn picture() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let change = (any::<Index>(), any::<Index>(), any::<bool>(), any::<u8>());
    (0..VIDEO.len(), any::<Index>(), vec(change, 0..12)).prop_map(|(kind, which, changes)| {
        let mut bytes = which.get(&SAMPLES[kind].pictures).clone();
        for (near, far, is_near, value) in changes {
            let at = if is_near {
                near.index(bytes.len().min(120))
            } else {
                far.index(bytes.len())
            };
            bytes[at] = value;
        }
        (kind, bytes)
    })
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn a_growing_picture_is_judged_as_the_whole_one((kind, bytes) in picture(), step in 1..400_usize) {
        let mut whole = VideoReader::new(VIDEO[kind].0);
        whole.begin_picture();
        let judged = whole.read(&bytes, true);
        let mut growing = VideoReader::new(VIDEO[kind].0);
        growing.begin_picture();
        let early = (step..bytes.len()).step_by(step).find_map(|length| growing.read(&bytes[..length], false));
        prop_assert_eq!(early.or_else(|| growing.read(&bytes, true)), judged);
        prop_assert_eq!(growing.parameters(), whole.parameters());
        if let Some(parameters) = whole.parameters() {
            prop_assert!(parameters.dimensions.width <= 16_384 && parameters.dimensions.height <= 16_384);
            prop_assert!(parameters.frame_rate.is_none_or(|rate| rate.as_f64() >= 1.0 && rate.as_f64() < 301.0));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_fail(pictures in vec(vec(any::<u8>(), 0..400), 1..4), codes in vec(any::<Index>(), 0..12)) {
        for (codec, _) in VIDEO {
            let mut reader = VideoReader::new(codec);
            for picture in &pictures {
                let mut picture = picture.clone();
                for code in codes.iter().filter(|_| picture.len() > 4).collect::<Vec<_>>() {
                    let at = code.index(picture.len() - 4);
                    picture[at..at + 3].copy_from_slice(&[0, 0, 1]);
                }
                reader.begin_picture();
                prop_assert!(reader.read(&picture, true).is_some());
            }
        }
        for codec in AUDIO {
            for picture in &pictures {
                prop_assert!(parse_header(codec, picture).is_none_or(|header| header.length > 0 && header.sample_rate > 0));
            }
        }
    }

    #[test]
    fn sound_comes_out_whole_however_its_packets_are_cut(kind in 0..VIDEO.len(), lengths in vec(1..5000_usize, 1..10)) {
        let codec = [AudioCodec::Aac, AudioCodec::Ac3, AudioCodec::Mpeg][kind];
        let sound = &SAMPLES[kind].sound;
        let mut framer = AudioFramer::new(codec);
        let first = parse_header(codec, sound).unwrap().length;
        let (whole, mut rest) = sound.split_at(first);
        let begun = framer.push(whole.to_vec(), Some(Ticks::ZERO)).unwrap();
        let (mut found, mut until) = (begun.payload.to_vec(), begun.duration);
        for length in lengths.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            if let Some(frames) = framer.push(piece.to_vec(), None) {
                prop_assert_eq!(frames.pts, until);
                until = frames.pts + frames.duration;
                found.extend_from_slice(&frames.payload);
            }
            prop_assert!(framer.held_bytes() <= 8192);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(sound.starts_with(&found) && found.len() + framer.held_bytes() == sound.len());
    }

    #[test]
    fn sound_of_any_bytes_is_survived(which in 0..AUDIO.len(), pieces in vec((vec(any::<u8>(), 0..3000), any::<Option<i32>>()), 1..8)) {
        let mut framer = AudioFramer::new(AUDIO[which]);
        let mut given = 0;
        for (piece, pts) in pieces {
            given += piece.len();
            if let Some(frames) = framer.push(piece, pts.map(|pts| Ticks(i64::from(pts)))) {
                prop_assert!(frames.payload.len() <= given);
                given -= frames.payload.len();
            }
            prop_assert!(framer.held_bytes() <= 8192);
        }
    }
}
