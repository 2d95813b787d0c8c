//! PES packets: the header, and the payload put together from transport packets with one copy.
//! Holds at most one unfinished PES packet of a bounded size; never looks into the payload.

use thiserror::Error;

use crate::ts::packet::Packet;

/// Start code, stream id, length, two bytes of flags and the header's own length.
const FIXED_HEADER: usize = 9;

/// The fixed part and the longest optional part.
const MAX_HEADER: usize = FIXED_HEADER + 255;

/// Padding, private stream 2, ECM, EMM and the like: they have no timestamps and carry no track.
const WITHOUT_OPTIONAL_HEADER: [u8; 8] = [0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF];

/// Why the start of a PES packet is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PesError {
    /// The payload does not start with 00 00 01.
    #[error("failed to read PES header: no start code")]
    NoStartCode,
    /// A kind of stream that cannot be video or audio.
    #[error("failed to read PES header: stream id {0:#04x} carries no track")]
    NoTrack(u8),
}

/// What a PES header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesHeader {
    /// Bytes of the header itself.
    pub header_bytes: usize,
    /// Bytes of payload that follow; unknown for most video.
    pub payload_bytes: Option<usize>,
    /// Presentation time, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time, 33 bits, where it differs.
    pub dts: Option<u64>,
}

impl PesHeader {
    /// Reads a header; `None` when more bytes are needed to tell.
    ///
    /// # Errors
    /// When no track's PES packet starts here.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, PesError> {
        let known = bytes.len().min(3);
        if bytes[..known] != [0, 0, 1][..known] {
            return Err(PesError::NoStartCode);
        }
        let Some(&[stream_id, length_high, length_low, _, flags, optional]) = bytes
            .get(3..FIXED_HEADER)
            .and_then(|rest| rest.first_chunk())
        else {
            return Ok(None);
        };
        if WITHOUT_OPTIONAL_HEADER.contains(&stream_id) {
            return Err(PesError::NoTrack(stream_id));
        }
        let header_bytes = FIXED_HEADER + usize::from(optional);
        let Some(fields) = bytes.get(FIXED_HEADER..header_bytes) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let pts = fields
            .first_chunk()
            .filter(|_| flags & 0x80 != 0)
            .map(timestamp);
        let dts = fields
            .get(5..)
            .and_then(|rest| rest.first_chunk())
            .filter(|_| flags & 0xC0 == 0xC0)
            .map(timestamp);
        Ok(Some(Self {
            header_bytes,
            payload_bytes: (length > 0).then(|| (length + 6).saturating_sub(header_bytes)),
            pts,
            dts,
        }))
    }
}

fn timestamp(&[a, b, c, d, e]: &[u8; 5]) -> u64 {
    u64::from(a >> 1 & 0x07) << 30
        | u64::from(b) << 22
        | u64::from(c >> 1) << 15
        | u64::from(d) << 7
        | u64::from(e >> 1)
}

/// One PES packet whose end has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    /// What its header said.
    pub header: PesHeader,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// What one transport packet did to the PES packets of its PID.
#[derive(Debug, Default)]
pub struct Step {
    /// The previous PES packet, ended because a new one starts.
    pub ended: Option<Pes>,
    /// The header of the PES packet that starts.
    pub started: Option<PesHeader>,
    /// The PES packet that this packet completed by its stated length.
    pub completed: Option<Pes>,
    /// Packets are missing before this one.
    pub gap: bool,
    /// The payload of the PES packet grew over the limit and is thrown away.
    pub oversized: bool,
}

/// How one PID's PES packets are put together.
#[derive(Debug, Clone, Copy)]
pub struct Assembly {
    /// The most payload bytes one PES packet may have.
    pub limit: usize,
    /// A PES packet without a timestamp continues the one before it, as some muxers split a picture.
    pub joins_untimed: bool,
    /// Stuffing in a packet marks the end of its PES packet, as FFmpeg's muxer writes it; other muxers stuff anywhere.
    pub ends_on_stuffing: bool,
}

/// Puts the PES packets of one PID together.
#[derive(Debug)]
pub struct PesAssembler {
    assembly: Assembly,
    state: State,
    continuity: Option<u8>,
    last_start: Option<PesHeader>,
    expected_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// Waiting for a start.
    Idle,
    /// The header goes on in the next packet.
    Header(Vec<u8>),
    Body(Pes),
}

