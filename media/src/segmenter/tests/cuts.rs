//! Where segments end.

use super::stream::{DATE, FRAME, Run, Source, contents, pass_through};
use crate::segmenter::io::{Input, Opening, Output};
use crate::time::Ticks;
use crate::unit::RandomAccess;

fn run(source: Source, opening: Opening) -> Run {
    let mut run = Run::new(opening);
    run.source(&source.units());
    run.finish();
    run
}

#[test]
fn segments_end_at_the_key_nearest_to_the_aimed_length() {
    // Frames from key to key; frames of the segments that follow from it.
    let cases: [(i64, &[i64]); 9] = [
        (12, &[48, 48, 48]),
        (24, &[48, 48, 48]),
        (25, &[50, 50, 50]),
        (38, &[38, 38, 38]),
        (48, &[48, 48, 48]),
        (50, &[50, 50, 50]),
        (75, &[75, 75, 75]),
        (100, &[100, 100, 100]),
        (112, &[112, 112, 112]),
    ];
    for (group, expected) in cases {
        let source = Source {
            group,
            ..Source::PLAIN
        };
        let run = run(source, pass_through());
        let frames: Vec<i64> = run
            .segments()
            .iter()
            .map(|segment| segment.duration.0 / FRAME)
            .take(expected.len())
            .collect();
        assert_eq!(frames, expected, "a key every {group} frames");
        assert!(run.segments().iter().all(|segment| segment.independent));
    }
}

#[test]
fn irregular_keys_do_not_make_segments_too_long() {
    let mut units = Source {
        group: 1000,
        audio_delay: None,
        ..Source::PLAIN
    }
    .units();
    for index in [0, 35, 120, 125, 240, 300] {
        units[index].random_access = RandomAccess::Full;
    }
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    run.source(&units);
    // 0–35 (1.4 s) ends at its key because the next one may be as far; the long stretches are cut at the limit.
    assert_eq!(run.durations()[..3], [1.4, 3.4, 4.48]);
    assert!(run.durations().iter().all(|&seconds| seconds <= 4.49));
}

#[test]
fn ordinals_dates_and_wire_times_follow_each_other() {
    let run = run(Source::PLAIN, pass_through());
    let segments = run.segments();
    assert_eq!(segments.len(), 10);
    for (index, segment) in (0..).zip(&segments) {
        assert_eq!(segment.ordinal, index);
        assert!(!segment.discontinuity);
        let place = i64::try_from(index).unwrap();
        assert_eq!(segment.program_date_time, DATE + 2000 * place);
        let first = contents(segment, "source").video[0];
        assert_eq!(first.0, 900_000 + 180_000 * place);
    }
}

#[test]
fn closing_a_segment_costs_one_picture_and_nothing_when_the_key_is_told_ahead() {
    let source = Source {
        audio_delay: None,
        ..Source::PLAIN
    };
    let opening = Opening {
        audio: None,
        ..pass_through()
    };
    let units = source.units();
    let plain = run(source, opening.clone());
    let (_, at) = plain.published().next().unwrap();
    assert_eq!(at, units[50].arrival);
    let mut ahead = Run::new(opening);
    ahead.source(&units[..50]);
    assert!(ahead.segments().is_empty());
    let key = &units[50];
    let input = Input::RandomAccessPoint {
        pts: key.pts,
        dts: key.dts,
        random_access: key.random_access,
    };
    ahead.handle(input, units[49].arrival);
    assert_eq!(ahead.segments(), plain.segments()[..1]);
    ahead.source(&units[50..]);
    ahead.finish();
    assert_eq!(ahead.segments(), plain.segments());
}

#[test]
fn without_keys_segments_are_cut_at_the_limit_and_each_is_reported() {
    let source = Source {
        group: 1000,
        frames: 1000,
        b_frames: 2,
        ..Source::PLAIN
    };
    let run = run(source, pass_through());
    let durations = run.durations();
    assert!(
        durations[..8]
            .iter()
            .all(|seconds| (4.3..=4.49).contains(seconds)),
        "{durations:?}"
    );
    let independent: Vec<bool> = run
        .segments()
        .iter()
        .map(|segment| segment.independent)
        .collect();
    assert_eq!(independent[..3], [true, false, false]);
    let forced: Vec<u64> = run
        .remarks()
        .iter()
        .filter_map(|output| match output {
            Output::ForcedCut { ordinal } => Some(*ordinal),
            _ => None,
        })
        .collect();
    assert_eq!(forced[..3], [0, 1, 2]);
    // Between an anchor and the pictures shown before it there is no cut.
    let mut shown_up_to = 0;
    for segment in run.segments() {
        let video = contents(segment, "source").video;
        let first = video.iter().map(|picture| picture.0).min().unwrap();
        assert!(first > shown_up_to);
        shown_up_to = video.iter().map(|picture| picture.0).max().unwrap();
    }
}

#[test]
fn after_a_forced_cut_the_next_key_leads_again() {
    let source = Source {
        group: 130,
        ..Source::PLAIN
    };
    let run = run(source, pass_through());
    assert_eq!(run.durations()[..4], [4.48, 0.72, 4.48, 0.72]);
    let independent: Vec<bool> = run
        .segments()
        .iter()
        .map(|segment| segment.independent)
        .collect();
    assert_eq!(independent[..4], [true, false, true, false]);
}

