//! HEVC (ITU-T H.265): sequence parameter sets and intra random access points. Never reads past the first slice's unit header.

use crate::codec::bits::BitReader;
use crate::codec::nal::{Found, StartCodes, unescape};
use crate::codec::video::{Chroma, Dimensions, FrameRate, Picture, Scan, VideoParameters};
use crate::unit::RandomAccess;

const MAX_SPS: usize = 4096;
const UNIT_HEADER: usize = 2;
const SPS: u8 = 33;

/// Bits of a sub-layer's profile.
const SUB_LAYER_PROFILE: usize = 88;

/// Reads the access units of one HEVC stream.
#[derive(Debug, Default)]
pub struct Reader {
    codes: StartCodes,
    raw_sps: Vec<u8>,
    parameters: Option<VideoParameters>,
}

impl Reader {
    /// Forgets the picture in progress.
    pub fn begin_picture(&mut self) {
        self.codes = StartCodes::default();
    }

    /// Looks at what has come of the picture; `Some` once its first slice has.
    pub fn read(&mut self, picture: &[u8], ended: bool) -> Option<Picture> {
        loop {
            let random_access = match self.codes.next(picture, ended, is_slice) {
                Found::Whole(unit) => {
                    self.read_unit(unit);
                    continue;
                }
                Found::Head(slice) => random_access(slice[0]),
                Found::Pending => return None,
                Found::Exhausted => RandomAccess::None,
            };
            return Some(Picture { random_access });
        }
    }

    /// The parameters of the last sequence parameter set.
    #[must_use]
    pub fn parameters(&self) -> Option<&VideoParameters> {
        self.parameters.as_ref()
    }

    fn read_unit(&mut self, unit: &[u8]) {
        let is_sps = unit.first().is_some_and(|&header| unit_type(header) == SPS);
        if !is_sps || unit.len() < UNIT_HEADER || unit.len() > MAX_SPS || self.raw_sps == unit {
            return;
        }
        if let Some(parameters) = parse_sps(&unescape(&unit[UNIT_HEADER..], MAX_SPS)) {
            self.parameters = Some(parameters);
            self.raw_sps = unit.to_vec();
        }
    }
}

fn unit_type(header: u8) -> u8 {
    header >> 1 & 0x3F
}

fn is_slice(header: u8) -> bool {
    unit_type(header) < 32
}

fn random_access(header: u8) -> RandomAccess {
    match unit_type(header) {
        // BLA without leading pictures to skip, IDR
        17..=20 => RandomAccess::Full,
        // BLA and CRA whose leading pictures refer to what came before
        16 | 21 => RandomAccess::Recovery,
        _ => RandomAccess::None,
    }
}

/// The part of a profile, tier and level that names the stream.
struct ProfileTierLevel {
    space: u8,
    high_tier: bool,
    profile: u8,
    compatibility: u32,
    constraints: [u8; 6],
    level: u8,
}

impl ProfileTierLevel {
    fn parse(bits: &mut BitReader<'_>, sub_layers: u32) -> Option<Self> {
        let (space, high_tier, profile) = (bits.byte(2)?, bits.flag()?, bits.byte(5)?);
        let compatibility = bits.bits(32)?;
        let mut constraints = [0; 6];
        for byte in &mut constraints {
            *byte = bits.byte(8)?;
        }
        let level = bits.byte(8)?;
        let mut skipped = 0;
        for _ in 0..sub_layers {
            skipped += if bits.flag()? { SUB_LAYER_PROFILE } else { 0 };
            skipped += if bits.flag()? { 8 } else { 0 };
        }
        if sub_layers > 0 {
            bits.skip(2 * (8 - sub_layers as usize))?;
        }
        bits.skip(skipped)?;
        Some(Self {
            space,
            high_tier,
            profile,
            compatibility,
            constraints,
            level,
        })
    }

    /// ISO/IEC 14496-15 annex E: bytes of constraint flags that are zero to the end are left out.
    fn codecs(&self) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.space & 3)];
        let compatibility = self.compatibility.reverse_bits();
        let tier = if self.high_tier { 'H' } else { 'L' };
        let mut codecs = format!(
            "hvc1.{space}{}.{compatibility:X}.{tier}{}",
            self.profile, self.level
        );
        let used = self.constraints.iter().rposition(|&byte| byte != 0);
        for byte in &self.constraints[..used.map_or(0, |last| last + 1)] {
            codecs.push_str(&format!(".{byte:X}"));
        }
        codecs
    }

    /// `general_interlaced_source_flag` without `general_progressive_source_flag`.
    fn is_interlaced(&self) -> bool {
        self.constraints[0] & 0xC0 == 0x40
    }
}

