//! Which segment a continuous stream goes on with. Pure: what is listed is passed in, and what the reader was given last.

use api::playlists::SegmentEntry;

/// What is listed of a rendition now.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    /// The stream.
    pub(super) stream_uid: &'a str,
    /// The rendition.
    pub(super) rendition: &'a str,
    /// What segments aim at, in ticks of 1/90000 s.
    pub(super) aim: u64,
    /// Oldest first, gaps and all.
    pub(super) segments: &'a [SegmentEntry],
}

/// A segment that a reader was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    stream_uid: String,
    rendition: String,
    attempt: i32,
    number: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// This segment.
    Send {
        /// The segment.
        entry: &'a SegmentEntry,
        /// Its maker wrote it behind what the reader was given last.
        goes_on: bool,
    },
    /// Nothing yet.
    Wait,
    /// The list has moved on past a reader that did not take what was there.
    Behind,
}

impl List<'_> {
    /// The place of a segment of this list.
    pub(super) fn place(&self, entry: &SegmentEntry) -> Place {
        Place {
            stream_uid: self.stream_uid.to_owned(),
            rendition: self.rendition.to_owned(),
            attempt: entry.attempt,
            number: entry.number,
        }
    }

    /// Whether a segment that a reader has not taken yet is no longer listed, while its attempt goes on.
    pub(super) fn has_passed(&self, place: &Place) -> bool {
        let is_same = self.stream_uid == place.stream_uid;
        let first = self.segments.first();
        first.is_some_and(|first| {
            is_same && first.attempt == place.attempt && first.number > place.number
        })
    }

    fn lacks(&self, entry: &SegmentEntry) -> bool {
        entry.gaps.iter().any(|id| id == self.rendition)
    }
}

/// The next segment for a reader, `None` being one who has nothing yet. `had_all` says that it waited for more when it was last looked.
pub(super) fn next<'a>(last: Option<&Place>, had_all: bool, list: &List<'a>) -> Next<'a> {
    let last = last.filter(|last| last.stream_uid == list.stream_uid);
    let (Some(last), Some(first)) = (last, list.segments.first()) else {
        return begin(list);
    };
    if first.number > last.number + 1 {
        // A new attempt may begin far behind the one before, and who had everything was not slow: the playlists were away.
        let is_slow = first.attempt == last.attempt && !had_all;
        return if is_slow { Next::Behind } else { begin(list) };
    }
    let mut later = list.segments.iter();
    match later.find(|entry| entry.number > last.number && !list.lacks(entry)) {
        Some(entry) => {
            let is_neighbour = entry.number == last.number + 1 && entry.attempt == last.attempt;
            let goes_on = is_neighbour && last.rendition == list.rendition && !entry.discontinuity;
            Next::Send { entry, goes_on }
        }
        None => Next::Wait,
    }
}

