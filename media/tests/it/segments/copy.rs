//! The source passed through.

use std::time::Duration;

use media::front_end::FrontEvent;
use media::segmenter::Segmenter;
use media::segmenter::io::{Input, Opening, Origin, Output, RenditionId, RenditionPlan};
use media::time::Ticks;
use media::unit::Track;

use super::rig::{SETTINGS, bytes, input, pass_through, play, seconds, source};
use crate::sample::complaints;
use crate::source::probe::{self, ProbedPacket};
use crate::source::stream::{events_of, make, television};

fn stream(group: u32, b_frames: u32, length: f32) -> Vec<u8> {
    let codecs = format!(
        "-c:v libx264 -preset ultrafast -bf {b_frames} -g {group} -keyint_min {group} -sc_threshold 0 \
         -pix_fmt yuv420p -c:a aac -b:a 96k -ac 2"
    );
    television("160x90", "25", length, &codecs)
}

/// The times of all packets of a kind, as FFmpeg reads them, from the first one on.
fn times(stream: &[u8], kind: &str) -> Vec<(i64, i64)> {
    let packets = probe::packets(stream, kind);
    let ProbedPacket { pts, .. } = packets[0];
    let relative = packets
        .iter()
        .map(|packet| (packet.pts - pts, packet.dts - pts));
    relative.collect()
}

#[test]
fn each_segment_alone_and_all_together_decode_without_complaint() {
    for (group, b_frames, expected) in [
        (25, 0, vec![2.0, 2.0, 2.0, 2.0, 1.0]),
        (50, 2, vec![2.0, 2.0, 2.0, 2.0, 1.0]),
        (100, 2, vec![4.0, 4.0, 1.0]),
    ] {
        let original = stream(group, b_frames, 9.0);
        let segments = play(pass_through(), source(&events_of(&original, 1316)));
        for (segment, bytes) in segments.iter().zip(bytes(&segments, "source")) {
            assert_eq!(complaints(bytes), "", "segment {}", segment.ordinal);
            assert!(segment.independent);
        }
        assert_eq!(seconds(&segments), expected, "a key every {group} frames");
        let whole = bytes(&segments, "source").concat();
        assert_eq!(complaints(&whole), "");
        assert!(times(&whole, "v") == times(&original, "v"));
    }
}

#[test]
fn every_audio_frame_is_there_once_however_late_it_comes() {
    let original = stream(50, 2, 9.0);
    let events = events_of(&original, 1316);
    for delay in [Ticks::ZERO, Ticks::from_milliseconds(1200)] {
        let mut inputs = source(&events);
        for (at, input) in &mut inputs {
            if let Input::Source(unit) = input
                && unit.track == Track::Audio
            {
                *at += delay;
                unit.arrival += delay;
            }
        }
        inputs.sort_by_key(|(at, _)| *at);
        let segments = play(pass_through(), inputs);
        let whole = bytes(&segments, "source").concat();
        assert_eq!(complaints(&whole), "");
        // Audio from before the first picture is not of this stream.
        let first = probe::packets(&original, "v")[0].pts;
        let ended = |packet: &&ProbedPacket| packet.pts + 1920 > first;
        let expected = probe::packets(&original, "a").iter().filter(ended).count();
        let found = probe::packets(&whole, "a");
        assert!(
            found.len().abs_diff(expected) <= 8,
            "{} of {expected}",
            found.len()
        );
        assert!(
            found
                .windows(2)
                .all(|pair| pair[1].pts - pair[0].pts == 1920)
        );
    }
}

#[test]
fn cuts_without_a_key_leave_the_whole_intact() {
    let original = stream(1000, 2, 12.0);
    let opening = Opening {
        split_first_group: true,
        ..pass_through()
    };
    let segments = play(opening, source(&events_of(&original, 1316)));
    assert!(segments.len() >= 5);
    assert!(seconds(&segments).iter().all(|seconds| *seconds <= 4.49));
    let whole = bytes(&segments, "source").concat();
    assert_eq!(complaints(&whole), "");
    assert!(times(&whole, "v") == times(&original, "v"));
}

