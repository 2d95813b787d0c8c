//! The live window: what is listed, and what that was listed may be deleted when. Numbers never go back and a listed segment
//! never changes; this file touches no bytes and no clock.

mod adopt;
mod progress;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use api::job::ResumeFloor;
use api::playlists::{Playlists, Rendition, SegmentEntry};

use super::numbers::{NumberedLate, NumberedSegment};
use crate::time::Ticks;
use progress::{Newest, Progress};

/// What is fixed for the life of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// The stream's uid.
    pub stream_uid: String,
    /// The attempt, part of every segment's name.
    pub attempt: i32,
    /// A hash of the class, see [`Playlists::class`].
    pub class: String,
    /// Unix milliseconds of the process's start: versions grow from here.
    pub version: u64,
    /// What segments aim at, in seconds.
    pub segment_duration_seconds: i32,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration_seconds: i32,
    /// How much is listed at the least, in seconds; at least three target durations.
    pub playlist_duration_seconds: i32,
    /// The numbers that the first segment starts from.
    pub start: ResumeFloor,
}

/// The window of one attempt, for all renditions.
#[derive(Debug)]
pub struct Window {
    settings: WindowSettings,
    version: u64,
    renditions: Vec<Rendition>,
    on_request: Vec<Rendition>,
    listed: VecDeque<Listed>,
    removed: VecDeque<Removed>,
    /// The longest that the playlist ever was: for so long a player may still ask for what has left it.
    longest: Ticks,
    discontinuity_sequence: u64,
    next: ResumeFloor,
    /// What encoders make, and what is passed through on request, by rendition.
    encoded: BTreeMap<String, Progress>,
    /// What is not made until somebody asks for it.
    off: BTreeSet<String>,
}

#[derive(Debug)]
struct Listed {
    entry: SegmentEntry,
    discontinuity_sequence: u64,
    /// Ids of the renditions that have it.
    present: Vec<String>,
}

#[derive(Debug)]
struct Removed {
    number: u64,
    at: Duration,
    duration: Ticks,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(settings: WindowSettings) -> Self {
        Self {
            version: settings.version,
            discontinuity_sequence: unsigned(settings.start.discontinuity_sequence),
            next: settings.start,
            settings,
            renditions: Vec::new(),
            listed: VecDeque::new(),
            removed: VecDeque::new(),
            longest: Ticks::ZERO,
            on_request: Vec::new(),
            encoded: BTreeMap::new(),
            off: BTreeSet::new(),
        }
    }

    /// Lists a segment at its end and takes off the head what is no longer needed. A number that does not follow the last one
    /// takes everything before it off: a playlist cannot express a hole.
    pub fn push(&mut self, segment: &NumberedSegment, now: Duration) {
        let follows = self
            .listed
            .back()
            .is_none_or(|last| last.entry.number + 1 == segment.number);
        if !follows {
            while self.remove_oldest(now) {}
        }
        self.listed.push_back(Listed {
            entry: SegmentEntry {
                number: segment.number,
                attempt: self.settings.attempt,
                duration_ticks: unsigned(segment.duration.0),
                discontinuity: segment.discontinuity,
                independent: segment.independent,
                program_date_time_unix_milliseconds: segment.program_date_time,
                gaps: Vec::new(),
            },
            discontinuity_sequence: segment.discontinuity_sequence,
            present: segment
                .renditions
                .iter()
                .map(|rendition| rendition.rendition.as_str().to_owned())
                .collect(),
        });
        self.next = ResumeFloor {
            media_sequence: signed(segment.number + 1),
            discontinuity_sequence: signed(segment.discontinuity_sequence),
        };
        self.trim(now);
        self.changed(now);
    }

    /// Puts a segment in place that its number was listed without, if no playlist of its rendition has shown anybody that it is
    /// missing: a number never changes its URL, duration or discontinuity.
    ///
    /// Shown is decided here and nowhere else. A document shows a rendition's playlist from the first to the last segment that the
    /// rendition has, and to the end of the list where the rendition is not behind. So a playlist only ever grows at its end, and
    /// whatever lies after the highest number that it has shown may still be put in place.
    pub fn put_in_place(&mut self, late: &NumberedLate, now: Duration) -> bool {
        let id = late.segment.rendition.as_str();
        let is_open = self
            .encoded
            .get(id)
            .is_some_and(|progress| progress.is_open(late.number));
        let mut listed = self.listed.iter_mut();
        let Some(listed) = listed.find(|listed| listed.entry.number == late.number) else {
            return false;
        };
        // What is said of a listed number holds for each of its segments.
        let is_as_said = late.independent || !listed.entry.independent;
        let is_present = listed.present.iter().any(|present| present == id);
        if !is_open || !is_as_said || is_present {
            return false;
        }
        listed.present.push(id.to_owned());
        self.changed(now);
        true
    }

    /// Says which renditions encoders make, or are there on request: what these lack at the end may still come.
    pub fn set_encoded(&mut self, ids: &[String], now: Duration) {
        if self.encoded.len() == ids.len() && ids.iter().all(|id| self.encoded.contains_key(id)) {
            return;
        }
        self.encoded.retain(|id, _| ids.contains(id));
        for id in ids {
            let progress = || Progress::new(self.off.contains(id), now);
            self.encoded.entry(id.clone()).or_insert_with(progress);
        }
        self.changed(now);
    }

    /// Says what is not made until somebody asks for it. Nobody is kept waiting in vain: what is lacking comes when it is asked for.
    pub fn set_off(&mut self, off: BTreeSet<String>, now: Duration) {
        for (id, progress) in &mut self.encoded {
            let is_off = off.contains(id);
            if is_off != self.off.contains(id) {
                progress.switched(is_off, now);
            }
        }
        self.off = off;
        self.changed(now);
    }

