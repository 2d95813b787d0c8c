//! The window against the rules of RFC 8216 §6.2.2.

use super::*;
use crate::segmenter::io::{RenditionId, RenditionSegment};
use bytes::Bytes;

fn window() -> Window {
    Window::new(WindowSettings {
        class: String::new(),
        stream_uid: "uid".to_owned(),
        attempt: 2,
        version: 100,
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        playlist_duration_seconds: 12,
        start: ResumeFloor {
            media_sequence: 10,
            discontinuity_sequence: 5,
        },
    })
}

fn segment(number: u64, seconds: i64) -> NumberedSegment {
    NumberedSegment {
        number,
        duration: Ticks::from_seconds(seconds),
        discontinuity: false,
        discontinuity_sequence: 5,
        independent: true,
        program_date_time: 1_000,
        renditions: ["source", "480p"]
            .map(|id| RenditionSegment {
                rendition: RenditionId::new(id),
                bytes: Bytes::new(),
            })
            .to_vec(),
    }
}

fn rendition(id: &str) -> Rendition {
    Rendition {
        id: id.to_owned(),
        bandwidth: 1,
        average_bandwidth: 1,
        codecs: "avc1.64001f".to_owned(),
        resolution: None,
        frame_rate_thousandths: None,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn numbers(window: &Window) -> Vec<u64> {
    let document = window.document(0);
    document.segments.iter().map(|entry| entry.number).collect()
}

#[test]
fn at_least_the_asked_duration_stays_listed() {
    let mut window = window();
    for number in 10..17 {
        window.push(&segment(number, 2), seconds(number));
    }
    assert_eq!(numbers(&window), [11, 12, 13, 14, 15, 16]);
    window.push(&segment(17, 4), seconds(17));
    assert_eq!(numbers(&window), [13, 14, 15, 16, 17]);
    assert_eq!(window.duration(), Ticks::from_seconds(12));
}

#[test]
fn a_removed_segment_stays_for_its_duration_and_the_longest_playlist() {
    let mut window = window();
    for number in 10..17 {
        window.push(&segment(number, 2), seconds(number));
    }
    // Number 10 left at 16 s, when the playlist had grown to 14 s.
    assert_eq!(window.expired(seconds(31)), Vec::<u64>::new());
    assert_eq!(window.expired(seconds(32)), [10]);
    assert_eq!(window.expired(seconds(99)), Vec::<u64>::new());
}

#[test]
fn the_discontinuity_sequence_grows_when_a_discontinuity_leaves() {
    let mut window = window();
    for number in 10..16 {
        let mut segment = segment(number, 4);
        segment.discontinuity = number == 12;
        segment.discontinuity_sequence = if number >= 12 { 6 } else { 5 };
        window.push(&segment, seconds(number));
        let first = numbers(&window)[0];
        let expected = if first <= 12 { 5 } else { 6 };
        assert_eq!(
            window.document(0).discontinuity_sequence,
            expected,
            "{number}"
        );
    }
    assert_eq!(numbers(&window), [13, 14, 15]);
    assert_eq!(
        window.document(0).next,
        ResumeFloor {
            media_sequence: 16,
            discontinuity_sequence: 6
        }
    );
}

#[test]
fn numbers_that_skip_take_the_old_list_off() {
    let mut window = window();
    window.push(&segment(10, 2), seconds(1));
    window.push(&segment(11, 2), seconds(3));
    window.push(&segment(500, 2), seconds(5));
    assert_eq!(numbers(&window), [500]);
    assert_eq!(window.expired(seconds(11)), [10, 11]);
}

#[test]
fn what_a_rendition_of_the_master_lacks_is_a_gap() {
    let mut window = window();
    window.push(&segment(10, 2), seconds(1));
    window.set_renditions(["source", "480p", "360p"].map(rendition).to_vec());
    let mut partial = segment(11, 2);
    partial.renditions.truncate(1);
    window.push(&partial, seconds(3));
    let document = window.document(7);
    let gaps: Vec<_> = document.segments.iter().map(|entry| &entry.gaps).collect();
    assert_eq!(
        gaps,
        [
            &vec!["360p".to_owned()],
            &vec!["480p".to_owned(), "360p".to_owned()]
        ]
    );
    assert_eq!(document.updated_unix_milliseconds, 7);
}

#[test]
fn the_version_grows_with_each_change_and_with_nothing_else() {
    let mut window = window();
    assert_eq!(window.version(), 100);
    window.push(&segment(10, 2), seconds(1));
    window.set_renditions(vec![rendition("source")]);
    assert_eq!(window.version(), 102);
    window.set_renditions(vec![rendition("source")]);
    window.expired(seconds(50));
    assert_eq!(window.version(), 102);
}

#[test]
fn an_empty_window_says_where_it_will_start() {
    let document = window().document(0);
    assert_eq!(document.next.media_sequence, 10);
    assert_eq!(document.discontinuity_sequence, 5);
    assert!(document.segments.is_empty());
}

fn late(number: u64, id: &str) -> NumberedLate {
    NumberedLate {
        number,
        independent: true,
        segment: RenditionSegment {
            rendition: RenditionId::new(id),
            bytes: Bytes::new(),
        },
    }
}

fn of_the_source(number: u64) -> NumberedSegment {
    let mut segment = segment(number, 2);
    segment.renditions.truncate(1);
    segment
}

/// The numbers that a rendition lacks, and whether it is behind.
fn lacks(window: &Window, id: &str) -> (Vec<u64>, bool) {
    let document = window.document(0);
    let lacking = document
        .segments
        .iter()
        .filter(|entry| entry.gaps.iter().any(|gap| gap == id));
    let numbers = lacking.map(|entry| entry.number).collect();
    (numbers, document.behind.iter().any(|behind| behind == id))
}

#[test]
fn what_comes_late_is_put_in_place_where_nobody_has_seen_it_missing() {
    let mut window = window();
    window.set_renditions(["source", "480p"].map(rendition).to_vec());
    window.set_encoded(&["480p".to_owned()], seconds(0));
    window.push(&segment(10, 2), seconds(1));
    window.push(&of_the_source(11), seconds(3));
    window.push(&of_the_source(12), seconds(5));
    assert_eq!(lacks(&window, "480p"), (vec![11, 12], true));
    assert_eq!(window.lapses_at(), Some(seconds(7)));
    let version = window.version();
    assert!(window.put_in_place(&late(11, "480p"), seconds(6)));
    assert_eq!(lacks(&window, "480p"), (vec![12], true));
    assert_eq!(window.version(), version + 1);
    assert!(!window.put_in_place(&late(11, "480p"), seconds(6)), "twice");
    assert!(
        !window.put_in_place(&late(12, "source"), seconds(6)),
        "not encoded"
    );
    assert!(
        !window.put_in_place(&late(13, "480p"), seconds(6)),
        "not listed"
    );
    // Only at the end of its playlist: what lies before that was left out of it.
    window.push(&of_the_source(13), seconds(7));
    assert!(window.put_in_place(&late(13, "480p"), seconds(8)));
    assert!(!window.put_in_place(&late(12, "480p"), seconds(8)));
    assert_eq!(lacks(&window, "480p"), (vec![12], false));
}

#[test]
fn a_gap_is_shown_when_players_would_lose_patience_and_stays() {
    let mut window = window();
    window.set_renditions(["source", "480p"].map(rendition).to_vec());
    window.set_encoded(&["480p".to_owned()], seconds(0));
    window.push(&segment(10, 2), seconds(1));
    window.push(&of_the_source(11), seconds(3));
    assert!(!window.lapse(seconds(6)));
    assert!(window.lapse(seconds(7)));
    assert!(!window.lapse(seconds(8)));
    assert_eq!(lacks(&window, "480p"), (vec![11], false));
    assert!(!window.put_in_place(&late(11, "480p"), seconds(8)));
    window.push(&segment(12, 2), seconds(9));
    window.push(&of_the_source(13), seconds(11));
    assert_eq!(lacks(&window, "480p"), (vec![11, 13], true));
}

#[test]
fn what_needs_more_than_was_said_of_its_number_is_not_put_in_place() {
    let mut window = window();
    window.set_renditions(["source", "480p"].map(rendition).to_vec());
    window.set_encoded(&["480p".to_owned()], seconds(0));
    window.push(&of_the_source(10), seconds(1));
    let dependent = NumberedLate {
        independent: false,
        ..late(10, "480p")
    };
    assert!(!window.put_in_place(&dependent, seconds(2)));
    assert!(window.put_in_place(&late(10, "480p"), seconds(2)));
}
