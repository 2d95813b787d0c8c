//! A segmenter behind a front end, fed at the pace of the source's clock.

use std::time::Duration;

use media::front_end::{FrontEvent, RandomAccessPoint};
use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{
    AudioPlan, FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId,
    RenditionPlan, Settings,
};
use media::time::Ticks;
use media::ts::mux::AudioTrack;
use media::unit::{AudioCodec, VideoCodec};

pub(super) const SETTINGS: Settings = Settings {
    rules: CutRules {
        segment_duration: Ticks::from_seconds(2),
        target_duration: Ticks::from_seconds(4),
    },
};

pub(super) fn rendition(id: &str, origin: Origin) -> RenditionPlan {
    RenditionPlan {
        id: RenditionId::new(id),
        origin,
        video: Some(VideoCodec::H264),
    }
}

pub(super) fn aac(origin: Origin) -> AudioPlan {
    AudioPlan {
        origin,
        track: AudioTrack {
            codec: AudioCodec::Aac,
            language: Some("eng".to_owned()),
        },
    }
}

pub(super) fn pass_through() -> Opening {
    Opening {
        program_date_time: 1_700_000_000_000,
        split_first_group: false,
        renditions: vec![rendition("source", Origin::Source)],
        audio: Some(aac(Origin::Source)),
    }
}

/// What the segmenter is told of a front end's event.
pub(super) fn input(event: &FrontEvent) -> Option<Input> {
    match event {
        FrontEvent::Clock(clock) => Some(Input::Clock(*clock)),
        FrontEvent::Unit(unit) => Some(Input::Source(unit.clone())),
        FrontEvent::RandomAccessPoint(RandomAccessPoint {
            pts,
            dts,
            random_access,
        }) => Some(Input::RandomAccessPoint {
            pts: *pts,
            dts: *dts,
            random_access: *random_access,
        }),
        _ => None,
    }
}

/// Tells a segmenter one thing after the other; each carries the time on the source's clock at which it happens.
pub(super) fn play(opening: Opening, inputs: Vec<(Ticks, Input)>) -> Vec<FinishedSegment> {
    let mut segmenter = Segmenter::new(SETTINGS);
    let mut outputs = segmenter.handle(Input::Begin(opening), Duration::ZERO);
    let start = inputs.first().unwrap().0;
    let mut now = Duration::ZERO;
    for (clock, input) in inputs {
        now = now.max((clock - start).to_duration());
        outputs.extend(segmenter.handle(input, now));
    }
    outputs.extend(segmenter.handle(Input::Finish, now));
    outputs.extend(segmenter.handle(Input::EncoderEnded(GenerationId(0)), now));
    assert!(segmenter.is_drained());
    let segments = outputs.into_iter().filter_map(|output| match output {
        Output::Segment(segment) => Some(segment),
        _ => None,
    });
    segments.collect()
}

/// What a front end said, each at its time.
pub(super) fn source(events: &[FrontEvent]) -> Vec<(Ticks, Input)> {
    let mut clock = events.iter().find_map(|event| match event {
        FrontEvent::Clock(clock) => Some(*clock),
        _ => None,
    });
    let mut inputs = Vec::new();
    for event in events {
        if let FrontEvent::Clock(now) = event {
            clock = Some(*now);
        }
        inputs.extend(input(event).map(|input| (clock.unwrap(), input)));
    }
    inputs
}

/// The bytes of one rendition, segment by segment.
pub(super) fn bytes<'a>(segments: &'a [FinishedSegment], id: &str) -> Vec<&'a [u8]> {
    let all = segments.iter().flat_map(|segment| &segment.renditions);
    all.filter(|rendition| rendition.rendition.as_str() == id)
        .map(|rendition| &rendition.bytes[..])
        .collect()
}

pub(super) fn seconds(segments: &[FinishedSegment]) -> Vec<f64> {
    let seconds = segments.iter().map(|segment| segment.duration.as_seconds());
    seconds
        .map(|value| (value * 1000.0).round() / 1000.0)
        .collect()
}