/// Begins with a key, near the end, where one and a half of what segments aim at are there to be sent at once, if there is so much without a gap.
fn begin<'a>(list: &List<'a>) -> Next<'a> {
    let mut ticks = 0;
    let mut is_enough = false;
    let mut key: Option<&'a SegmentEntry> = None;
    // Streams whose keys are none of the strict kind begin with any.
    let mut any: Option<&'a SegmentEntry> = None;
    for entry in list.segments.iter().rev() {
        if list.lacks(entry) {
            if any.is_some() {
                break;
            }
            continue;
        }
        if !is_enough {
            any = Some(entry);
        }
        ticks += entry.duration_ticks;
        is_enough = 2 * ticks >= 3 * list.aim;
        if entry.independent {
            key = Some(entry);
            if is_enough {
                break;
            }
        }
    }
    key.or(any).map_or(Next::Wait, |entry| Next::Send {
        entry,
        goes_on: false,
    })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::streams::testing::playlists;

    /// Segments of two seconds.
    fn listed(attempt: i32, numbers: Range<u64>) -> Vec<SegmentEntry> {
        playlists("uid-1", attempt, 1, numbers).segments
    }

    fn list(segments: &[SegmentEntry]) -> List<'_> {
        List {
            stream_uid: "uid-1",
            rendition: "source",
            aim: 180_000,
            segments,
        }
    }

    fn at(attempt: i32, number: u64) -> Place {
        let segments = listed(attempt, number..number + 1);
        list(&segments).place(&segments[0])
    }

    /// `number` or `number!` where it does not go on, and a word for anything else.
    fn word(next: &Next) -> String {
        match next {
            Next::Send { entry, goes_on } => {
                format!("{}{}", entry.number, if *goes_on { "" } else { "!" })
            }
            Next::Wait => "wait".to_owned(),
            Next::Behind => "behind".to_owned(),
        }
    }

    fn began(segments: &[SegmentEntry]) -> String {
        word(&next(None, false, &list(segments)))
    }

    #[test]
    fn a_reader_begins_with_one_and_a_half_segments_where_there_are_so_many() {
        assert_eq!(began(&[]), "wait");
        assert_eq!(began(&listed(1, 10..11)), "10!");
        assert_eq!(began(&listed(1, 10..12)), "10!");
        assert_eq!(began(&listed(1, 10..20)), "18!");
        let mut short = listed(1, 10..20);
        for entry in &mut short {
            entry.duration_ticks = 90_000;
        }
        assert_eq!(began(&short), "17!");
        short[9].duration_ticks = 270_000;
        assert_eq!(began(&short), "19!");
    }

    #[test]
    fn a_reader_begins_with_a_key_and_not_before_a_gap() {
        let mut segments = listed(1, 10..20);
        segments[8].independent = false;
        assert_eq!(began(&segments), "17!");
        segments[7].gaps = vec!["source".to_owned()];
        assert_eq!(began(&segments), "19!");
        segments[9].independent = false;
        assert_eq!(began(&segments), "18!", "no key since the gap");
        segments[9].independent = true;
        segments[9].gaps = vec!["480p".to_owned()];
        assert_eq!(began(&segments), "19!", "another one's gap");
        for entry in &mut segments {
            entry.gaps = vec!["source".to_owned()];
        }
        assert_eq!(began(&segments), "wait");
        let mut last = listed(1, 10..20);
        last[9].gaps = vec!["source".to_owned()];
        assert_eq!(began(&last), "17!");
        for entry in &mut last {
            entry.independent = false;
        }
        assert_eq!(began(&last), "17!", "never a key");
    }

    #[test]
    fn a_reader_goes_on_number_by_number_and_waits_at_the_end() {
        let segments = listed(1, 10..16);
        let after = |number, had_all| word(&next(Some(&at(1, number)), had_all, &list(&segments)));
        assert_eq!(after(9, false), "10");
        assert_eq!(after(14, false), "15");
        assert_eq!(after(15, false), "wait");
        assert_eq!(after(15, true), "wait");
        assert_eq!(word(&next(Some(&at(1, 15)), true, &list(&[]))), "wait");
        // The list of a gateway that was told less is waited for.
        assert_eq!(after(99, false), "wait");
    }

    #[test]
    fn what_does_not_go_on_is_said_so() {
        let mut segments = listed(1, 10..16);
        segments[2].discontinuity = true;
        segments[4].gaps = vec!["source".to_owned()];
        let after = |number| word(&next(Some(&at(1, number)), false, &list(&segments)));
        assert_eq!(after(10), "11");
        assert_eq!(after(11), "12!", "a discontinuity");
        assert_eq!(after(13), "15!", "behind a gap");
        let place = at(1, 10);
        let other = List {
            rendition: "480p",
            ..list(&segments)
        };
        assert_eq!(word(&next(Some(&place), false, &other)), "11!");
        segments.truncate(4);
        segments.extend(listed(2, 14..16));
        let after = |number| word(&next(Some(&at(1, number)), false, &list(&segments)));
        assert_eq!(after(13), "14!", "another attempt");
        let mut lacking = listed(1, 10..13);
        lacking[2].gaps = vec!["source".to_owned()];
        assert_eq!(word(&next(Some(&at(1, 11)), true, &list(&lacking))), "wait");
    }

    #[test]
    fn only_who_did_not_take_what_was_there_is_behind() {
        let moved_on = listed(1, 30..36);
        let after = |had_all| word(&next(Some(&at(1, 15)), had_all, &list(&moved_on)));
        assert_eq!(after(false), "behind");
        assert_eq!(after(true), "34!", "the playlists were away");
        assert!(list(&moved_on).has_passed(&at(1, 15)));
        assert!(!list(&moved_on).has_passed(&at(1, 30)));
        let anew = listed(2, 5000..5006);
        assert_eq!(word(&next(Some(&at(1, 15)), false, &list(&anew))), "5004!");
        assert!(!list(&anew).has_passed(&at(1, 15)));
        let other = List {
            stream_uid: "uid-2",
            ..list(&moved_on)
        };
        assert_eq!(word(&next(Some(&at(1, 99)), false, &other)), "34!");
        assert!(!other.has_passed(&at(1, 15)));
    }
}
