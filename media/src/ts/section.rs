//! PSI sections: put together from packet payloads, checked by CRC, and written into packets.
//! Hostile input costs at most one section of memory; this file never looks inside a table.

use thiserror::Error;

/// Bytes of one transport packet.
pub const PACKET_BYTES: usize = 188;

/// The most bytes a section can have after its length field (12 bits, ISO/IEC 13818-1 §2.4.4.11).
const MAX_SECTION_LENGTH: usize = 4093;

/// Table id, flags and length.
const HEADER_BYTES: usize = 3;

/// Why a section is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SectionError {
    /// Fewer bytes than its own length field or its fixed fields ask for.
    #[error("failed to read section: {0} bytes are too short")]
    Short(usize),
    /// The CRC does not match.
    #[error("failed to read section of table {table_id:#04x}: checksum mismatch")]
    Checksum {
        /// The table it claimed to be.
        table_id: u8,
    },
    /// A section without the long header; neither PAT nor PMT.
    #[error("failed to read section of table {0:#04x}: not in the long form")]
    ShortForm(u8),
}

/// One section of the long form (those that carry tables), its CRC verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which table: 0x00 is the PAT, 0x02 a PMT.
    pub table_id: u8,
    /// Transport stream id in a PAT, programme number in a PMT.
    pub extension: u16,
    /// Version, 5 bits.
    pub version: u8,
    /// Whether it applies now; a section that does not is a preview of the next version.
    pub current: bool,
    /// Number of this section within its table.
    pub number: u8,
    /// Number of the table's last section.
    pub last_number: u8,
    /// What stands between the header and the CRC.
    pub body: Vec<u8>,
}

impl Section {
    /// A one-section table that applies now.
    #[must_use]
    pub fn single(table_id: u8, extension: u16, version: u8, body: Vec<u8>) -> Self {
        Self {
            table_id,
            extension,
            version,
            current: true,
            number: 0,
            last_number: 0,
            body,
        }
    }

    /// Reads one whole section and checks its CRC.
    ///
    /// # Errors
    /// When it is shorter than it says, in the short form, or fails its checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, SectionError> {
        let &[table_id, high, low, ref rest @ ..] = bytes else {
            return Err(SectionError::Short(bytes.len()));
        };
        if high & 0x80 == 0 {
            return Err(SectionError::ShortForm(table_id));
        }
        let length = usize::from(high & 0x0F) << 8 | usize::from(low);
        let Some(&[id_high, id_low, flags, number, last_number, ref tail @ ..]) =
            rest.get(..length)
        else {
            return Err(SectionError::Short(bytes.len()));
        };
        let Some((body, _checksum)) = tail.split_last_chunk::<4>() else {
            return Err(SectionError::Short(bytes.len()));
        };
        // The CRC over a section that includes its own CRC is zero.
        if crc32(&bytes[..HEADER_BYTES + length]) != 0 {
            return Err(SectionError::Checksum { table_id });
        }
        Ok(Self {
            table_id,
            extension: u16::from_be_bytes([id_high, id_low]),
            version: flags >> 1 & 0x1F,
            current: flags & 1 == 1,
            number,
            last_number,
            body: body.to_vec(),
        })
    }

    /// The section as bytes, with its CRC. A body longer than a section can be is cut off.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let body = &self.body[..self.body.len().min(MAX_SECTION_LENGTH - 9)];
        let length = u16::try_from(body.len() + 9).unwrap_or(0);
        let [length_high, length_low] = length.to_be_bytes();
        let [id_high, id_low] = self.extension.to_be_bytes();
        let mut bytes = vec![
            self.table_id,
            0xB0 | length_high,
            length_low,
            id_high,
            id_low,
            0xC0 | (self.version & 0x1F) << 1 | u8::from(self.current),
            self.number,
            self.last_number,
        ];
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
        bytes
    }

    /// The section in transport packets on `pid`, stuffed to whole packets; `continuity` is the counter of the first one and is moved on.
    #[must_use]
    pub fn packets(&self, pid: u16, continuity: &mut u8) -> Vec<u8> {
        let mut payload = vec![0]; // the pointer field: the section starts at once
        payload.extend(self.write());
        let mut packets = Vec::with_capacity(PACKET_BYTES);
        for (index, chunk) in payload.chunks(PACKET_BYTES - 4).enumerate() {
            let [pid_high, pid_low] = pid.to_be_bytes();
            let starts = if index == 0 { 0x40 } else { 0x00 };
            packets.extend([
                0x47,
                starts | pid_high & 0x1F,
                pid_low,
                0x10 | *continuity & 0x0F,
            ]);
            packets.extend_from_slice(chunk);
            packets.resize((index + 1) * PACKET_BYTES, 0xFF);
            *continuity = (*continuity + 1) & 0x0F;
        }
        packets
    }
}

/// Puts the sections of one PID together from its packets' payloads. Holds at most one unfinished section.
#[derive(Debug, Default)]
pub struct SectionAssembler {
    partial: Vec<u8>,
    /// Whether `partial` follows on a section start; payload before the first start is not understood.
    aligned: bool,
}

