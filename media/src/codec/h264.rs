//! H.264 (ITU-T H.264): sequence parameter sets, recovery points, the first slice's type. Never reads past the first slice header.

use crate::codec::bits::BitReader;
use crate::codec::nal::{Found, SeiMessage, StartCodes, sei_messages, unescape};
use crate::codec::video::{Chroma, Dimensions, FrameRate, Picture, Scan, VideoParameters};
use crate::unit::RandomAccess;

/// A parameter set of the usual kind has 20 to 60 bytes, with scaling lists a few hundred.
const MAX_SPS: usize = 4096;

/// Messages of interest come before or between captions, which have up to 3 kB a picture.
const MAX_SEI: usize = 8192;

const SLICE_HEADER: usize = 32;

const PICTURE_TIMING: u32 = 1;
const RECOVERY_POINT: u32 = 6;

/// Profiles whose parameter set has a chroma format (§7.3.2.1.1).
const WITH_CHROMA_FORMAT: [u8; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];

/// Reads the access units of one H.264 stream.
#[derive(Debug, Default)]
pub struct Reader {
    codes: StartCodes,
    sps: Option<Sps>,
    raw_sps: Vec<u8>,
    parameters: Option<VideoParameters>,
    picture: Prefix,
    /// The stream marks its starting points; then an I slice behind a parameter set alone is none.
    marks_starts: bool,
}

/// What stood before the first slice of the picture in progress.
#[derive(Debug, Default)]
struct Prefix {
    has_sps: bool,
    recovery_point: bool,
    structure: Option<u8>,
}

impl Reader {
    /// Forgets the picture in progress.
    pub fn begin_picture(&mut self) {
        self.codes = StartCodes::default();
        self.picture = Prefix::default();
    }

    /// Looks at what has come of the picture; `Some` once its first slice header has.
    pub fn read(&mut self, picture: &[u8], ended: bool) -> Option<Picture> {
        loop {
            match self.codes.next(picture, ended, is_slice) {
                Found::Whole(unit) => self.read_unit(unit),
                Found::Head(slice) => return Some(self.read_slice(slice)),
                Found::Pending => return None,
                Found::Exhausted => {
                    return Some(Picture {
                        random_access: RandomAccess::None,
                    });
                }
            }
        }
    }

    /// The parameters of the last sequence parameter set.
    #[must_use]
    pub fn parameters(&self) -> Option<&VideoParameters> {
        self.parameters.as_ref()
    }

    fn read_unit(&mut self, unit: &[u8]) {
        match unit.first().map(|header| header & 0x1F) {
            Some(6) => self.read_sei(&unescape(&unit[1..], MAX_SEI)),
            Some(7) => {
                self.picture.has_sps = true;
                if self.raw_sps != unit && unit.len() <= MAX_SPS {
                    self.read_sps(unit);
                }
            }
            _ => {}
        }
    }

    fn read_sps(&mut self, unit: &[u8]) {
        let Some(sps) = Sps::parse(&unescape(&unit[1..], MAX_SPS)) else {
            return;
        };
        self.parameters = sps.parameters();
        self.sps = Some(sps);
        self.raw_sps = unit.to_vec();
    }

    fn read_sei(&mut self, body: &[u8]) {
        for SeiMessage { kind, payload } in sei_messages(body) {
            match kind {
                RECOVERY_POINT => self.picture.recovery_point = true,
                PICTURE_TIMING => {
                    let structure = self.sps.as_ref().and_then(|sps| sps.structure(payload));
                    self.picture.structure = structure;
                }
                _ => {}
            }
        }
    }

