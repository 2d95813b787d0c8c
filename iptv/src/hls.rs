//! HLS playlists as servers send them (RFC 8216). Tags that say nothing about what is fetched next are passed over;
//! a list that cannot be followed is an error with its line. Hostile lists cost bounded memory.

mod attributes;
mod parser;

use std::sync::Arc;
use std::time::Duration;

pub use parser::parse;

/// Bytes of a playlist that are read at most.
pub const BYTES_MAXIMUM: usize = 1 << 20;
/// Variants or segments of a playlist at most: more than a day of them.
pub const ENTRIES_MAXIMUM: usize = 20_000;

/// A playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playlist {
    /// Names other playlists, each with the same media in another quality.
    Master(MasterPlaylist),
    /// Names segments.
    Media(MediaPlaylist),
}

/// What a master playlist offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterPlaylist {
    /// The variants, in the list's order.
    pub variants: Vec<Variant>,
    /// The audio renditions of all groups, in the list's order.
    pub audio: Vec<AudioRendition>,
}

/// One quality (EXT-X-STREAM-INF).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variant {
    /// Where its media playlist is, as it stands in the list.
    pub uri: String,
    /// Peak bit rate in bits per second; 0 where the list does not say.
    pub bandwidth: u64,
    /// Lines of the picture.
    pub height: Option<u32>,
    /// Formats as RFC 6381 writes them, separated by commas.
    pub codecs: Option<String>,
    /// The group of its audio, where that has a name.
    pub audio_group: Option<String>,
}

/// One audio rendition (EXT-X-MEDIA).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioRendition {
    /// Its group.
    pub group: String,
    /// Where its own playlist is; without one it lies in the variant's segments.
    pub uri: Option<String>,
    /// Its language (BCP 47).
    pub language: Option<String>,
    /// It is the one for who wants none in particular.
    pub is_default: bool,
}

/// The segments that a media playlist lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// No segment is longer, rounded to seconds.
    pub target_duration: Duration,
    /// Number of the first segment.
    pub media_sequence: u64,
    /// Nothing is added any more.
    pub ended: bool,
    /// The segments; the number of each is one more than that of the one before.
    pub segments: Vec<Segment>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it is, as it stands in the list.
    pub uri: String,
    /// How long its media are.
    pub duration: Duration,
    /// Which part of the resource it is; all of it where there is none.
    pub range: Option<ByteRange>,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// What it cannot be read without: it is fragmented MP4.
    pub map: Option<Arc<Map>>,
    /// Its media do not go on where those of the one before ended.
    pub discontinuity: bool,
    /// It is missing, and not to be fetched.
    pub gap: bool,
}

/// An initialization section (EXT-X-MAP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Where it is, as it stands in the list.
    pub uri: String,
    /// Which part of the resource it is; all of it where there is none.
    pub range: Option<ByteRange>,
    /// How it is encrypted.
    pub encryption: Encryption,
}

/// A part of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Its first byte.
    pub offset: u64,
    /// How many bytes; at least one.
    pub length: u64,
}

/// How a segment is encrypted (EXT-X-KEY).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// The whole segment with AES-128 in CBC mode and PKCS7 padding.
    Aes128 {
        /// Where the key is, as it stands in the list; one for all segments that have it.
        uri: Arc<str>,
        /// The initialization vector; the segment's number where there is none.
        iv: Option<[u8; 16]>,
    },
    /// In a way that we cannot undo, by its name.
    Other(String),
}

/// Why a playlist cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// It does not begin with `#EXTM3U`.
    #[error("it is no playlist")]
    NotPlaylist,
    /// It has more bytes than [`BYTES_MAXIMUM`].
    #[error("the playlist is longer than {BYTES_MAXIMUM} bytes")]
    TooLong,
    /// It has more entries than [`ENTRIES_MAXIMUM`].
    #[error("the playlist has more than {ENTRIES_MAXIMUM} entries")]
    TooManyEntries,
    /// It is not UTF-8.
    #[error("the playlist is not UTF-8")]
    NotText,
    /// It lists neither variants nor segments of a known duration: a list of channels, for example.
    #[error("the playlist is none of HLS")]
    NotHls,
    /// A line cannot be understood.
    #[error("line {number} of the playlist {problem}")]
    Line {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Whether bytes may be the beginning of a playlist; `None` while there are too few to tell.
#[must_use]
pub fn is_playlist(head: &[u8]) -> Option<bool> {
    const MARK: &[u8] = b"#EXTM3U";
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let known = text.len().min(MARK.len());
    if BYTE_ORDER_MARK.starts_with(text) && text.len() < BYTE_ORDER_MARK.len() {
        return None;
    }
    match text[..known] == MARK[..known] {
        true if known < MARK.len() => None,
        is_playlist => Some(is_playlist),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_known_by_its_first_bytes_however_few_come_at_once() {
        let playlist = b"\xEF\xBB\xBF#EXTM3U\n#EXTINF";
        for count in 0..playlist.len() {
            let expected = (count >= 10).then_some(true);
            assert_eq!(is_playlist(&playlist[..count]), expected, "{count}");
        }
        assert_eq!(is_playlist(b"#EXT"), None);
        assert_eq!(is_playlist(b"#EXTM3U8"), Some(true));
        assert_eq!(is_playlist(b"#EXTINF"), Some(false));
        assert_eq!(is_playlist(b"G"), Some(false));
        assert_eq!(is_playlist(b""), None);
    }
}
