//! AAC in ADTS frames (ISO/IEC 13818-7 §6.2). Reads frame headers only.

use crate::codec::audio::FrameHeader;

/// Samples of one raw data block.
const SAMPLES: u32 = 1024;

const HEADER: usize = 7;

const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000,
    7350,
];

/// Low complexity, the object type that every player decodes.
pub const LOW_COMPLEXITY: u8 = 2;

/// Reads the header of the ADTS frame that starts here; `None` when none does or too little has come.
#[must_use]
pub fn parse_header(bytes: &[u8]) -> Option<FrameHeader> {
    let &[sync, flags, a, b, c, d, e] = bytes.first_chunk::<HEADER>()?;
    if sync != 0xFF || flags & 0xF6 != 0xF0 {
        return None;
    }
    let object_type = (a >> 6) + 1;
    let sample_rate = *SAMPLE_RATES.get(usize::from(a >> 2 & 0x0F))?;
    let channels = match (a & 1) << 2 | b >> 6 {
        0 => None,
        7 => Some(8),
        configuration => Some(configuration),
    };
    let length = usize::from(b & 3) << 11 | usize::from(c) << 3 | usize::from(d >> 5);
    let blocks = u32::from(e & 3) + 1;
    (length >= HEADER).then(|| FrameHeader {
        length,
        samples: SAMPLES * blocks,
        sample_rate,
        channels,
        object_type: Some(object_type),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adts_header_is_read_whole() {
        // AAC-LC, 48 kHz, stereo, 371 bytes
        assert_eq!(
            parse_header(&[0xFF, 0xF1, 0x4C, 0x80, 0x2E, 0x7F, 0xFC]),
            Some(FrameHeader {
                length: 371,
                samples: 1024,
                sample_rate: 48_000,
                channels: Some(2),
                object_type: Some(LOW_COMPLEXITY),
            })
        );
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse_header(&[0xFF, 0xF1, 0x4C, 0x80, 0x2E, 0x7F]), None);
        assert_eq!(
            parse_header(&[0xFF, 0xFB, 0x4C, 0x80, 0x2E, 0x7F, 0xFC]),
            None
        );
        assert_eq!(
            parse_header(&[0xFF, 0xF1, 0x7C, 0x80, 0x2E, 0x7F, 0xFC]),
            None
        );
        assert_eq!(
            parse_header(&[0xFF, 0xF1, 0x4C, 0x80, 0x00, 0x1F, 0xFC]),
            None
        );
    }
}
