//! Copy or encode: a list of small checks over what a source turned out to be. Pure; never looks at bytes.

use std::fmt;

use api::stream_class::TranscodeMode;

use crate::codec::aac::LOW_COMPLEXITY;
use crate::codec::video::{Chroma, FrameRate, Scan};
use crate::front_end::{AudioFacts, SourceFacts, VideoFacts};
use crate::time::Ticks;
use crate::unit::{AudioCodec, VideoCodec};

/// Baseline, Main and High: what every player decodes.
const PROFILES: [u8; 3] = [66, 77, 100];

/// H.264 level 4.2.
const HIGHEST_LEVEL: u8 = 42;

const HIGHEST_FRAME_RATE: f64 = 60.0;

const SAMPLE_RATES: [u32; 2] = [44_100, 48_000];

const MOST_CHANNELS: u8 = 2;

/// What is done to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// There is no such track.
    Absent,
    /// Its units are passed through.
    Copy,
    /// FFmpeg encodes it.
    Encode,
}

/// What is done to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What is done to the video.
    pub video: Treatment,
    /// What is done to the audio.
    pub audio: Treatment,
    /// The encoder weaves fields into frames.
    pub deinterlace: bool,
    /// Its pictures are too large to be decoded: no rendition is encoded from them.
    pub too_large: Option<TooLarge>,
    /// Its video, which is encoded, is passed through besides, for clients that ask for it.
    pub on_request: bool,
    /// Why, for people.
    pub reason: Reason,
}

/// A picture that is higher than what the class decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its {lines} lines are more than the {limit} of the class's maxDecodeHeight")]
pub struct TooLarge {
    /// How high it is.
    pub lines: u32,
    /// How high it may be.
    pub limit: u32,
}

/// What a decision is made from, beside the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What the class says.
    pub mode: TranscodeMode,
    /// EXT-X-TARGETDURATION: no keyframe interval of a copy may be longer.
    pub target_duration: Ticks,
    /// Copying has proved wrong: keyframes did not come when they were needed.
    pub demoted: bool,
    /// Lines of the highest picture that is decoded.
    pub max_decode_height: Option<u32>,
}

impl Policy {
    /// The picture, where it is too large to be decoded. One of unknown size is not.
    fn too_large(&self, video: &VideoFacts) -> Option<TooLarge> {
        let (lines, limit) = (video.dimensions?.height, self.max_decode_height?);
        (lines > limit).then_some(TooLarge { lines, limit })
    }

    /// What cannot be encoded is rather cut without keys than not played.
    fn wants_keys(&self, video: &VideoFacts) -> bool {
        self.too_large(video).is_none()
    }
}

/// Why something is done to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Every player takes it as it is.
    Fits,
    /// The class says `Copy`.
    ClassCopies,
    /// The class says `Transcode`.
    ClassTranscodes,
    /// Keyframes did not come when segments had to end.
    KeyframesMissing,
    /// Not H.264.
    VideoCodec(VideoCodec),
    /// The size of the picture is not known.
    SizeUnknown,
    /// A profile beyond High.
    Profile(u8),
    /// A level beyond 4.2.
    Level(u8),
    /// Not 4:2:0.
    Chroma,
    /// More than 8 bits a sample.
    BitDepth(u8),
    /// Fields.
    Interlaced,
    /// The frame rate is not known.
    FrameRateUnknown,
    /// More than 60 frames a second.
    FrameRate(FrameRate),
    /// Keyframes are further apart than a segment may be long.
    KeyframeInterval(Ticks),
    /// Not AAC.
    AudioCodec(AudioCodec),
    /// AAC of another kind than LC, by its object type.
    AudioProfile(Option<u8>),
    /// More than two channels, or an unknown number.
    Channels(Option<u8>),
    /// Neither 44.1 nor 48 kHz.
    SampleRate(Option<u32>),
}

