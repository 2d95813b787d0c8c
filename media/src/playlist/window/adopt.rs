//! Takes over what another attempt has listed, so that players which are behind find it still. Lists nothing that breaks a rule.

use api::job::ResumeFloor;
use api::playlists::{Playlists, SegmentEntry};

use super::{Listed, Window, duration, unsigned};
use crate::time::Ticks;

/// More is no live window.
const MAXIMUM: usize = 1000;
/// No segment is longer than the target and this.
const TOLERANCE: Ticks = Ticks::from_milliseconds(490);

impl Window {
    /// Goes on behind another attempt, whose last segment is followed by `next`. What it has listed is listed on where numbers and
    /// durations fit; else the list is empty until the next segment. Only while nothing is listed.
    pub fn go_on(&mut self, next: ResumeFloor, previous: Option<&Playlists>) {
        if !self.listed.is_empty() {
            return;
        }
        self.next = next;
        self.discontinuity_sequence = unsigned(next.discontinuity_sequence);
        self.version += 1;
        if let Some(previous) = previous.filter(|previous| self.fits(previous, next)) {
            self.adopt(previous);
        }
    }

    fn fits(&self, previous: &Playlists, next: ResumeFloor) -> bool {
        let segments = &previous.segments;
        let limit = Ticks::from_seconds(i64::from(self.settings.target_duration_seconds));
        let is_short = |entry: &SegmentEntry| duration(entry) <= limit + TOLERANCE;
        let follows = |pair: &[SegmentEntry]| pair[0].number.checked_add(1) == Some(pair[1].number);
        let seams = segments.iter().filter(|entry| entry.discontinuity).count();
        let sequence = previous.discontinuity_sequence.checked_add(seams as u64);
        let end = segments.last().and_then(|last| last.number.checked_add(1));
        previous.stream_uid == self.settings.stream_uid
            && previous.target_duration_seconds == self.settings.target_duration_seconds
            && segments.len() <= MAXIMUM
            && segments.iter().all(is_short)
            && segments.windows(2).all(follows)
            && end == Some(unsigned(next.media_sequence))
            && sequence == Some(unsigned(next.discontinuity_sequence))
    }

    fn adopt(&mut self, previous: &Playlists) {
        self.renditions.clone_from(&previous.renditions);
        self.on_request.clone_from(&previous.on_request);
        self.discontinuity_sequence = previous.discontinuity_sequence;
        let mut discontinuity_sequence = previous.discontinuity_sequence;
        for entry in &previous.segments {
            discontinuity_sequence += u64::from(entry.discontinuity);
            let ids = previous.all_renditions().map(|one| &one.id);
            self.listed.push_back(Listed {
                entry: SegmentEntry {
                    gaps: Vec::new(),
                    ..entry.clone()
                },
                discontinuity_sequence,
                present: ids.filter(|id| !entry.gaps.contains(id)).cloned().collect(),
            });
        }
        self.longest = self.longest.max(self.duration());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::playlists::Rendition;

    use super::*;
    use crate::playlist::numbers::NumberedSegment;
    use crate::playlist::window::WindowSettings;
    use crate::segmenter::io::{RenditionId, RenditionSegment};

    fn floor(media_sequence: i64, discontinuity_sequence: i64) -> ResumeFloor {
        ResumeFloor {
            media_sequence,
            discontinuity_sequence,
        }
    }

    fn window(attempt: i32, start: ResumeFloor) -> Window {
        Window::new(WindowSettings {
            class: String::new(),
            stream_uid: "uid".to_owned(),
            attempt,
            version: 100,
            segment_duration_seconds: 2,
            target_duration_seconds: 4,
            playlist_duration_seconds: 12,
            start,
        })
    }

    fn segment(number: u64, discontinuity: bool, discontinuity_sequence: u64) -> NumberedSegment {
        NumberedSegment {
            number,
            duration: Ticks::from_seconds(4),
            discontinuity,
            discontinuity_sequence,
            independent: true,
            program_date_time: 1_000,
            renditions: vec![RenditionSegment {
                rendition: RenditionId::new("source"),
                bytes: bytes::Bytes::new(),
            }],
        }
    }

    fn rendition(id: &str) -> Rendition {
        Rendition {
            id: id.to_owned(),
            bandwidth: 1,
            average_bandwidth: 1,
            codecs: String::new(),
            resolution: None,
            frame_rate_thousandths: None,
        }
    }

    /// Numbers 10 to 12; a discontinuity before 11, and no `480p` anywhere.
    fn old() -> Playlists {
        let mut old = window(2, floor(10, 5));
        old.set_renditions(["source", "480p"].map(rendition).to_vec());
        old.push(&segment(10, false, 5), Duration::ZERO);
        old.push(&segment(11, true, 6), Duration::ZERO);
        old.push(&segment(12, false, 6), Duration::ZERO);
        old.document(0)
    }

    #[test]
    fn what_was_listed_stays_listed_until_it_leaves_as_ever() {
        let old = old();
        assert_eq!(old.next, floor(13, 6));
        let mut new = window(3, floor(0, 0));
        new.go_on(old.next, Some(&old));
        let taken = new.document(0);
        assert_eq!(
            (&taken.segments, taken.discontinuity_sequence, taken.next),
            (&old.segments, 5, old.next)
        );
        assert_eq!(taken.renditions, old.renditions);
        new.push(&segment(13, true, 7), Duration::from_secs(4));
        let document = new.document(0);
        let listed: Vec<_> = document
            .segments
            .iter()
            .map(|entry| (entry.attempt, entry.number, entry.discontinuity))
            .collect();
        assert_eq!(listed, [(2, 11, true), (2, 12, false), (3, 13, true)]);
        assert_eq!(document.segments[0].gaps, ["480p"]);
        assert_eq!(document.discontinuity_sequence, 5);
        assert_eq!(document.next, floor(14, 7));
        new.go_on(floor(99, 99), None);
        assert_eq!(new.document(0), document, "only while nothing is listed");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_numbers_go_on_all_the_same() {
        let change = |change: fn(&mut Playlists)| {
            let mut old = old();
            change(&mut old);
            old
        };
        for old in [
            change(|old| old.stream_uid = "another".to_owned()),
            change(|old| old.target_duration_seconds = 6),
            change(|old| old.segments[1].duration_ticks = u64::MAX),
            change(|old| old.segments[1].number = 99),
            change(|old| old.segments[2].number = u64::MAX),
            change(|old| old.discontinuity_sequence = u64::MAX),
            change(|old| old.segments.truncate(2)),
            change(|old| old.segments.clear()),
        ] {
            let mut new = window(3, floor(0, 0));
            new.go_on(floor(13, 6), Some(&old));
            let document = new.document(0);
            assert!(document.segments.is_empty(), "{old:?}");
            assert_eq!(
                (document.discontinuity_sequence, document.next),
                (6, floor(13, 6))
            );
        }
    }
}