    /// When a playlist would have gone without news for as long as players bear it (RFC 8216 section 6.2.2: 1.5 target durations):
    /// then its gaps are shown.
    #[must_use]
    pub fn lapses_at(&self) -> Option<Duration> {
        let newest = self.listed.back()?.entry.number;
        let waiting = self.encoded.values();
        let times = waiting.filter_map(|progress| progress.lapses_at(newest, self.patience()));
        times.min()
    }

    /// Time has passed; whether the document has changed by that.
    pub fn lapse(&mut self, now: Duration) -> bool {
        let is_due = self.lapses_at().is_some_and(|at| at <= now);
        if is_due {
            self.changed(now);
        }
        is_due
    }

    fn patience(&self) -> Duration {
        let target = self.settings.target_duration_seconds;
        Duration::from_secs(u64::try_from(target).unwrap_or(0)) * 3 / 2
    }

    /// A new version, and what its playlists show.
    fn changed(&mut self, now: Duration) {
        self.version += 1;
        let Some(newest) = self.listed.back().map(|listed| listed.entry.number) else {
            return;
        };
        let patience = self.patience();
        for (id, progress) in &mut self.encoded {
            let has = |listed: &&Listed| listed.present.contains(id);
            let last = self.listed.iter().rev().find(has);
            let last = last.map(|listed| listed.entry.number);
            progress.see(
                Newest {
                    listed: newest,
                    had: last,
                },
                now,
                patience,
            );
        }
    }

    /// Says what the master lists; players read it once, so change it only when the tracks change.
    pub fn set_renditions(&mut self, renditions: Vec<Rendition>) {
        if self.renditions != renditions {
            self.renditions = renditions;
            self.version += 1;
        }
    }

    /// Says what the master lists only for clients that ask.
    pub fn set_on_request(&mut self, renditions: Vec<Rendition>) {
        if self.on_request != renditions {
            self.on_request = renditions;
            self.version += 1;
        }
    }

    /// What the master lists only for clients that ask.
    #[must_use]
    pub fn on_request(&self) -> &[Rendition] {
        &self.on_request
    }

    /// What the master lists.
    #[must_use]
    pub fn renditions(&self) -> &[Rendition] {
        &self.renditions
    }

    /// The numbers that may be deleted at `now`, each once: those that left the list their own duration and the longest playlist ago.
    pub fn expired(&mut self, now: Duration) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(oldest) = self.removed.front() {
            let keep = (oldest.duration + self.longest).to_duration();
            if now < oldest.at + keep {
                break;
            }
            numbers.extend(self.removed.pop_front().map(|removed| removed.number));
        }
        numbers
    }

    /// How much is listed.
    #[must_use]
    pub fn duration(&self) -> Ticks {
        self.listed
            .iter()
            .fold(Ticks::ZERO, |sum, listed| sum + duration(&listed.entry))
    }

    /// The version of what [`Window::document`] returns.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The document for gateways and for `state.json`.
    #[must_use]
    pub fn document(&self, now_unix_milliseconds: i64) -> Playlists {
        let segments = self.listed.iter().map(|listed| SegmentEntry {
            gaps: self.gaps(listed),
            ..listed.entry.clone()
        });
        Playlists {
            version: self.version,
            stream_uid: self.settings.stream_uid.clone(),
            attempt: self.settings.attempt,
            updated_unix_milliseconds: now_unix_milliseconds,
            segment_duration_seconds: self.settings.segment_duration_seconds,
            target_duration_seconds: self.settings.target_duration_seconds,
            discontinuity_sequence: self.discontinuity_sequence,
            renditions: self.renditions.clone(),
            on_request: self.on_request.clone(),
            class: self.settings.class.clone(),
            segments: segments.collect(),
            next: self.next,
            behind: self.behind(),
        }
    }

    fn behind(&self) -> Vec<String> {
        let newest = self.listed.back().map(|listed| listed.entry.number);
        let is_behind =
            |progress: &Progress| newest.is_none_or(|newest| progress.is_behind(newest));
        let behind = self.encoded.iter().filter(|(_, one)| is_behind(one));
        behind.map(|(id, _)| id.clone()).collect()
    }

    fn gaps(&self, listed: &Listed) -> Vec<String> {
        let renditions = self.renditions.iter().chain(&self.on_request);
        renditions
            .filter(|rendition| !listed.present.contains(&rendition.id))
            .map(|rendition| rendition.id.clone())
            .collect()
    }

    fn trim(&mut self, now: Duration) {
        let wanted = Ticks::from_seconds(i64::from(self.settings.playlist_duration_seconds));
        let mut total = self.duration();
        self.longest = self.longest.max(total);
        while let Some(oldest) = self.listed.front() {
            let rest = total - duration(&oldest.entry);
            if rest < wanted || self.listed.len() == 1 {
                break;
            }
            self.remove_oldest(now);
            total = rest;
        }
        if let Some(first) = self.listed.front() {
            self.discontinuity_sequence = first
                .discontinuity_sequence
                .saturating_sub(u64::from(first.entry.discontinuity));
        }
    }

    fn remove_oldest(&mut self, now: Duration) -> bool {
        let Some(listed) = self.listed.pop_front() else {
            return false;
        };
        self.removed.push_back(Removed {
            number: listed.entry.number,
            at: now,
            duration: duration(&listed.entry),
        });
        true
    }
}

fn duration(entry: &SegmentEntry) -> Ticks {
    Ticks(signed(entry.duration_ticks))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
