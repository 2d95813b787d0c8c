//! Encoded renditions by real FFmpeg with our arguments.

use std::collections::BTreeSet;

use api::stream_class::Rung;
use media::ffmpeg::args::Encode;
use media::segmenter::io::{FinishedSegment, GenerationId, Input, Opening, Origin, RenditionId};
use media::time::Ticks;
use media::unit::AccessUnit;

use super::encoder::encode;
use super::rig::{aac, bytes, pass_through, play, rendition, seconds, source};
use crate::sample::complaints;
use crate::source::probe;
use crate::source::stream::{events_of, television};

const LAG: Ticks = Ticks::from_milliseconds(400);

fn rungs(heights: &[i32]) -> Vec<Rung> {
    let rung = |&height| Rung {
        height,
        video_kilobits_per_second: 300,
    };
    heights.iter().map(rung).collect()
}

/// Each unit of a pipe at the time at which an encoder that is not behind would bring it.
fn video(id: &str, units: &[AccessUnit]) -> Vec<(Ticks, Input)> {
    let inputs = units.iter().map(|unit| {
        let input = Input::EncodedVideo {
            generation: GenerationId(0),
            rendition: RenditionId::new(id),
            unit: unit.clone(),
        };
        (unit.dts + LAG, input)
    });
    inputs.collect()
}

fn audio(units: &[AccessUnit]) -> Vec<(Ticks, Input)> {
    let inputs = units.iter().map(|unit| {
        let input = Input::EncodedAudio {
            generation: GenerationId(0),
            unit: unit.clone(),
        };
        (unit.dts + LAG, input)
    });
    inputs.collect()
}

fn in_order(parts: &[Vec<(Ticks, Input)>]) -> Vec<(Ticks, Input)> {
    let mut inputs = parts.concat();
    inputs.sort_by_key(|(at, _)| *at);
    inputs
}

fn assert_clean(segments: &[FinishedSegment], id: &str) {
    for bytes in bytes(segments, id) {
        assert_eq!(complaints(bytes), "", "{id}");
    }
    assert_eq!(complaints(&bytes(segments, id).concat()), "", "{id}");
}

fn picture_times(segment: &[u8]) -> BTreeSet<i64> {
    let packets = probe::packets(segment, "v");
    packets.iter().map(|packet| packet.pts).collect()
}

#[test]
fn rungs_under_a_passed_through_source_have_the_same_pictures_in_each_segment() {
    let codecs = "-c:v libx264 -preset ultrafast -bf 2 -g 50 -keyint_min 50 -sc_threshold 0 \
                  -pix_fmt yuv420p -c:a aac -b:a 96k -ac 2 -output_ts_offset 3.017";
    let events = events_of(&television("320x180", "25", 9.0, codecs), 1316);
    let job = Encode {
        rungs: rungs(&[144, 90]),
        audio: false,
        deinterlace: false,
        frames_per_second: 25,
    };
    let pipes = encode(&job, &events);
    let opening = Opening {
        renditions: vec![
            rendition("source", Origin::Source),
            rendition("144p", Origin::Encoded),
            rendition("90p", Origin::Encoded),
        ],
        ..pass_through()
    };
    let inputs = in_order(&[
        source(&events),
        video("144p", &pipes[0]),
        video("90p", &pipes[1]),
    ]);
    let segments = play(opening, inputs);
    assert_eq!(seconds(&segments), [2.0, 2.0, 2.0, 2.0, 1.0]);
    for segment in &segments {
        assert!(segment.independent);
        let ids: Vec<_> = segment
            .renditions
            .iter()
            .map(|part| part.rendition.as_str())
            .collect();
        assert_eq!(ids, ["source", "144p", "90p"]);
        let times: Vec<_> = segment
            .renditions
            .iter()
            .map(|part| picture_times(&part.bytes))
            .collect();
        assert_eq!(times[0], times[1]);
        assert_eq!(times[0], times[2]);
    }
    for id in ["source", "144p", "90p"] {
        assert_clean(&segments, id);
    }
}

