//! Cuts one PES packet into transport packets of one PID, counter and stuffing included. Knows neither tables nor segments.

use bytes::Bytes;

use super::{AUDIO_PID, VIDEO_PID};
use crate::time::Ticks;
use crate::ts::section::PACKET_BYTES;

const HEADER_BYTES: usize = 4;
const PAYLOAD_BYTES: usize = PACKET_BYTES - HEADER_BYTES;
const VIDEO_STREAM_ID: u8 = 0xE0;
/// A PES packet with a length field ends here at the latest; what is longer is cut into several.
const MAX_PES_PAYLOAD: usize = 60_000;

/// What the adaptation field of a PES packet's first transport packet says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Adaptation {
    /// A decoder may start here.
    pub(super) random_access: bool,
    /// The clock reference.
    pub(super) clock: Option<Ticks>,
}

/// The counter of one PID, which runs on over segments.
#[derive(Debug, Default)]
pub(super) struct Stream {
    continuity: u8,
    /// The next packet is the first after a seam.
    after_seam: bool,
}

impl Stream {
    /// Marks the next packet as the first after a seam.
    pub(super) fn after_seam(&mut self) {
        self.after_seam = true;
    }

    /// One picture. Its PES length is 0, as video in transport streams may be longer than the field.
    pub(super) fn write_video(
        &mut self,
        pts: Ticks,
        dts: Ticks,
        pieces: &[Bytes],
        adaptation: Adaptation,
        out: &mut Vec<u8>,
    ) {
        let mut header = vec![0, 0, 1, VIDEO_STREAM_ID, 0, 0, 0x84];
        if dts == pts {
            header.extend([0x80, 5]);
            header.extend(timestamp(0x20, pts));
        } else {
            header.extend([0xC0, 10]);
            header.extend(timestamp(0x30, pts));
            header.extend(timestamp(0x10, dts));
        }
        let mut chain = vec![Bytes::from(header)];
        chain.extend_from_slice(pieces);
        self.write(VIDEO_PID, chain, adaptation, out);
    }

    /// Audio frames that start at `pts`.
    pub(super) fn write_audio(
        &mut self,
        stream_id: u8,
        pts: Ticks,
        pieces: &[Bytes],
        adaptation: Adaptation,
        out: &mut Vec<u8>,
    ) {
        let mut adaptation = adaptation;
        let mut stamp = Some(pts);
        let mut rest: Vec<Bytes> = pieces.to_vec();
        while !rest.is_empty() {
            let (now, later) = split_pieces(rest, MAX_PES_PAYLOAD);
            rest = later;
            let size: usize = now.iter().map(Bytes::len).sum();
            let (flags, stamp) = match stamp.take() {
                Some(pts) => (0x80, timestamp(0x20, pts).to_vec()),
                None => (0x00, Vec::new()),
            };
            let length = u16::try_from(size + 3 + stamp.len()).unwrap_or(0);
            let [high, low] = length.to_be_bytes();
            let mut header = vec![0, 0, 1, stream_id, high, low, 0x84, flags];
            header.push(u8::try_from(stamp.len()).unwrap_or(0));
            header.extend(stamp);
            let mut chain = vec![Bytes::from(header)];
            chain.extend(now);
            self.write(AUDIO_PID, chain, std::mem::take(&mut adaptation), out);
        }
    }

    /// A packet that carries nothing but a clock reference; it does not move the counter.
    pub(super) fn write_clock(&mut self, pid: u16, clock: Ticks, out: &mut Vec<u8>) {
        let field = self.adaptation_field(Adaptation {
            random_access: false,
            clock: Some(clock),
        });
        let start = out.len();
        let counter = self.continuity.wrapping_sub(1) & 0x0F;
        out.extend(header(pid, false, 0x20 | counter));
        out.push(u8::try_from(PAYLOAD_BYTES - 1).unwrap_or(0));
        out.extend(field);
        out.resize(start + PACKET_BYTES, 0xFF);
    }

    fn write(
        &mut self,
        pid: u16,
        mut pieces: Vec<Bytes>,
        adaptation: Adaptation,
        out: &mut Vec<u8>,
    ) {
        let mut remaining: usize = pieces.iter().map(Bytes::len).sum();
        let mut field = self.adaptation_field(adaptation);
        let mut current = 0;
        let mut starts = true;
        while remaining > 0 {
            let field_bytes = if field.is_empty() { 0 } else { field.len() + 1 };
            let take = remaining.min(PAYLOAD_BYTES - field_bytes);
            let stuffed = PAYLOAD_BYTES - take;
            let control = if stuffed > 0 { 0x30 } else { 0x10 };
            out.extend(header(pid, starts, control | self.continuity));
            if stuffed > 0 {
                let start = out.len();
                out.push(u8::try_from(stuffed - 1).unwrap_or(0));
                if stuffed > 1 && field.is_empty() {
                    out.push(0);
                }
                out.append(&mut field);
                out.resize(start + stuffed, 0xFF);
            }
            copy(&mut pieces, &mut current, take, out);
            remaining -= take;
            starts = false;
            self.continuity = (self.continuity + 1) & 0x0F;
        }
    }

    /// Flags and clock reference, without the length byte; empty when there is nothing to say.
    fn adaptation_field(&mut self, adaptation: Adaptation) -> Vec<u8> {
        let seam = std::mem::take(&mut self.after_seam);
        let mut flags = 0;
        if seam {
            flags |= 0x80;
        }
        if adaptation.random_access {
            flags |= 0x40;
        }
        let mut field = Vec::new();
        if let Some(clock) = adaptation.clock {
            field.push(flags | 0x10);
            // 33 bits of base, 6 reserved, 9 of extension (always 0: our clock has 90 kHz steps)
            let base = clock.wrapped() << 15 | 0x7E00;
            field.extend_from_slice(&base.to_be_bytes()[2..]);
        } else if flags != 0 {
            field.push(flags);
        }
        field
    }
}

fn header(pid: u16, starts: bool, control: u8) -> [u8; HEADER_BYTES] {
    let [high, low] = pid.to_be_bytes();
    let start = if starts { 0x40 } else { 0x00 };
    [0x47, start | high & 0x1F, low, control]
}

/// The 33 bits of a PES timestamp, spread over five bytes with their marker bits.
pub(in crate::ts) fn timestamp(prefix: u8, time: Ticks) -> [u8; 5] {
    let wire = time.wrapped();
    let byte = |shift: u32| u8::try_from(wire >> shift & 0xFF).unwrap_or(0);
    [
        prefix | (byte(30) & 0x07) << 1 | 1,
        byte(22),
        byte(14) & 0xFE | 1,
        byte(7),
        byte(0) << 1 | 1,
    ]
}

/// Moves the next `count` bytes of the pieces to `out`.
fn copy(pieces: &mut [Bytes], current: &mut usize, mut count: usize, out: &mut Vec<u8>) {
    while count > 0 {
        let Some(piece) = pieces.get_mut(*current) else {
            return;
        };
        let part = piece.split_to(count.min(piece.len()));
        out.extend_from_slice(&part);
        count -= part.len();
        if piece.is_empty() {
            *current += 1;
        }
    }
}

/// Splits a list of pieces after `limit` bytes.
fn split_pieces(pieces: Vec<Bytes>, limit: usize) -> (Vec<Bytes>, Vec<Bytes>) {
    let mut room = limit;
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        let part = piece.split_to(room.min(piece.len()));
        room -= part.len();
        if !part.is_empty() {
            now.push(part);
        }
        if !piece.is_empty() {
            later.push(piece);
        }
    }
    (now, later)
}
