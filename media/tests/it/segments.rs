//! Segments of real streams: each alone and all together are decoded by FFmpeg without a word.

use std::time::Duration;

use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{
    AudioPlan, FinishedSegment, Input, Opening, Origin, Output, RenditionId, RenditionPlan,
    Settings,
};
use media::time::Ticks;
use media::ts::mux::AudioTrack;
use media::unit::{AccessUnit, AudioCodec, VideoCodec};

use crate::sample::{Sample, complaints};

const SETTINGS: Settings = Settings {
    rules: CutRules {
        segment_duration: Ticks::from_seconds(2),
        target_duration: Ticks::from_seconds(4),
    },
    media_sequence: 1000,
    discontinuity_sequence: 50,
    after_another: false,
};

fn opening(sample: &Sample) -> Opening {
    Opening {
        program_date_time: 1_700_000_000_000,
        split_first_group: false,
        renditions: vec![RenditionPlan {
            id: RenditionId::new("source"),
            origin: Origin::Source,
            video: sample.video.then_some(VideoCodec::H264),
        }],
        audio: sample.audio.then(|| AudioPlan {
            origin: Origin::Source,
            track: AudioTrack {
                codec: AudioCodec::Aac,
                language: Some("eng".to_owned()),
            },
        }),
    }
}

/// Feeds units at real time.
fn segments(opening: Opening, units: &[AccessUnit]) -> Vec<FinishedSegment> {
    let mut segmenter = Segmenter::new(SETTINGS);
    let first = units.iter().map(|unit| unit.dts).min().unwrap();
    let mut outputs = segmenter.handle(Input::Begin(opening), Duration::ZERO);
    let mut now = Duration::ZERO;
    for unit in units {
        now = now.max((unit.dts - first).to_duration());
        outputs.extend(segmenter.handle(Input::Source(unit.clone()), now));
    }
    outputs.extend(segmenter.handle(Input::Finish, now));
    assert!(segmenter.is_drained());
    outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::Segment(segment) => Some(segment),
            _ => None,
        })
        .collect()
}

#[test]
fn each_segment_alone_and_all_together_decode_without_complaint() {
    let sample = Sample::PLAIN;
    let segments = segments(opening(&sample), &sample.units());
    let mut whole = Vec::new();
    for segment in &segments {
        let bytes = &segment.renditions[0].bytes;
        assert_eq!(complaints(bytes), "", "segment {}", segment.number);
        assert_eq!(bytes[..3], [0x47, 0x40, 0x00], "starts with its tables");
        whole.extend_from_slice(bytes);
    }
    assert_eq!(complaints(&whole), "");
    let durations: Vec<f64> = segments
        .iter()
        .map(|segment| segment.duration.as_seconds())
        .collect();
    assert_eq!(durations, [2.0, 2.0, 2.0, 2.0, 1.0]);
}
