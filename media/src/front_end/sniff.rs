//! Tells what a source sends that is no transport stream, from its first bytes. Never asked once packets have been found.

use thiserror::Error;

/// Bytes that are looked at.
pub(super) const HEAD: usize = 64;

/// What came instead of a transport stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Foreign {
    /// A web page: a login, an error, a captive portal.
    #[error("an HTML page")]
    Html,
    /// An M3U or HLS playlist.
    #[error("an M3U playlist")]
    Playlist,
    /// XML.
    #[error("an XML document")]
    Xml,
    /// JSON.
    #[error("a JSON document")]
    Json,
    /// An MP4 or fragmented MP4 file.
    #[error("an MP4 file")]
    Mp4,
    /// A Matroska or WebM file.
    #[error("a Matroska file")]
    Matroska,
    /// A Flash video.
    #[error("a Flash video")]
    Flv,
    /// Readable text of another kind, such as a message.
    #[error("plain text")]
    Text,
    /// Bytes in which no packets can be found.
    #[error("unknown bytes")]
    Unknown,
}

/// Names what starts with these bytes; `None` when a transport stream may still follow. `ended` says that no more will come.
pub(super) fn sniff(head: &[u8], ended: bool) -> Option<Foreign> {
    if head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
        return Some(Foreign::Matroska);
    }
    if head.starts_with(b"FLV\x01") {
        return Some(Foreign::Flv);
    }
    if head.get(4..8) == Some(b"ftyp") {
        return Some(Foreign::Mp4);
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let text = text.trim_ascii_start().to_ascii_lowercase();
    let enough = head.len() >= HEAD || ended && !head.is_empty();
    let readable = enough && text.iter().all(|&byte| is_text(byte));
    match text.as_slice() {
        text if text.starts_with(b"#extm3u") => Some(Foreign::Playlist),
        text if text.starts_with(b"<?xml") => Some(Foreign::Xml),
        text if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") => {
            Some(Foreign::Html)
        }
        [b'<', ..] if readable => Some(Foreign::Html),
        [b'{' | b'[', ..] if readable => Some(Foreign::Json),
        _ if readable => Some(Foreign::Text),
        _ if enough && ended => Some(Foreign::Unknown),
        _ => None,
    }
}

/// Whether what starts with these bytes is named, of which there may be many.
pub(crate) fn is_foreign(start: &[u8]) -> bool {
    sniff(&start[..start.len().min(HEAD)], false).is_some()
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(start: &[u8], fill: u8) -> Vec<u8> {
        let mut bytes = start.to_vec();
        bytes.resize(HEAD, fill);
        bytes
    }

    #[test]
    fn common_answers_are_named_from_their_first_bytes() {
        let named = |bytes: &[u8]| sniff(bytes, false);
        assert_eq!(named(b"<!DOCTYPE html><html>"), Some(Foreign::Html));
        assert_eq!(named(b"\xEF\xBB\xBF \n<HTML>"), Some(Foreign::Html));
        assert_eq!(named(b"#EXTM3U\n"), Some(Foreign::Playlist));
        assert_eq!(named(b"<?xml version"), Some(Foreign::Xml));
        assert_eq!(named(&padded(b"{\"error\":", b' ')), Some(Foreign::Json));
        let message = padded(b"Too many connections", b'.');
        assert_eq!(named(&message), Some(Foreign::Text));
        assert_eq!(named(b"\0\0\0\x18ftypisom"), Some(Foreign::Mp4));
        assert_eq!(named(&[0x1A, 0x45, 0xDF, 0xA3, 1]), Some(Foreign::Matroska));
        assert_eq!(named(b"FLV\x01\x05"), Some(Foreign::Flv));
    }

    #[test]
    fn a_short_answer_is_named_when_it_ends() {
        assert_eq!(sniff(b"Forbidden", false), None);
        assert_eq!(sniff(b"Forbidden", true), Some(Foreign::Text));
        assert_eq!(sniff(b"\x00\x01", true), Some(Foreign::Unknown));
        assert_eq!(sniff(b"", true), None);
    }

    #[test]
    fn a_transport_stream_is_never_named() {
        let packet = padded(&[0x47, 0x40, 0x00, 0x10, 0x00], 0xFF);
        assert_eq!(sniff(&packet, false), None);
        let middle = padded(b"middle of a packet \x00", b'x');
        assert_eq!(sniff(&middle, false), None);
        assert_eq!(sniff(&[], false), None);
    }
}
