//! What goes into the segmenter and what comes out of it. Plain data; decides nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::cutter::CutRules;
use crate::time::Ticks;
use crate::ts::mux::AudioTrack;
use crate::unit::{AccessUnit, RandomAccess, VideoCodec};

/// The id of a rendition: `source`, `audio` or `<height>p`; stable for the life of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId(Arc<str>);

impl RenditionId {
    /// An id by its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RenditionId {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One continuous source timeline. The first is 0; each seam makes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GenerationId(pub u64);

/// So many segments are remembered for renditions that lag or start late: none comes later.
pub const REMEMBERED: usize = 64;

/// What is fixed for the life of a segmenter.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long segments are.
    pub rules: CutRules,
}

/// Where the pictures or the audio of something come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Passed through from the source.
    Source,
    /// From FFmpeg's pipes.
    Encoded,
}

/// One rendition of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionPlan {
    /// Its id.
    pub id: RenditionId,
    /// Where its pictures come from.
    pub origin: Origin,
    /// The format of its pictures; `None` for radio.
    pub video: Option<VideoCodec>,
}

/// The audio of a generation, the same bytes in every rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPlan {
    /// Where it comes from.
    pub origin: Origin,
    /// How it is announced.
    pub track: AudioTrack,
}

/// What a generation starts with.
///
/// The track that leads decides the cuts: the source's video if a rendition passes it through, else the first encoded
/// rendition, else (no rendition has video) the audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Date of the first picture, Unix milliseconds: the first byte's arrival minus the media time of the start burst.
    /// Where this lies before the end of the previous generation, that end is taken.
    pub program_date_time: i64,
    /// Cut the first group of pictures in parts of one second, so that playing can begin. Say `false` where the source is
    /// known to bring a burst; a burst that is seen while it happens ends the splitting by itself.
    pub split_first_group: bool,
    /// The renditions, highest first.
    pub renditions: Vec<RenditionPlan>,
    /// The audio; `None` where the source announces none.
    pub audio: Option<AudioPlan>,
}

/// Everything that can happen to a segmenter.
#[derive(Debug, Clone)]
pub enum Input {
    /// A new timeline starts: the first one, another source, or a jump. What is open is closed where it ends.
    Begin(Opening),
    /// A random access point of the leading track has begun to arrive; everything before it has been handed over. Saves the
    /// segments that end there the time of one picture; its unit follows as usual.
    RandomAccessPoint {
        /// When it is shown.
        pts: Ticks,
        /// When it is decoded.
        dts: Ticks,
        /// How a decoder may start at it.
        random_access: RandomAccess,
    },
    /// One access unit of the source, in the order of its bytes. Video is wanted here also when every rendition is encoded.
    Source(AccessUnit),
    /// The source's clock moved (PCR, unwrapped).
    Clock(Ticks),
    /// One picture of an encoded rendition. Its times need not be unwrapped in the same way as the source's.
    EncodedVideo {
        /// The generation that its FFmpeg was started for.
        generation: GenerationId,
        /// Which rendition.
        rendition: RenditionId,
        /// The picture.
        unit: AccessUnit,
    },
    /// Encoded audio.
    EncodedAudio {
        /// The generation that its FFmpeg was started for.
        generation: GenerationId,
        /// One or more frames.
        unit: AccessUnit,
    },
    /// The FFmpeg of a generation has ended and every pipe of it is read to its end, whether it was told to or not.
    EncoderEnded(GenerationId),
    /// The FFmpeg that made a generation's encoded pictures has ended and another one of it, which makes the audio, goes on.
    PicturesEnded(GenerationId),
    /// A rendition starts in the middle of a generation, from the next cut on that its pictures reach. One that passes the source
    /// through follows cuts that others lead; each generation that is to have it is told so.
    AddRendition(RenditionPlan),
    /// A rendition stops.
    RemoveRendition(RenditionId),
    /// Close what is open; nothing of the source follows. Encoded renditions may still drain.
    Finish,
    /// Only time has passed.
    Tick,
}

/// What a segmenter has to say, in the order in which it became true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A segment is complete: publish it.
    Segment(FinishedSegment),
    /// A rendition brought a segment that was handed out without it. It may still be put in place if no playlist of the
    /// rendition has shown the gap to anyone.
    Late(LateSegment),
    /// A segment had to end without a key because none came within the target duration. Two in a minute: encode instead.
    ForcedCut {
        /// The segment that ends there.
        ordinal: u64,
    },
    /// A generation began. Encoders must be started for it.
    Began(GenerationId),
    /// Audio was announced and did not come: it is left out of tables and must be left out of CODECS.
    AudioLeftOut(GenerationId),
    /// Audio that was left out came after all; it is in the segments from this one on.
    AudioCameBack {
        /// The first segment with audio, behind a discontinuity.
        ordinal: u64,
    },
}

/// One segment, complete in every rendition that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedSegment {
    /// How many came before it; without holes. The numbers that players see are given where it is listed.
    pub ordinal: u64,
    /// The timeline it belongs to.
    pub generation: GenerationId,
    /// EXTINF.
    pub duration: Ticks,
    /// It does not go on where the one before it ended.
    pub discontinuity: bool,
    /// In every rendition it starts with a picture that needs nothing before it.
    pub independent: bool,
    /// EXT-X-PROGRAM-DATE-TIME, Unix milliseconds.
    pub program_date_time: i64,
    /// Its bytes, in the order of the generation's renditions. A rendition that is not here has a gap (EXT-X-GAP).
    pub renditions: Vec<RenditionSegment>,
}

/// One rendition of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionSegment {
    /// Which rendition.
    pub rendition: RenditionId,
    /// The transport stream: tables first.
    pub bytes: Bytes,
}

/// A rendition of a segment that was handed out before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateSegment {
    /// Which segment.
    pub ordinal: u64,
    /// Whether it starts with a picture that needs nothing before it.
    pub independent: bool,
    /// Rendition and bytes.
    pub segment: RenditionSegment,
}