impl PesAssembler {
    /// An assembler that waits for the first start.
    #[must_use]
    pub fn new(assembly: Assembly) -> Self {
        Self {
            assembly,
            state: State::Idle,
            continuity: None,
            last_start: None,
            expected_bytes: 0,
        }
    }

    /// Takes the next packet of the PID.
    pub fn push(&mut self, packet: Packet<'_>) -> Step {
        let mut step = Step::default();
        if !packet.has_payload() || packet.has_transport_error() || packet.is_scrambled() {
            return step;
        }
        let adaptation = packet.adaptation().unwrap_or_default();
        let counter = packet.continuity_counter();
        if let Some(last) = self.continuity.replace(counter)
            && !adaptation.discontinuity
        {
            if counter == last && self.is_repeated(packet) {
                return step;
            }
            step.gap = counter != (last + 1) & 0x0F;
        }
        if step.gap && matches!(self.state, State::Header(_)) {
            self.state = State::Idle;
        }
        if packet.starts_unit() {
            self.start(packet.payload(), &mut step);
        } else {
            self.append(packet.payload(), &mut step);
        }
        if self.is_complete() || self.assembly.ends_on_stuffing && adaptation.stuffed {
            step.completed = self.take();
        }
        step
    }

    /// The payload of the PES packet in progress, as far as it has come.
    #[must_use]
    pub fn progress(&self) -> &[u8] {
        match &self.state {
            State::Body(pes) => &pes.payload,
            State::Idle | State::Header(_) => &[],
        }
    }

