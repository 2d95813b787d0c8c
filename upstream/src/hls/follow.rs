//! Which segments of a live playlist are fetched next, and when it is loaded again. Pure: knows lists and times, no addresses' answers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iptv::hls::{Encryption, MediaPlaylist, Segment};
use url::Url;

use crate::input::Pace;

/// Target durations that are believed.
const SHORTEST_TARGET: Duration = Duration::from_secs(1);
const LONGEST_TARGET: Duration = Duration::from_secs(60);
/// Where nothing new is listed for less than this, whatever the target duration, nothing is wrong.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);
/// Names of segments that are remembered, to tell a list that is older than the last one from a server that began anew.
const NAMES_MAXIMUM: usize = 64;
/// What is shown at once at the least, however little is listed, and at the most: what is encoded has to catch up with it, and
/// waits in memory until then.
const LEAST_BURST: Duration = Duration::from_secs(2);
const MOST_BURST: Duration = Duration::from_secs(4);

/// A segment that is listed, and where.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) sequence: u64,
    pub(super) segment: Segment,
    /// The playlist's address, which its own is relative to.
    pub(super) base: Arc<Url>,
    /// It does not go on where the one that was taken before it ended, or nothing was.
    pub(super) is_seam: bool,
}

impl fmt::Debug for Listed {
    /// Its addresses carry logins.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Listed")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Take a segment and fetch it.
    Fetch,
    /// Load the playlist at that time.
    Reload(Duration),
    /// Nothing: the playlist says that it is over.
    Ended,
    /// Nothing new was listed for so long that nothing is expected any more.
    Stalled(Duration),
}

/// Why a playlist cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    #[error("its segments are fragmented MP4, and it names no initialization section for them")]
    NoInitialization,
    #[error(
        "its segments are sound without a transport stream, although its sound has another list"
    )]
    PackedAudio,
    #[error("its segments are encrypted with {0}, which is not supported")]
    Encryption(String),
}

/// Where a playlist was loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// The address of before.
    Same,
    /// One that was resolved anew: what is listed no more cannot be asked for under the old one.
    Fresh,
}

/// A playlist was joined, or joined anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    /// How its media come.
    pub(super) pace: Pace,
    /// How far before its live edge, if it has one.
    pub(super) ahead: Duration,
}

/// What has been listed and fetched.
#[derive(Debug)]
pub(super) struct Follower {
    /// How many target durations before the end of a list it is joined.
    distance: u32,
    target: Duration,
    /// The number that is fetched next; absent until a list has segments.
    next: Option<u64>,
    /// The number of the segment that goes on where the last one that was taken ended.
    after: Option<u64>,
    waiting: BTreeMap<u64, Listed>,
    /// One more than the highest number listed.
    end: u64,
    ended: bool,
    reload_at: Duration,
    /// When the list last grew, and how often it was loaded since.
    grown_at: Duration,
    unchanged: u32,
    names: VecDeque<(u64, String)>,
}

impl Follower {
    /// Nothing is listed yet.
    pub(super) fn new(distance: u32, now: Duration) -> Self {
        Self {
            distance,
            target: SHORTEST_TARGET,
            next: None,
            after: None,
            waiting: BTreeMap::new(),
            end: 0,
            ended: false,
            reload_at: now,
            grown_at: now,
            unchanged: 0,
            names: VecDeque::new(),
        }
    }

    /// Nothing new for so long is silence; nothing else may take longer either.
    pub(super) fn patience(&self) -> Duration {
        (self.target * 3).max(LEAST_PATIENCE)
    }

    /// What is to be done now.
    pub(super) fn next(&self, now: Duration) -> Next {
        let silent_for = now.saturating_sub(self.grown_at);
        if self.waiting.is_empty() && !self.ended && self.is_stalled(now) {
            Next::Stalled(silent_for)
        } else if !self.ended && self.reload_at <= now {
            Next::Reload(now)
        } else if !self.waiting.is_empty() {
            Next::Fetch
        } else if self.ended {
            Next::Ended
        } else {
            Next::Reload(self.reload_at)
        }
    }

    /// The segment that is fetched now.
    pub(super) fn take(&mut self) -> Option<Listed> {
        let (sequence, mut listed) = self.waiting.pop_first()?;
        listed.is_seam |= listed.segment.discontinuity || self.after != Some(sequence);
        self.next = Some(sequence + 1);
        self.after = self.next;
        Some(listed)
    }

    /// The playlist could not be loaded; it is tried again soon. Answers whether it is too late for that.
    pub(super) fn missed(&mut self, now: Duration) -> bool {
        self.reload_at = now + self.target / 2;
        self.unchanged += 1;
        self.waiting.is_empty() && self.is_stalled(now)
    }

    /// A segment could not be fetched and is wanted all the same.
    pub(super) fn put_back(&mut self, listed: Listed) {
        self.next = Some(listed.sequence);
        self.after = self.next.filter(|_| !listed.is_seam);
        self.waiting.insert(listed.sequence, listed);
    }

