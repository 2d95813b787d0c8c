//! What the flow starts with, and what it wants done. Plain data.

use std::time::Duration;

use api::job::{JobClass, ResumeFloor};
use bytes::Bytes;
use media::ffmpeg::args::Encode;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{FinishedSegment, Settings};
use media::time::Ticks;

use crate::packager::rates::RenditionFacts;
use crate::pipeline::plan::{MediaPlan, Unusable};

/// Which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EncoderId(pub(crate) u64);

/// Where the numbers of an attempt start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// The first segment's numbers.
    pub(crate) numbers: ResumeFloor,
    /// Another attempt has published before this one.
    pub(crate) after_another: bool,
}

impl Start {
    /// What a segmenter of this class starts with.
    pub(super) fn settings(self, class: &JobClass) -> Settings {
        let seconds = |seconds: i32| Ticks::from_seconds(i64::from(seconds));
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Settings {
            rules: CutRules {
                segment_duration: seconds(class.segment_duration_seconds),
                target_duration: seconds(class.target_duration_seconds),
            },
            media_sequence: number(self.numbers.media_sequence),
            discontinuity_sequence: number(self.numbers.discontinuity_sequence),
            after_another: self.after_another,
        }
    }
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
    /// A number is complete.
    Segment(FinishedSegment),
    /// A segment ended without a key.
    ForcedCut,
    /// An encoder is needed.
    StartEncoder {
        /// What it is called from now on.
        id: EncoderId,
        /// What it makes.
        encode: Encode,
    },
    /// Input for an encoder.
    Feed {
        /// Which.
        id: EncoderId,
        /// Its next bytes.
        bytes: Bytes,
    },
    /// Nothing more follows for an encoder.
    CloseEncoder {
        /// Which.
        id: EncoderId,
    },
}
