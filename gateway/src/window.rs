//! The live window of a stream as viewers get it: rendered once per version, the same for all. What a transcoder offers is taken only
//! if no number goes back; a session is the only thing in a playlist that differs between viewers, and only in the master.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::names;
use api::playlists::{HEVC, Playlists, Rendition, SegmentEntry};
use media::playlist::render;

use crate::keys::Keys;
use crate::rendered::Rendered;

/// Durations in the document are in ticks of 1/90000 s.
const TICKS_PER_SECOND: u64 = 90_000;

/// Which video a client asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Video {
    /// What every player takes.
    #[default]
    Usual,
    /// HEVC as the source has it, where it has.
    Hevc,
}

/// A version of the playlists, ready to be sent.
#[derive(Debug)]
pub struct Window {
    document: Arc<Playlists>,
    media: HashMap<String, Rendered>,
    /// What was promised and is not there, and what is played in its place.
    stand_ins: HashMap<String, String>,
}

impl Window {
    /// Renders every rendition's playlist.
    #[must_use]
    pub fn render(document: Arc<Playlists>, keys: &Keys) -> Self {
        let playable = document
            .all_renditions()
            .filter(|rendition| render::has_media(&document, &rendition.id));
        let media = playable.map(|rendition| {
            let text = render::media(&document, &rendition.id, |entry| {
                let name = names::segment_name(entry.attempt, entry.number);
                let key = keys.segment_key(&document.stream_uid, &rendition.id, &name);
                format!("/seg/{}/{key}/{}/{name}", document.stream_uid, rendition.id)
            });
            (rendition.id.clone(), Rendered::new(text))
        });
        Self {
            media: media.collect(),
            stand_ins: HashMap::new(),
            document,
        }
    }

    /// Players were promised these renditions: what is not among those that there are is played by the next lower one, for good.
    #[must_use]
    pub fn standing_in_for(mut self, promised: &Playlists) -> Self {
        let lines = |one: &Rendition| one.resolution.map_or(0, |size| size.height);
        let renditions = &self.document.renditions;
        let missing = promised.all_renditions();
        let missing = missing.filter(|one| !self.document.offers(&one.id));
        let stand_ins = missing.filter_map(|one| {
            let lower = renditions.iter().find(|other| lines(other) <= lines(one));
            let other = lower.or(renditions.last())?;
            Some((one.id.clone(), other.id.clone()))
        });
        self.stand_ins = stand_ins.collect();
        self
    }

    /// The rendition that is played where this one is asked for.
    #[must_use]
    pub fn played<'a>(&'a self, rendition: &'a str) -> &'a str {
        let stand_in = self.stand_ins.get(rendition);
        stand_in.map_or(rendition, String::as_str)
    }

    /// The playlist of a rendition; `None` until it lists a segment.
    #[must_use]
    pub fn media(&self, rendition: &str) -> Option<&Rendered> {
        self.media.get(self.played(rendition))
    }

    /// The master playlist of a session.
    #[must_use]
    pub fn master(&self, session: &str, video: Video) -> String {
        let uri = |rendition: &Rendition| format!("/hls/{session}/{}/index.m3u8", rendition.id);
        match video {
            Video::Usual => render::master(&self.document, uri),
            Video::Hevc => render::master_on_request(&self.document, uri),
        }
    }

    /// Whether the renditions are known: a player reads them once.
    #[must_use]
    pub fn has_renditions(&self) -> bool {
        !self.document.renditions.is_empty()
    }

    /// Whether what this client asks for is known as far as a master says it, or is known not to be there.
    #[must_use]
    pub fn has_video(&self, video: Video) -> bool {
        let is_told = |id| self.document.on_request.iter().any(|one| one.id == id);
        let is_decided = match video {
            Video::Usual => true,
            Video::Hevc => is_told(HEVC) || !self.document.offers(HEVC),
        };
        self.has_renditions() && is_decided
    }

    /// Whether the stream has that rendition.
    #[must_use]
    pub fn has_rendition(&self, id: &str) -> bool {
        self.document.offers(self.played(id))
    }

