//! Which audio lies in which segment, and how long is waited for it.

use bytes::Bytes;

use super::stream::{AUDIO_FRAME, FRAME, Run, Source, aac, contents, joined, pass_through};
use crate::segmenter::io::{
    GenerationId, Input, Opening, Origin, Output, RenditionId, RenditionPlan,
};
use crate::time::Ticks;
use crate::unit::{AccessUnit, Track};

const SECOND: i64 = 90_000;

fn run(units: &[AccessUnit]) -> Run {
    let mut run = Run::new(pass_through());
    run.source(units);
    run
}

/// Every frame once, in order.
fn assert_whole(run: &Run, expected: &[AccessUnit]) {
    let wire = joined(&run.segments(), "source").audio;
    let offset = 900_000 - Source::PLAIN.start;
    let expected: Vec<i64> = expected.iter().map(|unit| unit.pts.0 + offset).collect();
    assert_eq!(wire, expected);
}

#[test]
fn no_audio_is_lost_however_late_it_comes() {
    for delay in [0, SECOND / 5, SECOND * 6 / 5, SECOND * 13 / 10] {
        let source = Source {
            audio_delay: Some(delay),
            ..Source::PLAIN
        };
        let mut run = run(&source.units());
        run.finish();
        assert_whole(&run, &source.audio());
    }
}

#[test]
fn late_audio_is_waited_for_as_long_as_it_is_late() {
    let delay = SECOND * 6 / 5;
    let source = Source {
        audio_delay: Some(delay),
        ..Source::PLAIN
    };
    let run = run(&source.units());
    for (segment, at) in run.published() {
        let audio = contents(segment, "source").audio;
        let video = contents(segment, "source").video;
        let end = video[0].0 + segment.duration.0;
        // All but the last bit is there, and nobody waited longer than that took.
        assert!(end - audio.last().unwrap() <= 2 * 8 * AUDIO_FRAME + SECOND * 3 / 10);
        let ended = Source::PLAIN.start + (video[0].0 - 900_000) + segment.duration.0;
        let waited = at.0 - ended;
        assert!(waited <= delay + 8 * AUDIO_FRAME, "{waited}");
        assert!(waited >= SECOND / 2, "{waited}");
    }
}

#[test]
fn audio_in_step_with_the_video_delays_nothing() {
    let run = run(&Source::PLAIN.units());
    for (segment, at) in run.published() {
        let start = contents(segment, "source").video[0].0;
        let ended = Source::PLAIN.start + (start - 900_000) + segment.duration.0;
        assert_eq!(at, Ticks(ended));
    }
}

#[test]
fn audio_that_stops_holds_segments_up_for_a_bounded_time_and_not_more_and_more() {
    let mut units = Source::PLAIN.units();
    let stop = Ticks(Source::PLAIN.start + 5 * SECOND);
    units.retain(|unit| unit.track == Track::Video || unit.pts < stop);
    let run = run(&units);
    let waits: Vec<i64> = run
        .published()
        .map(|(segment, at)| {
            let start = contents(segment, "source").video[0].0;
            at.0 - (Source::PLAIN.start + (start - 900_000) + segment.duration.0)
        })
        .collect();
    assert!(
        waits[4..].iter().all(|wait| *wait <= SECOND / 2),
        "{waits:?}"
    );
    assert!(waits.len() >= 9);
}

/// The same with payloads that are frames of AAC.
fn with_frames(mut units: Vec<AccessUnit>) -> Vec<AccessUnit> {
    let frame = [0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x5F, 0xFC, 1, 2, 3];
    for unit in units.iter_mut().filter(|unit| unit.track == Track::Audio) {
        unit.payload = Bytes::from(frame.repeat(8));
    }
    units
}

#[test]
fn sound_that_stops_is_silence_until_it_comes_again() {
    let mut units = with_frames(Source::PLAIN.units());
    let stop = Ticks(Source::PLAIN.start + 5 * SECOND);
    let again = Ticks(Source::PLAIN.start + 13 * SECOND);
    units.retain(|unit| unit.track == Track::Video || unit.pts < stop || unit.pts >= again);
    let mut run = run(&units);
    run.finish();
    let segments = run.segments();
    assert!(segments.iter().all(|segment| !segment.discontinuity));
    for segment in segments.iter().copied() {
        assert!(!contents(segment, "source").audio.is_empty());
    }
    let wire = joined(&segments, "source").audio;
    let longest = wire.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    // Eight frames of the source and as many of ours in one PES packet.
    assert!(longest <= 16 * AUDIO_FRAME, "{longest}");
    let last = Source::PLAIN.frames * FRAME + 900_000;
    assert!(last - wire.last().unwrap() <= 16 * AUDIO_FRAME);
}

#[test]
fn announced_audio_that_never_comes_is_left_out_after_a_second_and_a_half() {
    let source = Source {
        audio_delay: None,
        group: 25,
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        split_first_group: true,
        ..pass_through()
    });
    run.source(&source.units());
    assert_eq!(run.remarks()[1..], [&Output::AudioLeftOut(GenerationId(0))]);
    let (_, at) = run.published().next().unwrap();
    assert_eq!(at, Ticks(Source::PLAIN.start + 38 * FRAME));
    assert!(run.segments().iter().all(|segment| !segment.discontinuity));
}

