//! PAT and PMT in one section each. Never follows versions or several programmes.

use super::packet::PACKET_SIZE;

/// One elementary stream of a PMT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamEntry {
    pub(crate) stream_type: u8,
    pub(crate) pid: u16,
    pub(crate) descriptors: Vec<u8>,
}

/// A programme map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgrammeMap {
    pub(crate) pcr_pid: u16,
    pub(crate) streams: Vec<StreamEntry>,
}

/// The section of a PAT with the one programme 1.
pub(crate) fn pat_section(pmt_pid: u16, version: u8) -> Vec<u8> {
    let [high, low] = pmt_pid.to_be_bytes();
    section(0x00, version, &[0, 1, 0xe0 | high, low])
}

/// The section of programme 1's map.
pub(crate) fn pmt_section(map: &ProgrammeMap, version: u8) -> Vec<u8> {
    let [high, low] = map.pcr_pid.to_be_bytes();
    let mut body = vec![0xe0 | high, low, 0xf0, 0];
    for stream in &map.streams {
        let [high, low] = stream.pid.to_be_bytes();
        body.extend([stream.stream_type, 0xe0 | high, low, 0xf0]);
        body.push(stream.descriptors.len() as u8);
        body.extend(&stream.descriptors);
    }
    section(0x02, version, &body)
}

fn section(table: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = ((body.len() + 9) as u16).to_be_bytes();
    let mut section = vec![table, 0xb0 | high, low];
    section.extend([0, 1, 0xc1 | version << 1, 0, 0]);
    section.extend(body);
    let crc = crc32(&section);
    section.extend(crc.to_be_bytes());
    section
}

/// One packet that holds one whole section; the continuity counter is zero.
pub(crate) fn section_packet(pid: u16, section: &[u8]) -> [u8; PACKET_SIZE] {
    let [high, low] = pid.to_be_bytes();
    let mut packet = [0xff; PACKET_SIZE];
    packet[..5].copy_from_slice(&[0x47, 0x40 | high, low, 0x10, 0]);
    packet[5..5 + section.len()].copy_from_slice(section);
    packet
}

/// The map's PID of the first programme, from the payload of a PAT packet.
pub(crate) fn parse_pat(payload: &[u8]) -> Option<u16> {
    section_body(payload, 0x00)?
        .chunks_exact(4)
        .find(|entry| entry[..2] != [0, 0])
        .map(|entry| u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
}

/// A programme map from the payload of its packet.
pub(crate) fn parse_pmt(payload: &[u8]) -> Option<ProgrammeMap> {
    let body = section_body(payload, 0x02)?;
    let pcr_pid = u16::from_be_bytes([body.first()? & 0x1f, *body.get(1)?]);
    let information = usize::from(u16::from_be_bytes([body.get(2)? & 0x0f, *body.get(3)?]));
    let mut rest = body.get(4 + information..)?;
    let mut streams = Vec::new();
    while let [stream_type, high, low, length_high, length_low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([length_high & 0x0f, *length_low]));
        streams.push(StreamEntry {
            stream_type: *stream_type,
            pid: u16::from_be_bytes([high & 0x1f, *low]),
            descriptors: tail.get(..length)?.to_vec(),
        });
        rest = &tail[length..];
    }
    Some(ProgrammeMap { pcr_pid, streams })
}

/// What stands between the header and the CRC of a section whose CRC is right.
fn section_body(payload: &[u8], table: u8) -> Option<&[u8]> {
    let start = 1 + usize::from(*payload.first()?);
    let section = payload.get(start..)?;
    if *section.first()? != table {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([
        section.get(1)? & 0x0f,
        *section.get(2)?,
    ]));
    let section = section.get(..3 + length)?;
    if crc32(section) != 0 {
        return None;
    }
    section.get(8..section.len() - 4)
}

/// The CRC of MPEG sections; zero over a section with its right CRC at the end.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ProgrammeMap {
        let entry = |stream_type, pid, descriptors| StreamEntry {
            stream_type,
            pid,
            descriptors,
        };
        ProgrammeMap {
            pcr_pid: 0x1ff,
            streams: vec![
                entry(0x1b, 0x100, vec![]),
                entry(0x0f, 0x101, vec![0x0a, 4, b'e', b'n', b'g', 0]),
            ],
        }
    }

    #[test]
    fn tables_survive_writing_and_reading() {
        let pat = section_packet(0, &pat_section(0x1000, 0));
        assert_eq!(parse_pat(&pat[4..]), Some(0x1000));
        let pmt = section_packet(0x1000, &pmt_section(&map(), 0));
        assert_eq!(parse_pmt(&pmt[4..]), Some(map()));
    }

    #[test]
    fn a_table_with_a_flipped_bit_is_refused() {
        let mut pmt = section_packet(0x1000, &pmt_section(&map(), 0));
        pmt[20] ^= 1;
        assert_eq!(parse_pmt(&pmt[4..]), None);
    }
}
