//! Fetches segments of one playlist, with their keys and initialization sections, and hands their bytes on as they come.
//! Tells by their first bytes what they are; looks no further.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iptv::hls::{Encryption, Map};
use url::Url;

use super::cipher::{BLOCK, Cipher, vector_of};
use super::fetch::{Body, Budget, address, bad, derived, unsupported, whole};
use super::follow::{Listed, Unsupported};
use super::site::Site;
use crate::failure::SourceFailure;
use crate::input::{Format, Part, Piece, Sound, Track};

/// Bytes that are handed on at once: a fraction of a second of most channels.
const PIECE: usize = 64 << 10;
/// Bytes of an initialization section at most: a thousand times what one has.
const INIT_MAXIMUM: usize = 1 << 20;

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// All of it was handed on.
    Whole,
    /// Nothing was asked for: it cannot be joined to what was handed on before.
    Seam,
}

/// What is kept from one segment to the next.
pub(super) struct Segments {
    track: Track,
    key: Option<(Url, [u8; BLOCK])>,
    init: Option<Init>,
    /// What follows is the start of the track.
    is_start: bool,
}

/// The initialization section that was used last.
struct Init {
    map: Arc<Map>,
    bytes: Bytes,
}

/// What is handed on of one segment, over all attempts.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that have been.
    pub(super) delivered: usize,
    /// Of these, what this attempt brings once more.
    skip: usize,
    /// It was found to join to what was before.
    is_joined: bool,
    format: Option<Format>,
}

impl Segments {
    pub(super) fn new(track: Track) -> Self {
        Self {
            track,
            key: None,
            init: None,
            is_start: false,
        }
    }

    /// What follows is the start of the track.
    pub(super) fn begin(&mut self) {
        self.is_start = true;
    }

    /// Fetches a segment from its start, and hands on what of it was not yet. One `beside` the segments of another playlist is to
    /// be joined to them.
    pub(super) async fn segment(
        &mut self,
        site: &Site,
        listed: &Listed,
        beside: bool,
        progress: &mut Progress,
        budget: &mut Budget,
    ) -> Result<Fetched, SourceFailure> {
        let is_changed = self.initialize(site, listed, budget).await?;
        let is_joined = beside || self.init.is_some();
        let goes_on = progress.is_joined || self.is_start || !(listed.is_seam || is_changed);
        if is_joined && !goes_on {
            return Ok(Fetched::Seam);
        }
        progress.is_joined = true;
        progress.format = None;
        if let Some(init) = &self.init {
            progress.format = Some(Format::Mp4);
            if self.is_start {
                let bytes = init.bytes.clone();
                site.hand_on(piece(self.track, progress.format, true, bytes))
                    .await?;
            }
        } else if beside {
            progress.format = Some(Format::TransportStream);
        }
        self.is_start = false;
        self.media(site, listed, progress, budget).await?;
        Ok(Fetched::Whole)
    }

    async fn media(
        &mut self,
        site: &Site,
        listed: &Listed,
        progress: &mut Progress,
        budget: &mut Budget,
    ) -> Result<(), SourceFailure> {
        let Listed { segment, base, .. } = listed;
        let url = address(base, &segment.uri)?;
        let vector = Some(vector_of(listed.sequence));
        let mut cipher = self
            .cipher(site, base, &segment.encryption, vector, budget)
            .await?;
        let request = derived(&site.source, url);
        let mut body = Body::open(&site.opener, request, segment.range, budget).await?;
        progress.skip = progress.delivered;
        while let Some(bytes) = body.next(budget).await? {
            let bytes = match &mut cipher {
                Some(cipher) => cipher.push(&bytes),
                None => bytes,
            };
            if progress.delivered == 0 {
                progress.format = judge(body.url(), &bytes, self.track, progress.format)?;
            }
            self.hand_on(site, bytes, progress).await?;
        }
        if let Some(cipher) = cipher {
            let rest = finish(cipher, body.url())?;
            self.hand_on(site, rest, progress).await?;
        }
        if progress.delivered == 0 {
            return Err(bad(body.url(), "a segment is empty"));
        }
        Ok(())
    }

    /// Sees to it that the initialization section of a segment is there; answers whether it is another one than before. A list that
    /// names the same one by another address each time changes nothing.
    async fn initialize(
        &mut self,
        site: &Site,
        listed: &Listed,
        budget: &mut Budget,
    ) -> Result<bool, SourceFailure> {
        let Some(map) = &listed.segment.map else {
            return Ok(self.init.take().is_some());
        };
        if self.init.as_ref().is_some_and(|init| init.map == *map) {
            return Ok(false);
        }
        let url = address(&listed.base, &map.uri)?;
        let vector = None;
        let base = &listed.base;
        let mut cipher = self
            .cipher(site, base, &map.encryption, vector, budget)
            .await?;
        let request = derived(&site.source, url);
        let mut body = Body::open(&site.opener, request, map.range, budget).await?;
        let mut bytes = BytesMut::new();
        while let Some(more) = body.next(budget).await? {
            match &mut cipher {
                Some(cipher) => bytes.extend_from_slice(&cipher.push(&more)),
                None => bytes.extend_from_slice(&more),
            }
            if bytes.len() > INIT_MAXIMUM {
                let detail =
                    format!("an initialization section is longer than {INIT_MAXIMUM} bytes");
                return Err(bad(body.url(), detail));
            }
        }
        if let Some(cipher) = cipher {
            bytes.extend_from_slice(&finish(cipher, body.url())?);
        }
        judge_init(body.url(), &bytes)?;
        let init = Init {
            map: Arc::clone(map),
            bytes: bytes.freeze(),
        };
        let before = self.init.replace(init);
        let now = self.init.as_ref().map(|init| &init.bytes);
        Ok(before.as_ref().map(|init| &init.bytes) != now)
    }

