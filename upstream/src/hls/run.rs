//! Follows a source that is a playlist: which variant, and of its playlists which is next. An address that was resolved serves
//! this run only, and is resolved anew from the source's own when it is refused.

use std::convert::Infallible;
use std::time::Duration;

use iptv::hls::{MasterPlaylist, Playlist, Variant};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::Loaded;
use super::fetch::{address, bad, read, read_media};
use super::follow::Run;
use super::lane::{Delivery, Found, Lane};
use super::select;
use super::site::Site;
use super::turn::{BEYOND_MAXIMUM, Step, step};
use crate::failure::SourceFailure;
use crate::input::{Apart, Piece, Track, Wish};
use crate::redirect;
use crate::source::{Opener, SourceRequest};

/// Variants that may fail before the source has.
const VARIANTS_MAXIMUM: usize = 4;
/// How long is waited for a playlist while nothing is known of one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fetching of one source.
pub(super) struct Fetching {
    site: Site,
    wish: Wish,
    /// The playlists that are followed: the main one, and that of its audio, if it has one.
    lanes: Vec<Lane>,
    /// The place of the variant in the master playlist, if there is one.
    variant: Option<usize>,
    /// The places of those that have failed. They are not tried again over this connection.
    spoiled: Vec<usize>,
    /// It was resolved anew, and no segment has come since.
    resolved: bool,
    /// Segments of one playlist that were handed on while another waits at a seam.
    beyond: u32,
}

impl Fetching {
    pub(super) fn new(
        opener: Opener,
        source: SourceRequest,
        wish: Wish,
        out: mpsc::Sender<Result<Piece, SourceFailure>>,
    ) -> Self {
        Self {
            site: Site {
                opener,
                source,
                out,
                started: Instant::now(),
            },
            wish,
            lanes: Vec::new(),
            variant: None,
            spoiled: Vec::new(),
            resolved: false,
            beyond: 0,
        }
    }

    /// Goes on until it fails, and says why.
    pub(super) async fn run(mut self, first: Loaded) {
        let Err(failure) = self.follow(first).await;
        // Nobody reads any more: then nobody asks either.
        drop(self.site.out.send(Err(failure)).await);
    }

    async fn follow(&mut self, first: Loaded) -> Result<Infallible, SourceFailure> {
        self.enter(first, Run::Same, Duration::ZERO).await?;
        loop {
            let now = self.site.now();
            let standings: Vec<_> = self.lanes.iter().map(|lane| lane.standing(now)).collect();
            let outcome = match step(&standings, self.beyond, now) {
                Step::Begin => self.begin().await,
                Step::Deliver(place) => self.deliver(place).await,
                Step::Reload(place, at) => {
                    sleep_until(self.site.started + at).await;
                    self.reload(place).await
                }
                Step::Ended(place) => return Err(self.over(place)),
                Step::Stalled(place, waited) => {
                    let origin = redirect::origin(self.lanes[place].playlist());
                    let stalled = SourceFailure::Stalled { origin, waited };
                    Err(self.lanes[place].named(stalled))
                }
            };
            if let Err(failure) = outcome {
                self.leave(failure).await?;
            }
        }
    }

    fn over(&mut self, place: usize) -> SourceFailure {
        let lane = &mut self.lanes[place];
        let over = SourceFailure::EndOfStream {
            origin: redirect::origin(lane.playlist()),
            detail: Some("its playlist says that it is over".to_owned()),
        };
        lane.take_missed().unwrap_or_else(|| lane.named(over))
    }

    /// Goes on with another variant: a source has failed when none of them can be had. What is shown already comes once more.
    async fn leave(&mut self, failure: SourceFailure) -> Result<(), SourceFailure> {
        let Some(variant) = self.variant.take() else {
            return Err(failure);
        };
        if self.site.out.is_closed() || self.spoiled.len() >= VARIANTS_MAXIMUM {
            return Err(failure);
        }
        self.spoiled.push(variant);
        let began = self.site.now();
        let entering = async {
            let url = self.site.source.url.clone();
            let loaded = self.site.load(url, self.patience()).await?;
            self.lanes.clear();
            self.enter(loaded, Run::Same, began).await
        };
        match entering.await {
            Ok(()) => {
                self.resolved = false;
                Ok(())
            }
            // What is wrong with the rest says less.
            Err(_) => Err(failure),
        }
    }

    fn patience(&self) -> Duration {
        self.lanes.first().map_or(PATIENCE, Lane::patience)
    }