#[test]
fn two_sources_behind_each_other_are_one_stream_for_a_decoder() {
    let first = events_of(&stream(50, 0, 5.0), 1316);
    let codecs = "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -b:a 96k -ac 2";
    let second = events_of(
        &television(
            "320x180",
            "25",
            5.0,
            &format!("{codecs} -output_ts_offset 5000"),
        ),
        1316,
    );
    let mut inputs = source(&first);
    let end = inputs.last().unwrap().0;
    inputs.push((end, Input::Begin(pass_through())));
    inputs.extend(source(&second).into_iter().map(|(_, input)| (end, input)));
    let segments = play(pass_through(), inputs);
    let seams = segments
        .iter()
        .filter(|segment| segment.discontinuity)
        .count();
    assert_eq!(seams, 1);
    let whole = bytes(&segments, "source").concat();
    assert_eq!(complaints(&whole), "");
    let video = probe::packets(&whole, "v");
    assert_eq!(video.len(), 250);
    assert!(
        video
            .windows(2)
            .all(|pair| (1..=10_800).contains(&(pair[1].dts - pair[0].dts)))
    );
}

#[test]
fn radio_becomes_segments_that_play() {
    let original =
        make("-f lavfi -i sine=frequency=440:sample_rate=44100 -t 9 -c:a aac -b:a 96k -ac 2");
    let opening = Opening {
        renditions: vec![RenditionPlan {
            id: RenditionId::new("audio"),
            origin: Origin::Source,
            video: None,
        }],
        ..pass_through()
    };
    let segments = play(opening, source(&events_of(&original, 1316)));
    assert!(segments.len() >= 4);
    for bytes in bytes(&segments, "audio") {
        assert_eq!(complaints(bytes), "");
    }
    let whole = bytes(&segments, "audio").concat();
    assert_eq!(complaints(&whole), "");
    let (found, expected) = (times(&whole, "a"), times(&original, "a"));
    assert_eq!(found.len(), expected.len());
    // The prober fills in the times inside PES packets and rounds each time anew.
    let is_near = |(found, expected): (&(i64, i64), &(i64, i64))| found.0.abs_diff(expected.0) <= 2;
    assert!(found.iter().zip(&expected).all(is_near));
}

#[test]
fn a_key_told_ahead_changes_nothing_but_the_time() {
    let events = events_of(&stream(50, 2, 9.0), 1316);
    let told = play(pass_through(), source(&events));
    let untold: Vec<FrontEvent> = events
        .into_iter()
        .filter(|event| !matches!(event, FrontEvent::RandomAccessPoint(_)))
        .collect();
    assert!(untold.iter().filter_map(input).count() > 200);
    let untold = play(pass_through(), source(&untold));
    assert_eq!(seconds(&untold), seconds(&told));
    for (untold, told) in bytes(&untold, "source").iter().zip(bytes(&told, "source")) {
        assert!(times(untold, "v") == times(told, "v"));
    }
}

#[test]
fn a_segment_is_out_as_soon_as_the_next_key_begins() {
    let mut segmenter = Segmenter::new(SETTINGS);
    segmenter.handle(Input::Begin(pass_through()), Duration::ZERO);
    let mut waited = Vec::new();
    let mut key = None;
    for (clock, input) in source(&events_of(&stream(50, 2, 9.0), 188)) {
        if matches!(input, Input::RandomAccessPoint { .. }) {
            key = Some(clock);
        }
        let outputs = segmenter.handle(input, Duration::ZERO);
        let is_segment = |output: &Output| matches!(output, Output::Segment(_));
        if outputs.iter().any(is_segment) {
            waited.push(clock - key.unwrap());
        }
    }
    // The audio of this muxer is at most 0.2 s behind its video.
    assert_eq!(waited, [Ticks::ZERO; 4]);
}
