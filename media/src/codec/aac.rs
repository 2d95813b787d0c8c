//! AAC in ADTS frames (ISO/IEC 13818-7 §6.2). Reads frame headers only, and writes no frame but a silent one.

use bytes::Bytes;

use crate::codec::audio::FrameHeader;

/// Samples of one raw data block.
const SAMPLES: u32 = 1024;

/// Bytes of a header without a checksum.
pub const HEADER: usize = 7;

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

/// Raw data blocks without any sound, of one channel and of a pair: no spectrum, and nothing that depends on the sampling rate.
const SILENT_MONO: [u8; 6] = [0x00, 0xC8, 0x00, 0x80, 0x23, 0x80];
const SILENT_STEREO: [u8; 9] = [0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];

/// A frame of the format that this header names, without any sound; `None` where it is none of low complexity in mono or stereo.
#[must_use]
pub fn silent_frame(header: &[u8]) -> Option<Bytes> {
    let read = parse_header(header)?;
    let block = match (read.object_type, read.channels) {
        (Some(LOW_COMPLEXITY), Some(1)) => &SILENT_MONO[..],
        (Some(LOW_COMPLEXITY), Some(2)) => &SILENT_STEREO[..],
        _ => return None,
    };
    let &[sync, flags, a, b, ..] = header.first_chunk::<HEADER>()?;
    // Below 8 bits, so it does not reach into the bits that lie apart.
    let length = u8::try_from(HEADER + block.len()).ok()?;
    let mut frame = vec![
        sync,
        // No checksum.
        flags | 1,
        a,
        b & 0xC0,
        length >> 3,
        length << 5 | 0x1F,
        0xFC,
    ];
    frame.extend_from_slice(block);
    Some(Bytes::from(frame))
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
    fn silence_has_the_format_of_what_was_heard() {
        // 48 kHz stereo with a checksum, 44.1 kHz mono.
        for header in [
            [0xFF, 0xF0, 0x4C, 0x80, 0x2E, 0x7F, 0xFC],
            [0xFF, 0xF1, 0x50, 0x40, 0x2E, 0x7F, 0xFC],
        ] {
            let heard = parse_header(&header).unwrap();
            let frame = silent_frame(&header).unwrap();
            let silent = parse_header(&frame).unwrap();
            assert_eq!(silent.length, frame.len());
            let expected = FrameHeader {
                length: silent.length,
                ..heard
            };
            assert_eq!(silent, expected);
        }
        // Main profile; 5.1.
        for header in [
            [0xFF, 0xF1, 0x0C, 0x80, 0x2E, 0x7F, 0xFC],
            [0xFF, 0xF1, 0x4D, 0x80, 0x2E, 0x7F, 0xFC],
        ] {
            assert!(parse_header(&header).is_some());
            assert_eq!(silent_frame(&header), None);
        }
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
