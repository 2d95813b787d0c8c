//! MPEG-1 and MPEG-2 video (ISO/IEC 13818-2): sequence, group and picture headers. Never reads a slice.

use crate::codec::bits::BitReader;
use crate::codec::nal::{Found, StartCodes};
use crate::codec::video::{Chroma, Dimensions, FrameRate, Picture, Scan, VideoParameters};
use crate::unit::RandomAccess;

const PICTURE: u8 = 0x00;
const SEQUENCE: u8 = 0xB3;
const EXTENSION: u8 = 0xB5;
const GROUP: u8 = 0xB8;

const SEQUENCE_EXTENSION: u32 = 1;
const INTRA: u32 = 1;

/// Reads the pictures of one MPEG-2 stream.
#[derive(Debug, Default)]
pub struct Reader {
    codes: StartCodes,
    sequence: Option<Sequence>,
    parameters: Option<VideoParameters>,
    picture: Prefix,
}

/// What stood before the first slice of the picture in progress.
#[derive(Debug, Default)]
struct Prefix {
    has_sequence: bool,
    closed_group: bool,
    is_intra: bool,
}

impl Reader {
    /// Forgets the picture in progress.
    pub fn begin_picture(&mut self) {
        self.codes = StartCodes::default();
        self.picture = Prefix::default();
    }

    /// Looks at what has come of the picture; `Some` once its first slice has.
    pub fn read(&mut self, picture: &[u8], ended: bool) -> Option<Picture> {
        loop {
            match self.codes.next(picture, ended, is_slice) {
                Found::Whole(unit) => self.read_unit(unit),
                Found::Pending => return None,
                Found::Head(_) | Found::Exhausted => break,
            }
        }
        let starts = self.picture.has_sequence && self.picture.is_intra;
        Some(Picture {
            random_access: match (starts, self.picture.closed_group) {
                (true, true) => RandomAccess::Full,
                (true, false) => RandomAccess::Recovery,
                (false, _) => RandomAccess::None,
            },
        })
    }

    /// The parameters of the last sequence header.
    #[must_use]
    pub fn parameters(&self) -> Option<&VideoParameters> {
        self.parameters.as_ref()
    }

    fn read_unit(&mut self, unit: &[u8]) {
        let Some((&code, body)) = unit.split_first() else {
            return;
        };
        let mut bits = BitReader::new(body);
        match code {
            SEQUENCE => {
                self.picture.has_sequence = true;
                self.sequence = Sequence::parse(&mut bits);
                self.parameters = self.sequence.as_ref().and_then(Sequence::parameters);
            }
            EXTENSION => {
                if let Some(sequence) = &mut self.sequence
                    && self.picture.has_sequence
                    && sequence.extend(&mut bits).is_some()
                {
                    self.parameters = sequence.parameters();
                }
            }
            GROUP => {
                let closed = bits.skip(25).and_then(|()| bits.flag());
                self.picture.closed_group = closed.unwrap_or_default();
            }
            PICTURE => {
                let kind = bits.skip(10).and_then(|()| bits.bits(3));
                self.picture.is_intra = kind == Some(INTRA);
            }
            _ => {}
        }
    }
}

fn is_slice(code: u8) -> bool {
    (0x01..=0xAF).contains(&code)
}

/// A sequence header and its extension.
#[derive(Debug)]
struct Sequence {
    width: u32,
    height: u32,
    rate: (u32, u32),
    /// What the extension multiplies the rate with.
    factor: (u32, u32),
    profile: u8,
    level: u8,
    scan: Scan,
    chroma: u32,
}

impl Sequence {
    fn parse(bits: &mut BitReader<'_>) -> Option<Self> {
        let (width, height) = (bits.bits(12)?, bits.bits(12)?);
        let _aspect = bits.bits(4)?;
        let rate = match bits.bits(4)? {
            1 => (24_000, 1001),
            2 => (24, 1),
            3 => (25, 1),
            4 => (30_000, 1001),
            5 => (30, 1),
            6 => (50, 1),
            7 => (60_000, 1001),
            8 => (60, 1),
            _ => (0, 0),
        };
        // Without an extension it is MPEG-1: no profile, frames only.
        Some(Self {
            width,
            height,
            rate,
            factor: (1, 1),
            profile: 0,
            level: 0,
            scan: Scan::Progressive,
            chroma: 1,
        })
    }

