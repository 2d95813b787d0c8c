//! JSON documents of ours, as somebody else may have left them: read or refused, and the same when written again.

use api::job::TranscodeJob;
use api::names::{parse_segment_name, segment_name};
use api::playlists::Playlists;
use media::playlist::render;

/// The job document.
pub(crate) fn job(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match TranscodeJob::from_json(text) {
        Ok(job) => {
            let text = serde_json::to_string(&job).unwrap_or_default();
            assert_eq!(TranscodeJob::from_json(&text).ok(), Some(job));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `state.json`, the playlists that are made of it, and names of files beside it.
pub(crate) fn state(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some((attempt, number)) = parse_segment_name(text)
    {
        assert_eq!(segment_name(attempt, number), text);
    }
    let Ok(state) = serde_json::from_slice::<Playlists>(bytes) else {
        return;
    };
    let _ = render::master(&state, |rendition| rendition.id.clone());
    for rendition in &state.renditions {
        let list = render::media(&state, &rendition.id, |entry| {
            segment_name(entry.attempt, entry.number)
        });
        assert!(list.starts_with("#EXTM3U"));
    }
    let text = serde_json::to_string(&state).unwrap_or_default();
    assert_eq!(serde_json::from_str::<Playlists>(&text).ok(), Some(state));
}
