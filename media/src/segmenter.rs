//! Cuts one live stream into the segments of all its renditions: same segments, same durations, same dates, same audio.
//! A pure state machine: [`Segmenter::handle`] takes what happened and the time, and answers what to publish. It never waits, reads or writes.
//!
//! ```
//! use std::time::Duration;
//! use media::segmenter::{Segmenter, cutter::CutRules, io::{AudioPlan, Input, Opening, Origin, Output, RenditionId, RenditionPlan, Settings}};
//! use media::{time::Ticks, ts::mux::AudioTrack, unit::{AudioCodec, VideoCodec}};
//!
//! let mut segmenter = Segmenter::new(Settings {
//!     rules: CutRules { segment_duration: Ticks::from_seconds(2), target_duration: Ticks::from_seconds(4) },
//! });
//! let opening = Opening {
//!     program_date_time: 1_760_000_000_000,   // Unix milliseconds of the first byte, minus the burst
//!     split_first_group: true,
//!     renditions: vec![RenditionPlan { id: RenditionId::new("source"), origin: Origin::Source, video: Some(VideoCodec::H264) }],
//!     audio: Some(AudioPlan { origin: Origin::Source, track: AudioTrack { codec: AudioCodec::Aac, language: None } }),
//! };
//! let now = Duration::ZERO;                   // monotonic, from any origin
//! for output in segmenter.handle(Input::Begin(opening), now) {
//!     match output {
//!         Output::Began(generation) => { /* start FFmpeg for it, if anything is encoded */ }
//!         Output::Segment(segment) => { /* give it a number (`playlist::numbers`), write it, list it */ }
//!         _ => {}
//!     }
//! }
//! // then: Input::Source, RandomAccessPoint and Clock as the front end says them, Input::EncodedVideo and EncodedAudio for
//! // what the pipes bring, Input::Tick when nothing has come for 250 ms, Input::Begin(opening) on a jump or another
//! // source, Input::EncoderEnded(generation) when an FFmpeg has ended and its pipes are drained.
//! ```

pub mod cutter;
pub mod io;

mod audio;
mod encoded;
mod ending;
mod follower;
mod generation;
mod lead;
mod place;
mod plan;
mod publish;
mod silence;
mod source;
mod timeline;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess, Track};
use audio::AudioQueue;
use follower::{Follower, View};
use generation::Generation;
use io::{GenerationId, Input, Opening, Origin, Output, RenditionId, RenditionPlan, Settings};
use lead::Lead;
use plan::{Moment, Plan};
use publish::Publisher;
use source::{Admission, SourceTimeline};
use timeline::Timeline;

/// What arrives while an encoder that leads the cuts still drains is held up to this many bytes.
const MAX_HELD_BYTES: usize = 64 << 20;
/// What an input costs besides its payload.
const INPUT_COST: usize = 256;

/// The segmenter of one stream.
#[derive(Debug)]
pub struct Segmenter {
    settings: Settings,
    moment: Moment,
    plan: Plan,
    timeline: Timeline,
    source: SourceTimeline,
    audio: AudioQueue,
    followers: Vec<Follower>,
    publisher: Publisher,
    active: Option<Generation>,
    next_generation: u64,
    /// A generation that has begun while the encoder that leads the active one still drains.
    next: Option<(GenerationId, Opening)>,
    /// What arrived for it.
    held: VecDeque<Input>,
    held_bytes: usize,
    /// Encoders of this generation and those before have ended.
    encoders_ended: Option<GenerationId>,
    finishing: bool,
    output: Vec<Output>,
}

