//! Renditions that an encoder makes: in step with the source, behind it, lost and found.

use std::time::Duration;

use super::stream::{FRAME, Run, Source, aac, contents, joined, pass_through, read, rendition};
use crate::segmenter::io::{
    FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId,
};
use crate::time::{Ticks, WRAP};
use crate::unit::{AccessUnit, RandomAccess, Track};

const SECOND: i64 = 90_000;
const LAG: i64 = SECOND * 2 / 5;

fn silent() -> Source {
    Source {
        audio_delay: None,
        ..Source::PLAIN
    }
}

/// The source passed through above one encoded rung.
fn mixed() -> Opening {
    Opening {
        renditions: vec![
            rendition("source", Origin::Source),
            rendition("480p", Origin::Encoded),
        ],
        audio: None,
        ..pass_through()
    }
}

/// Two encoded rungs.
fn ladder() -> Opening {
    Opening {
        renditions: vec![
            rendition("720p", Origin::Encoded),
            rendition("480p", Origin::Encoded),
        ],
        audio: None,
        ..pass_through()
    }
}

/// What the encoder makes of a source: the same times, a key at least every two seconds.
fn rung(source: Source) -> Vec<AccessUnit> {
    let group = source.group.min(50);
    Source {
        b_frames: 2,
        group,
        ..source
    }
    .video()
    .into_iter()
    .map(|unit| AccessUnit {
        // Pictures are shown when the source shows them.
        pts: unit.pts - Ticks(FRAME),
        dts: unit.dts - Ticks(FRAME),
        ..unit
    })
    .collect()
}