fn parse_sps(body: &[u8]) -> Option<VideoParameters> {
    let mut bits = BitReader::new(body);
    bits.skip(4)?;
    let sub_layers = bits.bits(3)?;
    bits.skip(1)?;
    let general = ProfileTierLevel::parse(&mut bits, sub_layers.min(7))?;
    let _id = bits.unsigned()?;
    let chroma_format = bits.unsigned()?;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let chroma = Chroma::from_format(chroma_format)?;
    let dimensions = parse_size(&mut bits, chroma)?;
    let bit_depth = u8::try_from(bits.unsigned()?.checked_add(8)?).ok()?;
    // What follows only leads to the frame rate; a part cut off does not spoil the rest.
    let timing = parse_tail(&mut bits, sub_layers).unwrap_or_default();
    let interlaced = general.is_interlaced() || timing.fields;
    Some(VideoParameters {
        profile: general.profile,
        level: general.level,
        dimensions,
        frame_rate: timing.frame_rate,
        scan: if interlaced {
            Scan::Interlaced
        } else {
            Scan::Progressive
        },
        chroma,
        bit_depth,
        codecs: general.codecs(),
    })
}

fn parse_size(bits: &mut BitReader<'_>, chroma: Chroma) -> Option<Dimensions> {
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    let (mut cropped_columns, mut cropped_rows) = (0, 0);
    if bits.flag()? {
        let (unit_x, unit_y) = match chroma {
            Chroma::Yuv420 => (2, 2),
            Chroma::Yuv422 => (2, 1),
            Chroma::Monochrome | Chroma::Yuv444 => (1, 1),
        };
        let columns = bits.unsigned()?.checked_add(bits.unsigned()?)?;
        let rows = bits.unsigned()?.checked_add(bits.unsigned()?)?;
        cropped_columns = columns.checked_mul(unit_x)?;
        cropped_rows = rows.checked_mul(unit_y)?;
    }
    Dimensions::new(
        width.checked_sub(cropped_columns)?,
        height.checked_sub(cropped_rows)?,
    )
}

#[derive(Default)]
struct Timing {
    frame_rate: Option<FrameRate>,
    /// Each picture is a field.
    fields: bool,
}

fn parse_tail(bits: &mut BitReader<'_>, sub_layers: u32) -> Option<Timing> {
    let _chroma_depth = bits.unsigned()?;
    let order_bits = bits.unsigned()?.min(12) + 4;
    let ordered = if bits.flag()? { sub_layers + 1 } else { 1 };
    for _ in 0..ordered {
        skip_codes(bits, 3)?;
    }
    skip_codes(bits, 6)?;
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        skip_codes(bits, 2)?;
        bits.skip(1)?;
    }
    skip_short_term_sets(bits)?;
    if bits.flag()? {
        let pictures = bits.unsigned()?;
        if pictures > 32 {
            return None;
        }
        bits.skip((pictures * (order_bits + 1)) as usize)?;
    }
    bits.skip(2)?;
    if bits.flag()? { parse_vui(bits) } else { None }
}

fn parse_vui(bits: &mut BitReader<'_>) -> Option<Timing> {
    const EXTENDED_ASPECT: u32 = 255;
    if bits.flag()? && bits.bits(8)? == EXTENDED_ASPECT {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            bits.skip(24)?;
        }
    }
    if bits.flag()? {
        skip_codes(bits, 2)?;
    }
    bits.skip(1)?;
    let fields = bits.flag()?;
    bits.skip(1)?;
    if bits.flag()? {
        skip_codes(bits, 4)?;
    }
    let mut frame_rate = None;
    if bits.flag()? {
        let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
        let pictures_per_frame = if fields { 2 } else { 1 };
        frame_rate = FrameRate::new(scale, units.saturating_mul(pictures_per_frame));
    }
    Some(Timing { frame_rate, fields })
}

