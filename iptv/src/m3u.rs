//! Extended M3U: the channel lists that providers hand out and players read.
//! Hostile lists cost bounded memory, and a bad row costs that row only, named by its line.

mod attributes;
mod parser;
mod url_line;
mod writer;

use std::collections::BTreeMap;

pub use parser::{Parser, parse};
pub use writer::{write_entry, write_header};

/// What a list may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line; a longer one is a problem and skipped.
    pub line_bytes: usize,
    /// Bytes of the whole list; reading ends there.
    pub bytes: usize,
    /// Entries; reading ends there.
    pub entries: usize,
    /// Problems that are kept; more are counted only.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 16 * 1024,
            bytes: 128 * 1024 * 1024,
            entries: 200_000,
            problems: 100,
        }
    }
}

/// A channel list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Playlist {
    /// Addresses of XMLTV guides that the header names.
    pub guide_urls: Vec<String>,
    /// The channels, in the list's order.
    pub entries: Vec<Entry>,
    /// What was wrong, in the list's order.
    pub problems: Vec<Problem>,
    /// Problems beyond [`Limits::problems`].
    pub problems_left_out: usize,
}

/// One channel of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Line of its `#EXTINF`, from 1.
    pub line: usize,
    /// The name to show.
    pub name: String,
    /// `tvg-id`: the channel's id in an XMLTV guide.
    pub guide_id: Option<String>,
    /// `tvg-name`: the channel's name in an XMLTV guide.
    pub guide_name: Option<String>,
    /// `tvg-logo`: the address of a picture.
    pub logo: Option<String>,
    /// `tvg-chno`: the channel's number, such as `7` or `7.1`.
    pub number: Option<String>,
    /// `group-title` or `#EXTGRP`, split at `;`. At most eight, with names of at most 200 bytes; others are left out.
    pub groups: Vec<String>,
    /// `radio="true"`.
    pub radio: bool,
    /// The User-Agent to ask the source with.
    pub user_agent: Option<String>,
    /// Further headers to ask the source with (`Referer` from `#EXTVLCOPT`, the first eight of the URL's `|` suffix).
    pub headers: Vec<(String, String)>,
    /// The source's address, without a `|` suffix.
    pub url: String,
    /// The first sixteen other attributes, by lower-case name (`catchup`, `tvg-shift`, …).
    pub attributes: BTreeMap<String, String>,
}

/// A bad row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than [`Limits::line_bytes`].
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// `#EXTINF` without a name, and no `tvg-name` either.
    #[error("the channel has no name")]
    NoName,
    /// `#EXTINF` that no address follows.
    #[error("the channel {name:?} has no address")]
    NoAddress {
        /// The channel's name.
        name: String,
    },
    /// An address that no `#EXTINF` announced.
    #[error("the address has no #EXTINF line before it")]
    NoInformation,
    /// An address that is not an absolute URL.
    #[error("the address of {name:?} is not an absolute URL")]
    BadAddress {
        /// The channel's name.
        name: String,
    },
    /// A header that HTTP cannot carry.
    #[error("the header {header:?} of {name:?} cannot be sent")]
    BadHeader {
        /// The header's name.
        header: String,
        /// The channel's name.
        name: String,
    },
    /// More entries than [`Limits::entries`].
    #[error("the list has more than {limit} channels; the rest is left out")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// More bytes than [`Limits::bytes`].
    #[error("the list is longer than {limit} bytes; the rest is left out")]
    TooManyBytes {
        /// The limit.
        limit: usize,
    },
}

/// Why something is no channel list at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlaylist {
    /// It does not begin with `#EXTM3U`: a web page, a login form, an empty file.
    #[error("failed to find #EXTM3U on line {line}: this is no M3U channel list")]
    NoHeader {
        /// The first line that is not empty.
        line: usize,
    },
    /// It is the HLS playlist of one stream.
    #[error(
        "failed to find channels: line {line} is that of an HLS stream, not of an M3U channel list"
    )]
    Hls {
        /// The line that tells.
        line: usize,
    },
}
