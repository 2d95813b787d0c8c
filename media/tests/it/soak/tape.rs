//! Some seconds of FFmpeg's making that are played again and again on a clock that runs on. Changes timestamps and counters only.

use std::collections::BTreeMap;

use crate::source::stream::{PACKET, pid, television};

/// How long a tape is: whole pictures and, at 32 kHz, whole frames of sound.
pub(super) const SECONDS: i64 = 4;
const TICKS: i64 = SECONDS * 90_000;
const WIRE: i64 = 1 << 33;

/// Packets that begin at time zero.
pub(super) struct Tape {
    packets: Vec<[u8; PACKET]>,
}

impl Tape {
    /// A tape with pictures of this size; `options` say what else is different.
    pub(super) fn new(size: &str, version: u8, options: &str) -> Self {
        let codecs = format!(
            "-ar 32000 -c:v libx264 -preset ultrafast -bf 2 -g 50 -sc_threshold 0 -pix_fmt yuv420p \
             -c:a aac -ac 1 -b:a 24k -tables_version {version} -muxdelay 0 {options}"
        );
        let bytes = television(size, "25", 4.0, &codecs);
        let mut packets = bytes.as_chunks::<PACKET>().0.to_vec();
        let first = packets.iter().filter_map(times).min();
        let first = first.unwrap_or_default();
        for packet in &mut packets {
            shift(packet, -first);
        }
        // What sounds on after the last picture would be there twice.
        let end = packets.iter().position(|packet| {
            times(packet).is_some_and(|time| (TICKS + 9000..WIRE / 2).contains(&time))
        });
        packets.truncate(end.unwrap_or(packets.len()));
        Self { packets }
    }

    /// The tape once more, from `at` on, with the counters running on.
    pub(super) fn play(&self, at: i64, counters: &mut BTreeMap<u16, u8>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.packets.len() * PACKET);
        for packet in &self.packets {
            let mut packet = *packet;
            shift(&mut packet, at);
            if packet[3] & 0x10 != 0 {
                let counter = counters.entry(pid(&packet)).or_default();
                packet[3] = packet[3] & 0xF0 | *counter;
                *counter = (*counter + 1) & 0x0F;
            }
            bytes.extend_from_slice(&packet);
        }
        bytes
    }
}

/// Where the header of a PES packet is that starts here.
fn header(packet: &[u8; PACKET]) -> Option<usize> {
    let field = if packet[3] & 0x20 != 0 {
        1 + usize::from(packet[4])
    } else {
        0
    };
    let start = 4 + field;
    let starts = packet[1] & 0x40 != 0 && packet.get(start..start + 3) == Some(&[0, 0, 1]);
    starts.then_some(start)
}

/// The decoding time of the PES packet that starts here.
fn times(packet: &[u8; PACKET]) -> Option<i64> {
    let start = header(packet)?;
    match packet[start + 7] >> 6 {
        2 => Some(stamp(packet, start + 9)),
        3 => Some(stamp(packet, start + 14)),
        _ => None,
    }
}

fn stamp(packet: &[u8; PACKET], at: usize) -> i64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|index| i64::from(packet[at + index]));
    (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
}

/// Moves every time of a packet.
fn shift(packet: &mut [u8; PACKET], by: i64) {
    if packet[3] & 0x20 != 0 && packet[4] > 6 && packet[5] & 0x10 != 0 {
        let [a, b, c, d, e] = [6, 7, 8, 9, 10].map(|index| i64::from(packet[index]));
        let base = (a << 25 | b << 17 | c << 9 | d << 1 | e >> 7) + by;
        let base = base.rem_euclid(WIRE) << 7;
        for (index, octet) in (6..10).zip([32, 24, 16, 8]) {
            packet[index] = (base >> octet & 0xFF) as u8;
        }
        packet[10] = packet[10] & 0x7F | (base & 0x80) as u8;
    }
    let Some(start) = header(packet) else { return };
    let kind = packet[start + 7] >> 6;
    if kind >= 2 {
        restamp(packet, start + 9, by);
    }
    if kind == 3 {
        restamp(packet, start + 14, by);
    }
}

fn restamp(packet: &mut [u8; PACKET], at: usize, by: i64) {
    let time = (stamp(packet, at) + by).rem_euclid(WIRE);
    packet[at] = packet[at] & 0xF1 | (time >> 30 << 1) as u8;
    packet[at + 1] = (time >> 22 & 0xFF) as u8;
    packet[at + 2] = (time >> 15 << 1 & 0xFE) as u8 | 1;
    packet[at + 3] = (time >> 7 & 0xFF) as u8;
    packet[at + 4] = (time << 1 & 0xFE) as u8 | 1;
}
