//! The slate in the flow: a timeline of its own, fed from a template in real time, so that numbers, dates, cuts and clock run on as over any
//! other change of the source. It is nobody's media: no source is well by it, and no attempt has begun with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::ffmpeg::slate::FRAMES_PER_SECOND;
use media::front_end::Stage;
use media::segmenter::io::{
    AudioPlan, GenerationId, Input, Opening, Origin, RenditionId, RenditionPlan,
};
use media::time::{TICKS_PER_SECOND, Ticks};
use media::ts::mux::AudioTrack;
use media::unit::{AccessUnit, AudioCodec, RandomAccess, Track};

use super::super::plan::{MediaPlan, stand_in};
use super::Flow;
use super::effect::{Effect, Now};

/// Ticks from picture to picture.
const FRAME: i64 = TICKS_PER_SECOND / FRAMES_PER_SECOND as i64;
/// Ticks from frame to frame of the silence.
const SILENCE: i64 = TICKS_PER_SECOND * 1024 / 48_000;
/// Its clock starts here, away from zero.
const START: Ticks = Ticks::from_seconds(10);

/// What a slate is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlateMedia {
    /// The pictures of one group by size, the first one a key, in the order of the plan's renditions.
    pub(crate) groups: Vec<Vec<Bytes>>,
    /// One frame of silence.
    pub(crate) silence: Bytes,
}

/// A slate that is being shown.
#[derive(Debug)]
pub(super) struct Showing {
    media: Arc<SlateMedia>,
    /// Its own, once it has begun.
    generation: Option<GenerationId>,
    renditions: Vec<RenditionId>,
    has_audio: bool,
    since: Duration,
    pictures: i64,
    sounds: i64,
}

impl Flow {
    /// The sizes of its pictures, one a rendition. `None` where there is nothing that it could stand for.
    pub(crate) fn slate_sizes(&self) -> Option<Vec<(u32, u32)>> {
        let plan = self.stood_in_for()?;
        let usual = plan.facts.iter().filter(|facts| !facts.on_request);
        Some(usual.map(stand_in::size).collect())
    }

    /// Whether a slate may begin: none is shown, and nothing has come over the present connection that media go on with. From its first
    /// key on they do, long before anything of them is whole: a slate in between would be a seam more.
    pub(crate) fn may_show_slate(&self) -> bool {
        self.slate.is_none() && self.front.stage() != Stage::Open
    }

    /// Shows a slate from now on, until media come.
    pub(crate) fn show_slate(&mut self, media: Arc<SlateMedia>, now: Now) -> Vec<Effect> {
        let Some(plan) = self.stood_in_for().filter(|_| self.may_show_slate()) else {
            return self.effects();
        };
        self.release(now);
        self.encoders.close(&mut self.effects);
        let has_audio = plan.audio.is_some() && self.has_audio;
        if self.promised.is_none() {
            let facts = plan.announced(has_audio, |_| None);
            self.effects.push(Effect::Renditions(facts));
        }
        self.begins = true;
        self.slate = Some(Showing {
            media,
            generation: None,
            renditions: plan.renditions.iter().map(|one| one.id.clone()).collect(),
            has_audio,
            since: now.monotonic,
            pictures: 0,
            sounds: 0,
        });
        self.tell(Input::Begin(opening(&plan, has_audio, now)), now);
        self.go_on_with_slate(now);
        self.effects()
    }

    /// The generation of a slate has begun: nothing is encoded for it.
    pub(super) fn slate_began(&mut self, generation: GenerationId) -> bool {
        let awaits = |slate: &&mut Showing| slate.generation.is_none();
        let Some(slate) = self.slate.as_mut().filter(awaits) else {
            return false;
        };
        slate.generation = Some(generation);
        self.slate_generation = Some(generation);
        true
    }

    /// Tells the segmenter of what is due.
    pub(super) fn go_on_with_slate(&mut self, now: Now) {
        let Some(mut slate) = self.slate.take() else {
            return;
        };
        let inputs = slate.due(now.monotonic);
        self.slate = Some(slate);
        for input in inputs {
            self.tell(input, now);
        }
    }

    /// Ends a slate where it is, if one is shown: what follows is media, or nothing.
    pub(super) fn end_slate(&mut self, now: Now) {
        if let Some(generation) = self.slate.take().and_then(|slate| slate.generation) {
            self.tell(Input::EncoderEnded(generation), now);
        }
    }

    /// Tells the segmenter of the source, unless a slate is shown: what comes before media can begin is of no use.
    pub(super) fn tell_source(&mut self, input: Input, now: Now) {
        if self.slate.is_none() {
            self.tell(input, now);
        }
    }

    /// What a slate stands in for: what viewers were told of last; before that what is known of the source, or a usual one.
    fn stood_in_for(&self) -> Option<MediaPlan> {
        let known = self.promised.as_ref().or(self.plan.as_ref()).cloned();
        let plan = known.or_else(|| stand_in::usual(&self.class))?;
        stand_in::is_possible(&plan).then_some(plan)
    }
}

impl Showing {
    fn due(&mut self, now: Duration) -> Vec<Input> {
        let Some(generation) = self.generation else {
            return Vec::new();
        };
        let played = Ticks::from_duration(now.saturating_sub(self.since));
        let mut inputs = Vec::new();
        while self.pictures * FRAME <= played.0 {
            let pts = START + Ticks(self.pictures * FRAME);
            for (id, group) in self.renditions.iter().zip(&self.media.groups) {
                inputs.extend(self.picture(generation, id, group, pts));
            }
            self.pictures += 1;
            while self.has_audio && self.sounds * SILENCE < self.pictures * FRAME {
                let pts = START + Ticks(self.sounds * SILENCE);
                let unit = unit(Track::Audio, pts, true, self.media.silence.clone());
                inputs.push(Input::EncodedAudio { generation, unit });
                self.sounds += 1;
            }
            inputs.push(Input::Clock(pts));
        }
        inputs
    }