    fn read_slice(&mut self, slice: &[u8]) -> Picture {
        let header = unescape(&slice[..slice.len().min(SLICE_HEADER)], SLICE_HEADER);
        let head = SliceHead::parse(&header, self.sps.as_ref());
        self.judge_scan(head.as_ref());
        let is_intra = head.is_some_and(|head| head.is_intra);
        let is_idr = header.first().is_some_and(|byte| byte & 0x1F == 5);
        self.marks_starts |= is_idr || self.picture.recovery_point;
        let starts = self.picture.recovery_point || self.picture.has_sps && !self.marks_starts;
        Picture {
            random_access: match (is_idr, starts && is_intra) {
                (true, _) => RandomAccess::Full,
                (false, true) => RandomAccess::Recovery,
                (false, false) => RandomAccess::None,
            },
        }
    }

    /// One interlaced picture makes the stream interlaced, until the next parameter set.
    fn judge_scan(&mut self, head: Option<&SliceHead>) {
        let (Some(sps), Some(parameters)) = (&self.sps, &mut self.parameters) else {
            return;
        };
        if sps.frame_mbs_only || parameters.scan == Scan::Interlaced {
            return;
        }
        let is_field = head.is_some_and(|head| head.is_field);
        // 0 is a frame, 7 and 8 a frame shown twice or thrice; without the message only the encoder knows.
        if is_field || !matches!(self.picture.structure, Some(0 | 7 | 8)) {
            parameters.scan = Scan::Interlaced;
        }
    }
}

fn is_slice(header: u8) -> bool {
    matches!(header & 0x1F, 1 | 2 | 5)
}

/// The start of a slice header.
#[derive(Debug)]
struct SliceHead {
    is_intra: bool,
    is_field: bool,
}

impl SliceHead {
    fn parse(slice: &[u8], sps: Option<&Sps>) -> Option<Self> {
        let mut bits = BitReader::new(slice.get(1..)?);
        let _first_macroblock = bits.unsigned()?;
        let kind = bits.unsigned()?;
        let is_intra = matches!(kind % 5, 2 | 4);
        let is_field = sps.is_some_and(|sps| {
            !sps.frame_mbs_only && sps.field_flag(&mut bits).unwrap_or_default()
        });
        Some(Self { is_intra, is_field })
    }
}

/// A sequence parameter set, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sps {
    profile: u8,
    constraints: u8,
    level: u8,
    chroma_format: u32,
    separate_planes: bool,
    bit_depth: u8,
    frame_number_bits: u32,
    frame_mbs_only: bool,
    dimensions: Option<Dimensions>,
    vui: Vui,
}

/// Video usability information, as far as we need it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Vui {
    frame_rate: Option<FrameRate>,
    has_structure: bool,
    /// Bits of the two delays that stand before the structure in a picture timing message.
    delay_bits: usize,
}

impl Sps {
    fn parse(body: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(body);
        let (profile, constraints, level) = (bits.byte(8)?, bits.byte(8)?, bits.byte(8)?);
        let _id = bits.unsigned()?;
        let mut sps = Self {
            profile,
            constraints,
            level,
            chroma_format: 1,
            separate_planes: false,
            bit_depth: 8,
            frame_number_bits: 0,
            frame_mbs_only: true,
            dimensions: None,
            vui: Vui::default(),
        };
        if WITH_CHROMA_FORMAT.contains(&profile) {
            sps.parse_chroma(&mut bits)?;
        }
        sps.frame_number_bits = bits.unsigned()?.min(12) + 4;
        skip_picture_order(&mut bits)?;
        let _reference_frames = bits.unsigned()?;
        let _gaps = bits.flag()?;
        sps.parse_size(&mut bits)?;
        if bits.flag()? {
            // A usability part that is cut off does not spoil the rest.
            sps.vui = Vui::parse(&mut bits).unwrap_or_default();
        }
        Some(sps)
    }

