//! The encoders of the flow, seen from the media's side: which generation each encodes for, and what its pipes bring.
//! Starts and ends no process: it says what is to be started, fed and closed.

use std::time::Duration;

use bytes::Bytes;
use media::codec::video::VideoParameters;
use media::ffmpeg::args::Encode;
use media::pipe::PipeDemuxer;
use media::segmenter::io::{GenerationId, Input, RenditionId};
use media::time::Ticks;
use media::unit::AccessUnit;

use super::super::plan::MediaPlan;
use super::effect::{Effect, EncoderId};

/// An encoder process is replaced after this: at the second meeting with the wrap of its clock it loses its place.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// Every encoder that runs or still drains, oldest first.
#[derive(Debug, Default)]
pub(super) struct Encoders {
    encoders: Vec<Running>,
    started: u64,
    /// The input of the next encoder as far as it has come, tables first.
    input: Option<Vec<Bytes>>,
    fed: Option<Ticks>,
}

#[derive(Debug)]
struct Running {
    id: EncoderId,
    generation: GenerationId,
    started: Duration,
    /// It was found old enough to be replaced.
    is_due: bool,
    pipes: Vec<Pipe>,
    /// It gets what is fed.
    is_current: bool,
    /// It goes on where this one ends: what it brings waits for that.
    follows: Option<EncoderId>,
    held: Vec<Input>,
}

#[derive(Debug)]
struct Pipe {
    /// Whose pictures it brings; audio has none.
    rendition: Option<RenditionId>,
    demuxer: PipeDemuxer,
    brought: Option<Ticks>,
}

impl Encoders {
    /// A new input begins with these tables: who was fed so far gets nothing more.
    pub(super) fn new_input(&mut self, tables: Bytes, effects: &mut Vec<Effect>) {
        self.close(effects);
        self.input = Some(vec![tables]);
    }

    /// Whether the input of an encoder has begun that is not started yet.
    pub(super) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    /// Who is fed so far gets nothing more, and is told so by somebody else.
    pub(super) fn abandon(&mut self) {
        for one in &mut self.encoders {
            one.is_current = false;
        }
    }