    /// The number after the last listed segment's.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        let last = self.document.segments.last();
        last.map_or(0, |entry| entry.number + 1)
    }

    /// Whether less is listed than a playlist has for good (RFC 8216 section 6.2.2): who plays it has nothing in hand.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        let segments = self.document.segments.iter();
        let ticks = segments.map(|entry| entry.duration_ticks).sum::<u64>();
        ticks < 3 * TICKS_PER_SECOND * self.target().as_secs()
    }

    /// Whether a single segment is listed that is about as long as those to come: who plays it needs the next one at the very moment at
    /// which that can be there. A shorter one ends before.
    #[must_use]
    pub fn just_lasts(&self) -> bool {
        let aim = u64::try_from(self.document.segment_duration_seconds).unwrap_or(0);
        match self.document.segments.as_slice() {
            [only] => aim > 0 && only.duration_ticks * 10 >= 9 * aim * TICKS_PER_SECOND,
            _ => false,
        }
    }

    /// Whether more of that rendition comes sooner when it is asked for.
    #[must_use]
    pub fn is_behind(&self, id: &str) -> bool {
        let played = self.played(id);
        self.document.behind.iter().any(|behind| behind == played)
    }

    /// The rendition that comes first in the master that this client is given.
    #[must_use]
    pub fn best(&self, video: Video) -> Option<&str> {
        let on_request = match video {
            Video::Usual => None,
            Video::Hevc => self.document.on_request.first(),
        };
        let best = on_request.or(self.document.renditions.first());
        best.map(|rendition| rendition.id.as_str())
    }

    /// What is known of a rendition's segments, oldest first; what it lacks among them is there as a gap.
    #[must_use]
    pub fn segments(&self, rendition: &str) -> &[SegmentEntry] {
        render::known(&self.document, self.played(rendition))
    }

    /// What segments aim at, in ticks of 1/90000 s.
    #[must_use]
    pub fn aim(&self) -> u64 {
        let document = &self.document;
        let seconds = match document.segment_duration_seconds {
            0 => document.target_duration_seconds,
            seconds => seconds,
        };
        u64::try_from(seconds).unwrap_or(0) * TICKS_PER_SECOND
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

#[cfg(test)]
mod tests {
    use api::playlists::Resolution;

    use super::*;
    use crate::streams::testing::{self, keys};

    const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";

    fn playlists(version: u64, attempt: i32, numbers: std::ops::Range<u64>) -> Playlists {
        testing::playlists(UID, attempt, version, numbers)
    }

    fn uris(playlist: &str) -> Vec<&str> {
        playlist
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect()
    }

    #[test]
    fn a_media_playlist_leads_to_segments_that_the_gateway_lets_in() {
        let window = Window::render(Arc::new(playlists(1, 3, 10..12)), &keys());
        let text = std::str::from_utf8(&window.media("480p").unwrap().plain.body).unwrap();
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        let expected = [10, 11].map(|number| {
            let name = format!("3-{number}.ts");
            let key = keys().segment_key(UID, "480p", &name);
            format!("/seg/{UID}/{key}/480p/{name}")
        });
        assert_eq!(uris(text), expected);
    }

    #[test]
    fn a_single_segment_as_long_as_those_to_come_just_lasts_until_the_next_one() {
        for (numbers, aim, expected) in [
            (10..11, 2, true),
            (10..11, 1, true),
            (10..11, 3, false),
            (10..11, 0, false),
            (10..12, 2, false),
            (10..10, 2, false),
        ] {
            let document = Playlists {
                segment_duration_seconds: aim,
                ..playlists(1, 3, numbers.clone())
            };
            let window = Window::render(Arc::new(document), &keys());
            assert_eq!(window.just_lasts(), expected, "{numbers:?} of {aim} s");
        }
    }

    #[test]
    fn a_window_fills_until_it_lists_three_targets() {
        let window = |numbers| Window::render(Arc::new(playlists(1, 3, numbers)), &keys());
        let (short, full) = (window(10..15), window(10..16));
        assert_eq!((short.next_number(), short.is_filling()), (15, true));
        assert_eq!((full.next_number(), full.is_filling()), (16, false));
    }

    #[test]
    fn a_master_playlist_leads_to_the_session_in_every_rendition() {
        let window = Window::render(Arc::new(playlists(1, 3, 10..12)), &keys());
        let text = window.master("SESSION", Video::Usual);
        assert_eq!(
            uris(&text),
            [
                "/hls/SESSION/source/index.m3u8",
                "/hls/SESSION/480p/index.m3u8"
            ]
        );
        assert!(text.contains("BANDWIDTH=3210000") && text.contains("FRAME-RATE=25.000"));
    }

    #[test]
    fn who_asks_for_hevc_gets_it_above_what_is_lower_and_nobody_else_sees_it() {
        let mut document = playlists(1, 3, 10..12);
        let lower = Resolution {
            width: 854,
            height: 480,
        };
        document.renditions[1].resolution = Some(lower);
        let window = |document: &Playlists| Window::render(Arc::new(document.clone()), &keys());
        let masters = |window: &Window| {
            let uris = |video| uris(&window.master("S", video)).join(" ");
            (uris(Video::Usual), uris(Video::Hevc))
        };
        let usual = "/hls/S/source/index.m3u8 /hls/S/480p/index.m3u8".to_owned();
        let none = window(&document);
        assert_eq!(masters(&none), (usual.clone(), usual.clone()));
        assert!(none.has_video(Video::Hevc) && !none.has_rendition("hevc"));
        document.behind = vec!["hevc".to_owned()];
        let waiting = window(&document);
        assert!(waiting.has_video(Video::Usual) && !waiting.has_video(Video::Hevc));
        assert!(waiting.has_rendition("hevc") && waiting.media("hevc").is_none());
        document.on_request = vec![Rendition {
            id: "hevc".to_owned(),
            ..document.renditions[0].clone()
        }];
        let there = window(&document);
        let asked = "/hls/S/hevc/index.m3u8 /hls/S/480p/index.m3u8".to_owned();
        assert_eq!(masters(&there), (usual, asked));
        assert!(there.has_video(Video::Hevc) && there.media("hevc").is_some());
    }

    #[test]
    fn what_was_promised_and_is_not_there_is_played_by_the_next_lower_rendition() {
        let sizes = |sizes: &[(&str, u32)]| {
            let rendition = |&(id, height): &(&str, u32)| Rendition {
                id: id.to_owned(),
                resolution: Some(Resolution { width: 16, height }),
                ..playlists(1, 3, 10..12).renditions[0].clone()
            };
            Playlists {
                renditions: sizes.iter().map(rendition).collect(),
                ..playlists(1, 3, 10..12)
            }
        };
        let promised = sizes(&[("1080p", 1080), ("480p", 480), ("240p", 240)]);
        let document = sizes(&[("720p", 720), ("480p", 480), ("360p", 360)]);
        let window = Window::render(Arc::new(document), &keys()).standing_in_for(&promised);
        for (asked, played) in [
            ("1080p", "720p"),
            ("480p", "480p"),
            ("240p", "360p"),
            ("144p", "144p"),
        ] {
            assert_eq!(window.played(asked), played);
            assert_eq!(window.media(asked), window.media(played), "{asked}");
            assert_eq!(window.has_rendition(asked), asked != "144p");
        }
        assert!(!window.master("S", Video::Usual).contains("1080p"));
    }

    #[test]
    fn a_rendition_without_a_segment_has_no_playlist_yet() {
        let mut document = playlists(1, 3, 10..12);
        for segment in &mut document.segments {
            segment.gaps = vec!["480p".to_owned()];
        }
        let window = Window::render(Arc::new(document), &keys());
        assert!(window.has_rendition("480p") && window.media("480p").is_none());
        assert!(window.media("source").is_some() && !window.has_rendition("360p"));
        let empty = Window::render(Arc::new(playlists(1, 3, 0..0)), &keys());
        assert!(empty.has_renditions() && empty.media("source").is_none());
    }

    #[test]
    fn a_client_s_best_rendition_is_the_first_of_its_master() {
        let mut document = playlists(1, 3, 10..12);
        let hevc = Rendition {
            id: HEVC.to_owned(),
            ..document.renditions[0].clone()
        };
        let best = |document: &Playlists, video| {
            let window = Window::render(Arc::new(document.clone()), &keys());
            window.best(video).map(str::to_owned)
        };
        let source = Some("source".to_owned());
        assert_eq!(best(&document, Video::Usual), source);
        assert_eq!(best(&document, Video::Hevc), source);
        document.on_request.push(hevc);
        assert_eq!(best(&document, Video::Usual), source);
        assert_eq!(best(&document, Video::Hevc), Some(HEVC.to_owned()));
        document.renditions.clear();
        assert_eq!(best(&document, Video::Usual), None);
    }

    #[test]
    fn what_a_rendition_lacks_at_the_end_is_known_only_once_it_does_not_come_any_more() {
        let mut document = playlists(1, 3, 10..14);
        for number in [0, 2, 3] {
            document.segments[number].gaps = vec!["480p".to_owned()];
        }
        let known = |document: &Playlists| {
            let window = Window::render(Arc::new(document.clone()), &keys());
            let known = window.segments("480p").iter().map(|entry| entry.number);
            known.collect::<Vec<_>>()
        };
        assert_eq!(known(&document), [10, 11, 12, 13]);
        document.behind = vec!["480p".to_owned()];
        assert_eq!(known(&document), [10, 11]);
        document.segments[1].gaps = vec!["480p".to_owned()];
        assert!(known(&document).is_empty());
    }

    #[test]
    fn what_is_new_is_taken_and_what_is_old_is_kept() {
        let served = playlists(5, 3, 10..16);
        let verdict = |offered: &Playlists| judge(Some(&served), offered);
        assert_eq!(judge(None, &served), Verdict::Take);
        assert_eq!(verdict(&playlists(6, 3, 11..17)), Verdict::Take);
        assert_eq!(verdict(&playlists(1, 4, 17..18)), Verdict::Take);
        assert_eq!(verdict(&served.clone()), Verdict::Keep);
        assert_eq!(verdict(&playlists(4, 3, 9..15)), Verdict::Keep);
        assert_eq!(verdict(&playlists(1, 4, 0..0)), Verdict::Keep);
        let nothing = playlists(5, 3, 0..0);
        assert_eq!(judge(Some(&nothing), &playlists(1, 4, 0..0)), Verdict::Take);
    }

    #[test]
    fn no_number_ever_goes_back() {
        let served = playlists(5, 3, 10..16);
        let refused = |offered: &Playlists| match judge(Some(&served), offered) {
            Verdict::Refuse { what } => what,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(refused(&playlists(6, 2, 20..26)), "attempt");
        assert_eq!(refused(&playlists(6, 3, 9..17)), "media sequence");
        assert_eq!(refused(&playlists(6, 4, 10..12)), "last segment");
        let mut discontinuity = playlists(6, 4, 20..26);
        discontinuity.discontinuity_sequence = 6;
        assert_eq!(refused(&discontinuity), "discontinuity sequence");
    }
}
