//! Follows one playlist: loads it, fetches its segments in order, hands their bytes on. What is next is decided by `follow`;
//! an address that was resolved serves this run only, and is resolved anew from the source's own when it is refused.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use iptv::hls::{BYTES_MAXIMUM, Encryption, MasterPlaylist, MediaPlaylist, Playlist, parse};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

use super::Loaded;
use super::cipher::{BLOCK, Cipher, vector_of};
use super::fetch::{Body, Budget, address, bad, derived, is_final, is_refusal, whole};
use super::follow::{Follower, Listed, Next, Run, Unsupported};
use super::select::{self, AudioApart};
use crate::failure::SourceFailure;
use crate::input::Piece;
use crate::redirect;
use crate::source::{Opener, SourceRequest};

/// Bytes that are handed on at once: a fraction of a second of most channels.
const PIECE: usize = 64 << 10;
/// What is waited before a segment is asked for, the first time and after failures.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Variants that may fail before the source has.
const VARIANTS_MAXIMUM: usize = 4;
/// Segments in a row that may be missing.
const MISSES_MAXIMUM: u32 = 2;

/// The fetching of one source.
pub(super) struct Fetching {
    opener: Opener,
    /// The source's own address.
    source: SourceRequest,
    enough: Option<u32>,
    out: mpsc::Sender<Result<Piece, SourceFailure>>,
    started: Instant,
    /// Where the media playlist is, as it was resolved.
    playlist: Url,
    /// Its place in the master playlist, if there is one.
    variant: Option<usize>,
    /// The places of those that have failed. They are not tried again over this connection.
    spoiled: Vec<usize>,
    follower: Follower,
    key: Option<(Url, [u8; BLOCK])>,
    /// It was resolved anew, and no segment has come since.
    resolved: bool,
    misses: u32,
    /// Why the last one was, unless there was one since.
    missed: Option<SourceFailure>,
}

impl Fetching {
    pub(super) fn new(
        opener: Opener,
        source: SourceRequest,
        enough: Option<u32>,
        out: mpsc::Sender<Result<Piece, SourceFailure>>,
    ) -> Self {
        Self {
            playlist: source.url.clone(),
            opener,
            source,
            enough,
            out,
            started: Instant::now(),
            variant: None,
            spoiled: Vec::new(),
            follower: Follower::new(Duration::ZERO),
            key: None,
            resolved: false,
            misses: 0,
            missed: None,
        }
    }

    /// Goes on until it fails, and says why.
    pub(super) async fn run(mut self, first: Loaded) {
        let Err(failure) = self.follow(first).await;
        // Nobody reads any more: then nobody asks either.
        drop(self.out.send(Err(failure)).await);
    }

    async fn follow(&mut self, first: Loaded) -> Result<Infallible, SourceFailure> {
        self.enter(first, Run::Same, Duration::ZERO).await?;
        loop {
            let origin = || redirect::origin(&self.playlist);
            let outcome = match self.follower.next(self.now()) {
                Next::Fetch(listed) => self.deliver(*listed).await,
                Next::Reload(at) => {
                    sleep_until(self.started + at).await;
                    self.reload().await
                }
                Next::Ended => {
                    let over = SourceFailure::EndOfStream {
                        origin: origin(),
                        detail: Some("its playlist says that it is over".to_owned()),
                    };
                    return Err(self.missed.take().unwrap_or(over));
                }
                Next::Stalled(waited) => {
                    let origin = origin();
                    Err(SourceFailure::Stalled { origin, waited })
                }
            };
            if let Err(failure) = outcome {
                self.leave(failure).await?;
            }
        }
    }

