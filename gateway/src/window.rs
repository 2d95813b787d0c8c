//! The live window of a stream as viewers get it: rendered once per version, the same for all. What a transcoder offers is taken only
//! if no number goes back; a session is the only thing in a playlist that differs between viewers, and only in the master.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::names;
use api::playlists::Playlists;
use bytes::Bytes;
use media::playlist::render;

use crate::keys::Keys;

/// A version of the playlists, ready to be sent.
#[derive(Debug)]
pub struct Window {
    document: Arc<Playlists>,
    media: HashMap<String, Bytes>,
}

impl Window {
    /// Renders every rendition's playlist.
    #[must_use]
    pub fn render(document: Arc<Playlists>, keys: &Keys) -> Self {
        let playable = document
            .renditions
            .iter()
            .filter(|rendition| render::has_media(&document, &rendition.id));
        let media = playable.map(|rendition| {
            let text = render::media(&document, &rendition.id, |entry| {
                let name = names::segment_name(entry.attempt, entry.number);
                let key = keys.segment_key(&document.stream_uid, &rendition.id, &name);
                format!("/seg/{}/{key}/{}/{name}", document.stream_uid, rendition.id)
            });
            (rendition.id.clone(), Bytes::from(text))
        });
        Self {
            media: media.collect(),
            document,
        }
    }

    /// The playlist of a rendition; `None` until it lists a segment.
    #[must_use]
    pub fn media(&self, rendition: &str) -> Option<&Bytes> {
        self.media.get(rendition)
    }

    /// The master playlist of a session.
    #[must_use]
    pub fn master(&self, session: &str) -> String {
        render::master(&self.document, |rendition| {
            format!("/hls/{session}/{}/index.m3u8", rendition.id)
        })
    }

    /// Whether the renditions are known: a player reads them once.
    #[must_use]
    pub fn has_renditions(&self) -> bool {
        !self.document.renditions.is_empty()
    }

    /// Whether the stream has that rendition.
    #[must_use]
    pub fn has_rendition(&self, id: &str) -> bool {
        self.document
            .renditions
            .iter()
            .any(|rendition| rendition.id == id)
    }

    /// The target duration.
    #[must_use]
    pub fn target(&self) -> Duration {
        target(&self.document)
    }
}

/// EXT-X-TARGETDURATION as a duration.
#[must_use]
pub fn target(document: &Playlists) -> Duration {
    Duration::from_secs(u64::try_from(document.target_duration_seconds).unwrap_or(0))
}

/// What becomes of playlists that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are served from now on.
    Take,
    /// They say nothing new, or nothing yet: the last ones go on being served.
    Keep,
    /// Numbers would go back.
    Refuse {
        /// Which number.
        what: &'static str,
    },
}

/// Judges playlists against those that were served last for the same stream.
#[must_use]
pub fn judge(served: Option<&Playlists>, offered: &Playlists) -> Verdict {
    let Some(served) = served else {
        return Verdict::Take;
    };
    if offered.attempt < served.attempt {
        return Verdict::Refuse { what: "attempt" };
    }
    if offered.attempt == served.attempt && offered.version <= served.version {
        return Verdict::Keep;
    }
    let (Some(first), Some(last)) = (offered.segments.first(), offered.segments.last()) else {
        // A new attempt that has nothing yet must not take the playlist from those who watch.
        return if served.segments.is_empty() {
            Verdict::Take
        } else {
            Verdict::Keep
        };
    };
    let back = |number: u64, before: Option<u64>| before.is_some_and(|before| number < before);
    let served_first = served.segments.first().map(|entry| entry.number);
    let served_last = served.segments.last().map(|entry| entry.number);
    let refused = [
        (back(first.number, served_first), "media sequence"),
        (back(last.number, served_last), "last segment"),
        (
            offered.discontinuity_sequence < served.discontinuity_sequence,
            "discontinuity sequence",
        ),
    ];
    match refused.into_iter().find(|(back, _)| *back) {
        Some((_, what)) => Verdict::Refuse { what },
        None => Verdict::Take,
    }
}
