//! Which track decides the cuts of a generation. Every other one follows it.

use super::io::{Opening, Origin, RenditionId};
use crate::unit::Track;

/// Which track decides the cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lead {
    /// A track of the source.
    Source(Track),
    /// An encoded rendition; `None` is the encoded audio.
    Encoded(Option<RenditionId>),
}

impl Lead {
    /// The one that an opening asks for: passed-through video, else the first encoded rendition, else audio.
    pub(super) fn of(opening: &Opening) -> Self {
        let mut with_video = opening
            .renditions
            .iter()
            .filter(|rendition| rendition.video.is_some());
        if with_video
            .clone()
            .any(|rendition| rendition.origin == Origin::Source)
        {
            return Self::Source(Track::Video);
        }
        if let Some(first) = with_video.next() {
            return Self::Encoded(Some(first.id.clone()));
        }
        match &opening.audio {
            Some(audio) if audio.origin == Origin::Encoded => Self::Encoded(None),
            _ => Self::Source(Track::Audio),
        }
    }
}
