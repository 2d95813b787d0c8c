//! From what a source is and what the class wants to what is played: renditions, audio, what is encoded, in words too. Pure.

pub(crate) mod stand_in;

use api::condition::Reason;
use api::control::{MediaMode, MediaStatus};
use api::job::JobClass;
use api::playlists::{HEVC, Resolution};
use api::stream_class::Rung;
use media::codec::video::{Dimensions, FrameRate, VideoParameters};
use media::decide::{self, Decision, Policy, Treatment, Undeliverable, decide};
use media::ffmpeg::args::{Encode, video_codecs};
use media::front_end::{AudioFacts, SourceFacts, VideoFacts};
use media::ladder::{Encoding, Picture, PlannedRendition, Wanted, renditions};
use media::segmenter::io::{AudioPlan, Origin, RenditionId, RenditionPlan};
use media::time::Ticks;
use media::ts::mux::AudioTrack;
use media::unit::{AudioCodec, VideoCodec};

use super::flow::effect::Role;
use crate::packager::rates::RenditionFacts;

/// CODECS of the audio that FFmpeg makes for us.
const ENCODED_AUDIO: &str = "mp4a.40.2";
/// Its bit rate with everything around it, bit/s.
const ENCODED_AUDIO_RATE: u64 = 120_000;
/// What transport stream packets add to a track, in percent.
const PACKETS: u64 = 6;
/// Frames per second that are taken where a source does not say.
const USUAL_FRAME_RATE: f64 = 25.0;

/// What is played of one source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediaPlan {
    /// For the status.
    pub(crate) status: MediaStatus,
    /// Highest first.
    pub(crate) renditions: Vec<RenditionPlan>,
    /// What is passed through besides, for clients that ask for it.
    pub(crate) on_request: Option<RenditionPlan>,
    /// The same in every rendition.
    pub(crate) audio: Option<AudioPlan>,
    /// For the master, in the order of the renditions, then for what is there on request; CODECS without the audio's.
    pub(crate) facts: Vec<RenditionFacts>,
    /// CODECS of the audio.
    pub(crate) audio_codecs: Option<String>,
    /// What FFmpeg makes, if anything.
    pub(crate) encode: Option<Encode>,
    /// Which renditions its video pipes bring, in order.
    pub(crate) encoded: Vec<RenditionId>,
    /// Keyframes are too far apart to cut at.
    pub(crate) lacks_keyframes: bool,
}

impl MediaPlan {
    /// Whether viewers have a picture without any encoder.
    pub(crate) fn passes_video_through(&self) -> bool {
        let mut renditions = self.renditions.iter();
        renditions.any(|one| one.origin == Origin::Source && one.video.is_some())
    }

    /// What the master says of it: as planned, and as the encoders really `made` it.
    pub(crate) fn announced<'a>(
        &self,
        has_audio: bool,
        made: impl Fn(&RenditionId) -> Option<&'a VideoParameters>,
    ) -> Vec<RenditionFacts> {
        let audio = self.audio_codecs.as_deref().filter(|_| has_audio);
        let of = |facts: &RenditionFacts| {
            let made = made(&RenditionId::new(&facts.id));
            let video = made.map_or(facts.codecs.as_str(), |made| made.codecs.as_str());
            let video = Some(video).filter(|codecs| !codecs.is_empty());
            let codecs: Vec<&str> = video.into_iter().chain(audio).collect();
            let size = made.map(|made| made.dimensions);
            RenditionFacts {
                codecs: codecs.join(","),
                resolution: size.map(resolution).or(facts.resolution),
                ..facts.clone()
            }
        };
        self.facts.iter().map(of).collect()
    }

    /// Whether there is no picture.
    pub(crate) fn is_radio(&self) -> bool {
        self.renditions.iter().all(|one| one.video.is_none())
    }

    /// The encoders that make it. Where pictures are passed through, their audio has one of its own.
    pub(crate) fn encoders(&self) -> Vec<(Role, Encode)> {
        let Some(encode) = &self.encode else {
            return Vec::new();
        };
        if encode.rungs.is_empty() {
            return vec![(Role::Audio, encode.clone())];
        }
        if !encode.audio || !self.passes_video_through() {
            return vec![(Role::Pictures, encode.clone())];
        }
        let audio = Encode {
            rungs: Vec::new(),
            ..encode.clone()
        };
        let pictures = Encode {
            audio: false,
            ..encode.clone()
        };
        vec![(Role::Audio, audio), (Role::Pictures, pictures)]
    }

    /// Whether the same bytes would come out of both.
    pub(crate) fn plays_like(&self, other: &Self) -> bool {
        let of = |plan: &Self| {
            let plan = plan.clone();
            (plan.renditions, plan.audio, plan.facts, plan.encode)
        };
        of(self) == of(other)
    }
}

