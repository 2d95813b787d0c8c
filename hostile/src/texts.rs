//! Lists and lines that others write: read within their limits, and the same however they are cut.

use catalog::Snapshot;
use catalog::transfer::{additions, read_backup, read_m3u, read_pipe, write_backup, write_m3u};
use iptv::hls::{self, ENTRIES_MAXIMUM, Playlist};
use iptv::m3u::{Limits, Parser, parse, write_entry};
use iptv::pipe;
use media::ffmpeg::lines::{LINE_MAXIMUM, Lines};

use crate::choice;

const LIMITS: Limits = Limits {
    line_bytes: 4096,
    bytes: 64 * 1024,
    entries: 200,
    problems: 20,
};

/// A list of rows of fields between bars: what is read of it is what is read of it once it is written again.
pub(crate) fn pipe_list(bytes: &[u8]) {
    let list = pipe::parse(bytes, LIMITS);
    assert!(list.rows.len() <= LIMITS.entries && list.problems.len() <= LIMITS.problems);
    for row in &list.rows {
        let _ = row.quality.as_deref().map(pipe::lines_of);
        let mut text = "\n".to_owned();
        let _ = pipe::write_row(&mut text, row);
        let again = pipe::parse(text.as_bytes(), Limits::default());
        assert!(again.rows.len() <= 1, "one row became several");
    }
}

/// A channel list; the first byte says in pieces of which length it comes.
pub(crate) fn channel_list(bytes: &[u8]) {
    let (length, bytes) = choice(bytes);
    let whole = parse(bytes, LIMITS);
    let mut parser = Parser::new(LIMITS);
    let fed = bytes
        .chunks(length + 1)
        .try_for_each(|piece| parser.feed(piece));
    assert_eq!(fed.and_then(|()| parser.finish()), whole);
    let Ok(list) = whole else { return };
    assert!(list.entries.len() <= LIMITS.entries && list.problems.len() <= LIMITS.problems);
    let mut text = "#EXTM3U\n".to_owned();
    for entry in &list.entries {
        assert!(entry.headers.len() <= 16 && entry.attributes.len() <= 16);
        let _ = write_entry(&mut text, entry);
    }
    let again = parse(text.as_bytes(), Limits::default());
    assert_eq!(
        again.map(|again| again.entries.len()),
        Ok(list.entries.len()),
        "{text}"
    );
}

/// A list as a catalog takes it in; the first byte says in which form. Its rows are such as a catalog has, in a backup as in a list.
pub(crate) fn import(bytes: &[u8]) {
    let (form, bytes) = choice(bytes);
    let import = match form % 3 {
        0 => read_m3u("list.m3u", bytes),
        1 => read_pipe("list.txt", bytes),
        _ => read_backup("backup", bytes),
    };
    let snapshot: Snapshot = import.rows.into_iter().collect();
    let mut backup = Vec::new();
    assert!(write_backup(&snapshot, &mut backup).is_ok());
    let again = read_backup("again", &backup);
    assert!(again.problems.is_empty(), "{}", again.problems);
    assert_eq!(additions(&snapshot, again.rows), []);
    let mut list = String::new();
    let _ = write_m3u(&snapshot, &mut list);
    let again: Snapshot = read_m3u("again.m3u", list.as_bytes())
        .rows
        .into_iter()
        .collect();
    for channel in again.channels() {
        assert!(snapshot.channel(&channel.slug).is_some(), "{list}");
    }
}

/// An HLS playlist.
pub(crate) fn hls_playlist(bytes: &[u8]) {
    match hls::parse(bytes) {
        Ok(Playlist::Media(media)) => {
            assert!(media.segments.len() <= ENTRIES_MAXIMUM);
            assert!(media.media_sequence <= u64::MAX >> 1);
            assert_ne!(hls::is_playlist(bytes), Some(false));
        }
        Ok(Playlist::Master(master)) => assert!(!master.variants.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What an encoder writes to its standard error; the first byte says in pieces of which length it comes.
pub(crate) fn encoder_lines(bytes: &[u8]) {
    let (length, bytes) = choice(bytes);
    let [whole, cut] = [bytes.len().max(1), length + 1].map(|length| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(length) {
            lines.push(piece, |line| found.push(line));
        }
        found
    });
    assert_eq!(whole, cut);
    for line in &whole {
        // A byte that is no text becomes a character of three.
        assert!(line.len() <= 3 * LINE_MAXIMUM && !line.chars().any(char::is_control));
    }
}
