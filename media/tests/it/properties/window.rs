//! The window over any segments: numbers never go back, a player may stay behind by the longest playlist, nothing leaves twice.

use std::collections::BTreeMap;
use std::time::Duration;

use api::job::ResumeFloor;
use media::playlist::numbers::NumberedSegment;
use media::playlist::render;
use media::playlist::window::{Window, WindowSettings};
use media::segmenter::io::{RenditionId, RenditionSegment};
use media::time::Ticks;
use proptest::collection::vec;
use proptest::prelude::*;

use super::one_in;

const TARGET: i32 = 4;
const WANTED: i32 = 3 * TARGET;

#[derive(Debug, Clone)]
struct Step {
    milliseconds: i64,
    pause: u64,
    discontinuity: bool,
    hole: u64,
    is_encoded_there: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let hole = prop_oneof![30 => Just(0_u64), 1 => 1..5_u64];
    (
        0..4490_i64,
        0..6000_u64,
        prop::bool::weighted(0.1),
        hole,
        prop::bool::weighted(0.8),
    )
        .prop_map(
            |(milliseconds, pause, discontinuity, hole, is_encoded_there)| Step {
                milliseconds,
                pause,
                discontinuity,
                hole,
                is_encoded_there,
            },
        )
}

fn segment(step: &Step, number: u64, discontinuity_sequence: u64) -> NumberedSegment {
    let ids = ["source", "480p"]
        .into_iter()
        .filter(|id| *id == "source" || step.is_encoded_there);
    NumberedSegment {
        number,
        duration: Ticks::from_milliseconds(step.milliseconds),
        discontinuity: step.discontinuity,
        discontinuity_sequence,
        independent: true,
        program_date_time: 1_700_000_000_000,
        renditions: ids
            .map(|id| RenditionSegment {
                rendition: RenditionId::new(id),
                bytes: bytes::Bytes::new(),
            })
            .collect(),
    }
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn no_segments_break_a_promise_of_the_window(steps in vec(step(), 1..80)) {
        let start = ResumeFloor { media_sequence: 100, discontinuity_sequence: 7 };
        let mut window = Window::new(WindowSettings {
            class: String::new(),
            stream_uid: "uid".to_owned(),
            attempt: 1,
            version: 1,
            segment_duration_seconds: 2,
            target_duration_seconds: TARGET,
            playlist_duration_seconds: WANTED,
            start,
        });
        let (mut number, mut sequence, mut now) = (100, 7, Duration::ZERO);
        let mut before = window.document(0);
        // What has left the list: when, and how long it must stay at the least.
        let mut left: BTreeMap<u64, Duration> = BTreeMap::new();
        let mut longest = Ticks::ZERO;
        let mut gone: Vec<u64> = Vec::new();
        for step in &steps {
            now += Duration::from_millis(step.pause);
            number += step.hole;
            sequence += u64::from(step.discontinuity);
            longest = longest.max(window.duration());
            window.push(&segment(step, number, sequence), now);
            let document = window.document(0);
            prop_assert!(document.version > before.version);
            prop_assert!(document.segments[0].number >= before.segments.first().map_or(100, |first| first.number));
            prop_assert!(document.discontinuity_sequence >= before.discontinuity_sequence);
            prop_assert_eq!(document.next.media_sequence, i64::try_from(number + 1).unwrap());
            let numbers: Vec<_> = document.segments.iter().map(|entry| entry.number).collect();
            let expected: Vec<_> = (numbers[0]..=number).collect();
            prop_assert_eq!(&numbers, &expected);
            let removed: Vec<_> = before.segments.iter().filter(|entry| entry.number < numbers[0]).collect();
            if step.hole == 0 && !removed.is_empty() {
                prop_assert!(window.duration() >= Ticks::from_seconds(i64::from(WANTED)));
            }
            for entry in removed {
                let own = Ticks(i64::try_from(entry.duration_ticks).unwrap());
                left.insert(entry.number, now + (own + longest).to_duration());
            }
            // What stays is as it was.
            for entry in &document.segments {
                if let Some(same) = before.segments.iter().find(|other| other.number == entry.number) {
                    prop_assert_eq!(same, entry);
                }
            }
            let listed = render::media(&document, "source", |entry| entry.number.to_string());
            prop_assert_eq!(listed.matches("#EXTINF").count(), numbers.len());
            for number in window.expired(now) {
                prop_assert!(left.remove(&number).is_some_and(|until| now >= until), "{number} left too early");
                gone.push(number);
            }
            number += 1;
            before = document;
        }
        let end = now + Duration::from_secs(3600);
        gone.extend(window.expired(end));
        let mut once = gone.clone();
        once.dedup();
        prop_assert_eq!(&once, &gone);
        prop_assert!(gone.is_sorted());
        prop_assert!(window.expired(end).is_empty());
    }
}
