//! What travels between demultiplexer, gate and segmenter: tracks and access units. Plain data; decides nothing.

use std::fmt;

use bytes::Bytes;

use crate::time::Ticks;

/// A video coding format, as far as we tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// MPEG-2 video (stream type 0x01, 0x02).
    Mpeg2,
    /// H.264 (stream type 0x1B).
    H264,
    /// H.265 (stream type 0x24).
    Hevc,
    /// A video stream type that we neither pass through nor judge.
    Other(u8),
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mpeg2 => formatter.write_str("mpeg2"),
            Self::H264 => formatter.write_str("h264"),
            Self::Hevc => formatter.write_str("hevc"),
            Self::Other(stream_type) => write!(formatter, "video of type {stream_type:#04x}"),
        }
    }
}

/// An audio coding format, as far as we tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC in ADTS frames (stream type 0x0F).
    Aac,
    /// AAC in LATM (stream type 0x11).
    AacLatm,
    /// MPEG audio layer I, II or III (stream type 0x03, 0x04).
    Mpeg,
    /// AC-3 (stream type 0x81, or private data with its descriptor).
    Ac3,
    /// Enhanced AC-3 (stream type 0x87, or private data with its descriptor).
    Eac3,
    /// An audio stream type that only FFmpeg may understand.
    Other(u8),
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac => formatter.write_str("aac"),
            Self::AacLatm => formatter.write_str("aac_latm"),
            Self::Mpeg => formatter.write_str("mpeg audio"),
            Self::Ac3 => formatter.write_str("ac3"),
            Self::Eac3 => formatter.write_str("eac3"),
            Self::Other(stream_type) => write!(formatter, "audio of type {stream_type:#04x}"),
        }
    }
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Track {
    /// The one chosen video track.
    Video,
    /// The one chosen audio track.
    Audio,
}

/// How a decoder may start at an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RandomAccess {
    /// Not a starting point.
    None,
    /// Nothing after it refers to anything before it: H.264 IDR, HEVC IDR, MPEG-2 closed GOP; every audio unit.
    Full,
    /// A starting point whose leading pictures must be dropped after a seam: recovery point with an I slice, HEVC CRA, MPEG-2 open GOP.
    Recovery,
}

/// One coded picture, or the audio frames of one PES packet, with its timestamps on the unwrapped source clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Which track it belongs to.
    pub track: Track,
    /// Presentation time.
    pub pts: Ticks,
    /// Decoding time; equals `pts` where the PES carried none.
    pub dts: Ticks,
    /// Whether a decoder may start here.
    pub random_access: RandomAccess,
    /// The source's clock (PCR, or the highest DTS seen where PCR is absent) when the unit was complete. Orders video against audio.
    pub arrival: Ticks,
    /// Elementary stream bytes, whole, without the PES header.
    pub payload: Bytes,
}