    /// Goes on with another variant: a source has failed when none of them can be had. What is shown already comes once more.
    async fn leave(&mut self, failure: SourceFailure) -> Result<(), SourceFailure> {
        let Some(variant) = self.variant.take() else {
            return Err(failure);
        };
        if self.out.is_closed() || self.spoiled.len() >= VARIANTS_MAXIMUM {
            return Err(failure);
        }
        self.spoiled.push(variant);
        let began = self.now();
        let entering = async {
            let loaded = self.load(self.source.url.clone()).await?;
            self.enter(loaded, Run::Other, began).await
        };
        match entering.await {
            Ok(()) => {
                (self.resolved, self.misses, self.missed) = (false, 0, None);
                Ok(())
            }
            // What is wrong with the rest says less.
            Err(_) => Err(failure),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn load(&self, url: Url) -> Result<Loaded, SourceFailure> {
        let request = derived(&self.source, url);
        let patience = self.follower.patience();
        whole(&self.opener, &request, BYTES_MAXIMUM, patience).await
    }

    /// Goes by what the source's address has delivered: a playlist of segments, or one of those.
    async fn enter(
        &mut self,
        loaded: Loaded,
        run: Run,
        began: Duration,
    ) -> Result<(), SourceFailure> {
        let (loaded, list) = match read(&loaded)? {
            Playlist::Media(list) => (loaded, list),
            Playlist::Master(master) => self.variant(&loaded.url, &master).await?,
        };
        self.playlist = loaded.url;
        self.learn(list, run, began).await
    }

    /// The best variant whose playlist can be had.
    async fn variant(
        &mut self,
        base: &Url,
        master: &MasterPlaylist,
    ) -> Result<(Loaded, MediaPlaylist), SourceFailure> {
        let mut failed = None;
        while let Some((place, variant)) = select::choose(master, self.enough, &self.spoiled) {
            match self.media(base, &variant.uri).await {
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
        Err(failed.unwrap_or_else(|| unsupported(base, &AudioApart)))
    }

    async fn media(&self, base: &Url, uri: &str) -> Result<(Loaded, MediaPlaylist), SourceFailure> {
        let loaded = self.load(address(base, uri)?).await?;
        let list = read_media(&loaded)?;
        Ok((loaded, list))
    }

    async fn learn(
        &mut self,
        list: MediaPlaylist,
        run: Run,
        began: Duration,
    ) -> Result<(), SourceFailure> {
        let learned = self.follower.learn(list, &self.playlist, run, began);
        let pace = learned.map_err(|what| unsupported(&self.playlist, &what))?;
        if let Some(pace) = pace {
            self.hand_on(Piece::Pace(pace)).await?;
        }
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), SourceFailure> {
        let began = self.now();
        let loaded = self.load(self.playlist.clone()).await;
        let list = loaded.and_then(|loaded| Ok((read_media(&loaded)?, loaded.url)));
        match list {
            Ok((list, url)) => {
                self.playlist = url;
                self.learn(list, Run::Same, began).await
            }
            Err(failure) if is_final(&failure) => Err(failure),
            Err(failure) if is_refusal(&failure) => self.resolve(failure).await,
            Err(failure) if self.follower.missed(self.now()) => Err(failure),
            Err(_) => Ok(()),
        }
    }

    /// Begins again from the source's own address, unless that was just done: what was resolved has expired.
    async fn resolve(&mut self, refusal: SourceFailure) -> Result<(), SourceFailure> {
        if std::mem::replace(&mut self.resolved, true) {
            return Err(refusal);
        }
        let began = self.now();
        let loaded = self.load(self.source.url.clone()).await?;
        self.enter(loaded, Run::Fresh, began).await
    }

    /// Fetches a segment and hands it on. One that cannot be had is left out, unless there were others just before it.
    async fn deliver(&mut self, listed: Listed) -> Result<(), SourceFailure> {
        let mut budget = Budget::new(self.follower.patience());
        let mut delivered = 0;
        let mut failed = None;
        for pause in TRIES {
            sleep(pause).await;
            match self.segment(&listed, &mut delivered, &mut budget).await {
                Ok(()) => {
                    (self.resolved, self.misses, self.missed) = (false, 0, None);
                    return Ok(());
                }
                Err(failure) if is_final(&failure) || budget.is_spent() => return Err(failure),
                Err(failure) => {
                    let is_refused = is_refusal(&failure);
                    failed = Some(failure);
                    if is_refused {
                        break;
                    }
                }
            }
        }
        let Some(failure) = failed else { return Ok(()) };
        if is_refusal(&failure) && delivered == 0 && !self.resolved {
            self.follower.put_back(listed);
            return self.resolve(failure).await;
        }
        self.misses += 1;
        if self.misses > MISSES_MAXIMUM {
            return Err(failure);
        }
        self.missed = Some(failure);
        Ok(())
    }

    /// Fetches a segment from its start, and hands on what of it was not `delivered` yet.
    async fn segment(
        &mut self,
        listed: &Listed,
        delivered: &mut usize,
        budget: &mut Budget,
    ) -> Result<(), SourceFailure> {
        let Listed {
            sequence,
            segment,
            base,
        } = listed;
        let url = address(base, &segment.uri)?;
        let mut cipher = match &segment.encryption {
            Encryption::Aes128 { uri, iv } => {
                let key = self.key(address(base, uri)?).await?;
                Some(Cipher::new(key, iv.unwrap_or_else(|| vector_of(*sequence))))
            }
            Encryption::None | Encryption::Other(_) => None,
        };
        let request = derived(&self.source, url);
        let mut body = Body::open(&self.opener, request, segment.range, budget).await?;
        let mut skip = *delivered;
        while let Some(bytes) = body.next(budget).await? {
            let bytes = match &mut cipher {
                Some(cipher) => cipher.push(&bytes),
                None => bytes,
            };
            if *delivered == 0 {
                judge(body.url(), &bytes)?;
            }
            self.hand_on_bytes(bytes, &mut skip, delivered).await?;
        }
        if let Some(cipher) = cipher {
            let rest = cipher.finish();
            let rest =
                rest.map_err(|_| bad(body.url(), "a segment cannot be decrypted with its key"))?;
            self.hand_on_bytes(rest, &mut skip, delivered).await?;
        }
        if *delivered == 0 {
            return Err(bad(body.url(), "a segment is empty"));
        }
        Ok(())
    }

    async fn key(&mut self, url: Url) -> Result<[u8; BLOCK], SourceFailure> {
        if let Some((known, key)) = &self.key
            && *known == url
        {
            return Ok(*key);
        }
        let request = derived(&self.source, url.clone());
        let patience = self.follower.patience();
        let loaded = whole(&self.opener, &request, BLOCK, patience).await?;
        let key = <[u8; BLOCK]>::try_from(&*loaded.text)
            .map_err(|_| bad(&loaded.url, "a key has not 16 bytes"))?;
        self.key = Some((url, key));
        Ok(key)
    }

    async fn hand_on_bytes(
        &self,
        mut bytes: Bytes,
        skip: &mut usize,
        delivered: &mut usize,
    ) -> Result<(), SourceFailure> {
        let known = bytes.len().min(*skip);
        *skip -= known;
        drop(bytes.split_to(known));
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            *delivered += piece.len();
            self.hand_on(Piece::Bytes(piece)).await?;
        }
        Ok(())
    }

    async fn hand_on(&self, piece: Piece) -> Result<(), SourceFailure> {
        let nobody = |_| SourceFailure::EndOfStream {
            origin: redirect::origin(&self.playlist),
            detail: None,
        };
        self.out.send(Ok(piece)).await.map_err(nobody)
    }
}

fn read(loaded: &Loaded) -> Result<Playlist, SourceFailure> {
    parse(&loaded.text).map_err(|error| bad(&loaded.url, error.to_string()))
}

fn read_media(loaded: &Loaded) -> Result<MediaPlaylist, SourceFailure> {
    match read(loaded)? {
        Playlist::Media(list) => Ok(list),
        Playlist::Master(_) => Err(bad(&loaded.url, "a master playlist names another one")),
    }
}

fn unsupported(url: &Url, what: &impl ToString) -> SourceFailure {
    SourceFailure::Unsupported {
        origin: redirect::origin(url),
        detail: what.to_string(),
    }
}

/// Names what is no transport stream where a segment should be, by its first bytes.
fn judge(url: &Url, head: &[u8]) -> Result<(), SourceFailure> {
    let is_box = matches!(head.get(4..8), Some(b"ftyp" | b"styp" | b"moof" | b"sidx"));
    let is_frame = matches!(head, [0xFF, second, ..] if second & 0xF6 == 0xF0);
    if is_box {
        return Err(unsupported(url, &Unsupported::FragmentedMp4));
    }
    if is_frame || head.starts_with(b"ID3") {
        return Err(unsupported(url, &Unsupported::PackedAudio));
    }
    if head.trim_ascii_start().starts_with(b"<") {
        return Err(bad(url, "a segment is a web page"));
    }
    Ok(())
}
