//! MPEG audio layers I, II and III (ISO/IEC 11172-3, 13818-3). Reads frame headers only.

use crate::codec::audio::FrameHeader;

const HEADER: usize = 4;

/// MPEG-4 object type of layer I; the other layers follow.
const LAYER_I: usize = 32;

/// kbit/s by table and index; the first is free format, which has no length and is refused.
const BIT_RATES: [[u32; 15]; 5] = [
    [
        0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ],
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Reads the header of the frame that starts here; `None` when none does or too little has come.
#[must_use]
pub fn parse_header(bytes: &[u8]) -> Option<FrameHeader> {
    let &[sync, flags, a, b] = bytes.first_chunk::<HEADER>()?;
    if sync != 0xFF || flags & 0xE0 != 0xE0 {
        return None;
    }
    // MPEG-2.5 (0), MPEG-2 (2) and MPEG-1 (3) halve the sampling rate step by step.
    let (is_first, shift) = match flags >> 3 & 3 {
        0 => (false, 2),
        2 => (false, 1),
        3 => (true, 0),
        _ => return None,
    };
    let layer = match flags >> 1 & 3 {
        3 => 1,
        2 => 2,
        1 => 3,
        _ => return None,
    };
    let base = *[44_100_u32, 48_000, 32_000].get(usize::from(a >> 2 & 3))?;
    let sample_rate = base >> shift;
    let table = match (is_first, layer) {
        (true, layer) => layer - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bit_rate = BIT_RATES[table].get(usize::from(a >> 4))? * 1000;
    let samples = match (is_first, layer) {
        (_, 1) => 384,
        (false, 3) => 576,
        _ => 1152,
    };
    let slot = if layer == 1 { 4 } else { 1 };
    let padding = u32::from(a >> 1 & 1);
    let slots = samples / 8 * bit_rate / sample_rate / slot + padding;
    (bit_rate > 0).then(|| FrameHeader {
        length: (slots * slot) as usize,
        samples,
        sample_rate,
        channels: Some(if b >> 6 == 3 { 1 } else { 2 }),
        object_type: u8::try_from(LAYER_I - 1 + layer).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_each_layer_are_read_whole() {
        // Layer II, 192 kbit/s, 48 kHz, stereo
        assert_eq!(
            parse_header(&[0xFF, 0xFD, 0xA4, 0x00]),
            Some(FrameHeader {
                length: 576,
                samples: 1152,
                sample_rate: 48_000,
                channels: Some(2),
                object_type: Some(33),
            })
        );
        // Layer III, 128 kbit/s, 44.1 kHz, padded, mono
        let third = parse_header(&[0xFF, 0xFB, 0x92, 0xC4]).unwrap();
        assert_eq!((third.length, third.channels), (418, Some(1)));
        assert_eq!(third.object_type, Some(34));
        // MPEG-2 layer III, 64 kbit/s, 22.05 kHz
        let low = parse_header(&[0xFF, 0xF3, 0x80, 0x00]).unwrap();
        assert_eq!(
            (low.length, low.samples, low.sample_rate),
            (208, 576, 22_050)
        );
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse_header(&[0xFF, 0xFD, 0xA4]), None);
        assert_eq!(parse_header(&[0xFF, 0xF9, 0xA4, 0x00]), None);
        assert_eq!(parse_header(&[0xFF, 0xFD, 0xAC, 0x00]), None);
        assert_eq!(parse_header(&[0xFF, 0xFD, 0x04, 0x00]), None);
        assert_eq!(parse_header(&[0xFF, 0xFD, 0xF4, 0x00]), None);
        assert_eq!(parse_header(&[0xFF, 0xED, 0xA4, 0x00]), None);
    }
}