    fn picture(
        &self,
        generation: GenerationId,
        id: &RenditionId,
        group: &[Bytes],
        pts: Ticks,
    ) -> Option<Input> {
        let place = usize::try_from(self.pictures)
            .ok()?
            .checked_rem(group.len())?;
        let payload = group.get(place)?.clone();
        Some(Input::EncodedVideo {
            generation,
            rendition: id.clone(),
            unit: unit(Track::Video, pts, place == 0, payload),
        })
    }
}

fn unit(track: Track, at: Ticks, starts: bool, payload: Bytes) -> AccessUnit {
    AccessUnit {
        track,
        pts: at,
        dts: at,
        random_access: if starts {
            RandomAccess::Full
        } else {
            RandomAccess::None
        },
        arrival: at,
        payload,
    }
}

fn opening(plan: &MediaPlan, has_audio: bool, now: Now) -> Opening {
    let rendition = |one: &RenditionPlan| RenditionPlan {
        origin: Origin::Encoded,
        ..one.clone()
    };
    let language = plan
        .audio
        .as_ref()
        .and_then(|audio| audio.track.language.clone());
    Opening {
        program_date_time: now.unix_milliseconds,
        split_first_group: false,
        renditions: plan.renditions.iter().map(rendition).collect(),
        audio: has_audio.then_some(AudioPlan {
            origin: Origin::Encoded,
            track: AudioTrack {
                codec: AudioCodec::Aac,
                language,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use api::stream_class::TranscodeMode;
    use media::segmenter::io::FinishedSegment;

    use super::*;
    use crate::fixtures;

    const PACKET: usize = 188;

    fn media(sizes: usize) -> Arc<SlateMedia> {
        Arc::new(SlateMedia {
            groups: vec![vec![Bytes::from_static(&[0, 0, 1, 0x65, 0]); 50]; sizes],
            silence: Bytes::from_static(&[0; 9]),
        })
    }

    fn segments(effects: Vec<Effect>) -> impl Iterator<Item = FinishedSegment> {
        effects.into_iter().filter_map(|effect| match effect {
            Effect::Segment(segment) | Effect::Slate(segment) => Some(segment),
            _ => None,
        })
    }

    /// A flow, its clock, and what came out of it.
    struct Course {
        flow: Flow,
        now: Duration,
        segments: Vec<FinishedSegment>,
    }

    impl Course {
        fn new() -> Self {
            let mut class = fixtures::job("/nowhere").class;
            (class.mode, class.slate) = (TranscodeMode::Auto, true);
            Self {
                flow: Flow::new(class),
                now: Duration::ZERO,
                segments: Vec::new(),
            }
        }

        fn act(&mut self, act: impl FnOnce(&mut Flow, Now) -> Vec<Effect>) {
            let now = Now {
                monotonic: self.now,
                unix_milliseconds: 0,
            };
            let effects = act(&mut self.flow, now);
            self.segments.extend(segments(effects));
        }

        /// Plays the bytes in two seconds, with a look at the slate behind each packet.
        fn play(&mut self, bytes: &Bytes, looks: bool) {
            let packets = u32::try_from(bytes.len() / PACKET).unwrap();
            let step = Duration::from_secs(2) / packets;
            for start in (0..bytes.len()).step_by(PACKET) {
                self.now += step;
                let packet = bytes.slice(start..start + PACKET);
                self.act(|flow, now| flow.push(&packet, now));
                self.act(Flow::advance);
                if looks {
                    self.look();
                }
            }
        }

        /// Shows a slate wherever one may begin.
        fn look(&mut self) {
            if let Some(sizes) = self.flow.slate_sizes() {
                self.act(|flow, now| flow.show_slate(media(sizes.len()), now));
            }
        }

        fn wait(&mut self, quarters: u32) {
            for _ in 0..quarters {
                self.now += Duration::from_millis(250);
                self.act(Flow::advance);
            }
        }

        /// The timelines that stand behind a discontinuity, in order.
        fn seams(&self) -> Vec<u64> {
            let seams = self.segments.iter().filter(|one| one.discontinuity);
            seams.map(|one| one.generation.0).collect()
        }
    }

    #[test]
    fn the_return_from_a_slate_is_one_seam_wherever_it_is_looked_whether_one_is_due() {
        let mut course = Course::new();
        course.play(&fixtures::television(1), false);
        course.act(Flow::reconnected);
        course.wait(24);
        course.look();
        assert!(!course.flow.may_show_slate());
        course.wait(24);
        course.play(&fixtures::television(100), true);
        course.act(Flow::finish);
        assert_eq!(course.seams(), [1, 2]);
        let slates = |one: &&FinishedSegment| Some(one.generation) == course.flow.slate_generation;
        assert!(course.segments.iter().filter(slates).count() >= 3);
    }

    #[test]
    fn before_the_first_media_there_is_a_slate_and_one_seam_behind_it() {
        let mut course = Course::new();
        course.look();
        course.wait(24);
        course.play(&fixtures::television(1), true);
        course.act(Flow::finish);
        assert_eq!(course.seams(), [1]);
    }
}
