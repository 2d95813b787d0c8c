//! PES headers: timestamps in and out. Never looks into the elementary stream.

/// What a PES header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PesHeader {
    pub(crate) pts: Option<u64>,
    pub(crate) dts: Option<u64>,
    /// Bytes of the header: where the elementary stream starts.
    pub(crate) length: usize,
}

/// Reads the header at the start of a PES packet.
pub(crate) fn parse(bytes: &[u8]) -> Option<PesHeader> {
    if bytes.len() < 9 || bytes[..3] != [0, 0, 1] || bytes[6] & 0xc0 != 0x80 {
        return None;
    }
    let length = 9 + usize::from(bytes[8]);
    let stamps = bytes.get(9..length)?;
    let pts = if bytes[7] & 0x80 != 0 {
        Some(read_stamp(stamps.get(..5)?))
    } else {
        None
    };
    let dts = if bytes[7] & 0xc0 == 0xc0 {
        Some(read_stamp(stamps.get(5..10)?))
    } else {
        None
    };
    Some(PesHeader { pts, dts, length })
}

/// Builds a header with room for the timestamps, which are zero. `payload` of 0 writes "length unknown", as video may.
pub(crate) fn header(stream_id: u8, with_dts: bool, payload: usize) -> Vec<u8> {
    let stamps: u8 = if with_dts { 10 } else { 5 };
    let length = match payload {
        0 => 0,
        bytes => u16::try_from(bytes + 3 + usize::from(stamps)).unwrap_or(0),
    };
    let mut header = vec![0, 0, 1, stream_id];
    header.extend(length.to_be_bytes());
    header.extend([0x80, if with_dts { 0xc0 } else { 0x80 }, stamps]);
    header.resize(9 + usize::from(stamps), 0);
    header
}

/// Reads a 33-bit timestamp from its five bytes.
fn read_stamp(bytes: &[u8]) -> u64 {
    u64::from(bytes[0] >> 1 & 7) << 30
        | u64::from(bytes[1]) << 22
        | u64::from(bytes[2] >> 1) << 15
        | u64::from(bytes[3]) << 7
        | u64::from(bytes[4] >> 1)
}

/// Writes a 33-bit timestamp behind its marker (2: PTS alone, 3: PTS before a DTS, 1: DTS).
pub(crate) fn write_stamp(bytes: &mut [u8], marker: u8, stamp: u64) {
    bytes[0] = marker << 4 | ((stamp >> 30) as u8 & 7) << 1 | 1;
    bytes[1] = (stamp >> 22) as u8;
    bytes[2] = ((stamp >> 15) as u8) << 1 | 1;
    bytes[3] = (stamp >> 7) as u8;
    bytes[4] = (stamp as u8) << 1 | 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_writing_and_reading() {
        let mut bytes = header(0xe0, true, 0);
        write_stamp(&mut bytes[9..], 3, (1 << 33) - 1);
        write_stamp(&mut bytes[14..], 1, 123_456_789);
        let expected = PesHeader {
            pts: Some((1 << 33) - 1),
            dts: Some(123_456_789),
            length: 19,
        };
        assert_eq!(parse(&bytes), Some(expected));
    }

    #[test]
    fn a_header_cut_short_is_refused() {
        let bytes = header(0xc0, false, 100);
        assert_eq!(parse(&bytes[..12]), None);
    }
}
