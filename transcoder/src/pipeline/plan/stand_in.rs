//! What a slate stands in for, and where none can: one clear rule, over what viewers were promised. Pure.

use api::job::JobClass;
use api::stream_class::TranscodeMode;
use media::codec::video::{Chroma, Dimensions, FrameRate, Scan};
use media::ffmpeg::args::video_codecs;
use media::front_end::{AudioFacts, SourceFacts, VideoFacts};
use media::time::Ticks;
use media::unit::{AudioCodec, VideoCodec};

use super::{ENCODED_AUDIO, MediaPlan, plan};
use crate::packager::rates::RenditionFacts;

/// What a picture of 720 lines takes that is passed through, bit/s.
const USUAL_RATE: u64 = 5_000_000;

/// Whether a slate can stand in for this. It is H.264 and AAC: where players were promised other tracks (radio, or what is passed through
/// in other codecs), they could not go on with it.
pub(crate) fn is_possible(plan: &MediaPlan) -> bool {
    let mut renditions = plan.renditions.iter();
    let mut audio = plan.audio.iter();
    renditions.all(|one| one.video == Some(VideoCodec::H264))
        && audio.all(|audio| audio.track.codec == AudioCodec::Aac)
}

/// What is promised before anything is known of the source: what the class makes of usual television. One that copies makes whatever
/// comes, so nothing can be promised.
pub(crate) fn usual(class: &JobClass) -> Option<MediaPlan> {
    if class.mode == TranscodeMode::Copy {
        return None;
    }
    let mut plan = plan(&television(), class, false).ok()?;
    for one in &mut plan.facts {
        // What follows is not as simple as the picture that will be measured.
        one.ceiling.get_or_insert(USUAL_RATE);
    }
    Some(plan)
}

/// The size of a slate in place of a rendition: its own, in whole blocks of colour, where that is known.
pub(crate) fn size(facts: &RenditionFacts) -> (u32, u32) {
    let even = |lines: u32| (lines & !1).clamp(16, 4096);
    facts
        .resolution
        .map_or((1280, 720), |size| (even(size.width), even(size.height)))
}

fn television() -> SourceFacts {
    SourceFacts {
        program_number: 1,
        pcr_pid: None,
        video: Some(VideoFacts {
            codec: VideoCodec::H264,
            profile: Some(77),
            level: Some(31),
            dimensions: Dimensions::new(1280, 720),
            frame_rate: FrameRate::new(25, 1),
            scan: Some(Scan::Progressive),
            chroma: Some(Chroma::Yuv420),
            bit_depth: Some(8),
            codecs: Some(video_codecs(720, 25)),
        }),
        audio: Some(AudioFacts {
            codec: AudioCodec::Aac,
            object_type: Some(2),
            channels: Some(2),
            sample_rate: Some(48_000),
            language: None,
            codecs: Some(ENCODED_AUDIO.to_owned()),
        }),
        keyframe_interval: Some(Ticks::from_seconds(2)),
        audio_delay: None,
        complete: true,
    }
}

#[cfg(test)]
mod tests {
    use api::stream_class::Preset;

    use super::*;
    use crate::fixtures;

    fn class(mode: TranscodeMode, preset: Preset) -> JobClass {
        JobClass {
            mode,
            preset,
            ..fixtures::job("/nowhere").class
        }
    }

    #[test]
    fn a_slate_stands_in_for_h264_with_aac_or_no_sound_and_for_nothing_else() {
        let hevc = |mut facts: SourceFacts| {
            facts.video.as_mut().unwrap().codec = VideoCodec::Hevc;
            facts
        };
        let ac3 = |mut facts: SourceFacts| {
            facts.audio.as_mut().unwrap().codec = AudioCodec::Ac3;
            facts
        };
        let radio = SourceFacts {
            video: None,
            ..television()
        };
        let silent = SourceFacts {
            audio: None,
            ..television()
        };
        for (facts, mode, expected) in [
            (television(), TranscodeMode::Copy, true),
            (television(), TranscodeMode::Auto, true),
            (television(), TranscodeMode::Transcode, true),
            (silent, TranscodeMode::Copy, true),
            (hevc(television()), TranscodeMode::Copy, false),
            (hevc(television()), TranscodeMode::Auto, true),
            (ac3(television()), TranscodeMode::Copy, false),
            (ac3(television()), TranscodeMode::Auto, true),
            (radio.clone(), TranscodeMode::Copy, false),
            (radio, TranscodeMode::Auto, false),
        ] {
            let plan = plan(&facts, &class(mode, Preset::Source), false).unwrap();
            assert_eq!(is_possible(&plan), expected, "{mode:?} {facts:?}");
        }
    }

    #[test]
    fn before_anything_is_known_the_class_promises_what_it_makes_of_usual_television() {
        for (mode, preset, expected) in [
            (TranscodeMode::Copy, Preset::Source, None),
            (TranscodeMode::Auto, Preset::Source, Some(vec![(1280, 720)])),
            (
                TranscodeMode::Transcode,
                Preset::Medium,
                Some(vec![(854, 480), (640, 360)]),
            ),
        ] {
            let plan = usual(&class(mode, preset));
            assert!(plan.as_ref().is_none_or(is_possible));
            let sizes = plan.map(|plan| plan.facts.iter().map(size).collect::<Vec<_>>());
            assert_eq!(sizes, expected, "{mode:?} {preset:?}");
        }
    }
}
