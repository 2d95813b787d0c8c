//! The encoders' input of late, in groups from random access points on: whoever encodes reads it from here at its own pace, and a fresh
//! encoder reads from an older group what is to be made again. Bounded in media time and in bytes; never waits for a reader.

use std::collections::VecDeque;

use api::job::RING_MEBIBYTES;
use bytes::Bytes;
use media::time::Ticks;

/// Bytes that are kept at most.
const LIMIT: usize = (RING_MEBIBYTES as usize) << 20;
/// Groups that are shorter are put together: a source of keys alone needs no thousand of them.
const SHORTEST: Ticks = Ticks::from_milliseconds(500);
/// Times that differ by no more mean the same picture.
const TOLERANCE: Ticks = Ticks::from_milliseconds(10);

/// What was fed of late.
#[derive(Debug)]
pub(super) struct Ring {
    /// What stands before any group.
    tables: Bytes,
    groups: VecDeque<Group>,
    /// Number of the next group.
    next: u64,
    bytes: usize,
    /// What lies further back than this before the newest key is of no use.
    keep: Ticks,
    limit: usize,
}

#[derive(Debug)]
struct Group {
    number: u64,
    key: Ticks,
    parts: VecDeque<Bytes>,
    /// Parts at its start that are gone for their size.
    dropped: usize,
}

/// Where a reader is.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    group: u64,
    part: usize,
    tables: Option<Bytes>,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its next bytes.
    Bytes(Bytes),
    /// It has everything.
    Nothing,
    /// What it would read next is gone: it is too slow.
    Lost,
}

impl Ring {
    /// An empty ring that goes back so far.
    pub(super) fn new(keep: Ticks) -> Self {
        Self {
            tables: Bytes::new(),
            groups: VecDeque::new(),
            next: 0,
            bytes: 0,
            keep,
            limit: LIMIT,
        }
    }

    /// A new input begins with these tables, somewhere near this time. What came before is not of it.
    pub(super) fn begin(&mut self, tables: Bytes, near: Ticks) {
        self.tables = tables;
        self.groups.clear();
        self.bytes = 0;
        self.open(near);
    }

    /// What follows begins with a random access point. Whether a group begins with it: short ones are put together, unless it `must`.
    pub(super) fn key(&mut self, pts: Ticks, must: bool) -> bool {
        let Some(newest) = self.groups.back_mut() else {
            return false;
        };
        if newest.is_empty() {
            newest.key = pts;
        } else if must || pts - newest.key >= SHORTEST {
            self.open(pts);
        } else {
            return false;
        }
        self.trim(pts);
        true
    }