    /// Ends the PES packet in progress, as at the end of the stream.
    pub fn take(&mut self) -> Option<Pes> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Body(mut pes) => {
                // Room for the next one of the same kind; slowly shrinking, so that one key picture does not size all.
                self.expected_bytes = pes.payload.len().max(self.expected_bytes * 7 / 8);
                if pes.payload.capacity() > pes.payload.len() * 3 / 2 {
                    pes.payload.shrink_to_fit();
                }
                Some(pes)
            }
            State::Idle | State::Header(_) => None,
        }
    }

    /// Forgets the PES packet in progress, as at a new connection.
    pub fn break_off(&mut self) {
        self.state = State::Idle;
        self.continuity = None;
    }

    /// Whether a packet whose counter has not moved is the last one again, as the standard allows; some muxers never move it.
    fn is_repeated(&self, packet: Packet<'_>) -> bool {
        let payload = packet.payload();
        if packet.starts_unit() {
            return PesHeader::parse(payload) == Ok(self.last_start);
        }
        match &self.state {
            State::Body(pes) => pes.payload.ends_with(payload),
            State::Header(bytes) => bytes.ends_with(payload),
            State::Idle => true,
        }
    }

    fn start(&mut self, payload: &[u8], step: &mut Step) {
        match PesHeader::parse(payload) {
            Ok(Some(header)) if header.pts.is_none() && self.joins() => {
                self.append(&payload[header.header_bytes..], step);
            }
            Ok(Some(header)) => {
                step.ended = self.take();
                self.begin(header, &payload[header.header_bytes..], step);
            }
            Ok(None) => {
                step.ended = self.take();
                self.state = State::Header(payload.to_vec());
            }
            Err(_) => step.ended = self.take(),
        }
    }

    /// Whether an untimed PES packet goes on with what is in progress.
    fn joins(&self) -> bool {
        self.assembly.joins_untimed && matches!(self.state, State::Body(_))
    }

    fn begin(&mut self, header: PesHeader, payload: &[u8], step: &mut Step) {
        let capacity = header.payload_bytes.unwrap_or(self.expected_bytes);
        let mut buffer = Vec::with_capacity(capacity.clamp(payload.len(), self.assembly.limit));
        buffer.extend_from_slice(payload);
        self.state = State::Body(Pes {
            header,
            payload: buffer,
        });
        self.last_start = Some(header);
        step.started = Some(header);
    }

    fn append(&mut self, payload: &[u8], step: &mut Step) {
        match &mut self.state {
            State::Idle => {}
            State::Header(bytes) => {
                bytes.extend_from_slice(payload);
                match PesHeader::parse(bytes) {
                    Ok(Some(header)) => {
                        let bytes = std::mem::take(bytes);
                        self.begin(header, &bytes[header.header_bytes..], step);
                    }
                    Ok(None) if bytes.len() < MAX_HEADER => {}
                    Ok(None) | Err(_) => self.state = State::Idle,
                }
            }
            State::Body(pes) => {
                if pes.payload.len() + payload.len() > self.assembly.limit {
                    step.oversized = true;
                    self.state = State::Idle;
                } else {
                    pes.payload.extend_from_slice(payload);
                }
            }
        }
    }

    /// Cuts off what follows the stated length; `true` when that length is there.
    fn is_complete(&mut self) -> bool {
        let State::Body(pes) = &mut self.state else {
            return false;
        };
        // Video waits for the next start: its stated length may be one part of a picture that goes on untimed.
        match pes.header.payload_bytes {
            Some(length) if !self.assembly.joins_untimed && pes.payload.len() >= length => {
                pes.payload.truncate(length);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::section::PACKET_BYTES;

    const AUDIO: Assembly = Assembly {
        limit: 4000,
        joins_untimed: false,
        ends_on_stuffing: false,
    };
    const VIDEO: Assembly = Assembly {
        limit: 4000,
        joins_untimed: true,
        ends_on_stuffing: false,
    };

    fn stamp(prefix: u8, ticks: u64) -> [u8; 5] {
        [
            prefix << 4 | (ticks >> 29) as u8 & 0x0E | 1,
            (ticks >> 22) as u8,
            (ticks >> 14) as u8 & 0xFE | 1,
            (ticks >> 7) as u8,
            (ticks << 1) as u8 | 1,
        ]
    }

    fn pes(length: u16, pts: Option<u64>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0xE0];
        bytes.extend(length.to_be_bytes());
        match pts {
            Some(pts) => {
                bytes.extend([0x80, 0x80, 5]);
                bytes.extend(stamp(2, pts));
            }
            None => bytes.extend([0x80, 0x00, 0]),
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Packets of one PID whose payloads are these parts; short ones are filled by the adaptation field.
    fn packets(parts: &[(bool, Vec<u8>)], first_counter: u8) -> Vec<[u8; PACKET_BYTES]> {
        parts
            .iter()
            .zip(first_counter..)
            .map(|((starts, part), counter)| {
                let mut packet = [0xFF; PACKET_BYTES];
                let fill = PACKET_BYTES - 4 - part.len();
                packet[..4].copy_from_slice(&[
                    0x47,
                    if *starts { 0x41 } else { 0x01 },
                    0,
                    if fill == 0 { 0x10 } else { 0x30 } | counter & 0x0F,
                ]);
                if fill > 0 {
                    packet[4] = u8::try_from(fill - 1).unwrap();
                }
                if fill > 1 {
                    packet[5] = 0;
                }
                packet[4 + fill..].copy_from_slice(part);
                packet
            })
            .collect()
    }

    fn push_all(assembler: &mut PesAssembler, packets: &[[u8; PACKET_BYTES]]) -> Vec<Step> {
        packets
            .iter()
            .map(|packet| assembler.push(Packet::new(packet)))
            .collect()
    }

    #[test]
    fn timestamps_are_read_from_the_header() {
        let mut bytes = vec![0, 0, 1, 0xE0, 0, 0, 0x84, 0xC0, 11];
        bytes.extend(stamp(3, 0x1_FFFF_FFFF));
        bytes.extend(stamp(1, 0x1_2345_6789));
        bytes.push(0xFF);
        assert_eq!(
            PesHeader::parse(&bytes),
            Ok(Some(PesHeader {
                header_bytes: 20,
                payload_bytes: None,
                pts: Some(0x1_FFFF_FFFF),
                dts: Some(0x1_2345_6789),
            }))
        );
        assert_eq!(PesHeader::parse(&bytes[..15]), Ok(None));
        assert_eq!(PesHeader::parse(&[0, 0]), Ok(None));
        assert_eq!(PesHeader::parse(&[0, 1]), Err(PesError::NoStartCode));
        assert_eq!(
            PesHeader::parse(&[0, 0, 1, 0xBE, 0, 0, 0, 0, 0]),
            Err(PesError::NoTrack(0xBE))
        );
    }

    #[test]
    fn a_pes_packet_of_stated_length_is_complete_with_its_last_byte() {
        let bytes = pes(8 + 300, Some(900), &[7; 300]);
        let (first, second) = bytes.split_at(184);
        let packets = packets(&[(true, first.to_vec()), (false, second.to_vec())], 0);
        let steps = push_all(&mut PesAssembler::new(AUDIO), &packets);
        assert_eq!(steps[0].started.unwrap().pts, Some(900));
        assert!(steps[0].completed.is_none());
        assert_eq!(steps[1].completed.as_ref().unwrap().payload, [7; 300]);
    }

    #[test]
    fn video_ends_where_the_next_timed_pes_packet_starts() {
        let parts = [
            (true, pes(0, Some(900), &[1; 170])),
            (true, pes(0, None, &[2; 100])),
            (true, pes(0, Some(4500), &[3; 170])),
        ];
        let steps = push_all(&mut PesAssembler::new(VIDEO), &packets(&parts, 0));
        assert!(steps[0].completed.is_none());
        assert!(steps[1].ended.is_none());
        let ended = steps[2].ended.as_ref().unwrap();
        assert_eq!(ended.header.pts, Some(900));
        assert_eq!(ended.payload, [[1; 170].as_slice(), &[2; 100]].concat());
    }

    #[test]
    fn a_header_may_go_on_in_the_next_packet() {
        let bytes = pes(0, Some(77), &[9; 20]);
        let parts = [(true, bytes[..4].to_vec()), (false, bytes[4..].to_vec())];
        let mut assembler = PesAssembler::new(VIDEO);
        let steps = push_all(&mut assembler, &packets(&parts, 15));
        assert!(steps[0].started.is_none());
        assert_eq!(steps[1].started.unwrap().pts, Some(77));
        assert_eq!(assembler.progress(), [9; 20]);
    }

    #[test]
    fn repeated_packets_are_dropped_and_gaps_reported() {
        let bytes = packets(
            &[
                (true, pes(0, Some(1), &[1; 100])),
                (false, vec![2; 184]),
                (false, vec![3; 184]),
            ],
            4,
        );
        let mut assembler = PesAssembler::new(VIDEO);
        let order = [bytes[0], bytes[0], bytes[2]];
        let steps = push_all(&mut assembler, &order);
        assert_eq!(
            steps.iter().map(|step| step.gap).collect::<Vec<_>>(),
            [false, false, true]
        );
        assert_eq!(assembler.take().unwrap().payload.len(), 100 + 184);
    }

    #[test]
    fn a_muxer_that_never_moves_its_counter_is_read_all_the_same() {
        let parts = [
            (true, pes(0, Some(1), &[1; 100])),
            (false, vec![2; 184]),
            (true, pes(0, Some(2), &[3; 100])),
        ];
        let mut bytes = packets(&parts, 0);
        for packet in &mut bytes {
            packet[3] &= 0xF0;
        }
        let steps = push_all(&mut PesAssembler::new(VIDEO), &bytes);
        let ended = steps[2].ended.as_ref().unwrap();
        assert_eq!(ended.payload.len(), 100 + 184);
    }

    #[test]
    fn stuffing_ends_a_pes_packet_only_where_the_muxer_is_known() {
        let parts = [(true, pes(0, Some(5), &[1; 170])), (false, vec![2; 50])];
        let known = Assembly {
            ends_on_stuffing: true,
            ..VIDEO
        };
        let steps = push_all(&mut PesAssembler::new(known), &packets(&parts, 0));
        assert_eq!(steps[1].completed.as_ref().unwrap().payload.len(), 220);
        let steps = push_all(&mut PesAssembler::new(VIDEO), &packets(&parts, 0));
        assert!(steps[1].completed.is_none());
    }

    #[test]
    fn an_endless_pes_packet_is_thrown_away_at_the_limit() {
        let mut assembler = PesAssembler::new(VIDEO);
        let mut parts = vec![(true, pes(0, Some(5), &[1; 170]))];
        parts.extend((0..30).map(|_| (false, vec![2; 184])));
        let steps = push_all(&mut assembler, &packets(&parts, 0));
        assert_eq!(steps.iter().filter(|step| step.oversized).count(), 1);
        assert_eq!(assembler.progress(), &[] as &[u8]);
    }

    #[test]
    fn scrambled_and_erroneous_packets_do_not_reach_the_payload() {
        let mut bytes = packets(&[(true, pes(0, Some(5), &[1; 100]))], 0)[0];
        bytes[3] |= 0x80;
        let mut assembler = PesAssembler::new(VIDEO);
        assert!(assembler.push(Packet::new(&bytes)).started.is_none());
        bytes[3] &= 0x3F;
        bytes[1] |= 0x80;
        assert!(assembler.push(Packet::new(&bytes)).started.is_none());
    }
}
