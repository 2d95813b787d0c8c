//! One loop of transport packets with the time of each, and the rendering of any stretch of its endless repetition.
//! Timestamps, clock references and continuity counters run on from lap to lap. Pure: knows no clock.

use bytes::{BufMut, BytesMut};

use crate::ts::packet::{CLOCK_RATE, CLOCK_RATIO, PACKET_SIZE, write_pcr};
use crate::ts::pes::write_stamp;

/// PIDs of the stream; the position in this table is how a packet refers to its PID's counter.
pub(crate) const PIDS: [u16; 6] = [PAT, PMT, VIDEO, AUDIO, DATA, CLOCK];
pub(crate) const PAT: u16 = 0;
pub(crate) const PMT: u16 = 0x1000;
pub(crate) const VIDEO: u16 = 0x100;
pub(crate) const AUDIO: u16 = 0x101;
pub(crate) const DATA: u16 = 0x102;
pub(crate) const CLOCK: u16 = 0x1ff;

/// Timestamps of a PES header that begins in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// Where the PTS stands in the packet.
    pub(crate) offset: u8,
    pub(crate) pts: i64,
    pub(crate) dts: Option<i64>,
}

/// One packet before it has its place in the loop.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// When it is sent, in 27 MHz ticks from the start of the loop; may lie outside of it.
    pub(crate) time: i64,
    pub(crate) pid: u16,
    pub(crate) stamps: Option<Stamps>,
    /// A clock reference stands at bytes 6 to 11, and says so much more than the time of sending, in 27 MHz ticks.
    pub(crate) clock: Option<i64>,
    pub(crate) bytes: [u8; PACKET_SIZE],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    time: u64,
    pid_index: u8,
    counts: bool,
    clock: Option<i64>,
    /// Number of this packet among those of its PID in the loop.
    number: u32,
    stamps: Option<Stamps>,
}

/// A loop of packets, sorted by time.
#[derive(Debug)]
pub(crate) struct Carousel {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    totals: [u32; PIDS.len()],
    /// 27 MHz ticks of the loop.
    length: u64,
    /// Times of key pictures' first packets.
    keys: Vec<u64>,
    gop: u64,
}

/// A place between two packets of the endless repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    lap: u64,
    index: usize,
}

impl Carousel {
    /// Sorts the drafts into a loop of `duration` 90 kHz ticks; `keys` and `gop` are in 27 MHz ticks.
    pub(crate) fn new(mut drafts: Vec<Draft>, duration: i64, keys: Vec<u64>, gop: u64) -> Self {
        let length = duration * CLOCK_RATIO.cast_signed();
        for draft in &mut drafts {
            let laps = draft.time.div_euclid(length);
            draft.time -= laps * length;
            if let Some(stamps) = &mut draft.stamps {
                stamps.pts -= laps * duration;
                stamps.dts = stamps.dts.map(|dts| dts - laps * duration);
            }
        }
        drafts.sort_by_key(|draft| draft.time);
        let mut totals = [0; PIDS.len()];
        let mut bytes = Vec::with_capacity(drafts.len() * PACKET_SIZE);
        let mut slots = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let pid_index = PIDS.iter().position(|pid| *pid == draft.pid).unwrap_or(0);
            let counts = draft.bytes[3] & 0x10 != 0;
            slots.push(Slot {
                time: draft.time.cast_unsigned(),
                pid_index: pid_index as u8,
                counts,
                clock: draft.clock,
                number: totals[pid_index],
                stamps: draft.stamps,
            });
            totals[pid_index] += u32::from(counts);
            bytes.extend_from_slice(&draft.bytes);
        }
        Self {
            slots,
            bytes,
            totals,
            length: length.cast_unsigned(),
            keys,
            gop,
        }
    }

    /// 27 MHz ticks of one lap.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The place just before the first packet that is due at `position` or later.
    pub(crate) fn cursor(&self, position: u64) -> Cursor {
        let within = position % self.length;
        Cursor {
            lap: position / self.length,
            index: self.slots.partition_point(|slot| slot.time < within),
        }
    }

    /// The latest position, not after `position`, that lies at this share of a GOP; `position` itself where there are no keys.
    pub(crate) fn phase_before(&self, position: u64, phase: f64) -> u64 {
        let shift = (self.gop as f64 * phase.clamp(0.0, 1.0)) as u64;
        let lap = position / self.length;
        (lap.saturating_sub(1)..=lap)
            .flat_map(|lap| {
                self.keys
                    .iter()
                    .map(move |key| lap * self.length + key + shift)
            })
            .filter(|candidate| *candidate <= position)
            .max()
            .unwrap_or(position)
    }

    /// The first position from `position` on at which a key picture begins.
    pub(crate) fn key_from(&self, position: u64) -> Option<u64> {
        let lap = position / self.length;
        let keys = (lap..=lap + 1).flat_map(|lap| {
            let start = lap * self.length;
            self.keys.iter().map(move |key| start + key)
        });
        keys.filter(|key| *key >= position).min()
    }

    /// Appends the packets due before `until` to `out` and moves the cursor behind them. `offset` is added to all timestamps (90 kHz).
    pub(crate) fn render(&self, cursor: &mut Cursor, until: u64, offset: i64, out: &mut BytesMut) {
        while let Some(slot) = self.slots.get(cursor.index) {
            if cursor.lap * self.length + slot.time >= until {
                return;
            }
            self.write(*slot, *cursor, offset, out);
            cursor.index += 1;
            if cursor.index == self.slots.len() {
                *cursor = Cursor {
                    lap: cursor.lap + 1,
                    index: 0,
                };
            }
        }
    }

    fn write(&self, slot: Slot, cursor: Cursor, offset: i64, out: &mut BytesMut) {
        let from = out.len();
        let template = cursor.index * PACKET_SIZE;
        out.put_slice(&self.bytes[template..template + PACKET_SIZE]);
        let packet = &mut out[from..];
        let total = u64::from(self.totals[usize::from(slot.pid_index)]);
        // A packet without payload repeats the counter of the one before it.
        let number = cursor.lap * total + u64::from(slot.number) + u64::from(slot.counts) + 15;
        packet[3] = packet[3] & 0xf0 | (number % 16) as u8;
        let lap_start = offset + (cursor.lap * self.length / CLOCK_RATIO).cast_signed();
        if let Some(more) = slot.clock {
            let base = lap_start.rem_euclid(1 << 33) * CLOCK_RATIO.cast_signed();
            let value = base + slot.time.cast_signed() + more;
            write_pcr(&mut packet[6..12], value.max(0).cast_unsigned());
        }
        if let Some(stamps) = slot.stamps {
            let at = usize::from(stamps.offset);
            let wire = |stamp: i64| (lap_start + stamp).rem_euclid(1 << 33).cast_unsigned();
            let marker = if stamps.dts.is_some() { 3 } else { 2 };
            write_stamp(&mut packet[at..at + 5], marker, wire(stamps.pts));
            if let Some(dts) = stamps.dts {
                write_stamp(&mut packet[at + 5..at + 10], 1, wire(dts));
            }
        }
    }
}

/// Seconds as 27 MHz ticks.
pub(crate) fn clock_ticks(seconds: f64) -> u64 {
    (seconds.max(0.0) * CLOCK_RATE as f64) as u64
}