    /// The input goes on. What is kept is a copy: a slice would keep alive everything that came with it.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        let Some(newest) = self.groups.back_mut() else {
            return;
        };
        newest.parts.push_back(Bytes::copy_from_slice(bytes));
        self.bytes += bytes.len();
        while self.bytes > self.limit {
            self.drop_oldest();
        }
    }

    /// Whether a group begins with what follows.
    pub(super) fn is_at_key(&self) -> bool {
        self.groups.back().is_some_and(Group::is_empty)
    }

    /// What came before the newest group is of no use any more.
    pub(super) fn cut(&mut self) {
        while self.groups.len() > 1 {
            self.drop_group();
        }
    }

    /// A reader from the newest group on, or from the one that has this time; and the time of its key.
    pub(super) fn reader(&self, at: Option<Ticks>) -> Option<(Cursor, Ticks)> {
        let mut whole = self.groups.iter().filter(|group| group.dropped == 0);
        let group = match at {
            None => whole.next_back(),
            Some(at) => {
                let has = |group: &&Group| group.key <= at + TOLERANCE;
                let containing = whole.clone().rev().find(has);
                containing.or_else(|| whole.next())
            }
        }?;
        let cursor = Cursor {
            group: group.number,
            part: 0,
            tables: Some(self.tables.clone()),
        };
        Some((cursor, group.key))
    }

    /// What a reader gets next.
    pub(super) fn read(&self, cursor: &mut Cursor) -> Next {
        if let Some(tables) = cursor.tables.take() {
            return Next::Bytes(tables);
        }
        loop {
            let first = self.groups.front().map_or(self.next, |group| group.number);
            let Some(index) = cursor.group.checked_sub(first) else {
                return Next::Lost;
            };
            let group = usize::try_from(index)
                .ok()
                .and_then(|index| self.groups.get(index));
            let Some(group) = group else {
                return Next::Nothing;
            };
            let Some(part) = cursor.part.checked_sub(group.dropped) else {
                return Next::Lost;
            };
            if let Some(bytes) = group.parts.get(part) {
                cursor.part += 1;
                return Next::Bytes(bytes.clone());
            }
            if group.number + 1 == self.next {
                return Next::Nothing;
            }
            (cursor.group, cursor.part) = (group.number + 1, 0);
        }
    }

    fn open(&mut self, key: Ticks) {
        self.groups.push_back(Group {
            number: self.next,
            key,
            parts: VecDeque::new(),
            dropped: 0,
        });
        self.next += 1;
    }

    fn trim(&mut self, newest: Ticks) {
        while self
            .groups
            .get(1)
            .is_some_and(|second| second.key <= newest - self.keep)
        {
            self.drop_group();
        }
    }

    fn drop_oldest(&mut self) {
        if self.groups.len() > 1 {
            return self.drop_group();
        }
        let dropped = self.groups.front_mut().and_then(|group| {
            group.dropped += 1;
            group.parts.pop_front()
        });
        self.bytes -= dropped.map_or(self.bytes, |part| part.len());
    }

    fn drop_group(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.bytes -= group.parts.iter().map(Bytes::len).sum::<usize>();
        }
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.dropped == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Ticks {
        Ticks::from_seconds(seconds)
    }

    fn part(name: &str) -> Bytes {
        Bytes::copy_from_slice(name.as_bytes())
    }

    /// Groups of two seconds with two parts each, called `<key>a` and `<key>b`.
    fn ring(keys: std::ops::Range<i64>) -> Ring {
        let mut ring = Ring::new(seconds(6));
        ring.begin(part("tables"), seconds(0));
        for key in keys.step_by(2) {
            assert!(ring.key(seconds(key), false));
            ring.push(&part(&format!("{key}a")));
            ring.push(&part(&format!("{key}b")));
        }
        ring
    }

    fn read(ring: &Ring, cursor: &mut Cursor) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match ring.read(cursor) {
                Next::Bytes(bytes) => found.push(String::from_utf8(bytes.to_vec()).unwrap()),
                Next::Nothing => return found,
                Next::Lost => {
                    found.push("lost".to_owned());
                    return found;
                }
            }
        }
    }

    #[test]
    fn a_reader_begins_with_the_tables_and_the_group_that_has_its_time_and_goes_on_as_it_comes() {
        for (at, key, first) in [
            (None, 8, "8a"),
            (Some(seconds(5)), 4, "4a"),
            (Some(seconds(6) - Ticks(1)), 6, "6a"),
            (Some(seconds(-9)), 2, "2a"),
        ] {
            let mut ring = ring(0..10);
            let (mut cursor, found) = ring.reader(at).unwrap();
            assert_eq!(found, seconds(key), "{at:?}");
            assert_eq!(read(&ring, &mut cursor)[..2], ["tables", first]);
            ring.push(&part("more"));
            ring.key(seconds(10), false);
            ring.push(&part("10a"));
            assert_eq!(read(&ring, &mut cursor), ["more", "10a"]);
        }
    }

    #[test]
    fn a_reader_that_is_overtaken_by_the_end_is_told() {
        let mut ring = ring(0..10);
        let (mut cursor, _) = ring.reader(Some(seconds(0))).unwrap();
        assert_eq!(ring.read(&mut cursor), Next::Bytes(part("tables")));
        for key in [10, 12, 14] {
            ring.key(seconds(key), false);
            ring.push(&part("x"));
        }
        assert_eq!(read(&ring, &mut cursor), ["lost"]);
    }

    #[test]
    fn a_new_input_has_nothing_of_the_one_before() {
        let mut ring = ring(0..10);
        let (mut old, _) = ring.reader(None).unwrap();
        ring.begin(part("others"), seconds(10));
        assert!(ring.is_at_key());
        assert_eq!(read(&ring, &mut old), ["tables", "lost"]);
        ring.push(&part("10a"));
        assert!(!ring.is_at_key());
        let (mut cursor, _) = ring.reader(Some(seconds(0))).unwrap();
        assert_eq!(read(&ring, &mut cursor), ["others", "10a"]);
    }

    #[test]
    fn keys_close_together_make_one_group_unless_one_must_begin() {
        let mut ring = ring(0..2);
        let soon = seconds(0) + SHORTEST - Ticks(1);
        assert!(!ring.key(soon, false));
        assert!(ring.key(soon, true));
        ring.cut();
        ring.push(&part("soon"));
        let (mut cursor, key) = ring.reader(Some(seconds(0))).unwrap();
        assert_eq!(key, soon);
        assert_eq!(read(&ring, &mut cursor), ["tables", "soon"]);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_however_long_a_group_is() {
        let mut ring = ring(0..4);
        ring.limit = 10;
        let (mut cursor, _) = ring.reader(None).unwrap();
        read(&ring, &mut cursor);
        for _ in 0..100 {
            ring.push(&part("xyz"));
            assert!(ring.bytes <= 10);
            assert_eq!(read(&ring, &mut cursor), ["xyz"]);
        }
        assert!(ring.reader(None).is_none(), "no group is whole");
        assert!(ring.key(seconds(9), false));
        ring.push(&part("9a"));
        let (mut cursor, _) = ring.reader(None).unwrap();
        assert_eq!(read(&ring, &mut cursor), ["tables", "9a"]);
    }
}
