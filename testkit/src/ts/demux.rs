//! Takes whole TS files and segments in memory apart into tables, PES packets and clock references. Judges nothing.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::packet::{PACKET_SIZE, Packet};
use super::pes;
use super::tables::{ProgrammeMap, parse_pat, parse_pmt};

/// One PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pes {
    pub(crate) pts: Option<u64>,
    pub(crate) dts: Option<u64>,
    /// The random access indicator stood on its first packet.
    pub(crate) random_access: bool,
    /// Index of its first transport packet in the input.
    pub(crate) packet: usize,
    /// The elementary stream bytes.
    pub(crate) data: Bytes,
}

/// What a run of transport packets contained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demuxed {
    /// The PMT's PID as the first PAT named it.
    pub(crate) pmt_pid: Option<u16>,
    /// The first programme map.
    pub(crate) map: Option<ProgrammeMap>,
    /// PES packets of each PID in byte order.
    pub(crate) pes: BTreeMap<u16, Vec<Pes>>,
    /// Clock references in byte order.
    pub(crate) clocks: Vec<Clock>,
    /// Headers of all packets in byte order.
    pub(crate) headers: Vec<Header>,
    /// Packets that could not be parsed.
    pub(crate) broken: usize,
}

/// A clock reference and where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Index of its transport packet in the input.
    pub(crate) packet: usize,
    /// 27 MHz ticks.
    pub(crate) value: u64,
    pub(crate) discontinuity: bool,
}

/// What continuity checks need of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) pid: u16,
    pub(crate) continuity: u8,
    pub(crate) has_payload: bool,
    pub(crate) discontinuity: bool,
}

struct Open {
    random_access: bool,
    packet: usize,
    data: Vec<u8>,
}

/// Takes whole packets apart; trailing bytes that fill no packet count as broken.
pub(crate) fn demux(bytes: &[u8]) -> Demuxed {
    let mut result = Demuxed::default();
    let mut open: BTreeMap<u16, Open> = BTreeMap::new();
    for (index, chunk) in bytes.chunks(PACKET_SIZE).enumerate() {
        let Some(packet) = Packet::parse(chunk) else {
            result.broken += 1;
            continue;
        };
        result.note(index, &packet);
        if !result.carries_pes(packet.pid) {
            continue;
        }
        if packet.unit_start {
            let started = Open {
                random_access: packet.random_access,
                packet: index,
                data: packet.payload.to_vec(),
            };
            if let Some(finished) = open.insert(packet.pid, started) {
                result.finish(packet.pid, finished);
            }
        } else if let Some(unit) = open.get_mut(&packet.pid) {
            unit.data.extend_from_slice(packet.payload);
        }
    }
    for (pid, unit) in open {
        result.finish(pid, unit);
    }
    result
}

impl Demuxed {
    fn note(&mut self, index: usize, packet: &Packet<'_>) {
        self.headers.push(Header {
            pid: packet.pid,
            continuity: packet.continuity,
            has_payload: packet.has_payload,
            discontinuity: packet.discontinuity,
        });
        if let Some(value) = packet.pcr {
            self.clocks.push(Clock {
                packet: index,
                value,
                discontinuity: packet.discontinuity,
            });
        }
        if packet.unit_start && packet.pid == 0 && self.pmt_pid.is_none() {
            self.pmt_pid = parse_pat(packet.payload);
        } else if packet.unit_start && Some(packet.pid) == self.pmt_pid && self.map.is_none() {
            self.map = parse_pmt(packet.payload);
        }
    }

    fn carries_pes(&self, pid: u16) -> bool {
        self.map
            .as_ref()
            .is_some_and(|map| map.streams.iter().any(|stream| stream.pid == pid))
    }

    fn finish(&mut self, pid: u16, unit: Open) {
        let Some(header) = pes::parse(&unit.data) else {
            self.broken += 1;
            return;
        };
        self.pes.entry(pid).or_default().push(Pes {
            pts: header.pts,
            dts: header.dts,
            random_access: unit.random_access,
            packet: unit.packet,
            data: Bytes::from(unit.data).slice(header.length..),
        });
    }
}
