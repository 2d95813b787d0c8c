//! One transport packet, read in place. Never allocates and never looks into a payload.

use crate::ts::section::PACKET_BYTES;

/// What every transport packet starts with.
pub const SYNC_BYTE: u8 = 0x47;

const ADAPTATION_FIELD: u8 = 0x20;
const PAYLOAD: u8 = 0x10;

/// A view of one transport packet. Reads are total: a field that does not fit is absent.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a>(&'a [u8; PACKET_BYTES]);

/// What the adaptation field of a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adaptation {
    /// The time base or the continuity counter is about to change.
    pub discontinuity: bool,
    /// The muxer's claim that a decoder may start here; only a hint.
    pub random_access: bool,
    /// The 33 bits of the programme clock, in 90 kHz ticks.
    pub pcr: Option<u64>,
    /// Stuffing follows the fields: the payload would not have filled the packet.
    pub stuffed: bool,
}

impl<'a> Packet<'a> {
    /// A view of these bytes; the caller has found the sync byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8; PACKET_BYTES]) -> Self {
        Self(bytes)
    }

    /// Which elementary stream or table the packet belongs to.
    #[must_use]
    pub fn pid(self) -> u16 {
        u16::from_be_bytes([self.0[1] & 0x1F, self.0[2]])
    }

    /// The receiver before us found bit errors in this packet.
    #[must_use]
    pub fn has_transport_error(self) -> bool {
        self.0[1] & 0x80 != 0
    }

    /// A PES packet or a section starts in this payload.
    #[must_use]
    pub fn starts_unit(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    /// The payload is encrypted.
    #[must_use]
    pub fn is_scrambled(self) -> bool {
        self.0[3] & 0xC0 != 0
    }

    /// Counts the packets with payload of one PID, modulo 16.
    #[must_use]
    pub fn continuity_counter(self) -> u8 {
        self.0[3] & 0x0F
    }

    /// Whether there is a payload; packets without one do not move the continuity counter.
    #[must_use]
    pub fn has_payload(self) -> bool {
        self.0[3] & PAYLOAD != 0
    }

    /// The payload; empty when the adaptation field leaves no room.
    #[must_use]
    pub fn payload(self) -> &'a [u8] {
        if !self.has_payload() {
            return &[];
        }
        let start = if self.0[3] & ADAPTATION_FIELD == 0 {
            4
        } else {
            5 + usize::from(self.0[4])
        };
        self.0.get(start..).unwrap_or(&[])
    }

    /// The adaptation field, if there is one that fits the packet.
    #[must_use]
    pub fn adaptation(self) -> Option<Adaptation> {
        if self.0[3] & ADAPTATION_FIELD == 0 {
            return None;
        }
        let field = self.0.get(5..5 + usize::from(self.0[4]))?;
        let Some((&flags, rest)) = field.split_first() else {
            // A field of length zero is itself one byte of stuffing.
            return Some(Adaptation {
                stuffed: true,
                ..Adaptation::default()
            });
        };
        let has_pcr = flags & 0x10 != 0;
        let used = 1 + if has_pcr { 6 } else { 0 };
        Some(Adaptation {
            discontinuity: flags & 0x80 != 0,
            random_access: flags & 0x40 != 0,
            pcr: rest
                .first_chunk()
                .filter(|_| has_pcr)
                .map(|bytes| pcr_base(*bytes)),
            // OPCR, splice point, private data and extension are not weighed: they only make the answer "no".
            stuffed: flags & 0x0F == 0 && field.len() > used,
        })
    }
}

fn pcr_base([a, b, c, d, e, _]: [u8; 6]) -> u64 {
    u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(head: &[u8], fill: u8) -> [u8; PACKET_BYTES] {
        let mut bytes = [fill; PACKET_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    #[test]
    fn header_fields_are_read_in_place() {
        let bytes = packet(&[0x47, 0x41, 0xE1, 0x17], 0xAB);
        let packet = Packet::new(&bytes);
        assert_eq!(packet.pid(), 0x1E1);
        assert!(packet.starts_unit());
        assert!(!packet.has_transport_error());
        assert!(!packet.is_scrambled());
        assert_eq!(packet.continuity_counter(), 7);
        assert_eq!(packet.payload(), &[0xAB; 184]);
        assert_eq!(packet.adaptation(), None);
    }

    #[test]
    fn the_adaptation_field_gives_clock_and_flags() {
        let bytes = packet(
            &[
                0x47, 0x01, 0x00, 0x30, 7, 0xD0, 0x00, 0x00, 0x00, 0x01, 0xFE, 0x00,
            ],
            0xCD,
        );
        let packet = Packet::new(&bytes);
        assert_eq!(
            packet.adaptation(),
            Some(Adaptation {
                discontinuity: true,
                random_access: true,
                pcr: Some(3),
                stuffed: false,
            })
        );
        assert_eq!(packet.payload(), &[0xCD; 176]);
    }

    #[test]
    fn stuffing_is_told_from_fields() {
        let with_stuffing = packet(&[0x47, 0x01, 0x00, 0x30, 9, 0x00, 0xFF, 0xFF], 0xFF);
        assert!(Packet::new(&with_stuffing).adaptation().unwrap().stuffed);
        let one_byte = packet(&[0x47, 0x01, 0x00, 0x30, 0], 0x00);
        assert!(Packet::new(&one_byte).adaptation().unwrap().stuffed);
        assert_eq!(Packet::new(&one_byte).payload().len(), 183);
    }

    #[test]
    fn an_adaptation_field_longer_than_the_packet_is_absent() {
        let bytes = packet(&[0x47, 0x01, 0x00, 0x30, 184, 0x10], 0x00);
        assert_eq!(Packet::new(&bytes).adaptation(), None);
        assert_eq!(Packet::new(&bytes).payload(), &[] as &[u8]);
        let clock_cut_off = packet(&[0x47, 0x01, 0x00, 0x30, 3, 0x10], 0x00);
        assert_eq!(Packet::new(&clock_cut_off).adaptation().unwrap().pcr, None);
    }
}