impl SectionAssembler {
    /// Takes the payload of one packet (`starts` is its payload_unit_start_indicator) and returns the sections it completes, unparsed.
    pub fn push(&mut self, payload: &[u8], starts: bool) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        if !starts {
            if self.aligned {
                self.partial.extend_from_slice(payload);
                self.take_complete(&mut complete);
            }
            return complete;
        }
        let Some((&pointer, rest)) = payload.split_first() else {
            self.reset();
            return complete;
        };
        let Some((end_of_previous, start)) = rest.split_at_checked(usize::from(pointer)) else {
            self.reset();
            return complete;
        };
        if self.aligned {
            self.partial.extend_from_slice(end_of_previous);
            self.take_complete(&mut complete);
        }
        self.partial.clear();
        self.partial.extend_from_slice(start);
        self.aligned = true;
        self.take_complete(&mut complete);
        complete
    }

    /// Forgets an unfinished section, as after a continuity error.
    pub fn reset(&mut self) {
        self.partial.clear();
        self.aligned = false;
    }

    fn take_complete(&mut self, complete: &mut Vec<Vec<u8>>) {
        while let &[table_id, high, low, ..] = self.partial.as_slice() {
            let total = HEADER_BYTES + (usize::from(high & 0x0F) << 8 | usize::from(low));
            // 0xFF fills the packet after the last section.
            if table_id == 0xFF || total > HEADER_BYTES + MAX_SECTION_LENGTH {
                return self.reset();
            }
            if self.partial.len() < total {
                return;
            }
            let rest = self.partial.split_off(total);
            complete.push(std::mem::replace(&mut self.partial, rest));
        }
        if self.partial.first() == Some(&0xFF) {
            self.reset();
        }
    }
}

/// CRC-32/MPEG-2: polynomial 0x04C11DB7, most significant bit first, not inverted.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xFFFF_FFFF, |crc, &byte| {
        crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1
                ^ if crc & 0x8000_0000 != 0 {
                    0x04C1_1DB7
                } else {
                    0
                };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32_mpeg_2() {
        assert_eq!(crc32(b"123456789"), 0x0376_E6E7);
    }

    #[test]
    fn a_section_reads_back_as_it_was_written() {
        let section = Section::single(0x02, 7, 31, vec![1, 2, 3, 4, 5]);
        assert_eq!(Section::parse(&section.write()), Ok(section));
    }

    #[test]
    fn one_flipped_bit_is_a_checksum_error() {
        let mut bytes = Section::single(0x00, 1, 0, vec![0, 1, 0xF0, 0x00]).write();
        bytes[9] ^= 0x10;
        assert_eq!(
            Section::parse(&bytes),
            Err(SectionError::Checksum { table_id: 0 })
        );
    }

    #[test]
    fn truncated_and_short_form_sections_are_named() {
        let bytes = Section::single(0x00, 1, 0, vec![0; 4]).write();
        assert_eq!(Section::parse(&bytes[..2]), Err(SectionError::Short(2)));
        assert_eq!(Section::parse(&bytes[..9]), Err(SectionError::Short(9)));
        assert_eq!(
            Section::parse(&[0x70, 0x00, 0x05, 0, 0, 0, 0, 0]),
            Err(SectionError::ShortForm(0x70))
        );
        assert_eq!(
            Section::parse(&[0x00, 0xB0, 0x05, 0, 0, 0, 0, 0]),
            Err(SectionError::Short(8))
        );
    }

    #[test]
    fn a_long_section_is_put_together_from_its_packets() {
        let section = Section::single(0x02, 9, 1, (0..=255).chain(0..=200).collect());
        let mut continuity = 14;
        let packets = section.packets(0x1000, &mut continuity);
        assert_eq!(packets.len(), 3 * PACKET_BYTES);
        assert_eq!(continuity, 1);
        let mut assembler = SectionAssembler::default();
        let mut found = Vec::new();
        for (packet, counter) in packets.chunks(PACKET_BYTES).zip([14, 15, 0]) {
            assert_eq!(packet[0], 0x47);
            assert_eq!(packet[3], 0x10 | counter);
            found.extend(assembler.push(&packet[4..], packet[1] & 0x40 != 0));
        }
        assert_eq!(found, [section.write()]);
    }

    #[test]
    fn a_section_may_start_in_the_middle_of_a_packet_after_the_previous_one() {
        let first = Section::single(0x00, 1, 0, vec![7; 40]).write();
        let second = Section::single(0x00, 1, 1, vec![8; 8]).write();
        let third = Section::single(0x00, 1, 2, vec![9; 8]).write();
        let mut assembler = SectionAssembler::default();
        let mut start = vec![0];
        start.extend(&first[..20]);
        assert!(assembler.push(&start, true).is_empty());
        let mut next = vec![u8::try_from(first.len() - 20).unwrap()];
        next.extend(first[20..].iter().chain(&second).chain(&third));
        next.resize(184, 0xFF);
        assert_eq!(assembler.push(&next, true), [first, second, third]);
        assert!(assembler.push(&[0xFF; 184], false).is_empty());
    }

    #[test]
    fn payload_before_the_first_start_and_pointers_past_the_end_are_ignored() {
        let mut assembler = SectionAssembler::default();
        assert!(assembler.push(&[0x00, 0xB0, 0x05], false).is_empty());
        assert!(assembler.push(&[200, 1, 2], true).is_empty());
        assert!(assembler.push(&[], true).is_empty());
        assert!(assembler.push(&[0; 184], false).is_empty());
    }
}
