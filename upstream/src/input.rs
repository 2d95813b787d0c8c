//! A source as pieces of one transport stream, or of tracks to be joined to one, whether it is one endless body or a playlist of
//! segments, which its first bytes tell: no source is asked twice to find out. Never looks at media.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iptv::hls::{self, is_playlist};

use crate::failure::SourceFailure;
use crate::hls::{HlsStream, Loaded};
use crate::source::{Opener, SourceRequest, SourceStream};

/// What comes next of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes, never empty.
    Bytes(Bytes),
    /// What follows comes in segments, each at once. Comes before the bytes that it is about, and again after a jump.
    Pace(Pace),
    /// What follows comes track by track, to be joined to one transport stream: nothing of what came before goes on in it.
    Apart(Apart),
    /// The next bytes of a track.
    Part(Part),
    /// The next bytes of sound without a transport stream, which is all that comes.
    Sound(Sound),
}

/// Which tracks come by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// Sound does, besides the main track.
    pub has_audio: bool,
}

/// Bytes of sound, never none: frames, behind a tag with the time of the first where a segment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// A segment begins with them.
    pub is_start: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// Bytes of one track, never none. Those of one track follow each other without a break until there is another [`Piece::Apart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Whose they are.
    pub track: Track,
    /// What they are.
    pub format: Format,
    /// A segment begins with them.
    pub is_start: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// What comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// Pictures, and sound unless that has a track of its own.
    Main,
    /// Sound.
    Audio,
}

/// What the bytes of a track are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fragmented MP4, from its initialization section on.
    Mp4,
    /// A transport stream.
    TransportStream,
    /// Frames of sound, behind a tag with the time of the first wherever a segment begins.
    PackedAudio,
}

/// How the media of a playlist come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// No segment is longer: the bound of what comes at once.
    pub target: Duration,
    /// Media that may be shown at once. What is listed beyond that bridges the time until the next segment.
    pub burst: Duration,
    /// The list goes on: another connection may bring the same again. What is over begins anew each time.
    pub is_live: bool,
}

/// Which pictures must not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimit {
    /// Those that have more lines than this.
    pub lines: u32,
    /// All pictures are decoded, those too that players take as they are.
    pub decodes_all: bool,
}

/// What is wanted of what a source may offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Of several qualities the lowest is taken that has so many lines; the best where that is absent.
    pub enough: Option<u32>,
    /// Of several qualities none is taken that would be decoded and must not be, unless there is no other.
    pub decoding: Option<DecodeLimit>,
    /// Language of the audio (ISO 639-2), where there are several.
    pub audio_language: Option<String>,
}

/// An open source. Dropping it closes its connections.
pub struct Input {
    opener: Opener,
    request: SourceRequest,
    wish: Wish,
    stream: SourceStream,
    /// What has come while it is not known what it is, or whole.
    head: BytesMut,
    kind: Kind,
}

enum Kind {
    Unknown,
    Endless,
    /// The first playlist is on its way.
    Playlist,
    Segmented(HlsStream),
}

impl Input {
    /// Opens a source, and takes of what it may offer what is wished for.
    ///
    /// # Errors
    /// The named failure of the source.
    pub async fn open(
        opener: &Opener,
        request: SourceRequest,
        wish: &Wish,
    ) -> Result<Self, SourceFailure> {
        let stream = opener.open(&request).await?;
        Ok(Self {
            opener: opener.clone(),
            request,
            wish: wish.clone(),
            stream,
            head: BytesMut::new(),
            kind: Kind::Unknown,
        })
    }

    /// What comes next. May be cancelled and called again without losing anything.
    ///
    /// # Errors
    /// The source ended, broke, was silent for too long, or offers what cannot be played. A live source has no good end.
    pub async fn next(&mut self) -> Result<Piece, SourceFailure> {
        loop {
            match &mut self.kind {
                Kind::Segmented(stream) => return stream.next().await,
                Kind::Endless => return self.stream.next().await.map(Piece::Bytes),
                Kind::Unknown => {
                    let came = self.stream.next().await;
                    if let Some(bytes) = self.tell(came)? {
                        return Ok(Piece::Bytes(bytes));
                    }
                }
                Kind::Playlist => {
                    let came = self.stream.next().await;
                    self.gather(came)?;
                }
            }
        }
    }

    /// Scheme, host and port of where the redirects ended.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.stream.origin()
    }

    /// Tells what it is by what has come; answers that where it is no playlist.
    fn tell(&mut self, came: Result<Bytes, SourceFailure>) -> Result<Option<Bytes>, SourceFailure> {
        let is_playlist = match came {
            Ok(bytes) => {
                self.head.extend_from_slice(&bytes);
                is_playlist(&self.head)
            }
            Err(failure) if self.head.is_empty() => return Err(failure),
            // The failure comes again.
            Err(_) => Some(false),
        };
        match is_playlist {
            None => Ok(None),
            Some(true) => {
                self.kind = Kind::Playlist;
                Ok(None)
            }
            Some(false) => {
                self.kind = Kind::Endless;
                Ok(Some(std::mem::take(&mut self.head).freeze()))
            }
        }
    }

    /// Adds to the first playlist, and follows it once it is whole.
    fn gather(&mut self, came: Result<Bytes, SourceFailure>) -> Result<(), SourceFailure> {
        match came {
            Ok(bytes) => {
                self.head.extend_from_slice(&bytes);
                if self.head.len() > hls::BYTES_MAXIMUM {
                    return Err(SourceFailure::BadAnswer {
                        origin: self.stream.origin().to_owned(),
                        detail: hls::PlaylistError::TooLong.to_string(),
                    });
                }
            }
            Err(SourceFailure::EndOfStream { detail: None, .. }) => {
                let first = Loaded {
                    url: self.stream.url.clone(),
                    text: std::mem::take(&mut self.head).freeze(),
                };
                let (request, wish) = (self.request.clone(), self.wish.clone());
                let stream = HlsStream::start(&self.opener, request, wish, first)?;
                self.kind = Kind::Segmented(stream);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
