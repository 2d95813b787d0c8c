//! Tests of sources whose tracks move in mid-stream: wherever that happens, what is passed through goes on with the next key.

use std::time::Duration;

use bytes::Bytes;
use media::segmenter::io::FinishedSegment;

use super::Flow;
use super::effect::{Effect, Now};
use crate::fixtures;

const PACKET: usize = 188;
/// Of the source's time, which is as long as it is.
const SECONDS: usize = 8;
/// Its keys are a second apart and segments two seconds long; a generation that ends ends one early.
const LONGEST_WAIT: Duration = Duration::from_millis(3500);

type Packet = [u8; PACKET];

/// Where tables begin among the packets.
fn tables(packets: &[Packet]) -> Vec<usize> {
    let is_first = |packet: &Packet| packet[1] & 0x1F == 0 && packet[2] == 0;
    let places = packets.iter().enumerate();
    places
        .filter_map(|(place, packet)| is_first(packet).then_some(place))
        .collect()
}

/// Packets that go over to those of `next` at `place`, where its tables come in between.
fn turned(packets: &[Packet], next: &[Packet], place: usize) -> Vec<Packet> {
    let table = tables(next)[0];
    let renewed = next[table..table + 2].iter().map(|packet| {
        let mut packet = *packet;
        // One that was not sent yet.
        packet[3] ^= 8;
        packet
    });
    let (before, after) = (&packets[..place], &next[place..]);
    before
        .iter()
        .copied()
        .chain(renewed)
        .chain(after.iter().copied())
        .collect()
}

/// Plays packets in real time, so many at once; what came out, and when.
fn play(packets: &[Packet], at_once: usize) -> Vec<(Duration, FinishedSegment)> {
    let mut flow = Flow::new(fixtures::job("/nowhere").class);
    let mut segments = Vec::new();
    let whole = Duration::from_secs(SECONDS as u64);
    for (index, chunk) in packets.chunks(at_once).enumerate() {
        let until = (index * at_once + chunk.len()) as f64 / packets.len() as f64;
        let now = Now {
            monotonic: whole.mul_f64(until),
            unix_milliseconds: 0,
        };
        let mut effects = flow.push(&Bytes::from(chunk.concat()), now);
        effects.extend(flow.advance(now));
        for effect in effects {
            match effect {
                Effect::Segment(segment) => segments.push((now.monotonic, segment)),
                Effect::Unusable(unusable) => panic!("{unusable:?}"),
                _ => {}
            }
        }
    }
    segments
}

fn is_played_on(segments: &[(Duration, FinishedSegment)], what: &str) {
    let mut before = Duration::ZERO;
    let whole = Duration::from_secs(SECONDS as u64);
    for at in segments.iter().map(|(at, _)| *at).chain([whole]) {
        assert!(at - before <= LONGEST_WAIT, "{what}: {before:?} to {at:?}");
        before = at;
    }
    let seams = segments.iter().filter(|(_, one)| one.discontinuity).count();
    assert_eq!(seams, 2, "{what}");
}

#[test]
fn tracks_that_move_anywhere_go_on_with_the_next_key() {
    let first = fixtures::television_with(&format!("-t {SECONDS}"));
    let moved = "-mpegts_start_pid 0x200 -mpegts_pmt_start_pid 0x900 -tables_version 1";
    let second = fixtures::television_with(&format!("-t {SECONDS} {moved}"));
    let (first, second) = (first.as_chunks().0, second.as_chunks().0);
    assert_eq!(tables(first), tables(second));
    let a_second = first.len() / SECONDS;
    for place in 2 * a_second..3 * a_second {
        let back = turned(second, first, place + 2 * a_second);
        let course = turned(first, &back, place);
        for at_once in [1, 2, 7, 64] {
            let what = format!("moved at {place} of {}, {at_once} at once", first.len());
            is_played_on(&play(&course, at_once), &what);
        }
    }
}