    /// Goes by what the source's address has delivered: a playlist of segments, or one of those.
    async fn enter(
        &mut self,
        loaded: Loaded,
        run: Run,
        began: Duration,
    ) -> Result<(), SourceFailure> {
        let found = match read(&loaded)? {
            Playlist::Media(list) => vec![Found {
                track: Track::Main,
                url: loaded.url,
                list,
            }],
            Playlist::Master(master) => self.variant(&loaded.url, &master).await?,
        };
        let tracks = found.iter().map(|found| found.track);
        if !tracks.eq(self.lanes.iter().map(|lane| lane.track)) {
            let lane = |found: &Found| Lane::new(found.track, found.url.clone(), began);
            self.lanes = found.iter().map(lane).collect();
            self.beyond = 0;
        }
        for (lane, found) in self.lanes.iter_mut().zip(found) {
            lane.learn(&self.site, found, run, began).await?;
        }
        Ok(())
    }

    /// The playlists of the best variant whose playlists can be had.
    async fn variant(
        &mut self,
        base: &Url,
        master: &MasterPlaylist,
    ) -> Result<Vec<Found>, SourceFailure> {
        let mut failed = None;
        while let Some((place, variant)) = select::choose(master, &self.wish, &self.spoiled) {
            match self.tracks(base, master, variant).await {
                Ok(found) => {
                    self.variant = Some(place);
                    return Ok(found);
                }
                Err(failure) => {
                    failed.get_or_insert(failure);
                    self.spoiled.push(place);
                }
            }
            if self.spoiled.len() >= VARIANTS_MAXIMUM {
                break;
            }
        }
        Err(failed.unwrap_or_else(|| bad(base, "its playlist names no variant that is left")))
    }

    /// The playlists of a variant: its own, and that of its audio where that has one.
    async fn tracks(
        &self,
        base: &Url,
        master: &MasterPlaylist,
        variant: &Variant,
    ) -> Result<Vec<Found>, SourceFailure> {
        let wanted = self.wish.audio_language.as_deref();
        let (main, audio) = select::playlists(master, variant, wanted);
        let mut found = vec![self.media(Track::Main, base, main).await?];
        if let Some(uri) = audio {
            let media = self.media(Track::Audio, base, uri).await;
            found.push(media.map_err(|failure| failure.of(Track::Audio))?);
        }
        Ok(found)
    }

    async fn media(&self, track: Track, base: &Url, uri: &str) -> Result<Found, SourceFailure> {
        let loaded = self.site.load(address(base, uri)?, self.patience()).await?;
        Ok(Found {
            track,
            list: read_media(&loaded)?,
            url: loaded.url,
        })
    }

    async fn reload(&mut self, place: usize) -> Result<(), SourceFailure> {
        match self.lanes[place].reload(&self.site).await? {
            Some(refusal) => self.resolve(refusal).await,
            None => Ok(()),
        }
    }

    /// Begins again from the source's own address, unless that was just done: what was resolved has expired.
    async fn resolve(&mut self, refusal: SourceFailure) -> Result<(), SourceFailure> {
        if std::mem::replace(&mut self.resolved, true) {
            return Err(refusal);
        }
        let began = self.site.now();
        let url = self.site.source.url.clone();
        let loaded = self.site.load(url, self.patience()).await?;
        self.enter(loaded, Run::Fresh, began).await
    }

    async fn deliver(&mut self, place: usize) -> Result<(), SourceFailure> {
        let beside = self.lanes.len() > 1;
        let lane = &mut self.lanes[place];
        match lane.deliver(&self.site, beside, self.resolved).await? {
            Delivery::Whole => {
                self.resolved = false;
                if self.lanes.iter().any(Lane::is_held) {
                    self.beyond += 1;
                }
            }
            Delivery::Refused(refusal) => return self.resolve(refusal).await,
            // The other one has no seam to wait for.
            Delivery::Missed { is_broken: true } => self.beyond = BEYOND_MAXIMUM,
            Delivery::Missed { is_broken: false } | Delivery::Seam => {}
        }
        Ok(())
    }

    /// What was handed on is over, and every track starts.
    async fn begin(&mut self) -> Result<(), SourceFailure> {
        self.beyond = 0;
        let has_audio = self.lanes.len() > 1;
        self.lanes.iter_mut().for_each(Lane::begin);
        self.site.hand_on(Piece::Apart(Apart { has_audio })).await
    }
}
