//! From a source's bytes to segments: front end and segmenter together, judged by FFmpeg's decoder.

use std::time::Duration;

use media::front_end::{FrontEvent, RandomAccessPoint};
use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{
    AudioPlan, FinishedSegment, Input, Opening, Origin, Output, RenditionId, RenditionPlan,
    Settings,
};
use media::time::Ticks;
use media::ts::mux::AudioTrack;
use media::unit::{AudioCodec, VideoCodec};

use crate::sample::complaints;
use crate::source::probe::pictures_and_decoded;
use crate::source::stream::{events_of, television, usual};

fn opening() -> Opening {
    Opening {
        program_date_time: 1_700_000_000_000,
        split_first_group: false,
        renditions: vec![RenditionPlan {
            id: RenditionId::new("source"),
            origin: Origin::Source,
            video: Some(VideoCodec::H264),
        }],
        audio: Some(AudioPlan {
            origin: Origin::Source,
            track: AudioTrack {
                codec: AudioCodec::Aac,
                language: None,
            },
        }),
    }
}

/// Passes on what the front end says, as fast as the source's clock runs.
fn segments(events: Vec<FrontEvent>) -> Vec<FinishedSegment> {
    let mut segmenter = Segmenter::new(Settings {
        rules: CutRules {
            segment_duration: Ticks::from_seconds(2),
            target_duration: Ticks::from_seconds(4),
        },
    });
    let mut outputs = segmenter.handle(Input::Begin(opening()), Duration::ZERO);
    let mut start = None;
    let mut now = Duration::ZERO;
    for event in events {
        let input = match event {
            FrontEvent::Clock(clock) => {
                let start = *start.get_or_insert(clock);
                now = now.max((clock - start).to_duration());
                Input::Clock(clock)
            }
            FrontEvent::Unit(unit) => Input::Source(unit),
            FrontEvent::RandomAccessPoint(RandomAccessPoint {
                pts,
                dts,
                random_access,
            }) => Input::RandomAccessPoint {
                pts,
                dts,
                random_access,
            },
            FrontEvent::Jump { .. } | FrontEvent::OtherTracks => Input::Begin(opening()),
            _ => continue,
        };
        outputs.extend(segmenter.handle(input, now));
    }
    outputs.extend(segmenter.handle(Input::Finish, now));
    outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::Segment(segment) => Some(segment),
            _ => None,
        })
        .collect()
}

/// The segments one after the other, as a continuous stream.
fn joined(segments: &[FinishedSegment]) -> Vec<u8> {
    segments
        .iter()
        .flat_map(|segment| segment.renditions.iter())
        .flat_map(|rendition| rendition.bytes.clone())
        .collect()
}

#[test]
fn a_usual_source_becomes_segments_that_decode() {
    let segments = segments(events_of(&usual(9.0), 1316));
    assert!(segments.len() >= 4);
    assert_eq!(complaints(&joined(&segments)), "");
}

#[test]
fn a_join_in_the_middle_of_an_open_group_leaves_nothing_undecodable() {
    let codecs = "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p \
                  -x264-params open-gop=1 -c:a aac -ac 2";
    let bytes = television("160x96", "25", 9.0, codecs);
    let segments = segments(events_of(&bytes[bytes.len() / 5..], 1316));
    assert!(segments.len() >= 3);
    let (pictures, decoded) = pictures_and_decoded(&joined(&segments));
    assert!(pictures > 150);
    assert_eq!(decoded, pictures);
}
