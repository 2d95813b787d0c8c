//! AC-3 and Enhanced AC-3 (ETSI TS 102 366). Reads sync frame headers only.

use crate::codec::audio::FrameHeader;
use crate::codec::bits::BitReader;

const SYNC_WORD: u32 = 0x0B77;
const BLOCK_SAMPLES: u32 = 256;

/// Bit stream ids above this are Enhanced AC-3.
const LAST_AC3: u8 = 10;

const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// kbit/s by half the frame size code.
const BIT_RATES: [u32; 19] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
];

/// Full-range channels by audio coding mode.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// Reads the header of the sync frame that starts here; `None` when none does or too little has come.
#[must_use]
pub fn parse_header(bytes: &[u8]) -> Option<FrameHeader> {
    let mut bits = BitReader::new(bytes);
    if bits.bits(16)? != SYNC_WORD {
        return None;
    }
    match bytes.get(5)? >> 3 {
        0..=LAST_AC3 => parse_ac3(&mut bits),
        11..=16 => parse_enhanced(&mut bits),
        _ => None,
    }
}

fn parse_ac3(bits: &mut BitReader<'_>) -> Option<FrameHeader> {
    bits.skip(16)?;
    let sample_rate = *SAMPLE_RATES.get(bits.bits(2)? as usize)?;
    let size_code = bits.bits(6)?;
    let bit_rate = BIT_RATES.get(size_code as usize / 2)? * 1000;
    let _id_and_mode = bits.bits(8)?;
    let mode = bits.bits(3)?;
    // Centre, surround and Dolby Surround levels are there only for the modes that have them.
    let levels = usize::from(mode & 1 != 0 && mode != 1) + usize::from(mode & 4 != 0);
    bits.skip(2 * (levels + usize::from(mode == 2)))?;
    let has_low_frequency = bits.flag()?;
    // Frames at 44.1 kHz alternate by a word to keep the rate.
    let words = bit_rate * 96 / sample_rate + u32::from(sample_rate == 44_100) * (size_code & 1);
    Some(FrameHeader {
        length: words as usize * 2,
        samples: 6 * BLOCK_SAMPLES,
        sample_rate,
        channels: Some(CHANNELS[mode as usize & 7] + u8::from(has_low_frequency)),
        object_type: None,
    })
}

fn parse_enhanced(bits: &mut BitReader<'_>) -> Option<FrameHeader> {
    let is_dependent = bits.bits(2)? == 1;
    let substream = bits.bits(3)?;
    let length = (bits.bits(11)? as usize + 1) * 2;
    let rate_code = bits.bits(2)?;
    let (sample_rate, blocks) = if rate_code == 3 {
        (SAMPLE_RATES.get(bits.bits(2)? as usize)? / 2, 6)
    } else {
        let blocks = [1, 2, 3, 6][bits.bits(2)? as usize & 3];
        (*SAMPLE_RATES.get(rate_code as usize)?, blocks)
    };
    let mode = bits.bits(3)?;
    let has_low_frequency = bits.flag()?;
    // Only the first independent substream moves time on; the others belong to it.
    let is_first = !is_dependent && substream == 0;
    Some(FrameHeader {
        length,
        samples: if is_first { blocks * BLOCK_SAMPLES } else { 0 },
        sample_rate,
        channels: is_first.then_some(CHANNELS[mode as usize & 7] + u8::from(has_low_frequency)),
        object_type: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ac3_header_is_read_whole() {
        // 48 kHz, 384 kbit/s, 3/2 with low frequency effects
        assert_eq!(
            parse_header(&[0x0B, 0x77, 0x00, 0x00, 0x1C, 0x40, 0xE1, 0x00]),
            Some(FrameHeader {
                length: 1536,
                samples: 1536,
                sample_rate: 48_000,
                channels: Some(6),
                object_type: None,
            })
        );
        // 44.1 kHz, 192 kbit/s, the longer of the two, stereo without low frequency effects
        let stereo = parse_header(&[0x0B, 0x77, 0x00, 0x00, 0x55, 0x40, 0x40, 0x00]).unwrap();
        assert_eq!((stereo.length, stereo.channels), (836, Some(2)));
    }

    #[test]
    fn an_enhanced_header_is_read_whole() {
        // independent, 768 bytes, 48 kHz, 6 blocks, 3/2 with low frequency effects, id 16
        let header = parse_header(&[0x0B, 0x77, 0x01, 0x7F, 0x3F, 0x80, 0x00]).unwrap();
        assert_eq!((header.length, header.samples), (768, 1536));
        assert_eq!((header.sample_rate, header.channels), (48_000, Some(6)));
        // a dependent substream moves no time
        let dependent = parse_header(&[0x0B, 0x77, 0x41, 0x7F, 0x3F, 0x80, 0x00]).unwrap();
        assert_eq!((dependent.samples, dependent.channels), (0, None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse_header(&[0x0B, 0x77, 0x00, 0x00, 0x1C]), None);
        assert_eq!(
            parse_header(&[0x0B, 0x78, 0x00, 0x00, 0x1C, 0x40, 0xE1]),
            None
        );
        assert_eq!(
            parse_header(&[0x0B, 0x77, 0x00, 0x00, 0xDC, 0x40, 0xE1]),
            None
        );
        assert_eq!(
            parse_header(&[0x0B, 0x77, 0x00, 0x00, 0x1C, 0x88, 0xE1]),
            None
        );
    }
}