/// Why a source cannot be delivered as the class asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    /// Nothing to see or hear.
    #[error("source has neither video nor audio")]
    NoTrack,
    /// The class says `Copy`, and HLS has no place for the video.
    #[error("class says Copy, but HLS cannot carry {0}")]
    Video(VideoCodec),
    /// The class says `Copy`, and HLS has no place for the audio.
    #[error("class says Copy, but HLS cannot carry {0}")]
    Audio(AudioCodec),
    /// It would have to be encoded, and is too large for that.
    #[error(
        "source would have to be encoded because {reason}, and {size}: raise that, or pass the source through with mode Copy where players take it"
    )]
    TooLarge {
        /// Why it would have to be encoded.
        reason: Reason,
        /// How large it is.
        size: TooLarge,
    },
}

type VideoCheck = fn(&VideoFacts, &SourceFacts, &Policy) -> Option<Reason>;
type AudioCheck = fn(&AudioFacts) -> Option<Reason>;

/// The first that objects decides.
const VIDEO_CHECKS: &[VideoCheck] = &[
    |video, _, _| (video.codec != VideoCodec::H264).then_some(Reason::VideoCodec(video.codec)),
    |video, _, policy| {
        (policy.demoted && policy.wants_keys(video)).then_some(Reason::KeyframesMissing)
    },
    |video, _, _| video.dimensions.is_none().then_some(Reason::SizeUnknown),
    |video, _, _| {
        let profile = video.profile.unwrap_or_default();
        (!PROFILES.contains(&profile)).then_some(Reason::Profile(profile))
    },
    |video, _, _| {
        let level = video.level.unwrap_or(u8::MAX);
        (level > HIGHEST_LEVEL).then_some(Reason::Level(level))
    },
    |video, _, _| (video.chroma != Some(Chroma::Yuv420)).then_some(Reason::Chroma),
    |video, _, _| {
        let depth = video.bit_depth.unwrap_or_default();
        (depth != 8).then_some(Reason::BitDepth(depth))
    },
    |video, _, _| (video.scan != Some(Scan::Progressive)).then_some(Reason::Interlaced),
    |video, _, _| match video.frame_rate {
        None => Some(Reason::FrameRateUnknown),
        Some(rate) => (rate.as_f64() > HIGHEST_FRAME_RATE).then_some(Reason::FrameRate(rate)),
    },
    |video, facts, policy| {
        let interval = facts.keyframe_interval?;
        (interval > policy.target_duration && policy.wants_keys(video))
            .then_some(Reason::KeyframeInterval(interval))
    },
];

const AUDIO_CHECKS: &[AudioCheck] = &[
    |audio| (audio.codec != AudioCodec::Aac).then_some(Reason::AudioCodec(audio.codec)),
    |audio| {
        let object_type = audio.object_type;
        (object_type != Some(LOW_COMPLEXITY)).then_some(Reason::AudioProfile(object_type))
    },
    |audio| {
        let fits = audio
            .channels
            .is_some_and(|channels| channels <= MOST_CHANNELS);
        (!fits).then_some(Reason::Channels(audio.channels))
    },
    |audio| {
        let fits = audio
            .sample_rate
            .is_some_and(|rate| SAMPLE_RATES.contains(&rate));
        (!fits).then_some(Reason::SampleRate(audio.sample_rate))
    },
];