#[test]
fn without_burst_the_first_group_is_cut_in_parts_of_a_second() {
    let cases: [(i64, &[f64], &[bool]); 5] = [
        (25, &[1.0, 2.0, 2.0], &[true, true, true]),
        (50, &[1.0, 1.0, 2.0, 2.0], &[true, false, true, true]),
        (
            100,
            &[1.0, 1.0, 1.0, 1.0, 4.0],
            &[true, false, false, false, true],
        ),
        (26, &[1.0, 1.08, 2.08], &[true, false, true]),
        (12, &[1.44, 1.92], &[true, true]),
    ];
    for (group, durations, independent) in cases {
        let source = Source {
            group,
            ..Source::PLAIN
        };
        let opening = Opening {
            split_first_group: true,
            ..pass_through()
        };
        let run = run(source, opening);
        let count = durations.len();
        assert_eq!(
            run.durations()[..count],
            *durations,
            "a key every {group} frames"
        );
        let found: Vec<bool> = run
            .segments()
            .iter()
            .map(|segment| segment.independent)
            .collect();
        assert_eq!(found[..count], *independent, "a key every {group} frames");
        let is_forced = |output: &&&Output| matches!(output, Output::ForcedCut { .. });
        assert_eq!(run.remarks().iter().filter(is_forced).count(), 0);
    }
}

#[test]
fn parts_of_the_first_group_end_where_pictures_are_in_order() {
    let source = Source {
        b_frames: 2,
        group: 100,
        ..Source::PLAIN
    };
    let opening = Opening {
        split_first_group: true,
        ..pass_through()
    };
    let run = run(source, opening);
    let first = contents(run.segments()[0], "source").video;
    let second = contents(run.segments()[1], "source").video;
    let last_shown = first.iter().map(|picture| picture.0).max().unwrap();
    let next_shown = second.iter().map(|picture| picture.0).min().unwrap();
    assert_eq!(next_shown, last_shown + FRAME);
    let length = next_shown - first[0].0;
    assert_eq!(run.segments()[0].duration, Ticks(length));
}

#[test]
fn a_burst_ends_the_splitting() {
    let source = Source {
        group: 100,
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        split_first_group: true,
        ..pass_through()
    });
    for unit in source.units() {
        run.handle(Input::Source(unit), Ticks::ZERO);
    }
    run.finish();
    assert_eq!(run.durations(), [4.0; 5]);
}

#[test]
fn recovery_points_cut_but_are_not_independent_and_lose_their_leading_pictures_at_the_start() {
    let mut units = Source {
        key: RandomAccess::Recovery,
        audio_delay: None,
        ..Source::PLAIN
    }
    .units();
    // Open groups: two pictures that follow each key are shown before it.
    for (index, unit) in units.iter_mut().enumerate() {
        let later = match index % 50 {
            0 => 3,
            1 | 2 => 0,
            _ => 1,
        };
        unit.pts = unit.dts + Ticks(later * FRAME);
    }
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    run.source(&units);
    run.finish();
    let segments = run.segments();
    assert!(segments.iter().all(|segment| !segment.independent));
    let counts: Vec<usize> = segments
        .iter()
        .map(|segment| contents(segment, "source").video.len())
        .collect();
    assert_eq!(counts[..3], [48, 50, 50]);
    assert_eq!(run.durations()[..3], [2.0, 2.0, 2.0]);
}

#[test]
fn units_before_the_first_key_are_left_out() {
    let source = Source {
        audio_delay: None,
        ..Source::PLAIN
    };
    let units = source.units();
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    run.source(&units[30..]);
    run.finish();
    assert_eq!(run.segments()[0].program_date_time, DATE);
    assert_eq!(contents(run.segments()[0], "source").video.len(), 50);
}

#[test]
fn a_wrong_presentation_time_does_not_hold_up_the_cuts() {
    let mut units = Source {
        audio_delay: None,
        ..Source::PLAIN
    }
    .units();
    units[20].pts += Ticks::from_seconds(8);
    units[130].pts = Ticks::from_seconds(-8);
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    run.source(&units);
    run.finish();
    assert_eq!(run.durations(), [2.0; 10]);
}

#[test]
fn rare_pictures_do_not_let_the_list_fall_behind_the_source() {
    for step in [30, 70, 105] {
        let mut units = Source {
            group: 1,
            frames: 30,
            audio_delay: None,
            ..Source::PLAIN
        }
        .units();
        for (index, unit) in (0..).zip(&mut units) {
            let time = Ticks(Source::PLAIN.start + index * step * FRAME);
            (unit.pts, unit.dts, unit.arrival) = (time, time, time);
        }
        let mut run = Run::new(Opening {
            audio: None,
            ..pass_through()
        });
        run.source(&units);
        let last = *run.segments().last().unwrap();
        let end = last.program_date_time - DATE + last.duration.0 / 90;
        let played = 29 * step * 40;
        assert!(played - end <= 4490, "{step}: {end} of {played}");
        assert!(run.segments().iter().all(|segment| !segment.discontinuity));
        assert!(run.durations().iter().all(|seconds| *seconds <= 4.49));
    }
}
