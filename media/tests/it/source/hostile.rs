//! Bytes that no muxer wrote: never a panic, never more memory than the bounds allow, and the stream is found again behind them.

use bytes::Bytes;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent};
use media::pipe::PipeDemuxer;
use media::time::Ticks;
use media::unit::Track;

use crate::source::stream::{PACKET, events_of, television, units, usual};

/// A picture, an audio packet and what is held before a gate, with room for the buffers' growth.
const BOUND: usize = 10 * 1024 * 1024;

/// Repeatable noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// Pushes everything in chunks of changing size and checks the bounds after each.
fn survive(bytes: &[u8], noise: &mut Noise) -> FrontEnd {
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    });
    let mut pipe = PipeDemuxer::video(Ticks(0));
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(1 + noise.below(5000)));
        let chunk = Bytes::copy_from_slice(chunk);
        for event in front.push(&chunk) {
            if let FrontEvent::Unit(unit) = event {
                assert!(unit.payload.len() < BOUND);
            }
        }
        pipe.push(&chunk);
        assert!(front.held_bytes() < BOUND);
        rest = after;
    }
    front
}

#[test]
fn noise_is_survived() {
    for seed in 1..40 {
        let mut noise = Noise(seed);
        let bytes = noise.bytes(30_000);
        survive(&bytes, &mut noise).finish();
    }
}

#[test]
fn noise_in_packets_is_survived() {
    for seed in 1..40 {
        let mut noise = Noise(seed * 7919);
        let mut bytes = noise.bytes(PACKET * 200);
        for packet in bytes.chunks_mut(PACKET) {
            packet[0] = 0x47;
            // A few PIDs only, the PAT's among them, so that something fits together now and then.
            packet[1] &= 0x40;
            packet[2] &= 0x01;
        }
        survive(&bytes, &mut noise).finish();
    }
}

#[test]
fn flipped_bits_are_survived() {
    let hevc =
        "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p -c:a ac3";
    let mpeg2 = "-c:v mpeg2video -c:a mp2";
    let samples = [
        usual(1.0),
        television("160x96", "25", 0.5, hevc),
        television("160x96", "25", 0.5, mpeg2),
    ];
    for seed in 1..60_u64 {
        let mut noise = Noise(seed * 104_729);
        let mut bytes = samples[noise.below(samples.len())].clone();
        for _ in 0..1 + noise.below(400) {
            let position = noise.below(bytes.len());
            bytes[position] ^= 1 << noise.below(8);
        }
        survive(&bytes, &mut noise).finish();
    }
}

#[test]
fn cut_out_and_repeated_pieces_are_survived() {
    let sample = usual(1.0);
    for seed in 1..60_u64 {
        let mut noise = Noise(seed * 15_485_863);
        let mut bytes = Vec::new();
        for _ in 0..6 {
            let start = noise.below(sample.len());
            let length = noise.below(sample.len() / 3);
            let piece = &sample[start..(start + length).min(sample.len())];
            bytes.extend_from_slice(piece);
        }
        let mut front = survive(&bytes, &mut noise);
        front.reconnect();
        front.push(&Bytes::copy_from_slice(&bytes));
        front.finish();
    }
}

#[test]
fn the_stream_is_found_again_behind_noise() {
    let sample = usual(1.0);
    for seed in 1..10 {
        let noise = Noise(seed).bytes(5000 + usize::try_from(seed).unwrap());
        let events = events_of(&[noise, sample.clone()].concat(), 1316);
        assert_eq!(units(&events, Track::Video).len(), 25);
    }
}

#[test]
fn a_picture_without_end_is_thrown_away() {
    let sample = usual(1.0);
    let starts = |packet: &[u8]| packet[1] & 0x5F == 0x41 && packet[2] == 0;
    let key = sample.chunks(PACKET).position(starts).unwrap();
    let mut bytes = sample[..(key + 1) * PACKET].to_vec();
    for counter in 1..60_000_u32 {
        let mut packet = [0x55; PACKET];
        let counter = u8::try_from(counter % 16).unwrap();
        packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | counter]);
        bytes.extend(packet);
    }
    let front = survive(&bytes, &mut Noise(3));
    assert_eq!(front.counters().oversized_units, 1);
}
