//! One playlist of a source: loads it, fetches its segments in order, passes over what cannot be had. What is next is decided by
//! `follow`; whether it is this playlist's turn is decided by whoever has several.

use std::time::Duration;

use iptv::hls::MediaPlaylist;
use tokio::time::sleep;
use url::Url;

use super::fetch::{Budget, is_final, is_refusal, read_media, unsupported};
use super::follow::{Follower, Listed, Run};
use super::segment::{Fetched, Progress, Segments};
use super::site::Site;
use super::turn::Standing;
use crate::failure::SourceFailure;
use crate::input::{Piece, Track};

/// What is waited before a segment is asked for, the first time and after failures.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Segments in a row that may be missing.
const MISSES_MAXIMUM: u32 = 2;
/// How many target durations before its end a list is joined (RFC 8216, 6.3.3). Sound that has a list of its own is joined earlier
/// than the pictures, so that none of theirs is without.
const DISTANCE: u32 = 3;
const DISTANCE_OF_AUDIO: u32 = 4;

/// A media playlist, and where it came from.
pub(super) struct Found {
    pub(super) track: Track,
    pub(super) url: Url,
    pub(super) list: MediaPlaylist,
}

/// What became of a segment.
#[derive(Debug)]
pub(super) enum Delivery {
    /// It was handed on.
    Whole,
    /// It could not be had; some of it may have been handed on.
    Missed {
        /// What was, can be continued by nothing.
        is_broken: bool,
    },
    /// It cannot be joined to what was before. It waits for [`Lane::begin`].
    Seam,
    /// The address may be good no more. It is still next.
    Refused(SourceFailure),
}

/// The playlist.
pub(super) struct Lane {
    pub(super) track: Track,
    /// Where it is, as it was resolved.
    playlist: Url,
    follower: Follower,
    segments: Segments,
    /// How far its media have been handed on, in milliseconds since the source was opened, by what the list says.
    position: i64,
    /// What waits at a seam.
    held: Option<Listed>,
    misses: u32,
    /// Why the last one was missing, unless there was one since.
    missed: Option<SourceFailure>,
}

impl Lane {
    pub(super) fn new(track: Track, playlist: Url, now: Duration) -> Self {
        let distance = match track {
            Track::Main => DISTANCE,
            Track::Audio => DISTANCE_OF_AUDIO,
        };
        Self {
            track,
            playlist,
            follower: Follower::new(distance, now),
            segments: Segments::new(track),
            position: 0,
            held: None,
            misses: 0,
            missed: None,
        }
    }

    /// Where it was loaded from last.
    pub(super) fn playlist(&self) -> &Url {
        &self.playlist
    }

    pub(super) fn patience(&self) -> Duration {
        self.follower.patience()
    }

    /// Where it stands.
    pub(super) fn standing(&self, now: Duration) -> Standing {
        Standing {
            next: self.follower.next(now),
            track: self.track,
            position: self.position,
            is_held: self.is_held(),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Why it has ended before its end, if it has.
    pub(super) fn take_missed(&mut self) -> Option<SourceFailure> {
        self.missed.take().map(|failure| self.named(failure))
    }

    /// Everything begins anew with the next segment.
    pub(super) fn begin(&mut self) {
        self.segments.begin();
        if let Some(listed) = self.held.take() {
            self.follower.put_back(listed);
        }
    }

    /// Takes a list that was loaded.
    pub(super) async fn learn(
        &mut self,
        site: &Site,
        found: Found,
        run: Run,
        began: Duration,
    ) -> Result<(), SourceFailure> {
        self.playlist = found.url;
        if run == Run::Fresh
            && let Some(listed) = self.held.take()
        {
            self.follower.put_back(listed);
        }
        let learned = self.follower.learn(found.list, &self.playlist, run, began);
        let joined = learned.map_err(|what| self.named(unsupported(&self.playlist, &what)))?;
        let Some(joined) = joined else { return Ok(()) };
        self.position = milliseconds(began) - milliseconds(joined.ahead);
        match self.track {
            Track::Main => site.hand_on(Piece::Pace(joined.pace)).await,
            Track::Audio => Ok(()),
        }
    }

    /// Loads it again; answers a refusal, if that is what came.
    pub(super) async fn reload(
        &mut self,
        site: &Site,
    ) -> Result<Option<SourceFailure>, SourceFailure> {
        let began = site.now();
        let loaded = site.load(self.playlist.clone(), self.patience()).await;
        let found = loaded.and_then(|loaded| {
            Ok(Found {
                track: self.track,
                list: read_media(&loaded)?,
                url: loaded.url,
            })
        });
        match found {
            Ok(found) => {
                self.learn(site, found, Run::Same, began).await?;
                Ok(None)
            }
            Err(failure) if is_final(&failure) => Err(self.named(failure)),
            Err(failure) if is_refusal(&failure) => Ok(Some(self.named(failure))),
            Err(failure) if self.follower.missed(site.now()) => Err(self.named(failure)),
            Err(_) => Ok(None),
        }
    }

    /// Fetches the next segment and hands it on, to be joined to those of others where it is `beside` them. One that cannot be had
    /// is left out, unless there were others just before it.
    pub(super) async fn deliver(
        &mut self,
        site: &Site,
        beside: bool,
        resolved: bool,
    ) -> Result<Delivery, SourceFailure> {
        let Some(listed) = self.follower.take() else {
            return Ok(Delivery::Whole);
        };
        let mut budget = Budget::new(self.patience());
        let mut progress = Progress::default();
        let mut failed = None;
        for pause in TRIES {
            sleep(pause).await;
            let segments = &mut self.segments;
            let fetching = segments.segment(site, &listed, beside, &mut progress, &mut budget);
            match fetching.await {
                Ok(Fetched::Whole) => {
                    (self.misses, self.missed) = (0, None);
                    self.pass(&listed);
                    return Ok(Delivery::Whole);
                }
                Ok(Fetched::Seam) => {
                    self.held = Some(Listed {
                        is_seam: true,
                        ..listed
                    });
                    return Ok(Delivery::Seam);
                }
                Err(failure) if is_final(&failure) || budget.is_spent() => {
                    return Err(self.named(failure));
                }
                Err(failure) => {
                    let is_refused = is_refusal(&failure);
                    failed = Some(failure);
                    if is_refused {
                        break;
                    }
                }
            }
        }
        let is_broken = progress.delivered > 0;
        match failed {
            None => Ok(Delivery::Missed { is_broken }),
            Some(failure) if is_refusal(&failure) && !is_broken && !resolved => {
                self.follower.put_back(listed);
                Ok(Delivery::Refused(self.named(failure)))
            }
            Some(failure) => {
                self.miss(&listed, is_broken, failure)?;
                Ok(Delivery::Missed { is_broken })
            }
        }
    }

    fn miss(
        &mut self,
        listed: &Listed,
        is_broken: bool,
        failure: SourceFailure,
    ) -> Result<(), SourceFailure> {
        self.misses += 1;
        if self.misses > MISSES_MAXIMUM {
            return Err(self.named(failure));
        }
        self.missed = Some(failure);
        if is_broken || listed.is_seam {
            self.follower.break_off();
        }
        self.pass(listed);
        Ok(())
    }

    fn pass(&mut self, listed: &Listed) {
        self.position += milliseconds(listed.segment.duration);
    }

    /// A failure that says whose it is.
    pub(super) fn named(&self, failure: SourceFailure) -> SourceFailure {
        failure.of(self.track)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX >> 1)
}
