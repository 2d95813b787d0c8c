//! A gateway with everything around it played by the tests: API server, transcoders, volume, catalog files, presence in memory.

pub(crate) mod api_server;
#[path = "../../../src/streams/testing/playlists.rs"]
mod fixture;
pub(crate) mod server;
pub(crate) mod transcoder;
pub(crate) mod world;

use std::ops::Range;

use api::playlists::Playlists;

/// Playlists of an attempt with two renditions, published just now.
pub(crate) fn playlists(uid: &str, attempt: i32, version: u64, numbers: Range<u64>) -> Playlists {
    Playlists {
        updated_unix_milliseconds: jiff::Timestamp::now().as_millisecond(),
        ..fixture::playlists(uid, attempt, version, numbers)
    }
}

/// What a transcoder would have written: bytes that tell the segment.
pub(crate) fn segment_bytes(uid: &str, rendition: &str, name: &str) -> Vec<u8> {
    format!("{uid} {rendition} {name}").into_bytes()
}