#[test]
fn a_full_ladder_with_encoded_audio_is_cut_at_its_own_keys() {
    let codecs = "-c:v mpeg2video -b:v 2M -g 12 -bf 2 -c:a mp2 -b:a 128k";
    let events = events_of(&television("320x288", "25", 9.0, codecs), 1316);
    let job = Encode {
        rungs: rungs(&[180, 90]),
        audio: true,
        deinterlace: false,
        frames_per_second: 25,
    };
    let pipes = encode(&job, &events);
    let opening = Opening {
        renditions: vec![
            rendition("180p", Origin::Encoded),
            rendition("90p", Origin::Encoded),
        ],
        audio: Some(aac(Origin::Encoded)),
        ..pass_through()
    };
    let inputs = in_order(&[
        source(&events),
        video("180p", &pipes[0]),
        video("90p", &pipes[1]),
        audio(&pipes[2]),
    ]);
    let segments = play(opening, inputs);
    let durations = seconds(&segments);
    let usual = &durations[..durations.len() - 1];
    assert!(
        usual.len() >= 3 && usual.iter().all(|seconds| (1.5..=2.5).contains(seconds)),
        "{durations:?}"
    );
    for segment in &segments {
        assert!(segment.independent);
        let [first, second] = &segment.renditions[..] else {
            unreachable!("both rungs are there");
        };
        assert_eq!(picture_times(&first.bytes), picture_times(&second.bytes));
        let sounds = |bytes: &[u8]| {
            probe::packets(bytes, "a")
                .iter()
                .map(|packet| packet.pts)
                .collect::<Vec<_>>()
        };
        assert_eq!(sounds(&first.bytes), sounds(&second.bytes));
        assert!(!sounds(&first.bytes).is_empty());
    }
    for id in ["180p", "90p"] {
        assert_clean(&segments, id);
    }
}

#[test]
fn audio_alone_is_encoded_under_video_that_is_passed_through() {
    let codecs = "-c:v libx264 -preset ultrafast -g 50 -keyint_min 50 -sc_threshold 0 -pix_fmt yuv420p \
                  -c:a ac3 -b:a 192k";
    let events = events_of(&television("160x90", "25", 7.0, codecs), 1316);
    let job = Encode {
        rungs: Vec::new(),
        audio: true,
        deinterlace: false,
        frames_per_second: 25,
    };
    let pipes = encode(&job, &events);
    let opening = Opening {
        audio: Some(aac(Origin::Encoded)),
        ..pass_through()
    };
    let segments = play(opening, in_order(&[source(&events), audio(&pipes[0])]));
    assert_eq!(seconds(&segments), [2.0, 2.0, 2.0, 1.0]);
    assert_clean(&segments, "source");
    let found = probe::packets(&bytes(&segments, "source").concat(), "a");
    assert!(
        found
            .windows(2)
            .all(|pair| pair[1].pts - pair[0].pts == 1920)
    );
}

#[test]
fn a_long_group_of_the_source_is_cut_at_the_keys_of_the_encoder() {
    let codecs = "-c:v libx264 -preset ultrafast -bf 2 -g 1000 -sc_threshold 0 -pix_fmt yuv420p \
                  -c:a aac -b:a 96k -ac 2";
    let events = events_of(&television("320x180", "25", 9.0, codecs), 1316);
    let job = Encode {
        rungs: rungs(&[90]),
        audio: false,
        deinterlace: false,
        frames_per_second: 25,
    };
    let pipes = encode(&job, &events);
    let opening = Opening {
        renditions: vec![rendition("90p", Origin::Encoded)],
        ..pass_through()
    };
    let segments = play(
        opening,
        in_order(&[source(&events), video("90p", &pipes[0])]),
    );
    assert_eq!(seconds(&segments), [2.0, 2.0, 2.0, 2.0, 1.0]);
    assert!(segments.iter().all(|segment| segment.independent));
    assert_clean(&segments, "90p");
}