    /// What was taken last is not there to be continued.
    pub(super) fn break_off(&mut self) {
        self.after = None;
    }

    /// A slow reader is not to be taken for a playlist that does not grow: it must have been looked at twice.
    fn is_stalled(&self, now: Duration) -> bool {
        self.unchanged >= 2 && now.saturating_sub(self.grown_at) >= self.patience()
    }

    /// Takes a playlist whose loading began at a time. Answers the pace to go on at when it was joined anew.
    pub(super) fn learn(
        &mut self,
        playlist: MediaPlaylist,
        base: &Url,
        run: Run,
        began: Duration,
    ) -> Result<Option<Joined>, Unsupported> {
        self.target = playlist
            .target_duration
            .clamp(SHORTEST_TARGET, LONGEST_TARGET);
        if run == Run::Fresh {
            self.waiting.clear();
        }
        let first = playlist.media_sequence;
        let end = first + playlist.segments.len() as u64;
        if self.began_anew(&playlist, end) {
            *self = Self {
                target: self.target,
                ..Self::new(self.distance, began)
            };
        }
        let grows = end > self.end || self.next.is_none() && !playlist.segments.is_empty();
        if grows {
            (self.grown_at, self.unchanged) = (began, 0);
        } else {
            self.unchanged += 1;
        }
        // RFC 8216, 6.3.4
        self.reload_at = began + if grows { self.target } else { self.target / 2 };
        self.ended = playlist.ended;
        self.end = self.end.max(end);
        // What has left the list stays there for as long as it was listed (RFC 8216, 6.2.2).
        let oldest = first.saturating_sub(end - first);
        self.waiting.retain(|&sequence, _| sequence >= oldest);
        self.remember(&playlist);
        let joined = self.join(&playlist);
        self.list(playlist, base)?;
        Ok(joined)
    }

    /// Decides where to begin, or to go on where what is next is listed no more.
    fn join(&mut self, playlist: &MediaPlaylist) -> Option<Joined> {
        let first = playlist.media_sequence;
        let is_joined = |next| next >= first || !self.waiting.is_empty();
        if playlist.segments.is_empty() || self.next.is_some_and(is_joined) {
            return None;
        }
        let (mut index, mut ahead) = (playlist.segments.len(), Duration::ZERO);
        // Not closer to the end than this (RFC 8216, 6.3.3). What is over is played from its start.
        while index > 0 && (ahead < self.target * self.distance || playlist.ended) {
            index -= 1;
            ahead += playlist.segments[index].duration;
        }
        self.next = Some(first + index as u64);
        // From one segment to the next it takes a target duration, half of one more where a reload came too early, and
        // the time of the transfer. So much is kept back at least, so that ours goes on meanwhile.
        let reserve = self.target * 3 / 2 + Duration::from_secs(1);
        let pace = Pace {
            target: self.target,
            burst: ahead.saturating_sub(reserve).clamp(LEAST_BURST, MOST_BURST),
            is_live: !playlist.ended,
        };
        let ahead = if pace.is_live { ahead } else { Duration::ZERO };
        Some(Joined { pace, ahead })
    }

    fn list(&mut self, playlist: MediaPlaylist, base: &Url) -> Result<(), Unsupported> {
        let base = Arc::new(base.clone());
        let next = self.next.unwrap_or(0);
        for (sequence, segment) in (playlist.media_sequence..).zip(playlist.segments) {
            if sequence < next || segment.gap {
                continue;
            }
            if let Encryption::Other(method) = &segment.encryption {
                return Err(Unsupported::Encryption(method.clone()));
            }
            let base = Arc::clone(&base);
            let listed = Listed {
                sequence,
                segment,
                base,
                is_seam: false,
            };
            self.waiting.insert(sequence, listed);
        }
        Ok(())
    }

    /// A list that ends before the last one did is an older copy, unless its segments have other names.
    fn began_anew(&self, playlist: &MediaPlaylist, end: u64) -> bool {
        if end >= self.end || playlist.segments.is_empty() {
            return false;
        }
        let first = playlist.media_sequence;
        let mut both = self.names.iter().filter_map(|(sequence, known)| {
            let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
            Some(name(&playlist.segments.get(index)?.uri) == known)
        });
        !both.any(|same| same)
    }

    fn remember(&mut self, playlist: &MediaPlaylist) {
        let newest = self.names.back().map(|(sequence, _)| *sequence);
        let numbered = (playlist.media_sequence..).zip(&playlist.segments);
        let new = numbered.filter(|(sequence, _)| newest.is_none_or(|newest| *sequence > newest));
        let left_out = playlist.segments.len().saturating_sub(NAMES_MAXIMUM) as u64;
        for (sequence, segment) in new {
            if sequence < playlist.media_sequence + left_out {
                continue;
            }
            if self.names.len() == NAMES_MAXIMUM {
                self.names.pop_front();
            }
            let name = name(&segment.uri).to_owned();
            self.names.push_back((sequence, name));
        }
    }
}

/// The file's name: paths and queries may carry tokens that change with each list.
fn name(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