/// Decides what is done to a source.
///
/// # Errors
/// When there is nothing to deliver, the class insists on passing through what HLS cannot carry, or the picture has to be encoded and
/// is too large for that.
pub fn decide(facts: &SourceFacts, policy: &Policy) -> Result<Decision, Undeliverable> {
    if facts.video.is_none() && facts.audio.is_none() {
        return Err(Undeliverable::NoTrack);
    }
    let (video, audio) = match policy.mode {
        TranscodeMode::Auto => (
            facts
                .video
                .as_ref()
                .map(|video| objection_to_video(video, facts, policy)),
            facts.audio.as_ref().map(objection_to_audio),
        ),
        TranscodeMode::Transcode => {
            let always = Some(Reason::ClassTranscodes);
            (
                facts.video.as_ref().map(|_| always),
                facts.audio.as_ref().map(|_| always),
            )
        }
        TranscodeMode::Copy => {
            check_deliverable(facts)?;
            (
                facts.video.as_ref().map(|_| None),
                facts.audio.as_ref().map(|_| None),
            )
        }
    };
    let fallback = match policy.mode {
        TranscodeMode::Copy => Reason::ClassCopies,
        TranscodeMode::Auto | TranscodeMode::Transcode => Reason::Fits,
    };
    let too_large = facts
        .video
        .as_ref()
        .and_then(|video| policy.too_large(video));
    let too_large = too_large.filter(|_| policy.mode != TranscodeMode::Copy);
    if let (Some(size), Some(reason)) = (too_large, video.flatten()) {
        return Err(Undeliverable::TooLarge { reason, size });
    }
    let interlaced = facts
        .video
        .as_ref()
        .is_some_and(|video| video.scan == Some(Scan::Interlaced));
    Ok(Decision {
        video: treatment(video),
        audio: treatment(audio),
        deinterlace: interlaced && treatment(video) == Treatment::Encode,
        too_large,
        on_request: facts
            .video
            .as_ref()
            .is_some_and(|facts| passes_on_request(facts, video.flatten())),
        reason: video.flatten().or(audio.flatten()).unwrap_or(fallback),
    })
}

/// Some players take HEVC, which must not be in the master of all. How far apart its keyframes are does not matter: cuts are made
/// for what is encoded.
fn passes_on_request(video: &VideoFacts, objection: Option<Reason>) -> bool {
    objection == Some(Reason::VideoCodec(VideoCodec::Hevc))
        && video.codecs.is_some()
        && video.dimensions.is_some()
}

fn treatment(objection: Option<Option<Reason>>) -> Treatment {
    match objection {
        None => Treatment::Absent,
        Some(None) => Treatment::Copy,
        Some(Some(_)) => Treatment::Encode,
    }
}

fn objection_to_video(video: &VideoFacts, facts: &SourceFacts, policy: &Policy) -> Option<Reason> {
    VIDEO_CHECKS
        .iter()
        .find_map(|check| check(video, facts, policy))
}

fn objection_to_audio(audio: &AudioFacts) -> Option<Reason> {
    AUDIO_CHECKS.iter().find_map(|check| check(audio))
}

