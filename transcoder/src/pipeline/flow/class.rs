//! The parts of a flow as a class wants them.

use api::job::JobClass;
use api::stream_class::TranscodeMode;
use media::front_end::{FrontEnd, FrontEndConfig};
use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::Settings;
use media::time::Ticks;

/// A segmenter by its rules.
pub(super) fn segmenter(class: &JobClass) -> Segmenter {
    let seconds = |seconds: i32| Ticks::from_seconds(i64::from(seconds));
    Segmenter::new(Settings {
        rules: CutRules {
            segment_duration: seconds(class.segment_duration_seconds),
            target_duration: seconds(class.target_duration_seconds),
        },
    })
}

/// A front end by its wishes.
pub(super) fn front_end(class: &JobClass) -> FrontEnd {
    FrontEnd::new(FrontEndConfig {
        audio_language: class.audio_language.clone(),
        feed: class.mode != TranscodeMode::Copy,
    })
}

/// How far back a number may lie that an encoder makes again: what is listed, and what is not complete yet.
pub(super) fn kept(class: &JobClass) -> Ticks {
    let seconds = class.playlist_duration_seconds + 2 * class.target_duration_seconds;
    Ticks::from_seconds(i64::from(seconds))
}
