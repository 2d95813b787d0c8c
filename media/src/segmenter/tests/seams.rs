//! From one timeline to the next.

use super::stream::{DATE, FRAME, Run, Source, contents, joined, pass_through};
use crate::segmenter::io::{GenerationId, Input, Opening, Output};
use crate::time::{Ticks, WRAP};
use crate::unit::{AccessUnit, Track};

fn second_source() -> Source {
    Source {
        start: 77_000_000,
        frames: 200,
        ..Source::PLAIN
    }
}

#[test]
fn a_new_timeline_runs_on_behind_one_discontinuity() {
    let mut run = Run::new(pass_through());
    // 3.2 s, so that the second segment ends early
    run.source(
        &Source {
            frames: 80,
            ..Source::PLAIN
        }
        .units(),
    );
    run.jump_to(Ticks(second_source().start));
    let opening = Opening {
        program_date_time: DATE + 9_000,
        ..pass_through()
    };
    run.handle(Input::Begin(opening), Ticks::ZERO);
    run.source(&second_source().units());
    run.finish();
    assert_eq!(run.durations(), [2.0, 1.2, 2.0, 2.0, 2.0, 2.0]);
    let segments = run.segments();
    let seams: Vec<bool> = segments
        .iter()
        .map(|segment| segment.discontinuity)
        .collect();
    assert_eq!(seams, [false, false, true, false, false, false]);
    let dates: Vec<i64> = segments
        .iter()
        .map(|segment| segment.program_date_time - DATE)
        .collect();
    assert_eq!(dates, [0, 2000, 9000, 11_000, 13_000, 15_000]);
    let generations: Vec<u64> = segments
        .iter()
        .map(|segment| segment.generation.0)
        .collect();
    assert_eq!(generations, [0, 0, 1, 1, 1, 1]);
    let whole = joined(&segments, "source");
    let steps = whole.video.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert!(
        steps.clone().all(|step| step == FRAME),
        "{:?}",
        steps.collect::<Vec<_>>()
    );
    assert!(whole.audio.windows(2).all(|pair| pair[1] > pair[0]));
}

/// 3.2 s, of which the sound ends with the first segment, after 2 s.
fn silent_from_the_second_segment() -> Vec<AccessUnit> {
    let source = Source {
        frames: 80,
        ..Source::PLAIN
    };
    let silent_from = Ticks(source.start) + Ticks::from_milliseconds(1_800);
    let mut units = source.units();
    units.retain(|unit| unit.track == Track::Video || unit.pts < silent_from);
    units
}

#[test]
fn a_segment_whose_sound_has_not_come_when_its_timeline_ends_is_not_made() {
    let mut run = Run::new(pass_through());
    run.source(&silent_from_the_second_segment());
    run.jump_to(Ticks(second_source().start));
    run.handle(Input::Begin(pass_through()), Ticks::ZERO);
    run.source(&second_source().units());
    run.finish();
    assert_eq!(run.durations(), [2.0, 2.0, 2.0, 2.0, 2.0]);
    let segments = run.segments();
    let ordinals: Vec<u64> = segments.iter().map(|segment| segment.ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2, 3, 4]);
    let seams: Vec<bool> = segments
        .iter()
        .map(|segment| segment.discontinuity)
        .collect();
    assert_eq!(seams, [false, true, false, false, false]);
    let pictures: Vec<usize> = segments
        .iter()
        .map(|segment| contents(segment, "source").video.len())
        .collect();
    assert_eq!(
        pictures,
        [50, 50, 50, 50, 50],
        "none of the one that was not made"
    );
    let whole = joined(&segments, "source");
    assert!(whole.video.windows(2).all(|pair| pair[1].1 > pair[0].1));
    assert!(whole.audio.windows(2).all(|pair| pair[1] > pair[0]));
}

#[test]
fn a_timeline_that_ends_before_its_sound_comes_makes_no_segment() {
    for splits in [false, true] {
        let opening = || Opening {
            split_first_group: splits,
            ..pass_through()
        };
        let brief = Source {
            start: 500_000_000,
            frames: 32,
            audio_delay: Some(200_000),
            ..Source::PLAIN
        };
        let mut run = Run::new(opening());
        run.source(&Source::PLAIN.units());
        for source in [brief, second_source()] {
            run.jump_to(Ticks(source.start));
            run.handle(Input::Begin(opening()), Ticks::ZERO);
            let units = source.units();
            let end = Ticks(source.start + source.frames * FRAME);
            let come = units.iter().filter(|unit| unit.arrival < end);
            run.source(&come.cloned().collect::<Vec<_>>());
        }
        run.finish();
        let segments = run.segments();
        let generations: Vec<u64> = segments.iter().map(|one| one.generation.0).collect();
        assert!(!generations.contains(&1), "{splits}: {generations:?}");
        let seams = segments.iter().filter(|one| one.discontinuity).count();
        assert_eq!(seams, 1);
        for segment in &segments {
            let contents = contents(segment, "source");
            assert!(!contents.audio.is_empty() && !contents.video.is_empty());
        }
        let whole = joined(&segments, "source");
        assert!(whole.video.windows(2).all(|pair| pair[1].1 > pair[0].1));
    }
}