fn check_deliverable(facts: &SourceFacts) -> Result<(), Undeliverable> {
    match facts.video.as_ref().map(|video| video.codec) {
        Some(codec @ (VideoCodec::Mpeg2 | VideoCodec::Other(_))) => {
            return Err(Undeliverable::Video(codec));
        }
        None | Some(VideoCodec::H264 | VideoCodec::Hevc) => {}
    }
    match facts.audio.as_ref().map(|audio| audio.codec) {
        Some(codec @ (AudioCodec::AacLatm | AudioCodec::Other(_))) => {
            Err(Undeliverable::Audio(codec))
        }
        None | Some(AudioCodec::Aac | AudioCodec::Mpeg | AudioCodec::Ac3 | AudioCodec::Eac3) => {
            Ok(())
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits => write!(formatter, "every player takes the source as it is"),
            Self::ClassCopies => write!(formatter, "the class says Copy"),
            Self::ClassTranscodes => write!(formatter, "the class says Transcode"),
            Self::KeyframesMissing => {
                write!(
                    formatter,
                    "the source's keyframes come too rarely to cut at"
                )
            }
            Self::VideoCodec(codec) => write!(formatter, "the video is {codec}"),
            Self::SizeUnknown => write!(formatter, "the size of the picture is unknown"),
            Self::Profile(profile) => {
                write!(formatter, "H.264 profile {profile} is beyond High")
            }
            Self::Level(level) => write!(
                formatter,
                "H.264 level {}.{} is beyond 4.2",
                level / 10,
                level % 10
            ),
            Self::Chroma => write!(formatter, "the colour sampling is not 4:2:0"),
            Self::BitDepth(depth) => write!(formatter, "the video has {depth} bits a sample"),
            Self::Interlaced => write!(formatter, "the video is interlaced"),
            Self::FrameRateUnknown => write!(formatter, "the frame rate is unknown"),
            Self::FrameRate(rate) => write!(formatter, "{rate} frames a second are beyond 60"),
            Self::KeyframeInterval(interval) => write!(
                formatter,
                "keyframes are {:.1} s apart",
                interval.as_seconds()
            ),
            Self::AudioCodec(codec) => write!(formatter, "the audio is {codec}"),
            Self::AudioProfile(_) => write!(formatter, "the audio is AAC of another kind than LC"),
            Self::Channels(Some(channels)) => {
                write!(formatter, "the audio has {channels} channels")
            }
            Self::Channels(None) => write!(formatter, "the number of audio channels is unknown"),
            Self::SampleRate(Some(rate)) => write!(formatter, "the audio is sampled at {rate} Hz"),
            Self::SampleRate(None) => write!(formatter, "the audio's sample rate is unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::video::Dimensions;

    const AUTO: Policy = Policy {
        mode: TranscodeMode::Auto,
        target_duration: Ticks::from_seconds(4),
        demoted: false,
        max_decode_height: None,
    };

    fn facts() -> SourceFacts {
        SourceFacts {
            program_number: 1,
            pcr_pid: Some(0x100),
            video: Some(VideoFacts {
                codec: VideoCodec::H264,
                profile: Some(100),
                level: Some(40),
                dimensions: Dimensions::new(1920, 1080),
                frame_rate: FrameRate::new(25, 1),
                scan: Some(Scan::Progressive),
                chroma: Some(Chroma::Yuv420),
                bit_depth: Some(8),
                codecs: Some("avc1.640028".to_owned()),
            }),
            audio: Some(AudioFacts {
                codec: AudioCodec::Aac,
                object_type: Some(2),
                channels: Some(2),
                sample_rate: Some(48_000),
                language: None,
                codecs: Some("mp4a.40.2".to_owned()),
            }),
            keyframe_interval: Some(Ticks::from_seconds(2)),
            audio_delay: None,
            complete: true,
        }
    }

    fn with_video(change: impl FnOnce(&mut VideoFacts)) -> SourceFacts {
        let mut facts = facts();
        change(facts.video.as_mut().unwrap());
        facts
    }

    fn with_audio(change: impl FnOnce(&mut AudioFacts)) -> SourceFacts {
        let mut facts = facts();
        change(facts.audio.as_mut().unwrap());
        facts
    }

    fn copy(reason: Reason) -> Decision {
        Decision {
            video: Treatment::Copy,
            audio: Treatment::Copy,
            deinterlace: false,
            too_large: None,
            on_request: false,
            reason,
        }
    }

    #[test]
    fn what_every_player_takes_is_copied() {
        assert_eq!(decide(&facts(), &AUTO), Ok(copy(Reason::Fits)));
        let highest = with_video(|video| {
            video.level = Some(42);
            video.frame_rate = FrameRate::new(60, 1);
        });
        assert_eq!(decide(&highest, &AUTO), Ok(copy(Reason::Fits)));
        let unmeasured = SourceFacts {
            keyframe_interval: None,
            ..facts()
        };
        assert_eq!(decide(&unmeasured, &AUTO), Ok(copy(Reason::Fits)));
    }

    #[test]
    fn each_thing_that_does_not_fit_has_the_video_encoded_and_named() {
        let rate = FrameRate::new(100, 1).unwrap();
        let interval = Ticks::from_seconds(10);
        let cases = [
            (
                with_video(|video| video.codec = VideoCodec::Hevc),
                Reason::VideoCodec(VideoCodec::Hevc),
            ),
            (
                with_video(|video| video.dimensions = None),
                Reason::SizeUnknown,
            ),
            (
                with_video(|video| video.profile = Some(122)),
                Reason::Profile(122),
            ),
            (
                with_video(|video| video.level = Some(51)),
                Reason::Level(51),
            ),
            (
                with_video(|video| video.chroma = Some(Chroma::Yuv422)),
                Reason::Chroma,
            ),
            (
                with_video(|video| video.bit_depth = Some(10)),
                Reason::BitDepth(10),
            ),
            (
                with_video(|video| video.frame_rate = None),
                Reason::FrameRateUnknown,
            ),
            (
                with_video(|video| video.frame_rate = Some(rate)),
                Reason::FrameRate(rate),
            ),
            (
                SourceFacts {
                    keyframe_interval: Some(interval),
                    ..facts()
                },
                Reason::KeyframeInterval(interval),
            ),
        ];
        for (facts, reason) in cases {
            let expected = Decision {
                video: Treatment::Encode,
                on_request: reason == Reason::VideoCodec(VideoCodec::Hevc),
                ..copy(reason)
            };
            assert_eq!(decide(&facts, &AUTO), Ok(expected));
        }
    }

    #[test]
    fn interlaced_video_is_woven_when_it_is_encoded() {
        let interlaced = with_video(|video| video.scan = Some(Scan::Interlaced));
        let decision = decide(&interlaced, &AUTO).unwrap();
        assert_eq!(
            decision,
            Decision {
                video: Treatment::Encode,
                deinterlace: true,
                ..copy(Reason::Interlaced)
            }
        );
        let forced = Policy {
            mode: TranscodeMode::Copy,
            ..AUTO
        };
        assert_eq!(decide(&interlaced, &forced), Ok(copy(Reason::ClassCopies)));
    }

    #[test]
    fn audio_that_does_not_fit_is_encoded_alone() {
        let cases = [
            (
                with_audio(|audio| audio.codec = AudioCodec::Ac3),
                Reason::AudioCodec(AudioCodec::Ac3),
            ),
            (
                with_audio(|audio| audio.object_type = Some(5)),
                Reason::AudioProfile(Some(5)),
            ),
            (
                with_audio(|audio| audio.channels = Some(6)),
                Reason::Channels(Some(6)),
            ),
            (
                with_audio(|audio| audio.channels = None),
                Reason::Channels(None),
            ),
            (
                with_audio(|audio| audio.sample_rate = Some(32_000)),
                Reason::SampleRate(Some(32_000)),
            ),
        ];
        for (facts, reason) in cases {
            let expected = Decision {
                audio: Treatment::Encode,
                ..copy(reason)
            };
            assert_eq!(decide(&facts, &AUTO), Ok(expected));
        }
    }

    #[test]
    fn a_copy_that_proved_wrong_is_not_tried_again() {
        let demoted = Policy {
            demoted: true,
            ..AUTO
        };
        let decision = decide(&facts(), &demoted).unwrap();
        assert_eq!(decision.video, Treatment::Encode);
        assert_eq!(decision.audio, Treatment::Copy);
        assert_eq!(decision.reason, Reason::KeyframesMissing);
    }

    #[test]
    fn the_class_can_force_either_way() {
        let transcode = Policy {
            mode: TranscodeMode::Transcode,
            ..AUTO
        };
        let expected = Decision {
            video: Treatment::Encode,
            audio: Treatment::Encode,
            ..copy(Reason::ClassTranscodes)
        };
        assert_eq!(decide(&facts(), &transcode), Ok(expected));
        let copies = Policy {
            mode: TranscodeMode::Copy,
            ..AUTO
        };
        let mpeg_2 = with_video(|video| video.codec = VideoCodec::Mpeg2);
        let refused = decide(&mpeg_2, &copies).unwrap_err();
        assert_eq!(refused, Undeliverable::Video(VideoCodec::Mpeg2));
        assert_eq!(
            refused.to_string(),
            "class says Copy, but HLS cannot carry mpeg2"
        );
        let latm = with_audio(|audio| audio.codec = AudioCodec::AacLatm);
        assert_eq!(
            decide(&latm, &copies),
            Err(Undeliverable::Audio(AudioCodec::AacLatm))
        );
    }

    #[test]
    fn a_missing_track_is_absent_and_two_are_an_error() {
        let radio = SourceFacts {
            video: None,
            ..facts()
        };
        let decision = decide(&radio, &AUTO).unwrap();
        assert_eq!(
            (decision.video, decision.audio),
            (Treatment::Absent, Treatment::Copy)
        );
        let nothing = SourceFacts {
            audio: None,
            ..radio
        };
        assert_eq!(decide(&nothing, &AUTO), Err(Undeliverable::NoTrack));
    }

    const TOO_LARGE: TooLarge = TooLarge {
        lines: 1080,
        limit: 720,
    };

    fn limited(mode: TranscodeMode, limit: u32) -> Policy {
        Policy {
            mode,
            max_decode_height: Some(limit),
            demoted: true,
            ..AUTO
        }
    }

    #[test]
    fn what_is_too_large_to_decode_is_passed_through_where_it_can_be() {
        let alone = |reason| Decision {
            too_large: Some(TOO_LARGE),
            ..copy(reason)
        };
        let rare_keys = SourceFacts {
            keyframe_interval: Some(Ticks::from_seconds(10)),
            ..facts()
        };
        let auto = limited(TranscodeMode::Auto, 720);
        assert_eq!(decide(&facts(), &auto), Ok(alone(Reason::Fits)));
        assert_eq!(decide(&rare_keys, &auto), Ok(alone(Reason::Fits)));
        let ac3 = with_audio(|audio| audio.codec = AudioCodec::Ac3);
        let with_its_audio_encoded = Decision {
            audio: Treatment::Encode,
            ..alone(Reason::AudioCodec(AudioCodec::Ac3))
        };
        assert_eq!(decide(&ac3, &auto), Ok(with_its_audio_encoded));
        let hevc = with_video(|video| video.codec = VideoCodec::Hevc);
        let copies = limited(TranscodeMode::Copy, 720);
        assert_eq!(decide(&hevc, &copies), Ok(copy(Reason::ClassCopies)));
    }

    #[test]
    fn what_is_too_large_to_decode_and_does_not_fit_is_refused() {
        let hevc = with_video(|video| video.codec = VideoCodec::Hevc);
        let unknown =
            with_video(|video| (video.dimensions, video.codec) = (None, VideoCodec::Hevc));
        let refused = |reason| {
            Err(Undeliverable::TooLarge {
                reason,
                size: TOO_LARGE,
            })
        };
        let by_codec = Reason::VideoCodec(VideoCodec::Hevc);
        let encoded = Decision {
            video: Treatment::Encode,
            on_request: true,
            ..copy(by_codec)
        };
        let of_unknown_size = Decision {
            on_request: false,
            ..encoded
        };
        let auto = limited(TranscodeMode::Auto, 720);
        let transcode = limited(TranscodeMode::Transcode, 720);
        let enough = limited(TranscodeMode::Auto, 1080);
        assert_eq!(decide(&hevc, &auto), refused(by_codec));
        assert_eq!(decide(&hevc, &enough), Ok(encoded));
        assert_eq!(decide(&unknown, &auto), Ok(of_unknown_size));
        assert_eq!(
            decide(&facts(), &transcode),
            refused(Reason::ClassTranscodes)
        );
        assert_eq!(
            decide(&hevc, &auto).unwrap_err().to_string(),
            "source would have to be encoded because the video is hevc, and its 1080 lines are more than the 720 of the class's \
             maxDecodeHeight: raise that, or pass the source through with mode Copy where players take it"
        );
    }

    #[test]
    fn reasons_read_as_sentences() {
        let text = |reason: Reason| reason.to_string();
        assert_eq!(
            text(Reason::VideoCodec(VideoCodec::Hevc)),
            "the video is hevc"
        );
        assert_eq!(text(Reason::Level(51)), "H.264 level 5.1 is beyond 4.2");
        assert_eq!(
            text(Reason::KeyframeInterval(Ticks::from_seconds(10))),
            "keyframes are 10.0 s apart"
        );
        assert_eq!(text(Reason::Channels(Some(6))), "the audio has 6 channels");
    }
}
