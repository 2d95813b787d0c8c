//! What all video formats have in common: parameters, and the reader that finds them and the random access points of a growing picture.
//! Never decodes a picture.

use std::fmt;

use crate::codec::{h264, hevc, mpeg2};
use crate::unit::{RandomAccess, VideoCodec};

/// Picture sizes beyond this are a misread header.
const MAX_SIDE: u32 = 16_384;

/// Frame rates beyond this are a misread header.
const MAX_FRAME_RATE: u32 = 300;

/// Frames per second as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames.
    pub numerator: u32,
    /// Seconds.
    pub denominator: u32,
}

impl FrameRate {
    /// The fraction in lowest terms; `None` when it is no rate that video has.
    #[must_use]
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        let divisor = greatest_common_divisor(numerator, denominator);
        if divisor == 0 || numerator < denominator {
            return None;
        }
        let rate = Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        };
        (rate.numerator / rate.denominator.max(1) <= MAX_FRAME_RATE && rate.denominator > 0)
            .then_some(rate)
    }

    /// Frames per second, for display and for playlists.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}", self.as_f64())
    }
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How pictures are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scan {
    /// Whole frames.
    Progressive,
    /// Two fields a frame; players that do not deinterlace show combs.
    Interlaced,
}

/// How colour is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chroma {
    /// No colour.
    Monochrome,
    /// 4:2:0, the one that every player decodes.
    Yuv420,
    /// 4:2:2.
    Yuv422,
    /// 4:4:4.
    Yuv444,
}

impl Chroma {
    /// From `chroma_format_idc` (H.264, HEVC) or `chroma_format` (MPEG-2), which agree.
    #[must_use]
    pub fn from_format(format: u32) -> Option<Self> {
        match format {
            0 => Some(Self::Monochrome),
            1 => Some(Self::Yuv420),
            2 => Some(Self::Yuv422),
            3 => Some(Self::Yuv444),
            _ => None,
        }
    }
}

/// Width and height of the shown picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dimensions {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Dimensions {
    /// `None` when no such picture can exist: unknown is never zero.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let sides = 1..=MAX_SIDE;
        (sides.contains(&width) && sides.contains(&height)).then_some(Self { width, height })
    }
}

/// What the elementary stream says about its pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoParameters {
    /// `profile_idc`, or MPEG-2's profile bits.
    pub profile: u8,
    /// `level_idc`, or MPEG-2's level bits.
    pub level: u8,
    /// Size after cropping.
    pub dimensions: Dimensions,
    /// Frames per second, where the headers say so.
    pub frame_rate: Option<FrameRate>,
    /// Progressive or interlaced.
    pub scan: Scan,
    /// Colour sampling.
    pub chroma: Chroma,
    /// Bits per luma sample.
    pub bit_depth: u8,
    /// RFC 6381.
    pub codecs: String,
}

/// What is known of a picture once its first slice has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Whether a decoder may start here, read from the elementary stream.
    pub random_access: RandomAccess,
}

/// Reads the pictures of one elementary stream.
#[derive(Debug)]
pub enum VideoReader {
    /// H.264.
    H264(h264::Reader),
    /// HEVC.
    Hevc(hevc::Reader),
    /// MPEG-1 and MPEG-2.
    Mpeg2(mpeg2::Reader),
    /// A format whose headers we do not read; each picture is a starting point for FFmpeg to judge.
    Opaque,
}

impl VideoReader {
    /// The reader for a format.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264(h264::Reader::default()),
            VideoCodec::Hevc => Self::Hevc(hevc::Reader::default()),
            VideoCodec::Mpeg2 => Self::Mpeg2(mpeg2::Reader::default()),
            VideoCodec::Other(_) => Self::Opaque,
        }
    }

    /// Forgets the picture in progress; parameters stay.
    pub fn begin_picture(&mut self) {
        match self {
            Self::H264(reader) => reader.begin_picture(),
            Self::Hevc(reader) => reader.begin_picture(),
            Self::Mpeg2(reader) => reader.begin_picture(),
            Self::Opaque => {}
        }
    }

    /// Looks at what has come of the picture; `Some` once it can be told. Not to be called again for the same picture after that.
    pub fn read(&mut self, picture: &[u8], ended: bool) -> Option<Picture> {
        match self {
            Self::H264(reader) => reader.read(picture, ended),
            Self::Hevc(reader) => reader.read(picture, ended),
            Self::Mpeg2(reader) => reader.read(picture, ended),
            Self::Opaque => Some(Picture {
                random_access: RandomAccess::Recovery,
            }),
        }
    }

    /// The parameters in force, once a header has been read.
    #[must_use]
    pub fn parameters(&self) -> Option<&VideoParameters> {
        match self {
            Self::H264(reader) => reader.parameters(),
            Self::Hevc(reader) => reader.parameters(),
            Self::Mpeg2(reader) => reader.parameters(),
            Self::Opaque => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_are_in_lowest_terms_and_possible() {
        let rate = FrameRate::new(60_000, 2002).unwrap();
        assert_eq!((rate.numerator, rate.denominator), (30_000, 1001));
        assert_eq!(FrameRate::new(0, 0), None);
        assert_eq!(FrameRate::new(25, 0), None);
        assert_eq!(FrameRate::new(90_000, 1), None);
        assert_eq!(FrameRate::new(1, 2), None);
    }

    #[test]
    fn impossible_sizes_are_unknown() {
        assert_eq!(Dimensions::new(0, 576), None);
        assert_eq!(Dimensions::new(720, 99_999), None);
    }
}
