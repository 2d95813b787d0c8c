//! The list, line by line, as its bytes come. Holds one line and one half-read channel, however the bytes are cut.

use super::{Entry, Fault, Limits, NotAPlaylist, Playlist, Problem, attributes, url_line};

/// Groups that an entry may be in; more are left out.
const GROUPS: usize = 8;
/// Bytes of a group's name; a longer one is left out.
const GROUP_BYTES: usize = 200;
/// Attributes of an entry that are kept beside those that have a place of their own.
const ATTRIBUTES: usize = 16;

/// Reads a list from chunks of bytes.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    line: usize,
    bytes: usize,
    partial: Vec<u8>,
    overlong: bool,
    ended: bool,
    header: bool,
    taken: usize,
    group: Vec<String>,
    pending: Pending,
    playlist: Playlist,
}

/// What the lines before an address said.
#[derive(Debug, Default)]
struct Pending {
    entry: Option<Entry>,
    headers: Vec<(String, String)>,
}

/// Reads a whole list.
///
/// # Errors
/// When it is no channel list at all; bad rows are problems of the list instead.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Playlist, NotAPlaylist> {
    let mut parser = Parser::new(limits);
    parser.feed(bytes)?;
    parser.finish()
}

impl Parser {
    /// Before the first byte.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: 0,
            bytes: 0,
            partial: Vec::new(),
            overlong: false,
            ended: false,
            header: false,
            taken: 0,
            group: Vec::new(),
            pending: Pending::default(),
            playlist: Playlist::default(),
        }
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// When it is no channel list at all.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), NotAPlaylist> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.ended {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.collect(piece);
            rest = after;
            if end.is_some() {
                rest = &after[1..];
                self.bytes = self.bytes.saturating_add(1);
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// The entries read since the last call, so that a long list need not be held at once.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        let entries = std::mem::take(&mut self.playlist.entries);
        self.taken += entries.len();
        entries
    }

    /// After the last byte: the list, less the entries that were taken.
    ///
    /// # Errors
    /// When it is no channel list at all.
    pub fn finish(mut self) -> Result<Playlist, NotAPlaylist> {
        if !self.ended {
            self.end_line()?;
            self.drop_pending();
        }
        if self.header {
            Ok(self.playlist)
        } else {
            Err(NotAPlaylist::NoHeader {
                line: self.line.max(1),
            })
        }
    }

    fn collect(&mut self, piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.bytes > self.limits.bytes {
            let limit = self.limits.bytes;
            self.line += 1;
            self.problem(self.line, Fault::TooManyBytes { limit });
            self.ended = true;
        } else if self.partial.len() + piece.len() > self.limits.line_bytes {
            self.overlong = true;
            self.partial.clear();
        } else if !self.overlong {
            self.partial.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self) -> Result<(), NotAPlaylist> {
        if self.ended {
            return Ok(());
        }
        self.line += 1;
        let bytes = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.overlong) {
            let limit = self.limits.line_bytes;
            self.pending = Pending::default();
            self.problem(self.line, Fault::LineTooLong { limit });
            return Ok(());
        }
        let text = decoded(&bytes);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Ok(());
        }
        if !self.header {
            return self.read_header(text);
        }
        self.read_line(text)
    }

    fn read_header(&mut self, text: &str) -> Result<(), NotAPlaylist> {
        let Some(rest) = strip_prefix(text, "#EXTM3U") else {
            return Err(NotAPlaylist::NoHeader { line: self.line });
        };
        self.header = true;
        let (attributes, _) = attributes::parse(rest);
        for (key, value) in attributes {
            if matches!(key.as_str(), "x-tvg-url" | "url-tvg" | "tvg-url") {
                let urls = value
                    .split(',')
                    .map(str::trim)
                    .filter(|url| !url.is_empty());
                for url in urls {
                    if !self.playlist.guide_urls.iter().any(|known| known == url) {
                        self.playlist.guide_urls.push(url.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    fn read_line(&mut self, text: &str) -> Result<(), NotAPlaylist> {
        if let Some(rest) = strip_prefix(text, "#EXTINF:") {
            self.read_information(rest);
        } else if let Some(rest) = strip_prefix(text, "#EXTGRP:") {
            self.read_group(rest);
        } else if let Some(rest) = strip_prefix(text, "#EXTVLCOPT:") {
            self.read_option(rest);
        } else if is_hls(text) {
            return Err(NotAPlaylist::Hls { line: self.line });
        } else if !text.starts_with('#') {
            self.read_address(text);
        }
        Ok(())
    }

    fn read_information(&mut self, rest: &str) {
        self.drop_pending();
        let duration = rest
            .find(|character: char| character == ',' || character.is_whitespace())
            .unwrap_or(rest.len());
        let (attributes, name) = attributes::parse(&rest[duration..]);
        self.pending.entry = Some(entry(self.line, name.unwrap_or_default(), attributes));
    }

    fn read_group(&mut self, rest: &str) {
        self.group = groups(rest);
    }

    fn read_option(&mut self, rest: &str) {
        let Some((key, value)) = rest.split_once('=') else {
            return;
        };
        let header = match key.trim().to_ascii_lowercase().as_str() {
            "http-user-agent" => "User-Agent",
            "http-referrer" | "http-referer" => "Referer",
            "http-origin" => "Origin",
            _ => return,
        };
        let value = value.trim().trim_matches('"');
        put(
            &mut self.pending.headers,
            header.to_owned(),
            value.to_owned(),
        );
    }

    fn read_address(&mut self, text: &str) {
        let Pending { entry, headers } = std::mem::take(&mut self.pending);
        let Some(mut entry) = entry else {
            return self.problem(self.line, Fault::NoInformation);
        };
        let Some(address) = url_line::parse(text) else {
            let name = entry.name;
            return self.problem(self.line, Fault::BadAddress { name });
        };
        entry.url = address.url;
        for (header, value) in headers.into_iter().chain(address.headers) {
            if !url_line::is_sendable(&header, &value) {
                let name = entry.name;
                return self.problem(self.line, Fault::BadHeader { header, name });
            }
            set_header(&mut entry, header, value);
        }
        if entry.groups.is_empty() {
            entry.groups.clone_from(&self.group);
        }
        self.accept(entry);
    }

    fn accept(&mut self, entry: Entry) {
        if entry.name.is_empty() {
            return self.problem(entry.line, Fault::NoName);
        }
        let limit = self.limits.entries;
        if self.taken + self.playlist.entries.len() >= limit {
            self.problem(entry.line, Fault::TooManyEntries { limit });
            self.ended = true;
            return;
        }
        self.playlist.entries.push(entry);
    }

    fn drop_pending(&mut self) {
        if let Some(Entry { line, name, .. }) = self.pending.entry.take() {
            self.problem(line, Fault::NoAddress { name });
            self.pending.headers.clear();
        }
    }

    fn problem(&mut self, line: usize, fault: Fault) {
        if self.playlist.problems.len() < self.limits.problems {
            self.playlist.problems.push(Problem { line, fault });
        } else {
            self.playlist.problems_left_out += 1;
        }
    }
}

fn entry(line: usize, name: &str, attributes: Vec<(String, String)>) -> Entry {
    let mut entry = Entry {
        line,
        name: name.to_owned(),
        ..Entry::default()
    };
    for (key, value) in attributes {
        if value.is_empty() {
            continue;
        }
        match key.as_str() {
            "tvg-id" => entry.guide_id = Some(value),
            "tvg-name" => entry.guide_name = Some(value),
            "tvg-logo" => entry.logo = Some(value),
            "tvg-chno" => entry.number = Some(value),
            "group-title" => entry.groups = groups(&value),
            "radio" => entry.radio = value.eq_ignore_ascii_case("true") || value == "1",
            _ if entry.attributes.len() < ATTRIBUTES => {
                entry.attributes.insert(key, value);
            }
            _ => {}
        }
    }
    if entry.name.is_empty() {
        entry.name = entry.guide_name.clone().unwrap_or_default();
    }
    entry
}

/// The last one to name a header wins: the address's suffix over the options before it.
fn set_header(entry: &mut Entry, name: String, value: String) {
    if name.eq_ignore_ascii_case("user-agent") {
        entry.user_agent = Some(value);
        return;
    }
    put(&mut entry.headers, name, value);
}

/// Names a header again, or for the first time.
fn put(headers: &mut Vec<(String, String)>, name: String, value: String) {
    let same = |(known, _): &&mut (String, String)| known.eq_ignore_ascii_case(&name);
    match headers.iter_mut().find(same) {
        Some(header) => header.1 = value,
        None => headers.push((name, value)),
    }
}

/// The groups of a line. Bounded, because one `#EXTGRP` is repeated in every entry that follows it.
fn groups(text: &str) -> Vec<String> {
    let names = text.split(';').map(str::trim);
    names
        .filter(|name| !name.is_empty() && name.len() <= GROUP_BYTES)
        .take(GROUPS)
        .map(str::to_owned)
        .collect()
}

fn is_hls(text: &str) -> bool {
    ["#EXT-X-STREAM-INF", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA"]
        .iter()
        .any(|tag| text.starts_with(tag))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// UTF-8, or Latin-1 as old lists are written: each byte its own character.
fn decoded(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