fn skip_codes(bits: &mut BitReader<'_>, count: usize) -> Option<()> {
    for _ in 0..count {
        bits.unsigned()?;
    }
    Some(())
}

fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Option<()> {
    for size in 0..4_u32 {
        let step = if size == 3 { 3 } else { 1 };
        for _matrix in (0..6).step_by(step) {
            if !bits.flag()? {
                bits.unsigned()?;
                continue;
            }
            let coefficients = 64.min(1 << (4 + (size << 1)));
            let extra = usize::from(size > 1);
            for _ in 0..coefficients + extra {
                bits.signed()?;
            }
        }
    }
    Some(())
}

/// Skips the short-term reference picture sets; each may be told by its difference from the one before.
fn skip_short_term_sets(bits: &mut BitReader<'_>) -> Option<()> {
    let sets = bits.unsigned()?;
    if sets > 64 {
        return None;
    }
    let mut pictures = 0;
    for index in 0..sets {
        pictures = if index > 0 && bits.flag()? {
            bits.skip(1)?;
            bits.unsigned()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                // used, or else at least referred to
                kept += u32::from(bits.flag()? || bits.flag()?);
            }
            kept
        } else {
            let (negative, positive) = (bits.unsigned()?, bits.unsigned()?);
            if negative > 16 || positive > 16 {
                return None;
            }
            for _ in 0..negative + positive {
                bits.unsigned()?;
                bits.skip(1)?;
            }
            negative + positive
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter sets that x265 wrote.
    const P720: &str =
        "420101016000000300900000030000030078a00280802d165959a4932bc05a020000030002000003006410";
    const MAIN_10: &str =
        "420101022000000300900000030000030078a003c08010e4d96566924caf016808000003000800000300c840";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap())
            .collect()
    }

    fn read(reader: &mut Reader, units: &[&[u8]]) -> RandomAccess {
        let picture: Vec<u8> = units
            .iter()
            .flat_map(|unit| [&[0, 0, 1], *unit].concat())
            .chain([0x55; 64])
            .collect();
        reader.begin_picture();
        reader.read(&picture, false).unwrap().random_access
    }

    #[test]
    fn parameter_sets_are_read_whole() {
        let mut reader = Reader::default();
        let found = read(&mut reader, &[&bytes(P720), &[0x28, 0x01]]);
        assert_eq!(found, RandomAccess::Full);
        assert_eq!(
            reader.parameters(),
            Some(&VideoParameters {
                profile: 1,
                level: 120,
                dimensions: Dimensions::new(1280, 720).unwrap(),
                frame_rate: FrameRate::new(50, 1),
                scan: Scan::Progressive,
                chroma: Chroma::Yuv420,
                bit_depth: 8,
                codecs: "hvc1.1.6.L120.90".to_owned(),
            })
        );
        read(&mut reader, &[&bytes(MAIN_10), &[0x28, 0x01]]);
        let parameters = reader.parameters().unwrap();
        assert_eq!(parameters.profile, 2);
        assert_eq!(parameters.bit_depth, 10);
        assert_eq!(parameters.dimensions, Dimensions::new(1920, 1080).unwrap());
        assert_eq!(parameters.frame_rate, FrameRate::new(25, 1));
        assert_eq!(parameters.codecs, "hvc1.2.4.L120.90");
    }

    #[test]
    fn random_access_follows_the_unit_type() {
        let mut reader = Reader::default();
        let found: Vec<_> = [1, 16, 17, 19, 20, 21]
            .map(|unit| read(&mut reader, &[&[unit << 1, 1]]))
            .into();
        assert_eq!(
            found,
            [
                RandomAccess::None,
                RandomAccess::Recovery,
                RandomAccess::Full,
                RandomAccess::Full,
                RandomAccess::Full,
                RandomAccess::Recovery
            ]
        );
    }

    #[test]
    fn cut_off_parameter_sets_never_give_more_than_they_say() {
        let sps = bytes(P720);
        for length in UNIT_HEADER..sps.len() {
            let parsed = parse_sps(&unescape(&sps[UNIT_HEADER..length], MAX_SPS));
            if let Some(parameters) = parsed {
                assert_eq!(parameters.dimensions, Dimensions::new(1280, 720).unwrap());
            }
        }
        assert_eq!(parse_sps(&[0xFF; 64]), None);
    }
}