#[test]
fn audio_that_was_left_out_comes_back_behind_a_discontinuity() {
    let mut units = Source::PLAIN.units();
    let from = Ticks(Source::PLAIN.start + 7 * SECOND);
    units.retain(|unit| unit.track == Track::Video || unit.pts >= from);
    let mut run = run(&units);
    run.finish();
    assert_eq!(
        run.remarks()[1..],
        [
            &Output::AudioLeftOut(GenerationId(0)),
            &Output::AudioCameBack { ordinal: 4 }
        ]
    );
    let segments = run.segments();
    let discontinuities: Vec<bool> = segments
        .iter()
        .map(|segment| segment.discontinuity)
        .collect();
    let expected: Vec<bool> = (0..10).map(|ordinal| ordinal == 4).collect();
    assert_eq!(discontinuities, expected);
    assert!(contents(segments[3], "source").audio.is_empty());
    let audio = contents(segments[4], "source").audio;
    let start = contents(segments[4], "source").video[0].0;
    assert!((audio[0] - start).abs() <= 8 * AUDIO_FRAME);
}

#[test]
fn the_first_segment_has_audio_even_when_the_audio_begins_later_than_it_ends() {
    let mut units = Source {
        audio_delay: Some(-SECOND / 2),
        ..Source::PLAIN
    }
    .units();
    let from = Ticks(Source::PLAIN.start + 2 * SECOND + SECOND / 10);
    units.retain(|unit| unit.track == Track::Video || unit.pts >= from);
    let run = run(&units);
    assert_eq!(contents(run.segments()[0], "source").audio.len(), 1);
    assert_eq!(run.remarks().len(), 1);
}

#[test]
fn a_stream_without_audio_waits_for_none() {
    let source = Source {
        audio_delay: None,
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    run.source(&source.units());
    let (_, at) = run.published().next().unwrap();
    assert_eq!(at, Ticks(Source::PLAIN.start + 2 * SECOND));
}

#[test]
fn encoded_audio_is_waited_for_and_is_the_same_in_every_segment_it_belongs_to() {
    let source = Source {
        audio_delay: Some(SECOND / 2),
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        audio: Some(aac(Origin::Encoded)),
        ..pass_through()
    });
    for unit in source.units() {
        run.at(unit.arrival);
        let clock = unit.arrival;
        let input = match unit.track {
            Track::Video => Input::Source(unit),
            Track::Audio => Input::EncodedAudio {
                generation: GenerationId(0),
                unit: AccessUnit {
                    // What a pipe's own demultiplexer believes of the time before the wrap.
                    pts: unit.pts + Ticks(3 << 33),
                    dts: unit.dts + Ticks(3 << 33),
                    arrival: Ticks::ZERO,
                    ..unit
                },
            },
        };
        run.handle(input, clock);
    }
    run.finish();
    run.handle(Input::EncoderEnded(GenerationId(0)), Ticks::ZERO);
    assert_whole(&run, &source.audio());
    assert!(run.segmenter.is_drained());
}

#[test]
fn an_encoder_that_starts_slowly_is_not_taken_for_missing_audio() {
    let source = Source {
        group: 25,
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        audio: Some(aac(Origin::Encoded)),
        ..pass_through()
    });
    let mut waiting: Vec<AccessUnit> = Vec::new();
    for unit in source.units() {
        run.at(unit.arrival);
        let clock = unit.arrival;
        run.handle(Input::Source(unit.clone()), clock);
        if unit.track == Track::Audio {
            waiting.push(unit);
        }
        // The encoder brings nothing for five seconds.
        if clock >= Ticks(source.start + 5 * SECOND) {
            for unit in waiting.drain(..) {
                let generation = GenerationId(0);
                run.handle(Input::EncodedAudio { generation, unit }, clock);
            }
        }
    }
    assert_eq!(run.remarks().len(), 1);
    assert_whole(
        &run,
        &source.audio()[..joined(&run.segments(), "source").audio.len()],
    );
}

#[test]
fn encoded_audio_of_a_source_that_sends_none_is_left_out_as_soon_as_its_own_would_be() {
    let source = Source {
        audio_delay: None,
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        audio: Some(aac(Origin::Encoded)),
        ..pass_through()
    });
    run.source(&source.units());
    assert_eq!(run.remarks()[1..], [&Output::AudioLeftOut(GenerationId(0))]);
    let (_, at) = run.published().next().unwrap();
    assert_eq!(at, Ticks(source.start + 2 * SECOND));
}

#[test]
fn radio_is_cut_by_its_audio() {
    let mut run = Run::new(Opening {
        renditions: vec![RenditionPlan {
            id: RenditionId::new("audio"),
            origin: Origin::Source,
            video: None,
        }],
        split_first_group: true,
        ..pass_through()
    });
    let audio = Source::PLAIN.audio();
    run.source(&audio);
    run.finish();
    let durations = run.durations();
    assert!((1.0..1.2).contains(&durations[0]), "{durations:?}");
    let rest = &durations[1..durations.len() - 1];
    assert!(
        rest.iter().all(|seconds| (1.85..2.15).contains(seconds)),
        "{durations:?}"
    );
    assert!(run.segments().iter().all(|segment| segment.independent));
    let whole = joined(&run.segments(), "audio");
    assert_eq!(whole.audio.len(), audio.len());
    assert!(run.segmenter.is_drained());
}