    fn extend(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.bits(4)? != SEQUENCE_EXTENSION {
            return None;
        }
        let _escape = bits.flag()?;
        self.profile = bits.byte(3)?;
        self.level = bits.byte(4)?;
        self.scan = if bits.flag()? {
            Scan::Progressive
        } else {
            Scan::Interlaced
        };
        self.chroma = bits.bits(2)?;
        // A header may have more than one extension; the last one counts.
        self.width = self.width & 0xFFF | bits.bits(2)? << 12;
        self.height = self.height & 0xFFF | bits.bits(2)? << 12;
        bits.skip(12 + 1 + 8 + 1)?;
        self.factor = (bits.bits(2)? + 1, bits.bits(5)? + 1);
        Some(())
    }

    fn parameters(&self) -> Option<VideoParameters> {
        Some(VideoParameters {
            profile: self.profile,
            level: self.level,
            dimensions: Dimensions::new(self.width, self.height)?,
            frame_rate: FrameRate::new(self.rate.0 * self.factor.0, self.rate.1 * self.factor.1),
            scan: self.scan,
            chroma: Chroma::from_format(self.chroma)?,
            bit_depth: 8,
            // Object type of ISO/IEC 14496-1: MPEG-2 simple is 60, main 61, SNR 62, spatial 63, high 64, 4:2:2 65; MPEG-1 is 6A.
            codecs: match self.profile {
                0 => "mp4v.6a".to_owned(),
                profile => format!("mp4v.{:x}", 0x65_u8.saturating_sub(profile)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of streams that FFmpeg wrote, up to the first slice.
    const I576: &str = "000001b32d024013ffffe228000001b5148200010000000001b80008004000000100000ffff8000001b58ffff38000000001012b7ce118";
    const P720: &str = "000001b35002d034ffffe228000001b5146a00010000000001b80008004000000100000ffff8000001b58ffff34180000001012bf9c230";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap())
            .chain([0x55; 64])
            .collect()
    }

    fn read(reader: &mut Reader, picture: &[u8]) -> RandomAccess {
        reader.begin_picture();
        reader.read(picture, false).unwrap().random_access
    }

    #[test]
    fn sequence_headers_are_read_whole() {
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, &bytes(I576)), RandomAccess::Full);
        assert_eq!(
            reader.parameters(),
            Some(&VideoParameters {
                profile: 4,
                level: 8,
                dimensions: Dimensions::new(720, 576).unwrap(),
                frame_rate: FrameRate::new(25, 1),
                scan: Scan::Interlaced,
                chroma: Chroma::Yuv420,
                bit_depth: 8,
                codecs: "mp4v.61".to_owned(),
            })
        );
        assert_eq!(read(&mut reader, &bytes(P720)), RandomAccess::Full);
        let parameters = reader.parameters().unwrap();
        assert_eq!(parameters.dimensions, Dimensions::new(1280, 720).unwrap());
        assert_eq!(parameters.frame_rate, FrameRate::new(30_000, 1001));
        assert_eq!(parameters.scan, Scan::Progressive);
    }

    #[test]
    fn the_last_of_many_extensions_counts() {
        let header = bytes(I576);
        // Three times the rate.
        let mut extension = header[12..22].to_vec();
        extension[9] |= 0x40;
        let mut picture = header[..12].to_vec();
        for _ in 0..40 {
            picture.extend_from_slice(&extension);
        }
        picture.extend_from_slice(&header[22..]);
        let mut reader = Reader::default();
        read(&mut reader, &picture);
        let rate = reader.parameters().unwrap().frame_rate;
        assert_eq!(rate, FrameRate::new(75, 1));
    }

    #[test]
    fn a_start_needs_sequence_header_and_intra_picture() {
        let mut open_group = bytes(I576);
        let group = open_group
            .windows(4)
            .position(|code| code == [0, 0, 1, GROUP]);
        open_group[group.unwrap() + 7] &= !0x40;
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, &open_group), RandomAccess::Recovery);
        let picture = open_group
            .windows(4)
            .position(|code| code == [0, 0, 1, PICTURE]);
        let picture = picture.unwrap();
        assert_eq!(
            read(&mut reader, &open_group[picture..]),
            RandomAccess::None
        );
        open_group[picture + 5] = 0x10;
        assert_eq!(read(&mut reader, &open_group), RandomAccess::None);
    }
}
