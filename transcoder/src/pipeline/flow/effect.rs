//! What the flow wants done. Plain data.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use media::ffmpeg::args::Encode;
use media::segmenter::io::{FinishedSegment, LateSegment, RenditionId};

use crate::packager::rates::RenditionFacts;
use crate::pipeline::plan::{MediaPlan, Unusable};

/// Which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EncoderId(pub(crate) u64);

/// What an encoder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It makes pictures, and the audio where no picture is passed through.
    Pictures,
    /// It makes the audio alone: whatever happens to pictures, those that are passed through keep their sound.
    Audio,
}

/// The time, as a caller sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the attempt began.
    pub(crate) monotonic: Duration,
    /// Unix milliseconds.
    pub(crate) unix_milliseconds: i64,
}

/// What follows.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Media arrive: the source is well.
    Delivering,
    /// The source is of no use.
    Unusable(Unusable),
    /// This is what is played from now on.
    Planned(Box<MediaPlan>),
    /// What the master says of the segments that follow.
    Renditions(Vec<RenditionFacts>),
    /// A segment is complete.
    Segment(FinishedSegment),
    /// A rendition of a number that was complete without it.
    Late(LateSegment),
    /// Ids of the renditions that are not made until somebody asks for them.
    Off(BTreeSet<String>),
    /// A segment of a slate is complete.
    Slate(FinishedSegment),
    /// A segment ended without a key.
    ForcedCut,
    /// An encoder is needed.
    StartEncoder {
        /// What it is called from now on.
        id: EncoderId,
        /// What it makes.
        encode: Encode,
    },
    /// These encoded renditions, of those that the source has, are left out from now on.
    LeftOut(Vec<RenditionId>),
    /// Nobody wants anything of an encoder any more.
    EndEncoder {
        /// Which.
        id: EncoderId,
    },
    /// Nothing more follows for an encoder.
    CloseEncoder {
        /// Which.
        id: EncoderId,
        /// Besides this.
        rest: Vec<Bytes>,
    },
}