#[test]
fn nothing_is_waited_for_when_the_last_segment_is_not_made() {
    let mut run = Run::new(pass_through());
    run.source(&silent_from_the_second_segment());
    run.finish();
    assert_eq!(run.durations(), [2.0]);
    assert!(run.segmenter.is_drained());
}

#[test]
fn dates_never_go_back_at_a_seam() {
    let mut run = Run::new(pass_through());
    run.source(
        &Source {
            frames: 80,
            ..Source::PLAIN
        }
        .units(),
    );
    run.jump_to(Ticks(second_source().start));
    let opening = Opening {
        program_date_time: DATE - 60_000,
        ..pass_through()
    };
    run.handle(Input::Begin(opening), Ticks::ZERO);
    run.source(&second_source().units());
    let dates: Vec<i64> = run
        .segments()
        .iter()
        .map(|segment| segment.program_date_time - DATE)
        .collect();
    assert_eq!(dates, [0, 2000, 3200, 5200, 7200]);
}

#[test]
fn decoding_times_run_on_when_the_new_source_reorders_more() {
    let mut run = Run::new(pass_through());
    run.source(
        &Source {
            frames: 80,
            ..Source::PLAIN
        }
        .units(),
    );
    let reordering = Source {
        b_frames: 2,
        ..second_source()
    };
    run.jump_to(Ticks(reordering.start));
    run.handle(Input::Begin(pass_through()), Ticks::ZERO);
    run.source(&reordering.units());
    run.finish();
    let whole = joined(&run.segments(), "source");
    assert!(whole.video.windows(2).all(|pair| pair[1].1 > pair[0].1));
    assert!(whole.video.iter().all(|picture| picture.0 >= picture.1));
}

#[test]
fn the_wrap_of_the_clock_is_no_seam() {
    let source = Source {
        start: WRAP - 3 * 90_000,
        ..Source::PLAIN
    };
    let mut run = Run::new(pass_through());
    run.source(&source.units());
    run.finish();
    assert_eq!(run.durations(), [2.0; 10]);
    assert!(run.segments().iter().all(|segment| !segment.discontinuity));
}

#[test]
fn what_a_new_connection_repeats_passes_once() {
    let units = Source::PLAIN.units();
    let mut twice = Run::new(pass_through());
    twice.source(&units[..300]);
    twice.source(&units[200..]);
    twice.finish();
    let mut once = Run::new(pass_through());
    once.source(&units);
    once.finish();
    assert_eq!(twice.segments(), once.segments());
}

#[test]
fn a_jump_that_nobody_announced_begins_a_generation_by_itself() {
    let mut forward = Run::new(pass_through());
    forward.source(
        &Source {
            frames: 80,
            ..Source::PLAIN
        }
        .units(),
    );
    forward.jump_to(Ticks(second_source().start));
    forward.source(&second_source().units());
    forward.finish();
    assert_eq!(
        forward.remarks(),
        [
            &Output::Began(GenerationId(0)),
            &Output::Began(GenerationId(1))
        ]
    );
    assert_eq!(forward.durations(), [2.0, 1.2, 2.0, 2.0, 2.0, 2.0]);
    let dates: Vec<i64> = forward
        .segments()
        .iter()
        .map(|segment| segment.program_date_time - DATE)
        .collect();
    assert_eq!(dates, [0, 2000, 3200, 5200, 7200, 9200]);

    let mut backward = Run::new(pass_through());
    backward.source(&second_source().units());
    backward.jump_to(Ticks(Source::PLAIN.start));
    backward.source(&Source::PLAIN.units());
    assert_eq!(backward.remarks().len(), 2);
    assert!(
        backward
            .segments()
            .iter()
            .any(|segment| segment.generation == GenerationId(1))
    );
}

#[test]
fn finishing_closes_what_is_open_and_says_where_to_go_on() {
    let mut run = Run::new(pass_through());
    run.source(
        &Source {
            frames: 80,
            ..Source::PLAIN
        }
        .units(),
    );
    assert!(!run.segmenter.is_drained());
    run.finish();
    assert!(run.segmenter.is_drained());
    run.source(&Source::PLAIN.units());
    assert_eq!(run.segments().len(), 2);
    assert_eq!(contents(run.segments()[1], "source").video.len(), 30);
}

#[test]
fn a_segmenter_without_anything_has_nothing_to_say() {
    let mut run = Run::new(pass_through());
    run.finish();
    assert!(run.segments().is_empty());
    assert!(run.segmenter.is_drained());
}