    /// Starts an encoder on the input that has begun.
    pub(super) fn start(
        &mut self,
        plan: &MediaPlan,
        generation: GenerationId,
        near: Ticks,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(encode), Some(input)) = (&plan.encode, self.input.take()) else {
            return;
        };
        self.started += 1;
        let id = EncoderId(self.started);
        let predecessor = self.encoders.last();
        let follows = predecessor.filter(|last| last.generation == generation);
        let follows = follows.map(|last| last.id);
        self.encoders.push(Running {
            id,
            generation,
            started: now,
            is_due: false,
            pipes: pipes(plan, encode, near),
            is_current: true,
            follows,
            held: Vec::new(),
        });
        self.fed = None;
        effects.push(Effect::StartEncoder {
            id,
            encode: encode.clone(),
        });
        effects.extend(input.into_iter().map(|bytes| Effect::Feed { id, bytes }));
    }

    /// The input goes on.
    pub(super) fn feed(&mut self, bytes: Bytes, effects: &mut Vec<Effect>) {
        if let Some(input) = &mut self.input {
            input.push(bytes);
        } else if let Some(current) = self.encoders.iter().find(|one| one.is_current) {
            let id = current.id;
            effects.push(Effect::Feed { id, bytes });
        }
    }

    /// The source has come to this time: what was fed reaches so far.
    pub(super) fn fed(&mut self, pts: Ticks) {
        self.fed = self.fed.max(Some(pts));
    }

    /// Nothing more follows for who is fed now.
    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        self.input = None;
        for one in self.encoders.iter_mut().filter(|one| one.is_current) {
            one.is_current = false;
            effects.push(Effect::CloseEncoder { id: one.id });
        }
    }

    /// Whether the current encoder has become old enough to be replaced; said once.
    pub(super) fn are_due(&mut self, now: Duration) -> bool {
        let mut encoders = self.encoders.iter_mut();
        let old = |one: &&mut Running| {
            one.is_current && !one.is_due && now.saturating_sub(one.started) >= RENEWAL
        };
        encoders.find(old).is_some_and(|one| {
            one.is_due = true;
            true
        })
    }

    /// A pipe has brought bytes: what the segmenter is to be told.
    pub(super) fn media(&mut self, id: EncoderId, pipe: usize, bytes: &Bytes) -> Vec<Input> {
        let Some(one) = self.encoders.iter_mut().find(|one| one.id == id) else {
            return Vec::new();
        };
        let generation = one.generation;
        let Some(pipe) = one.pipes.get_mut(pipe) else {
            return Vec::new();
        };
        let units = pipe.demuxer.push(bytes);
        let inputs = pipe.inputs(generation, units);
        one.pass(inputs)
    }

    /// An encoder has ended and its pipes are read to the end: what the segmenter is to be told.
    pub(super) fn ended(&mut self, id: EncoderId) -> Vec<Input> {
        let Some(index) = self.encoders.iter().position(|one| one.id == id) else {
            return Vec::new();
        };
        let mut one = self.encoders.remove(index);
        let mut inputs = std::mem::take(&mut one.held);
        for pipe in &mut one.pipes {
            let units = pipe.demuxer.finish();
            inputs.extend(pipe.inputs(one.generation, units));
        }
        match self
            .encoders
            .iter_mut()
            .find(|next| next.follows == Some(id))
        {
            Some(successor) => {
                successor.follows = None;
                inputs.append(&mut successor.held);
            }
            None => inputs.push(Input::EncoderEnded(one.generation)),
        }
        inputs
    }

    /// Whether an encoder that was not told to end is this one.
    pub(super) fn is_current(&self, id: EncoderId) -> bool {
        let mut encoders = self.encoders.iter();
        encoders.any(|one| one.id == id && one.is_current)
    }

    /// Whether any runs or drains.
    pub(super) fn is_empty(&self) -> bool {
        self.encoders.is_empty()
    }

    /// How far the slowest pipe of the current encoder is behind what was fed.
    pub(super) fn delay(&self) -> Option<Ticks> {
        let fed = self.fed?;
        let current = self.encoders.iter().find(|one| one.is_current)?;
        let slowest = current.pipes.iter().map(|pipe| pipe.brought).min()??;
        Some(Ticks((fed - slowest).0.max(0)))
    }

    /// What a rendition's encoder really makes, once a picture has come.
    pub(super) fn parameters(&self, id: &RenditionId) -> Option<&VideoParameters> {
        let pipes = self.encoders.iter().flat_map(|one| &one.pipes);
        pipes
            .filter(|pipe| pipe.rendition.as_ref() == Some(id))
            .find_map(|pipe| pipe.demuxer.video_parameters())
    }
}

impl Running {
    fn pass(&mut self, inputs: Vec<Input>) -> Vec<Input> {
        if self.follows.is_none() {
            return inputs;
        }
        self.held.extend(inputs);
        Vec::new()
    }
}

impl Pipe {
    fn inputs(&mut self, generation: GenerationId, units: Vec<AccessUnit>) -> Vec<Input> {
        self.brought = self.brought.max(units.iter().map(|unit| unit.pts).max());
        let input = |unit| match &self.rendition {
            Some(rendition) => Input::EncodedVideo {
                generation,
                rendition: rendition.clone(),
                unit,
            },
            None => Input::EncodedAudio { generation, unit },
        };
        units.into_iter().map(input).collect()
    }
}

fn pipes(plan: &MediaPlan, encode: &Encode, near: Ticks) -> Vec<Pipe> {
    let video = plan.encoded.iter().map(|rendition| Pipe {
        rendition: Some(rendition.clone()),
        demuxer: PipeDemuxer::video(near),
        brought: None,
    });
    let audio = encode.audio.then(|| Pipe {
        rendition: None,
        demuxer: PipeDemuxer::audio(near),
        brought: None,
    });
    video.chain(audio).collect()
}