/// Why a source cannot be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// The reason, for the condition.
    pub(crate) reason: Reason,
    /// One sentence.
    pub(crate) message: String,
}

/// Decides what is played. `demoted` says that passing the video through has proved wrong.
pub(crate) fn plan(
    facts: &SourceFacts,
    class: &JobClass,
    demoted: bool,
) -> Result<MediaPlan, Unusable> {
    let policy = Policy {
        mode: class.mode,
        target_duration: Ticks::from_seconds(i64::from(class.target_duration_seconds)),
        demoted,
        max_decode_height: class
            .max_decode_height
            .and_then(|lines| u32::try_from(lines).ok()),
    };
    let decision = decide(facts, &policy).map_err(unusable)?;
    let video = facts.video.as_ref();
    let size = video.and_then(|video| video.dimensions);
    let planned = renditions(&Wanted::from(class), size, &decision);
    let on_request = decision.on_request.then(|| PlannedRendition {
        id: HEVC.to_owned(),
        picture: Picture::PassThrough,
    });
    let audio = facts.audio.as_ref();
    let audio_plan = audio.and_then(|audio| audio_plan(audio, decision.audio));
    let encode = encode(&planned, &decision, video);
    Ok(MediaPlan {
        status: status(&planned, &decision, facts),
        renditions: planned.iter().map(|one| rendition(one, video)).collect(),
        facts: planned
            .iter()
            .map(|one| rendition_facts(one, video))
            .chain(on_request.iter().map(|one| RenditionFacts {
                on_request: true,
                ..rendition_facts(one, video)
            }))
            .collect(),
        on_request: on_request.map(|one| rendition(&one, video)),
        audio_codecs: match decision.audio {
            Treatment::Absent => None,
            Treatment::Copy => audio.and_then(|audio| audio.codecs.clone()),
            Treatment::Encode => Some(ENCODED_AUDIO.to_owned()),
        },
        encoded: planned
            .iter()
            .filter(|one| encoding(one).is_some())
            .map(|one| RenditionId::new(&one.id))
            .collect(),
        audio: audio_plan,
        encode,
        lacks_keyframes: matches!(
            decision.reason,
            decide::Reason::KeyframeInterval(_) | decide::Reason::KeyframesMissing
        ),
    })
}

fn unusable(undeliverable: Undeliverable) -> Unusable {
    let reason = match undeliverable {
        Undeliverable::NoTrack => Reason::NoTracks,
        Undeliverable::Video(_) | Undeliverable::Audio(_) => Reason::UnsupportedMedia,
        Undeliverable::TooLarge { .. } => Reason::SourceTooLargeToTranscode,
    };
    Unusable {
        reason,
        message: format!("the {undeliverable}"),
    }
}

fn encoding(planned: &PlannedRendition) -> Option<Encoding> {
    match planned.picture {
        Picture::Encode(encoding) => Some(encoding),
        Picture::None | Picture::PassThrough => None,
    }
}

