//! The live window: what is listed, and what that was listed may be deleted when. Numbers never go back and a listed segment
//! never changes; this file touches no bytes and no clock.

use std::collections::VecDeque;
use std::time::Duration;

use api::job::ResumeFloor;
use api::playlists::{Playlists, Rendition, SegmentEntry};

use super::numbers::NumberedSegment;
use crate::time::Ticks;

/// What is fixed for the life of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    /// The stream's uid.
    pub stream_uid: String,
    /// The attempt, part of every segment's name.
    pub attempt: i32,
    /// Unix milliseconds of the process's start: versions grow from here.
    pub version: u64,
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
    listed: VecDeque<Listed>,
    removed: VecDeque<Removed>,
    /// The longest that the playlist ever was: for so long a player may still ask for what has left it.
    longest: Ticks,
    discontinuity_sequence: u64,
    next: ResumeFloor,
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
        self.version += 1;
    }

    /// Says what the master lists; players read it once, so change it only when the tracks change.
    pub fn set_renditions(&mut self, renditions: Vec<Rendition>) {
        if self.renditions != renditions {
            self.renditions = renditions;
            self.version += 1;
        }
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
            target_duration_seconds: self.settings.target_duration_seconds,
            discontinuity_sequence: self.discontinuity_sequence,
            renditions: self.renditions.clone(),
            segments: segments.collect(),
            next: self.next,
        }
    }

    fn gaps(&self, listed: &Listed) -> Vec<String> {
        self.renditions
            .iter()
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