    /// The decryption of a resource; `vector` is for one whose key comes without.
    async fn cipher(
        &mut self,
        site: &Site,
        base: &Url,
        encryption: &Encryption,
        vector: Option<[u8; BLOCK]>,
        budget: &mut Budget,
    ) -> Result<Option<Cipher>, SourceFailure> {
        match encryption {
            Encryption::None => Ok(None),
            Encryption::Aes128 { uri, iv } => {
                // Required where an initialization section is encrypted (RFC 8216, 4.3.2.5).
                let vector = iv.or(vector).ok_or_else(|| {
                    bad(
                        base,
                        "the key of an initialization section comes without its vector",
                    )
                })?;
                let key = self.key(site, address(base, uri)?, budget).await?;
                Ok(Some(Cipher::new(key, vector)))
            }
            Encryption::Other(method) => {
                Err(unsupported(base, &Unsupported::Encryption(method.clone())))
            }
        }
    }

    async fn key(
        &mut self,
        site: &Site,
        url: Url,
        budget: &mut Budget,
    ) -> Result<[u8; BLOCK], SourceFailure> {
        if let Some((known, key)) = &self.key
            && *known == url
        {
            return Ok(*key);
        }
        let request = derived(&site.source, url.clone());
        let loaded = whole(&site.opener, &request, BLOCK, budget.given()).await?;
        let key = <[u8; BLOCK]>::try_from(&*loaded.text)
            .map_err(|_| bad(&loaded.url, "a key has not 16 bytes"))?;
        self.key = Some((url, key));
        Ok(key)
    }

    async fn hand_on(
        &self,
        site: &Site,
        mut bytes: Bytes,
        progress: &mut Progress,
    ) -> Result<(), SourceFailure> {
        let known = bytes.len().min(progress.skip);
        progress.skip -= known;
        drop(bytes.split_to(known));
        while !bytes.is_empty() {
            let next = bytes.split_to(bytes.len().min(PIECE));
            let is_start = progress.delivered == 0;
            progress.delivered += next.len();
            site.hand_on(piece(self.track, progress.format, is_start, next))
                .await?;
        }
        Ok(())
    }
}

/// Bytes of a track that is joined to others, or of what is whole by itself: a transport stream, or sound without one.
fn piece(track: Track, format: Option<Format>, is_start: bool, bytes: Bytes) -> Piece {
    match format {
        None => Piece::Bytes(bytes),
        Some(Format::PackedAudio) if track == Track::Main => {
            Piece::Sound(Sound { is_start, bytes })
        }
        Some(format) => Piece::Part(Part {
            track,
            format,
            is_start,
            bytes,
        }),
    }
}

fn finish(cipher: Cipher, url: &Url) -> Result<Bytes, SourceFailure> {
    let rest = cipher.finish();
    rest.map_err(|_| bad(url, "a segment cannot be decrypted with its key"))
}

fn is_page(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(b"<")
}

/// What a segment is by its first bytes, where it need not be a transport stream that is whole; names what is none, or not what its
/// list says.
fn judge(
    url: &Url,
    head: &[u8],
    track: Track,
    expected: Option<Format>,
) -> Result<Option<Format>, SourceFailure> {
    let is_box = matches!(head.get(4..8), Some(b"ftyp" | b"styp" | b"moof" | b"sidx"));
    let is_sound = match head {
        [0xFF, second, ..] => second & 0xE0 == 0xE0,
        _ => head.starts_with(b"ID3") || head.starts_with(&[0x0B, 0x77]),
    };
    if is_page(head) {
        return Err(bad(url, "a segment is a web page"));
    }
    match (expected, track) {
        (Some(Format::Mp4), _) => Ok(expected),
        _ if is_box => Err(unsupported(url, &Unsupported::NoInitialization)),
        _ if !is_sound => Ok(expected),
        (Some(_), Track::Audio) | (None, Track::Main) => Ok(Some(Format::PackedAudio)),
        _ => Err(unsupported(url, &Unsupported::PackedAudio)),
    }
}

fn judge_init(url: &Url, bytes: &[u8]) -> Result<(), SourceFailure> {
    if is_page(bytes) || bytes.is_empty() {
        return Err(bad(url, "an initialization section is none"));
    }
    Ok(())
}