    fn parse_chroma(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.chroma_format = bits.unsigned()?;
        self.separate_planes = self.chroma_format == 3 && bits.flag()?;
        self.bit_depth = u8::try_from(bits.unsigned()?.checked_add(8)?).ok()?;
        let _chroma_depth = bits.unsigned()?;
        let _lossless = bits.flag()?;
        if bits.flag()? {
            let lists = if self.chroma_format == 3 { 12 } else { 8 };
            for index in 0..lists {
                if bits.flag()? {
                    skip_scaling_list(bits, if index < 6 { 16 } else { 64 })?;
                }
            }
        }
        Some(())
    }

    fn parse_size(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let columns = u64::from(bits.unsigned()?) + 1;
        let rows = u64::from(bits.unsigned()?) + 1;
        self.frame_mbs_only = bits.flag()?;
        if !self.frame_mbs_only {
            let _adaptive = bits.flag()?;
        }
        let _direct_inference = bits.flag()?;
        let fields = if self.frame_mbs_only { 1 } else { 2 };
        let mut cropped = (0, 0);
        if bits.flag()? {
            let (left, right) = (u64::from(bits.unsigned()?), u64::from(bits.unsigned()?));
            let (top, bottom) = (u64::from(bits.unsigned()?), u64::from(bits.unsigned()?));
            let (unit_x, unit_y) = match self.chroma_format {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            cropped = ((left + right) * unit_x, (top + bottom) * unit_y * fields);
        }
        let width = (columns * 16).checked_sub(cropped.0)?;
        let height = (rows * 16 * fields).checked_sub(cropped.1)?;
        self.dimensions = Dimensions::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        Some(())
    }

    fn parameters(&self) -> Option<VideoParameters> {
        Some(VideoParameters {
            profile: self.profile,
            level: self.level,
            dimensions: self.dimensions?,
            frame_rate: self.vui.frame_rate,
            scan: Scan::Progressive,
            chroma: Chroma::from_format(self.chroma_format)?,
            bit_depth: self.bit_depth,
            codecs: format!(
                "avc1.{:02x}{:02x}{:02x}",
                self.profile, self.constraints, self.level
            ),
        })
    }

    /// `pic_struct` of a picture timing message.
    fn structure(&self, payload: &[u8]) -> Option<u8> {
        if !self.vui.has_structure {
            return None;
        }
        let mut bits = BitReader::new(payload);
        bits.skip(self.vui.delay_bits)?;
        bits.byte(4)
    }

    /// `field_pic_flag` of a slice header that has been read up to its type.
    fn field_flag(&self, bits: &mut BitReader<'_>) -> Option<bool> {
        let _picture_parameter_set = bits.unsigned()?;
        if self.separate_planes {
            bits.skip(2)?;
        }
        bits.skip(self.frame_number_bits as usize)?;
        bits.flag()
    }
}

impl Vui {
    fn parse(bits: &mut BitReader<'_>) -> Option<Self> {
        let mut vui = Self::default();
        const EXTENDED_ASPECT: u32 = 255;
        if bits.flag()? && bits.bits(8)? == EXTENDED_ASPECT {
            bits.skip(32)?;
        }
        if bits.flag()? {
            let _overscan = bits.flag()?;
        }
        if bits.flag()? {
            bits.skip(4)?;
            if bits.flag()? {
                bits.skip(24)?;
            }
        }
        if bits.flag()? {
            let _chroma_location = (bits.unsigned()?, bits.unsigned()?);
        }
        if bits.flag()? {
            let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
            let _fixed = bits.flag()?;
            // The clock ticks once a field.
            vui.frame_rate = FrameRate::new(scale, units.saturating_mul(2));
        }
        let nal = bits.flag()?;
        if nal {
            vui.delay_bits = parse_hrd(bits)?;
        }
        let vcl = bits.flag()?;
        if vcl {
            vui.delay_bits = parse_hrd(bits)?;
        }
        if nal || vcl {
            let _low_delay = bits.flag()?;
        }
        vui.has_structure = bits.flag()?;
        Some(vui)
    }
}

/// Reads hypothetical reference decoder parameters for the bits of both delays in picture timing messages.
fn parse_hrd(bits: &mut BitReader<'_>) -> Option<usize> {
    let buffers = bits.unsigned()?;
    if buffers > 31 {
        return None;
    }
    bits.skip(8)?;
    for _ in 0..=buffers {
        let _rate_and_size = (bits.unsigned()?, bits.unsigned()?);
        let _constant = bits.flag()?;
    }
    bits.skip(5)?;
    let removal = bits.bits(5)? + 1;
    let output = bits.bits(5)? + 1;
    bits.skip(5)?;
    Some((removal + output) as usize)
}

fn skip_scaling_list(bits: &mut BitReader<'_>, size: usize) -> Option<()> {
    let mut last = 8_i32;
    for _ in 0..size {
        let next = last.wrapping_add(bits.signed()?).rem_euclid(256);
        if next == 0 {
            break;
        }
        last = next;
    }
    Some(())
}

fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.skip(1)?;
            let _offsets = (bits.signed()?, bits.signed()?);
            let cycle = bits.unsigned()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter sets that x264 wrote.
    const P720: &str = "6764001facd9405005bb011000000300100000030320f1831960";
    const P1080_29_97: &str = "67640028acd940780227e5c04400000fa40003a9803c60c658";
    const I576_HRD: &str = "6764001eacd940b424d8088000000300800000193130007a12000f425261807c50a658";
    const P422_10_BIT: &str = "677a001fb6cd940a02ff89c044000003000400000301903c60c658";
    const CONSTRAINED_BASELINE: &str = "6742c00cda05067e7c04400000fa40002ee003c50aa8";
    const TOP_BOTTOM: &str = "0601040000432080";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex)
    }

    mod hex {
        pub(super) fn decode(text: &str) -> Vec<u8> {
            (0..text.len() / 2)
                .map(|index| u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).unwrap())
                .collect()
        }
    }

    fn picture(units: &[&[u8]]) -> Vec<u8> {
        units
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1], *unit].concat())
            .chain([0; 64])
            .collect()
    }

    fn read(reader: &mut Reader, units: &[&[u8]]) -> RandomAccess {
        reader.begin_picture();
        reader.read(&picture(units), false).unwrap().random_access
    }

    fn parameters(sps: &str) -> VideoParameters {
        let mut reader = Reader::default();
        read(&mut reader, &[&bytes(sps), &[0x65, 0x88, 0x84]]);
        reader.parameters().unwrap().clone()
    }

    fn rate(numerator: u32, denominator: u32) -> Option<FrameRate> {
        FrameRate::new(numerator, denominator)
    }

    #[test]
    fn progressive_parameter_sets_are_read_whole() {
        assert_eq!(
            parameters(P720),
            VideoParameters {
                profile: 100,
                level: 31,
                dimensions: Dimensions::new(1280, 720).unwrap(),
                frame_rate: rate(25, 1),
                scan: Scan::Progressive,
                chroma: Chroma::Yuv420,
                bit_depth: 8,
                codecs: "avc1.64001f".to_owned(),
            }
        );
        let full_hd = parameters(P1080_29_97);
        assert_eq!(full_hd.dimensions, Dimensions::new(1920, 1080).unwrap());
        assert_eq!(full_hd.frame_rate, rate(30_000, 1001));
        assert_eq!(full_hd.codecs, "avc1.640028");
        let small = parameters(CONSTRAINED_BASELINE);
        assert_eq!(small.dimensions, Dimensions::new(320, 180).unwrap());
        assert_eq!(small.frame_rate, rate(24_000, 1001));
        assert_eq!(small.codecs, "avc1.42c00c");
    }

    #[test]
    fn high_422_has_its_depth_and_chroma() {
        let parameters = parameters(P422_10_BIT);
        assert_eq!(parameters.profile, 122);
        assert_eq!(parameters.chroma, Chroma::Yuv422);
        assert_eq!(parameters.bit_depth, 10);
        assert_eq!(parameters.dimensions, Dimensions::new(640, 360).unwrap());
    }

    #[test]
    fn interlace_is_judged_by_the_picture_timing_message() {
        let sps = bytes(I576_HRD);
        let parsed = Sps::parse(&unescape(&sps[1..], MAX_SPS)).unwrap();
        assert!(!parsed.frame_mbs_only);
        let timing = bytes(TOP_BOTTOM);
        let mut reader = Reader::default();
        read(&mut reader, &[&sps, &timing, &[0x65, 0x88, 0x82]]);
        let parameters = reader.parameters().unwrap();
        assert_eq!(parameters.dimensions, Dimensions::new(720, 576).unwrap());
        assert_eq!(parameters.frame_rate, rate(25, 1));
        assert_eq!(reader.picture.structure, Some(3));
        assert_eq!(parameters.scan, Scan::Interlaced);
    }

    #[test]
    fn frames_of_an_interlaced_parameter_set_may_be_progressive() {
        let sps = bytes(I576_HRD);
        // The structure stands behind the two delays: the last nibble but the trailing bits.
        let mut timing = bytes(TOP_BOTTOM);
        let parsed = Sps::parse(&unescape(&sps[1..], MAX_SPS)).unwrap();
        let position = parsed.vui.delay_bits;
        for bit in position..position + 4 {
            timing[3 + bit / 8] &= !(0x80 >> (bit % 8));
        }
        let mut reader = Reader::default();
        read(&mut reader, &[&sps, &timing, &[0x65, 0x88, 0x82]]);
        assert_eq!(reader.parameters().unwrap().scan, Scan::Progressive);
        read(&mut reader, &[&[0x41, 0x9A, 0x20]]);
        assert_eq!(reader.parameters().unwrap().scan, Scan::Interlaced);
    }

    #[test]
    fn an_idr_is_a_full_start_and_a_p_slice_none() {
        let mut reader = Reader::default();
        assert_eq!(
            read(&mut reader, &[&bytes(P720), &[0x65, 0x88, 0x84]]),
            RandomAccess::Full
        );
        assert_eq!(
            read(&mut reader, &[&[0x41, 0x9A, 0x22]]),
            RandomAccess::None
        );
    }

    #[test]
    fn a_recovery_point_needs_an_i_slice() {
        let recovery = [0x06, 6, 1, 0xC4, 0x80];
        let mut reader = Reader::default();
        // first_mb 0, slice type 7 (I): 1 0001000
        assert_eq!(
            read(&mut reader, &[&recovery, &[0x41, 0b1000_1000]]),
            RandomAccess::Recovery
        );
        // slice type 5 (P): 1 00110
        assert_eq!(
            read(&mut reader, &[&recovery, &[0x41, 0b1001_1000]]),
            RandomAccess::None
        );
    }

    #[test]
    fn an_i_slice_behind_a_parameter_set_counts_only_while_nothing_better_is_known() {
        let (sps, intra) = (bytes(P720), [0x41, 0b1000_1000]);
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, &[&sps, &intra]), RandomAccess::Recovery);
        assert_eq!(read(&mut reader, &[&intra]), RandomAccess::None);
        assert_eq!(
            read(&mut reader, &[&sps, &[0x65, 0x88, 0x84]]),
            RandomAccess::Full
        );
        assert_eq!(read(&mut reader, &[&sps, &intra]), RandomAccess::None);
    }

    #[test]
    fn cut_off_parameter_sets_are_refused_or_read_without_their_tail() {
        let sps = bytes(P1080_29_97);
        for length in 1..sps.len() {
            let read = Sps::parse(&sps[1..length]);
            if length < 11 {
                assert_eq!(read, None, "length {length}");
            }
        }
        assert_eq!(Sps::parse(&[0; 64]).and_then(|sps| sps.parameters()), None);
    }
}