fn encode(
    planned: &[PlannedRendition],
    decision: &Decision,
    video: Option<&VideoFacts>,
) -> Option<Encode> {
    let rungs: Vec<Rung> = planned
        .iter()
        .filter_map(encoding)
        .map(|encoding| Rung {
            height: encoding.height.cast_signed(),
            video_kilobits_per_second: encoding.kilobits_per_second.cast_signed(),
        })
        .collect();
    let audio = decision.audio == Treatment::Encode;
    let rate = video.and_then(|video| video.frame_rate);
    let interlaced = decision.deinterlace;
    (audio || !rungs.is_empty()).then(|| Encode {
        rungs,
        audio,
        deinterlace: interlaced,
        frames_per_second: whole_frames(rate),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "frame rates are small and positive"
)]
fn whole_frames(rate: Option<FrameRate>) -> u32 {
    rate.map_or(USUAL_FRAME_RATE, FrameRate::as_f64)
        .round()
        .clamp(1.0, 300.0) as u32
}

fn rendition(planned: &PlannedRendition, video: Option<&VideoFacts>) -> RenditionPlan {
    let (origin, video) = match planned.picture {
        Picture::None => (Origin::Source, None),
        Picture::PassThrough => (Origin::Source, video.map(|video| video.codec)),
        Picture::Encode(_) => (Origin::Encoded, Some(VideoCodec::H264)),
    };
    RenditionPlan {
        id: RenditionId::new(&planned.id),
        origin,
        video,
    }
}

fn rendition_facts(planned: &PlannedRendition, video: Option<&VideoFacts>) -> RenditionFacts {
    let size = video.and_then(|video| video.dimensions);
    let frame_rate = video.and_then(|video| video.frame_rate);
    let (codecs, resolution, ceiling) = match planned.picture {
        Picture::None => (String::new(), None, None),
        Picture::PassThrough => (
            video
                .and_then(|video| video.codecs.clone())
                .unwrap_or_default(),
            size.map(resolution),
            None,
        ),
        Picture::Encode(encoding) => (
            video_codecs(encoding.height, whole_frames(frame_rate)),
            encoding.width.map(|width| Resolution {
                width,
                height: encoding.height,
            }),
            Some(ceiling(encoding)),
        ),
    };
    RenditionFacts {
        id: planned.id.clone(),
        codecs,
        resolution,
        frame_rate_thousandths: video
            .filter(|_| planned.picture != Picture::None)
            .and_then(|video| video.frame_rate)
            .map(thousandths),
        ceiling,
        on_request: false,
    }
}

fn resolution(size: Dimensions) -> Resolution {
    Resolution {
        width: size.width,
        height: size.height,
    }
}

fn ceiling(encoding: Encoding) -> u64 {
    let video = u64::from(encoding.kilobits_per_second) * 1000;
    (video + ENCODED_AUDIO_RATE) * (100 + PACKETS) / 100
}

fn thousandths(rate: FrameRate) -> u32 {
    let denominator = u64::from(rate.denominator.max(1));
    let rounded = (u64::from(rate.numerator) * 1000 + denominator / 2) / denominator;
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

fn audio_plan(audio: &AudioFacts, treatment: Treatment) -> Option<AudioPlan> {
    let (origin, codec) = match treatment {
        Treatment::Absent => return None,
        Treatment::Copy => (Origin::Source, audio.codec),
        Treatment::Encode => (Origin::Encoded, AudioCodec::Aac),
    };
    Some(AudioPlan {
        origin,
        track: AudioTrack {
            codec,
            language: audio.language.clone(),
        },
    })
}

fn status(planned: &[PlannedRendition], decision: &Decision, facts: &SourceFacts) -> MediaStatus {
    let encoded = planned.iter().filter(|one| encoding(one).is_some()).count();
    let mode = match (encoded, decision.audio) {
        (0, Treatment::Encode) => MediaMode::AudioTranscode,
        (0, _) => MediaMode::Copy,
        _ => MediaMode::Transcode,
    };
    let reason = if encoded > 0 && decision.video == Treatment::Copy {
        let total = planned.len();
        format!(
            "{}; the class wants {total} renditions, {encoded} of them encoded",
            decision.reason
        )
    } else if decision.on_request {
        format!(
            "{}; clients that ask for it get it as it is (rendition {HEVC})",
            decision.reason
        )
    } else if let Some(size) = &decision.too_large {
        format!("{}; no rendition is encoded: {size}", decision.reason)
    } else {
        decision.reason.to_string()
    };
    MediaStatus {
        video: facts.video.as_ref().map(ToString::to_string),
        audio: facts.audio.as_ref().map(ToString::to_string),
        mode,
        reason,
        renditions: planned.iter().map(|one| one.id.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use api::stream_class::{Preset, TranscodeMode};
    use media::codec::video::{Chroma, Scan};

    use super::*;
    use crate::fixtures;

    fn facts() -> SourceFacts {
        SourceFacts {
            program_number: 1,
            pcr_pid: Some(0x100),
            video: Some(VideoFacts {
                codec: VideoCodec::H264,
                profile: Some(100),
                level: Some(31),
                dimensions: Dimensions::new(1280, 720),
                frame_rate: FrameRate::new(30_000, 1001),
                scan: Some(Scan::Progressive),
                chroma: Some(Chroma::Yuv420),
                bit_depth: Some(8),
                codecs: Some("avc1.64001f".to_owned()),
            }),
            audio: Some(AudioFacts {
                codec: AudioCodec::Mpeg,
                object_type: Some(33),
                channels: Some(2),
                sample_rate: Some(48_000),
                language: Some("deu".to_owned()),
                codecs: Some("mp4a.40.33".to_owned()),
            }),
            keyframe_interval: Some(Ticks::from_seconds(2)),
            audio_delay: None,
            complete: true,
        }
    }

    fn class(mode: TranscodeMode, preset: Preset) -> JobClass {
        JobClass {
            mode,
            preset,
            ..fixtures::job("/nowhere").class
        }
    }

    #[test]
    fn audio_alone_is_encoded_where_only_audio_does_not_fit() {
        let plan = plan(&facts(), &class(TranscodeMode::Auto, Preset::Source), false).unwrap();
        assert_eq!(
            plan.status,
            MediaStatus {
                video: Some("h264 High@3.1 1280x720 29.970".to_owned()),
                audio: Some("mp2 48000 Hz 2 ch deu".to_owned()),
                mode: MediaMode::AudioTranscode,
                reason: "the audio is mpeg audio".to_owned(),
                renditions: vec!["source".to_owned()],
            }
        );
        let expected = Encode {
            rungs: Vec::new(),
            audio: true,
            deinterlace: false,
            frames_per_second: 30,
        };
        assert_eq!(plan.encode, Some(expected));
        assert_eq!(plan.audio_codecs.as_deref(), Some("mp4a.40.2"));
        assert_eq!(plan.facts[0].frame_rate_thousandths, Some(29_970));
    }

    #[test]
    fn a_ladder_has_the_source_on_top_and_its_pipes_in_order() {
        let plan = plan(&facts(), &class(TranscodeMode::Auto, Preset::High), false).unwrap();
        let origins: Vec<_> = plan
            .renditions
            .iter()
            .map(|one| (one.id.as_str(), one.origin))
            .collect();
        assert_eq!(
            origins,
            [
                ("720p", Origin::Source),
                ("480p", Origin::Encoded),
                ("360p", Origin::Encoded)
            ]
        );
        assert_eq!(
            plan.encoded,
            [RenditionId::new("480p"), RenditionId::new("360p")]
        );
        assert_eq!(plan.facts[1].ceiling, Some(1_187_200));
        assert_eq!(plan.status.mode, MediaMode::Transcode);
        assert!(
            plan.status.reason.contains("3 renditions, 2 of them"),
            "{}",
            plan.status.reason
        );
    }

    #[test]
    fn the_audio_of_pictures_that_are_passed_through_has_an_encoder_of_its_own() {
        let of = |preset, audio_fits| {
            let mut facts = facts();
            if audio_fits {
                facts.audio = None;
            }
            let plan = plan(&facts, &class(TranscodeMode::Auto, preset), false).unwrap();
            let encoders = plan.encoders().into_iter();
            encoders
                .map(|(role, encode)| (role, encode.rungs.len(), encode.audio))
                .collect::<Vec<_>>()
        };
        let (pictures, audio) = (Role::Pictures, Role::Audio);
        assert_eq!(of(Preset::Source, true), []);
        assert_eq!(of(Preset::Source, false), [(audio, 0, true)]);
        assert_eq!(of(Preset::High, true), [(pictures, 2, false)]);
        assert_eq!(
            of(Preset::High, false),
            [(audio, 0, true), (pictures, 2, false)]
        );
        // A source that is larger than the ladder is not shown itself.
        assert_eq!(of(Preset::Medium, false), [(pictures, 2, true)]);
    }

    #[test]
    fn radio_has_one_rendition_without_a_picture() {
        let radio = SourceFacts {
            video: None,
            ..facts()
        };
        let plan = plan(&radio, &class(TranscodeMode::Copy, Preset::High), false).unwrap();
        let expected = RenditionPlan {
            id: RenditionId::new("audio"),
            origin: Origin::Source,
            video: None,
        };
        assert_eq!(plan.renditions, [expected]);
        assert_eq!(plan.encode, None);
        assert_eq!(plan.facts[0].frame_rate_thousandths, None);
    }

    #[test]
    fn hevc_is_encoded_and_there_as_it_is_for_clients_that_ask() {
        let mut hevc = facts();
        if let Some(video) = &mut hevc.video {
            video.codec = VideoCodec::Hevc;
            video.codecs = Some("hvc1.1.6.L93.90".to_owned());
        }
        let plan = plan(&hevc, &class(TranscodeMode::Auto, Preset::Low), false).unwrap();
        let expected = RenditionPlan {
            id: RenditionId::new("hevc"),
            origin: Origin::Source,
            video: Some(VideoCodec::Hevc),
        };
        assert_eq!(plan.on_request, Some(expected));
        assert_eq!(plan.renditions.len(), 1);
        assert!(!plan.passes_video_through());
        assert_eq!(plan.status.renditions, ["360p"]);
        assert_eq!(
            plan.status.reason,
            "the video is hevc; clients that ask for it get it as it is (rendition hevc)"
        );
        let announced = plan.announced(true, |_| None);
        let told = |facts: &RenditionFacts| {
            let size = facts.resolution.map(|size| size.height);
            (facts.codecs.clone(), size, facts.on_request)
        };
        assert_eq!(
            announced.iter().map(told).collect::<Vec<_>>(),
            [
                ("avc1.4d401f,mp4a.40.2".to_owned(), Some(360), false),
                ("hvc1.1.6.L93.90,mp4a.40.2".to_owned(), Some(720), true)
            ]
        );
    }

    #[test]
    fn what_is_too_large_to_decode_says_so() {
        let of = |mode| {
            let class = JobClass {
                max_decode_height: Some(480),
                ..class(mode, Preset::High)
            };
            plan(&facts(), &class, false)
        };
        let status = of(TranscodeMode::Auto).unwrap().status;
        assert_eq!(
            (status.mode, status.renditions),
            (MediaMode::AudioTranscode, vec!["720p".to_owned()])
        );
        assert_eq!(
            status.reason,
            "the audio is mpeg audio; no rendition is encoded: its 720 lines are more than the 480 of the class's maxDecodeHeight"
        );
        let refused = of(TranscodeMode::Transcode).unwrap_err();
        assert_eq!(refused.reason, Reason::SourceTooLargeToTranscode);
    }

    #[test]
    fn what_cannot_be_delivered_is_named() {
        let mut mpeg2 = facts();
        mpeg2.video.as_mut().unwrap().codec = VideoCodec::Mpeg2;
        let refused = plan(&mpeg2, &class(TranscodeMode::Copy, Preset::Source), false);
        assert_eq!(
            refused,
            Err(Unusable {
                reason: Reason::UnsupportedMedia,
                message: "the class says Copy, but HLS cannot carry mpeg2".to_owned(),
            })
        );
    }
}
