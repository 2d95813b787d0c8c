//! Streams and windows for the tests of this crate's streams. Nothing outside tests may use it.

use std::ops::Range;
use std::sync::Arc;

use api::job::{ResumeFloor, StreamIdentity};
use api::playlists::{Playlists, Rendition, SegmentEntry};

use crate::keys::{Key, Keys};
use crate::window::Window;

pub(crate) fn keys() -> Keys {
    Keys {
        session: Key::new(&[1; 32]),
        segment: Key::new(&[2; 32]),
    }
}

pub(crate) fn identity(uid: &str) -> Arc<StreamIdentity> {
    Arc::new(StreamIdentity {
        namespace: "tv".to_owned(),
        name: "news-one".to_owned(),
        uid: uid.to_owned(),
    })
}

pub(crate) fn playlists(uid: &str, attempt: i32, version: u64, numbers: Range<u64>) -> Playlists {
    let segments = numbers.map(|number| SegmentEntry {
        number,
        attempt,
        duration_ticks: 180_000,
        discontinuity: false,
        independent: true,
        program_date_time_unix_milliseconds: 1_790_000_000_000,
        gaps: vec![],
    });
    Playlists {
        version,
        stream_uid: uid.to_owned(),
        attempt,
        updated_unix_milliseconds: 1_790_000_000_000,
        target_duration_seconds: 4,
        discontinuity_sequence: 7,
        renditions: vec![Rendition {
            id: "source".to_owned(),
            bandwidth: 3_000_000,
            average_bandwidth: 2_000_000,
            codecs: "avc1.64001f,mp4a.40.2".to_owned(),
            resolution: None,
            frame_rate_thousandths: None,
        }],
        segments: segments.collect(),
        next: ResumeFloor::default(),
    }
}

pub(crate) fn window(uid: &str, attempt: i32, version: u64, numbers: Range<u64>) -> Arc<Window> {
    Arc::new(Window::render(
        Arc::new(playlists(uid, attempt, version, numbers)),
        &keys(),
    ))
}