#[derive(Debug, Clone)]
enum Event {
    Source(AccessUnit),
    Rung(&'static str, u64, AccessUnit),
    Ended(u64),
    Begin(Opening),
    /// The source itself is wanted besides.
    Add(&'static str),
    Remove(&'static str),
    /// The renditions that an encoder makes are to be made again from there on.
    Resume(&'static str, Option<i64>),
}

/// Everything at its time on one clock.
fn play(run: &mut Run, mut events: Vec<(i64, Event)>) {
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events {
        let clock = Ticks(at);
        run.at(clock);
        match event {
            Event::Source(unit) => run.handle(Input::Source(unit), clock),
            Event::Rung(id, generation, unit) => run.encoded(id, generation, &unit, clock),
            Event::Ended(generation) => {
                run.handle(Input::EncoderEnded(GenerationId(generation)), clock);
            }
            Event::Begin(opening) => run.handle(Input::Begin(opening), clock),
            Event::Add(id) => {
                let plan = rendition(id, Origin::Source);
                run.handle(Input::AddRendition(plan), clock);
            }
            Event::Remove(id) => {
                run.handle(Input::RemoveRendition(RenditionId::new(id)), clock);
            }
            Event::Resume(id, expected) => {
                let resumes = run.segmenter.resumes_at(&[RenditionId::new(id)]);
                assert_eq!(resumes, expected.map(Ticks));
            }
        }
    }
}

fn source_events(source: Source) -> Vec<(i64, Event)> {
    let units = source.units().into_iter();
    units
        .map(|unit| (unit.arrival.0, Event::Source(unit)))
        .collect()
}

fn rung_events(id: &'static str, units: Vec<AccessUnit>, lag: i64) -> Vec<(i64, Event)> {
    units
        .into_iter()
        .map(|unit| (unit.arrival.0 + lag, Event::Rung(id, 0, unit)))
        .collect()
}

fn names(run: &Run) -> Vec<String> {
    let names = |renditions: &[crate::segmenter::io::RenditionSegment]| {
        let names = renditions
            .iter()
            .map(|rendition| rendition.rendition.as_str());
        names.collect::<Vec<_>>().join("+")
    };
    run.segments()
        .iter()
        .map(|segment| names(&segment.renditions))
        .collect()
}

/// The numbers that came late, each whole.
fn late(run: &Run) -> Vec<u64> {
    let remarks = run.remarks().into_iter();
    remarks
        .filter_map(|output| match output {
            Output::Late(late) => {
                assert_eq!(read(&late.segment.bytes).video.len(), 50);
                Some(late.ordinal)
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_rung_has_the_same_numbers_durations_and_pictures_as_the_source() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    events.extend(rung_events("480p", rung(silent()), LAG));
    play(&mut run, events);
    run.finish();
    run.handle(Input::EncoderEnded(GenerationId(0)), Ticks::ZERO);
    assert_eq!(run.durations(), [2.0; 10]);
    assert_eq!(names(&run), ["source+480p"; 10]);
    for segment in run.segments() {
        let mut pictures = ["source", "480p"].map(|id| {
            let video = contents(segment, id).video;
            video
                .into_iter()
                .map(|picture| picture.0)
                .collect::<Vec<_>>()
        });
        pictures.iter_mut().for_each(|times| times.sort_unstable());
        assert_eq!(pictures[0], pictures[1]);
        assert!(segment.independent);
    }
    assert!(run.segmenter.is_drained());
}

#[test]
fn parts_of_the_first_group_are_cut_in_every_rendition() {
    let source = Source {
        group: 100,
        ..silent()
    };
    let mut run = Run::new(Opening {
        split_first_group: true,
        ..mixed()
    });
    let mut events = source_events(source);
    events.extend(rung_events("480p", rung(source), LAG));
    play(&mut run, events);
    assert_eq!(run.durations(), [1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0]);
    assert_eq!(names(&run), ["source+480p"; 7]);
    for segment in &run.segments()[..4] {
        let counts = ["source", "480p"].map(|id| contents(segment, id).video.len());
        // Where the encoder orders pictures otherwise, one or two move over the cut.
        assert!(counts[0] == 25 && counts[1].abs_diff(25) <= 2, "{counts:?}");
    }
}

#[test]
fn a_number_is_published_when_every_rendition_has_it() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    events.extend(rung_events("480p", rung(silent()), LAG));
    play(&mut run, events);
    let (_, at) = run.published().next().unwrap();
    // The encoder's picture after the cut ends the rung's segment.
    assert_eq!(at, Ticks(silent().start + 2 * SECOND + LAG));
}

#[test]
fn times_that_are_a_tick_off_or_unwrapped_elsewhere_still_match() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    let units = rung(silent()).into_iter().map(|unit| AccessUnit {
        pts: unit.pts + Ticks(1 - WRAP),
        dts: unit.dts + Ticks(1 - WRAP),
        ..unit
    });
    events.extend(rung_events("480p", units.collect(), LAG));
    play(&mut run, events);
    assert_eq!(names(&run), ["source+480p"; 9]);
    let first = contents(run.segments()[0], "480p").video[0].0;
    assert_eq!(first, contents(run.segments()[0], "source").video[0].0 + 1);
}

#[test]
fn a_rung_that_hangs_costs_the_others_one_wait_and_gets_gaps() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    let units = rung(silent()).into_iter().take(180).collect();
    events.extend(rung_events("480p", units, LAG));
    play(&mut run, events);
    let expected = [
        "source+480p",
        "source+480p",
        "source+480p",
        "source",
        "source",
        "source",
        "source",
        "source",
        "source",
    ];
    assert_eq!(names(&run), expected);
    let waits: Vec<i64> = run
        .published()
        .map(|(segment, at)| {
            let start = contents(segment, "source").video[0].0;
            at.0 - (silent().start + (start - 900_000) + segment.duration.0)
        })
        .collect();
    assert_eq!(waits[..3], [LAG; 3]);
    assert!(
        (4 * SECOND..4 * SECOND + 2 * FRAME).contains(&waits[3]),
        "{waits:?}"
    );
    assert_eq!(waits[6..], [0, 0, 0]);
}

#[test]
fn a_rung_that_catches_up_is_waited_for_again() {
    let mut run = Run::new(mixed());
    let source = Source {
        frames: 1000,
        ..silent()
    };
    let mut events = source_events(source);
    // A pause of 7 s after 5 s, then everything that was missed at once.
    for (at, event) in rung_events("480p", rung(source), LAG) {
        let pause = source.start + 5 * SECOND..source.start + 12 * SECOND;
        let at = if pause.contains(&at) { pause.end } else { at };
        events.push((at, event));
    }
    play(&mut run, events);
    let names = names(&run);
    assert_eq!(names[..2], ["source+480p", "source+480p"]);
    assert!(names.contains(&"source".to_owned()));
    assert_eq!(names[names.len() - 8..], ["source+480p"; 8]);
    let missing: Vec<u64> = (0..)
        .zip(&names)
        .filter(|(_, name)| *name == "source")
        .map(|(ordinal, _)| ordinal)
        .collect();
    assert_eq!(late(&run), missing);
}

#[test]
fn a_successor_of_a_lost_encoder_finds_its_place_at_the_next_cut() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    let units = rung(silent());
    events.extend(rung_events("480p", units[..120].to_vec(), LAG));
    events.push((silent().start + 6 * SECOND, Event::Ended(0)));
    events.extend(rung_events("480p", units[200..].to_vec(), LAG));
    play(&mut run, events);
    assert_eq!(
        names(&run),
        [
            "source+480p",
            "source+480p",
            "source",
            "source",
            "source+480p",
            "source+480p",
            "source+480p",
            "source+480p",
            "source+480p"
        ]
    );
    let whole = joined(&run.segments(), "480p").video;
    assert!(whole.windows(2).all(|pair| pair[1].1 > pair[0].1));
}

#[test]
fn a_successor_that_starts_at_an_older_key_brings_late_what_was_not_waited_for() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    let units = rung(silent());
    events.extend(rung_events("480p", units[..120].to_vec(), LAG));
    let lost = silent().start + 5 * SECOND;
    events.push((lost, Event::Ended(0)));
    // It is fed from the key of the number it is to make again, faster than real time, until it is in step.
    for (at, event) in rung_events("480p", units[50..].to_vec(), LAG) {
        events.push((at.max(lost + SECOND + SECOND / 2), event));
    }
    events.push((
        lost + SECOND + 1,
        Event::Resume("480p", Some(silent().start + 4 * SECOND)),
    ));
    play(&mut run, events);
    let mut expected = ["source+480p"; 9];
    expected[2] = "source";
    assert_eq!(names(&run), expected);
    let (_, at) = run.published().nth(2).unwrap();
    assert_eq!(
        at,
        Ticks(silent().start + 6 * SECOND),
        "the source waits for nobody"
    );
    assert_eq!(late(&run), [2]);
}

#[test]
fn a_ladder_without_the_source_goes_on_with_what_its_successor_repeats() {
    let mut run = Run::new(ladder());
    let mut events = source_events(silent());
    let units = rung(silent());
    let lost = silent().start + 5 * SECOND;
    for id in ["720p", "480p"] {
        events.extend(rung_events(id, units[..120].to_vec(), LAG));
        for (at, event) in rung_events(id, units[100..].to_vec(), LAG) {
            events.push((at.max(lost + SECOND), event));
        }
    }
    events.push((lost, Event::Ended(0)));
    events.push((
        lost,
        Event::Resume("720p", Some(silent().start + 4 * SECOND)),
    ));
    play(&mut run, events);
    assert_eq!(run.durations(), [2.0; 9]);
    assert_eq!(names(&run), ["720p+480p"; 9]);
    assert_eq!(contents(run.segments()[2], "720p").video.len(), 50);
    for id in ["720p", "480p"] {
        let whole = joined(&run.segments(), id).video;
        assert!(whole.windows(2).all(|pair| pair[1].1 > pair[0].1), "{id}");
    }
}

#[test]
fn a_ladder_that_loses_its_first_rung_goes_on_with_the_next_one_under_the_same_cuts() {
    let lost = silent().start + 5 * SECOND;
    let successor = |name| {
        let units = rung(silent());
        let first = rung_events("720p", units[..120].to_vec(), LAG);
        let mut events: Vec<_> = first.into_iter().filter(|(at, _)| *at < lost).collect();
        events.push((lost, Event::Remove("720p")));
        match name {
            // Both are lost, and a successor makes again what was not complete.
            "lost" => {
                events.extend(rung_events("480p", units[..115].to_vec(), LAG));
                events.push((lost - 1, Event::Ended(0)));
                for (at, event) in rung_events("480p", units[100..].to_vec(), LAG) {
                    events.push((at.max(lost + SECOND), event));
                }
            }
            // The other one is just slower.
            _ => events.extend(rung_events("480p", units, LAG + SECOND)),
        }
        events
    };
    for name in ["lost", "slower"] {
        let mut run = Run::new(ladder());
        let mut events = source_events(silent());
        events.extend(successor(name));
        play(&mut run, events);
        assert_eq!(run.durations(), [2.0; 9], "{name}");
        assert!(names(&run).iter().all(|names| names.ends_with("480p")));
        assert_eq!(names(&run)[3..], ["480p"; 6], "{name}");
        let whole = joined(&run.segments(), "480p").video;
        assert!(whole.windows(2).all(|pair| pair[1].1 > pair[0].1), "{name}");
        assert!(whole.len() >= 450, "{name}: {}", whole.len());
    }
}

#[test]
fn a_ladder_without_the_source_is_cut_at_its_own_keys() {
    let source = Source {
        group: 250,
        ..silent()
    };
    let mut run = Run::new(ladder());
    let mut events = source_events(source);
    // The second rung is ahead of the one that leads.
    events.extend(rung_events("720p", rung(source), LAG));
    events.extend(rung_events("480p", rung(source), LAG / 2));
    play(&mut run, events);
    assert_eq!(run.durations(), [2.0; 9]);
    assert_eq!(names(&run), ["720p+480p"; 9]);
    assert!(run.segments().iter().all(|segment| segment.independent));
    let pictures = |id| contents(run.segments()[3], id).video.len();
    assert_eq!((pictures("720p"), pictures("480p")), (50, 50));
}

#[test]
fn an_encoder_that_ends_before_its_first_picture_costs_its_successor_none() {
    let source = Source {
        group: 100,
        frames: 300,
        ..silent()
    };
    let mut run = Run::new(ladder());
    let mut events = vec![(source.start, Event::Ended(0))];
    events.extend(rung_events("720p", rung(source), LAG));
    events.extend(rung_events("480p", rung(source), LAG));
    play(&mut run, events);
    let segments = run.segments();
    for id in ["720p", "480p"] {
        let pictures = contents(segments[0], id).video.len();
        assert_eq!(pictures, 50, "{id}");
    }
}

#[test]
fn a_ladder_drains_before_the_next_generation_is_cut() {
    let first = Source {
        frames: 128,
        ..silent()
    };
    let second = Source {
        // The clock of the new timeline, put where the old one ended so that one clock orders all events
        start: first.start + 128 * FRAME,
        ..silent()
    };
    let shifted = |unit: AccessUnit| AccessUnit {
        pts: unit.pts + Ticks(50_000_000),
        dts: unit.dts + Ticks(50_000_000),
        arrival: unit.arrival + Ticks(50_000_000),
        ..unit
    };
    let mut run = Run::new(ladder());
    let mut events = source_events(first);
    for id in ["720p", "480p"] {
        events.extend(rung_events(id, rung(first), LAG));
        for unit in rung(second) {
            let at = unit.arrival.0 + LAG + LAG;
            events.push((at, Event::Rung(id, 1, shifted(unit))));
        }
    }
    events.push((second.start - 1, Event::Begin(ladder())));
    for (at, event) in source_events(second) {
        if let Event::Source(unit) = event {
            events.push((at, Event::Source(shifted(unit))));
        }
    }
    // The old encoder takes longer to end than the new one to begin.
    events.push((second.start + 2 * LAG + 5 * FRAME, Event::Ended(0)));
    play(&mut run, events);
    assert_eq!(run.durations()[..5], [2.0, 2.0, 1.12, 2.0, 2.0]);
    assert_eq!(names(&run)[..5], ["720p+480p"; 5]);
    let seams: Vec<bool> = run
        .segments()
        .iter()
        .map(|segment| segment.discontinuity)
        .collect();
    assert_eq!(seams[..5], [false, false, false, true, false]);
    for id in ["720p", "480p"] {
        let whole = joined(&run.segments(), id).video;
        assert!(whole.windows(2).all(|pair| pair[1].1 > pair[0].1), "{id}");
    }
    assert_eq!(contents(run.segments()[2], "480p").video.len(), 28);
}

#[test]
fn what_is_passed_through_on_request_follows_the_cuts_of_an_encoder_over_a_seam() {
    let first = Source {
        frames: 128,
        ..silent()
    };
    let second = Source {
        start: first.start + 128 * FRAME,
        ..silent()
    };
    let play = |wanted: bool| {
        let mut run = Run::new(ladder());
        let mut events = source_events(first);
        events.extend(source_events(second));
        for id in ["720p", "480p"] {
            events.extend(rung_events(id, rung(first), LAG));
            for unit in rung(second) {
                events.push((unit.arrival.0 + LAG, Event::Rung(id, 1, unit)));
            }
        }
        events.push((second.start - 1, Event::Begin(ladder())));
        events.push((second.start + LAG + FRAME, Event::Ended(0)));
        if wanted {
            events.push((first.start + 20 * FRAME, Event::Add("hevc")));
            events.push((second.start - 1, Event::Add("hevc")));
        }
        play(&mut run, events);
        run
    };
    let (run, without) = (play(true), play(false));
    assert_eq!(
        names(&run)[..5],
        [
            "720p+480p",
            "720p+480p+hevc",
            "720p+480p+hevc",
            "720p+480p+hevc",
            "720p+480p+hevc"
        ]
    );
    let cuts = |run: &Run| {
        let segments = run.segments().into_iter().cloned();
        let cuts = segments.map(|segment| FinishedSegment {
            renditions: Vec::new(),
            ..segment
        });
        cuts.collect::<Vec<_>>()
    };
    assert_eq!(cuts(&run), cuts(&without));
    for (index, pictures) in [(1, 50), (2, 28), (3, 50), (4, 50)] {
        let video = contents(run.segments()[index], "hevc").video;
        assert_eq!(video.len(), pictures, "segment {index}");
    }
}

#[test]
fn an_encoder_that_ended_before_its_generation_does_not_keep_the_next_one_waiting() {
    let first = Source {
        frames: 128,
        ..silent()
    };
    for opening in [ladder(), mixed()] {
        let ids: Vec<&'static str> = if opening == ladder() {
            vec!["720p", "480p"]
        } else {
            vec!["480p"]
        };
        let expected = if opening == ladder() {
            "720p+480p"
        } else {
            "source+480p"
        };
        let mut run = Run::new(opening.clone());
        let mut events = source_events(first);
        for id in &ids {
            events.extend(rung_events(id, rung(first), LAG));
        }
        let ended = first.start + 128 * FRAME + LAG;
        events.push((ended, Event::Ended(0)));
        events.push((ended + SECOND / 2, Event::Begin(opening)));
        play(&mut run, events);
        assert_eq!(run.durations(), [2.0, 2.0, 1.12]);
        assert_eq!(names(&run), [expected; 3]);
    }
}

#[test]
fn demotion_encodes_the_same_rendition_from_the_next_generation_on() {
    let first = Source {
        frames: 100,
        ..silent()
    };
    let second = Source {
        start: first.start + 100 * FRAME,
        ..silent()
    };
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    let mut events = source_events(first);
    events.push((
        second.start - 1,
        Event::Begin(Opening {
            renditions: vec![rendition("source", Origin::Encoded)],
            audio: None,
            ..pass_through()
        }),
    ));
    events.extend(source_events(second));
    for unit in rung(second) {
        events.push((unit.arrival.0 + LAG, Event::Rung("source", 1, unit)));
    }
    play(&mut run, events);
    assert_eq!(run.durations()[..4], [2.0; 4]);
    assert_eq!(names(&run)[..4], ["source"; 4]);
    let whole = joined(&run.segments(), "source").video;
    assert!(whole.windows(2).all(|pair| pair[1].1 > pair[0].1));
}

#[test]
fn a_rung_that_is_switched_on_later_is_waited_for_once_its_pictures_are_in_step() {
    let mut run = Run::new(Opening {
        audio: None,
        ..pass_through()
    });
    let source = silent();
    let units = source.units();
    run.source(&units[..120]);
    run.handle(
        Input::AddRendition(rendition("480p", Origin::Encoded)),
        Ticks::ZERO,
    );
    let mut events: Vec<(i64, Event)> = units[120..]
        .iter()
        .map(|unit| (unit.arrival.0, Event::Source(unit.clone())))
        .collect();
    events.extend(rung_events("480p", rung(source)[150..].to_vec(), LAG));
    play(&mut run, events);
    assert_eq!(
        names(&run),
        [
            "source",
            "source",
            "source",
            "source+480p",
            "source+480p",
            "source+480p",
            "source+480p",
            "source+480p",
            "source+480p"
        ]
    );
    assert!(run.segments().iter().all(|segment| !segment.discontinuity));
    run.handle(
        Input::RemoveRendition(RenditionId::new("480p")),
        Ticks::ZERO,
    );
    run.finish();
    assert_eq!(names(&run).last().unwrap(), "source");
}

#[test]
fn audio_of_the_source_is_the_same_in_every_rung() {
    let source = Source {
        audio_delay: Some(SECOND),
        ..Source::PLAIN
    };
    let mut run = Run::new(Opening {
        audio: Some(aac(Origin::Source)),
        ..mixed()
    });
    let mut events = source_events(source);
    events.extend(rung_events("480p", rung(source), LAG));
    play(&mut run, events);
    assert!(run.segments().len() >= 8);
    for segment in run.segments() {
        assert_eq!(
            contents(segment, "source").audio,
            contents(segment, "480p").audio
        );
        assert!(!contents(segment, "source").audio.is_empty());
    }
}

#[test]
fn a_rung_whose_keys_are_elsewhere_is_not_called_independent() {
    let mut run = Run::new(mixed());
    let mut events = source_events(silent());
    let units = rung(silent()).into_iter().enumerate().map(|(index, unit)| {
        let random_access = if index % 60 == 0 {
            RandomAccess::Full
        } else {
            RandomAccess::None
        };
        AccessUnit {
            random_access,
            ..unit
        }
    });
    events.extend(rung_events("480p", units.collect(), LAG));
    play(&mut run, events);
    let independent: Vec<bool> = run
        .segments()
        .iter()
        .map(|segment| segment.independent)
        .collect();
    assert_eq!(independent[..4], [true, false, false, false]);
    assert_eq!(names(&run)[..4], ["source+480p"; 4]);
}

#[test]
fn an_encoder_that_never_speaks_leaves_the_source_playing() {
    let mut run = Run::new(mixed());
    play(&mut run, source_events(silent()));
    assert_eq!(names(&run)[..5], ["source"; 5]);
    let (_, at) = run.published().next().unwrap();
    assert_eq!(at, Ticks(silent().start + 2 * SECOND + 38 * FRAME));
    assert!(run.now > Duration::from_secs(19));
    let is_late = |output: &&&Output| matches!(output, Output::Late(_));
    assert_eq!(run.remarks().iter().filter(is_late).count(), 0);
}

#[test]
fn pictures_for_unknown_renditions_and_generations_are_ignored() {
    let mut run = Run::new(mixed());
    let unit = rung(silent()).swap_remove(0);
    run.encoded("144p", 0, &unit, Ticks::ZERO);
    run.encoded("480p", 9, &unit, Ticks::ZERO);
    run.handle(Input::EncoderEnded(GenerationId(9)), Ticks::ZERO);
    run.handle(
        Input::EncodedAudio {
            generation: GenerationId(9),
            unit: AccessUnit {
                track: Track::Audio,
                ..unit
            },
        },
        Ticks::ZERO,
    );
    assert_eq!(run.outputs.len(), 1);
}
