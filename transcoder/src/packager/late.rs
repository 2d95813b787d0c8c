//! Renditions that came after their number was complete without them: put in place where nobody has seen them missing, published at
//! once from memory, and written when the writer has nothing more urgent. Decides nothing about what was shown: the window does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use api::names::segment_name;
use api::playlists::Playlists;
use media::playlist::numbers::NumberedLate;
use media::segmenter::io::LateSegment;
use tokio::time::Instant;

use super::{Order, Packager, REMOVAL_RETRY};
use crate::status::unix_milliseconds;

/// What waits for the volume.
#[derive(Debug, Default)]
pub(super) struct LateFiles {
    waiting: VecDeque<LateFile>,
    /// What the writer has in its hands.
    writing: Option<LateFile>,
    /// A volume that failed is left alone until then.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct LateFile {
    number: u64,
    rendition: String,
    bytes: u64,
    /// Nobody may ask for it any more: it is not worth another write.
    is_expired: bool,
}

impl LateFiles {
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }
}

impl Packager {
    /// A rendition has come of a number that was complete without it.
    pub(super) fn late(&mut self, late: LateSegment) {
        let Some(late) = self.parts.numbers.late(late) else {
            return;
        };
        let rendition = late.segment.rendition.as_str();
        let bytes = late.segment.bytes.len() as u64;
        if !self.parts.queue.late(bytes) {
            return;
        }
        let name = segment_name(self.parts.attempt, late.number);
        let store = &self.parts.store;
        store.hold_late(rendition, &name, late.segment.bytes.clone());
        let file = LateFile {
            number: late.number,
            rendition: rendition.to_owned(),
            bytes,
            is_expired: false,
        };
        if self.place(&late) {
            self.late.waiting.push_back(file);
            self.republish();
        } else {
            self.forget(&file, false);
        }
    }

    fn place(&mut self, late: &NumberedLate) -> bool {
        let mut unlisted = self.unlisted.iter_mut();
        if let Some(segment) = unlisted.find(|one| one.number == late.number) {
            segment.independent &= late.independent;
            segment.renditions.push(late.segment.clone());
            return true;
        }
        let now = self.parts.started.elapsed();
        self.parts.window.put_in_place(late, now)
    }

    /// Gives the writer what came late.
    pub(super) fn write_late(&mut self, now: Instant) {
        let is_due = self.late.retry_at.is_none_or(|at| at <= now);
        let may = |file: &LateFile| self.parts.queue.may_store_late(file.bytes);
        if !is_due || !self.late.waiting.front().is_some_and(may) {
            return;
        }
        let Some(file) = self.late.waiting.pop_front() else {
            return;
        };
        let name = segment_name(self.parts.attempt, file.number);
        if let Some(segment) = self.parts.store.held_late(&file.rendition, &name) {
            let listing = self.listing().into();
            self.late.writing = Some(file);
            self.parts.writer.give(Order::Store { segment, listing });
        }
    }

    /// What came late was written, or not.
    pub(super) fn late_written(&mut self, succeeded: bool) {
        let Some(file) = self.late.writing.take() else {
            return;
        };
        if file.is_expired {
            let name = segment_name(self.parts.attempt, file.number);
            self.removals.push((file.rendition.clone(), name));
            self.forget(&file, false);
        } else if succeeded {
            let files = self.files.entry(file.number).or_default();
            files.push(file.rendition.clone());
            self.late.retry_at = None;
            self.forget(&file, true);
        } else {
            self.late.retry_at = Some(Instant::now() + REMOVAL_RETRY);
            self.late.waiting.push_front(file);
        }
    }

    /// Nobody may ask for a number any more.
    pub(super) fn late_expired(&mut self, number: u64) {
        if let Some(file) = self.late.writing.as_mut() {
            file.is_expired |= file.number == number;
        }
        let waiting = std::mem::take(&mut self.late.waiting);
        for file in waiting {
            if file.number == number {
                self.forget(&file, false);
            } else {
                self.late.waiting.push_back(file);
            }
        }
    }

    /// These renditions are not made until somebody asks for them, and all others are.
    pub(super) fn off(&mut self, off: BTreeSet<String>) {
        let now = self.parts.started.elapsed();
        self.parts.window.set_off(off, now);
        self.republish();
    }

    /// Tells again of what is published, which has changed. What is listed and not published yet brings it along in a moment.
    pub(super) fn republish(&mut self) {
        let document = self.parts.window.document(unix_milliseconds());
        let newest = |playlists: &Playlists| playlists.segments.last().map(|entry| entry.number);
        let is_published = newest(&self.parts.playlists.borrow()) == newest(&document);
        if is_published {
            self.parts.playlists.send_replace(Arc::new(document));
        }
    }

    fn forget(&mut self, file: &LateFile, is_stored: bool) {
        let name = segment_name(self.parts.attempt, file.number);
        self.parts.store.release_late(&file.rendition, &name);
        let queue = &mut self.parts.queue;
        queue.late_left(file.number, file.bytes, is_stored);
    }
}