impl Segmenter {
    /// A segmenter that has published nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            moment: Moment::before_all(Duration::ZERO),
            plan: Plan::default(),
            timeline: Timeline::default(),
            source: SourceTimeline::new(settings.rules.limit()),
            audio: AudioQueue::default(),
            followers: Vec::new(),
            publisher: Publisher::default(),
            active: None,
            next_generation: 0,
            next: None,
            held: VecDeque::new(),
            held_bytes: 0,
            encoders_ended: None,
            finishing: false,
            output: Vec::new(),
        }
    }

    /// Takes what happened at `now` (monotonic, from any origin) and returns what follows from it.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        self.moment.now = self.moment.now.max(now);
        self.receive(input);
        self.settle();
        std::mem::take(&mut self.output)
    }

    /// Whether everything of a finished stream is published.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.publisher.next() == self.plan.next_ordinal() && self.active_is_closed()
    }

    fn receive(&mut self, input: Input) {
        if self.next.is_some() && !self.belongs_to_active(&input) {
            self.held_bytes += held_size(&input);
            self.held.push_back(input);
            if self.held_bytes > MAX_HELD_BYTES {
                self.change_over();
            }
            return;
        }
        match input {
            Input::Begin(opening) => self.begin(opening),
            Input::Source(unit) => self.source_unit(unit),
            Input::RandomAccessPoint {
                pts,
                dts,
                random_access,
            } => self.random_access_point(pts, dts, random_access),
            Input::Clock(clock) => self.clock(clock),
            Input::EncodedVideo {
                generation,
                rendition,
                unit,
            } => self.encoded_video(generation, &rendition, unit),
            Input::EncodedAudio { generation, unit } => self.encoded_audio(generation, unit),
            Input::EncoderEnded(generation) => self.encoder_ended(generation),
            Input::PicturesEnded(generation) => self.renditions_lost(generation),
            Input::AddRendition(rendition) => self.add_rendition(rendition),
            Input::RemoveRendition(id) => self.remove_rendition(&id),
            Input::Finish => self.finish(),
            Input::Tick => {}
        }
    }

    /// Whether an input concerns the generation that is being drained.
    fn belongs_to_active(&self, input: &Input) -> bool {
        let active = self.active.as_ref().map(|active| active.id);
        match input {
            Input::EncodedVideo { generation, .. }
            | Input::EncodedAudio { generation, .. }
            | Input::EncoderEnded(generation)
            | Input::PicturesEnded(generation) => Some(*generation) <= active,
            Input::Tick => true,
            Input::Begin(_)
            | Input::RandomAccessPoint { .. }
            | Input::Source(_)
            | Input::Clock(_)
            | Input::AddRendition(_)
            | Input::RemoveRendition(_)
            | Input::Finish => false,
        }
    }

    fn clock(&mut self, clock: Ticks) {
        self.moment.clock = self.moment.clock.max(clock);
    }

    fn source_unit(&mut self, unit: AccessUnit) {
        let unit = SourceTimeline::believable(unit);
        let leads = unit.track == self.leading_track();
        match self.source.admit(&unit, leads) {
            Admission::Drop => {}
            Admission::Jump => self.jump(unit),
            Admission::Take => {
                self.clock(unit.arrival);
                match unit.track {
                    Track::Video => self.source_video(&unit),
                    Track::Audio => self.source_audio(unit),
                }
            }
        }
    }

    /// A jump that nobody announced: the generation is begun again as it was.
    fn jump(&mut self, unit: AccessUnit) {
        let Some(active) = &self.active else { return };
        let wanted = active.opening.program_date_time;
        let opening = Opening {
            program_date_time: self.timeline.anchor(wanted),
            ..active.opening.clone()
        };
        self.begin(opening);
        self.receive(Input::Source(unit));
    }

    fn source_video(&mut self, unit: &AccessUnit) {
        let Some(active) = &self.active else { return };
        let (id, leads) = (active.id, active.lead == Lead::Source(Track::Video));
        if leads && !self.lead(unit) {
            return;
        }
        for follower in self.passed_through(id) {
            follower.push(id, unit.clone());
        }
    }

    fn passed_through(&mut self, generation: GenerationId) -> impl Iterator<Item = &mut Follower> {
        self.followers.iter_mut().filter(move |follower| {
            follower
                .plan_in(generation)
                .is_some_and(|plan| plan.origin == Origin::Source && plan.video.is_some())
        })
    }

    /// Cuts at a picture whose first bytes have come: what ends there is whole.
    fn random_access_point(&mut self, pts: Ticks, dts: Ticks, random_access: RandomAccess) {
        let Some(active) = self.active.as_ref().filter(|active| active.is_cutting()) else {
            return;
        };
        let id = active.id;
        if active.lead != Lead::Source(Track::Video) || self.source.is_past(dts) {
            return;
        }
        let ahead = SourceTimeline::believable(AccessUnit {
            track: Track::Video,
            pts,
            dts,
            random_access,
            arrival: self.moment.clock,
            payload: Bytes::new(),
        });
        if let Some(ordinal) = self.look_ahead(&ahead) {
            for follower in self.passed_through(id) {
                follower.complete_to(ordinal);
            }
        }
    }

    fn source_audio(&mut self, unit: AccessUnit) {
        let Some(active) = &self.active else { return };
        let announced = active.opening.audio.as_ref();
        if announced.is_some_and(|audio| audio.origin == Origin::Source) {
            self.audio_unit(active.id, unit, &Lead::Source(Track::Audio));
        }
    }

    fn audio_unit(&mut self, generation: GenerationId, unit: AccessUnit, lead: &Lead) {
        let leads = self
            .active
            .as_ref()
            .is_some_and(|active| active.lead == *lead && active.id == generation);
        if leads && !self.lead(&unit) {
            return;
        }
        if self.audio.push(generation, unit) {
            self.audio_returns(generation);
        }
    }

    fn add_rendition(&mut self, rendition: RenditionPlan) {
        let Some(active) = &self.active else { return };
        let id = active.id;
        let mut followers = self.followers.iter_mut();
        match followers.find(|follower| follower.id == rendition.id) {
            Some(follower) if follower.plan_in(id).is_none() => follower.resume(id, rendition),
            Some(_) => {}
            None => {
                let oldest = self.plan.first_ordinal();
                self.followers
                    .push(Follower::new(id, rendition, oldest, false));
            }
        }
    }

    fn follower(&self, id: &RenditionId) -> Option<&Follower> {
        self.followers.iter().find(|follower| follower.id == *id)
    }

    fn view(&self) -> View<'_> {
        let frame = self.active.as_ref().map_or(Ticks::ZERO, Generation::frame);
        View {
            plan: &self.plan,
            half_frame: Ticks(frame.0 / 2),
            horizon: self.active.as_ref().and_then(Generation::horizon),
        }
    }
}

fn held_size(input: &Input) -> usize {
    match input {
        Input::Source(unit)
        | Input::EncodedVideo { unit, .. }
        | Input::EncodedAudio { unit, .. } => unit.payload.len() + INPUT_COST,
        _ => INPUT_COST,
    }
}

#[cfg(test)]
mod tests;
