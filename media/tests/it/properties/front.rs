//! The front end under any damage: the same events however the bytes are cut, bounded memory, and the stream is found again.

use std::sync::LazyLock;

use bytes::Bytes;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent, Malformed};
use media::unit::Track;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::one_in;
use crate::source::stream::{PACKET, events_of, television, units};

/// A picture, an audio packet and what is held before a gate, with room for the buffers' growth.
const BOUND: usize = 10 * 1024 * 1024;

static SAMPLES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| samples(""));

/// The same later on: no connection repeats what is so far ahead.
static LATER: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| samples("-output_ts_offset 100"));

fn samples(options: &str) -> [Vec<u8>; 3] {
    [
        "-c:v libx264 -preset ultrafast -bf 2 -g 10 -sc_threshold 0 -pix_fmt yuv420p -c:a aac",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=10 -pix_fmt yuv420p -c:a ac3",
        "-c:v mpeg2video -g 10 -bf 2 -c:a mp2",
    ]
    .map(|codecs| television("160x96", "25", 1.6, &format!("{codecs} {options}")))
}

/// What happens to a stream on its way.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Drop(Index),
    Repeat(Index),
    Swap(Index, Index),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    let noise = || vec(any::<u8>(), 1..400);
    prop_oneof![
        (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        place().prop_map(Damage::Drop),
        place().prop_map(Damage::Repeat),
        (place(), place()).prop_map(|(one, other)| Damage::Swap(one, other)),
        (place(), 1..1000_usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (place(), noise()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place(), noise()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
    ]
}

fn damaged(sample: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for damage in damages {
        apply(&mut bytes, damage);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let packets = (bytes.len() / PACKET).max(1);
    let packet = |index: &Index| {
        let start = index.index(packets) * PACKET;
        start..(start + PACKET).min(bytes.len())
    };
    match damage {
        _ if bytes.len() < PACKET => {}
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Drop(at) => {
            let range = packet(at);
            bytes.drain(range);
        }
        Damage::Repeat(at) => {
            let range = packet(at);
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, copy);
        }
        Damage::Swap(one, other) => {
            let (one, other) = (packet(one), packet(other));
            let (copy, moved) = (bytes[one.clone()].to_vec(), bytes[other.clone()].to_vec());
            if copy.len() == moved.len() {
                bytes[one].copy_from_slice(&moved);
                bytes[other].copy_from_slice(&copy);
            }
        }
        Damage::Cut(at, length) => {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Damage::Insert(at, noise) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, noise.iter().copied());
        }
        Damage::Overwrite(at, noise) => {
            let at = at.index(bytes.len());
            let end = (at + noise.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&noise[..end - at]);
        }
    }
}

fn front_end() -> FrontEnd {
    FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    })
}

/// Pushes everything in chunks of these lengths, again and again, and checks the bounds after each.
fn push(front: &mut FrontEnd, bytes: &[u8], lengths: &[usize]) -> Vec<FrontEvent> {
    let mut events = Vec::new();
    let mut rest = bytes;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(rest.len().min(*length));
        events.extend(front.push(&Bytes::copy_from_slice(chunk)));
        assert!(front.held_bytes() < BOUND);
        rest = after;
    }
    events
}

/// What was said, and the encoder's inputs; how those are handed out in pieces says nothing. Whether bytes are a web page is judged
/// by what is there at the time.
fn said(events: Vec<FrontEvent>) -> (Vec<FrontEvent>, Vec<Vec<u8>>) {
    let (mut others, mut inputs) = (Vec::new(), vec![Vec::new()]);
    for event in events {
        match event {
            FrontEvent::FeedStart(bytes) => inputs.push(bytes.to_vec()),
            FrontEvent::Feed(bytes) => inputs.last_mut().unwrap().extend_from_slice(&bytes),
            FrontEvent::Malformed(Malformed::NotTransportStream(_)) => {}
            other => others.push(other),
        }
    }
    (others, inputs)
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn however_the_bytes_are_cut_they_say_the_same(
        sample in 0..3_usize,
        damages in vec(damage(), 0..8),
        lengths in vec(1..3000_usize, 1..12),
    ) {
        let bytes = damaged(&SAMPLES[sample], &damages);
        let [whole, cut] = [&[usize::MAX][..], &lengths].map(|lengths| {
            let mut front = front_end();
            let mut events = push(&mut front, &bytes, lengths);
            events.extend(front.finish());
            said(events)
        });
        prop_assert!(whole == cut, "{:?}", first_difference(&whole.0, &cut.0));
    }

    #[test]
    fn behind_any_damage_the_stream_is_found_again(
        sample in 0..3_usize,
        damages in vec(damage(), 0..20),
        reconnects in any::<bool>(),
        length in 1..5000_usize,
    ) {
        let clean = &LATER[sample];
        let mut front = front_end();
        push(&mut front, &damaged(&SAMPLES[sample], &damages), &[length]);
        if reconnects {
            front.reconnect();
        }
        let mut events = push(&mut front, clean, &[length]);
        events.extend(front.finish());
        let wanted = units(&events_of(clean, 1316), Track::Video);
        let found = units(&events, Track::Video);
        // One group may be lost on the way in, and no more.
        let last = wanted.len() / 2;
        let ends = found.len() >= last && found[found.len() - last..].iter().zip(&wanted[wanted.len() - last..])
            .all(|(one, other)| (one.dts.wrapped(), &one.payload) == (other.dts.wrapped(), &other.payload));
        prop_assert!(ends, "{} pictures of {}", found.len(), wanted.len());
    }

    #[test]
    fn a_packet_that_is_sent_twice_counts_once(sample in 0..3_usize, places in vec(any::<Index>(), 1..6)) {
        let clean = &SAMPLES[sample];
        let repeated: std::collections::BTreeSet<_> =
            places.iter().map(|place| place.index(clean.len() / PACKET)).collect();
        let mut bytes = Vec::new();
        for (index, packet) in clean.chunks(PACKET).enumerate() {
            bytes.extend_from_slice(packet);
            if repeated.contains(&index) {
                bytes.extend_from_slice(packet);
            }
        }
        let [once, twice] = [clean, &bytes].map(|bytes| {
            let mut front = front_end();
            let mut events = push(&mut front, bytes, &[1316]);
            events.extend(front.finish());
            assert_eq!(front.counters().continuity_errors, 0);
            said(events).0
        });
        prop_assert!(once == twice, "{:?}", first_difference(&once, &twice));
    }
}

fn first_difference(one: &[FrontEvent], other: &[FrontEvent]) -> Option<String> {
    let longest = one.len().max(other.len());
    let different = (0..longest).find(|&index| one.get(index) != other.get(index))?;
    let short = |events: &[FrontEvent]| {
        let text = format!("{:?}", events.get(different));
        text.chars().take(300).collect::<String>()
    };
    Some(format!(
        "event {different}: {} and {}",
        short(one),
        short(other)
    ))
}
