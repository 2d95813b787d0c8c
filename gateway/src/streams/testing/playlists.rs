//! Playlists as a transcoder would publish them, for the tests inside and outside of this crate: so it names nothing of the crate.

use std::ops::Range;

use api::job::ResumeFloor;
use api::playlists::{Playlists, Rendition, Resolution, SegmentEntry};

/// Playlists of an attempt with the renditions `source` and `480p`.
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
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        discontinuity_sequence: 7,
        renditions: ["source", "480p"].map(rendition).to_vec(),
        segments: segments.collect(),
        next: ResumeFloor::default(),
        behind: Vec::new(),
        on_request: Vec::new(),
        class: String::new(),
    }
}

fn rendition(id: &str) -> Rendition {
    Rendition {
        id: id.to_owned(),
        bandwidth: 3_210_000,
        average_bandwidth: 2_730_000,
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        resolution: Some(Resolution {
            width: 1280,
            height: 720,
        }),
        frame_rate_thousandths: Some(25_000),
    }
}
