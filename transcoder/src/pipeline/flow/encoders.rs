//! The encoders of the flow, seen from the media's side: which generation each encodes for, what it is fed, and what its pipes bring.
//! Starts and ends no process: it says what is to be started and closed.

use std::time::Duration;

use bytes::Bytes;
use media::codec::video::VideoParameters;
use media::ffmpeg::args::Encode;
use media::pipe::PipeDemuxer;
use media::segmenter::io::{GenerationId, Input, RenditionId};
use media::time::Ticks;
use media::unit::{AccessUnit, Track};

use super::super::plan::MediaPlan;
use super::effect::{Effect, EncoderId, Role};
use super::ring::{Cursor, Next, Ring};

/// An encoder process is replaced after this: at the second meeting with the wrap of its clock it loses its place.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);
/// Within this time an encoder that keeps up has made again what it began with.
const CATCHING_UP: Duration = Duration::from_secs(20);
/// Sound that is missing for longer has paused, and an encoder owes nothing of that time.
const PAUSE: Ticks = Ticks::from_seconds(1);
/// Audio lies apart from the pictures of its time by no more than this in most sources.
const AUDIO_SKEW: Ticks = Ticks::from_seconds(1);

/// Every encoder that runs or still drains, oldest first, and what they are fed.
#[derive(Debug)]
pub(super) struct Encoders {
    encoders: Vec<Running>,
    started: u64,
    ring: Ring,
    /// The source has come to this time, and its pictures and its sound each to theirs.
    fed: Ticks,
    pictures: Ticks,
    sound: Ticks,
    /// Where the last encoder of the audio ended.
    audio: Option<Ticks>,
}

#[derive(Debug)]
struct Running {
    id: EncoderId,
    role: Role,
    generation: GenerationId,
    started: Duration,
    pipes: Vec<Pipe>,
    /// What it has been fed; nothing more once that is over.
    cursor: Option<Cursor>,
    /// It goes on where this one ends: what it brings waits for that.
    follows: Option<EncoderId>,
    held: Vec<Input>,
    /// Nobody wants what it still brings.
    is_discarded: bool,
}

#[derive(Debug)]
struct Pipe {
    /// Whose pictures it brings; audio has none.
    rendition: Option<RenditionId>,
    demuxer: PipeDemuxer,
    /// How far it has come.
    brought: Ticks,
}

/// What one encoder is started for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    /// What is played.
    pub(super) plan: &'a MediaPlan,
    /// Which part of that it makes.
    pub(super) role: Role,
    /// So many of its renditions, the costliest, are left out.
    pub(super) left_out: usize,
    /// Of which timeline.
    pub(super) generation: GenerationId,
    /// From which time on; from the newest key where it is not said.
    pub(super) from: Option<Ticks>,
}

impl Encoders {
    /// None, with a ring that goes back so far.
    pub(super) fn new(keep: Ticks) -> Self {
        Self {
            encoders: Vec::new(),
            started: 0,
            ring: Ring::new(keep),
            fed: Ticks::ZERO,
            pictures: Ticks::ZERO,
            sound: Ticks::ZERO,
            audio: None,
        }
    }

    /// A new input begins with these tables: who was fed so far gets nothing more.
    pub(super) fn new_input(&mut self, tables: Bytes, effects: &mut Vec<Effect>) {
        self.close(effects);
        self.ring.begin(tables, self.fed);
    }

    /// The input has come to a random access point. Whether an encoder may begin with it.
    pub(super) fn key(&mut self, pts: Ticks, must: bool) -> bool {
        self.ring.key(pts, must)
    }

    /// Whether an encoder that is started now begins with what follows.
    pub(super) fn are_at_key(&self) -> bool {
        self.ring.is_at_key()
    }

    /// Another timeline begins with what follows: nothing before it is encoded again.
    pub(super) fn begin(&mut self, effects: &mut Vec<Effect>) {
        self.close(effects);
        self.ring.cut();
        self.audio = None;
    }

    /// The input goes on.
    pub(super) fn feed(&mut self, bytes: &Bytes) {
        self.ring.push(bytes);
    }

    /// A track of the source has come to this time: what was fed reaches so far.
    pub(super) fn fed(&mut self, track: Track, pts: Ticks) {
        self.fed = pts;
        match track {
            Track::Video => self.pictures = pts,
            Track::Audio => self.heard(pts),
        }
    }

    /// The source's sound has come to this time; a track that stops leaves its encoder nothing to be late with.
    fn heard(&mut self, pts: Ticks) {
        let before = std::mem::replace(&mut self.sound, pts);
        if (Ticks::ZERO..=PAUSE).contains(&(pts - before)) {
            return;
        }
        let pipes = self.encoders.iter_mut().flat_map(|one| &mut one.pipes);
        for pipe in pipes.filter(|pipe| pipe.rendition.is_none()) {
            pipe.brought = pipe.brought.max(pts);
        }
    }

    /// How far the source has come.
    pub(super) fn latest(&self) -> Ticks {
        self.fed
    }

    /// Starts an encoder; `false` when there is nothing that it could begin with.
    pub(super) fn start(&mut self, task: Task, now: Duration, effects: &mut Vec<Effect>) -> bool {
        let parts = task.plan.encoders();
        let Some((_, mut encode)) = parts.into_iter().find(|(role, _)| *role == task.role) else {
            return true;
        };
        if task.role == Role::Pictures {
            encode.rungs.drain(..task.left_out.min(encode.rungs.len()));
            if encode.rungs.is_empty() {
                return true;
            }
        }
        let from = match task.role {
            Role::Pictures => task.from,
            Role::Audio => self.audio.map(|end| end - AUDIO_SKEW),
        };
        let Some((cursor, near)) = self.ring.reader(from) else {
            return false;
        };
        self.started += 1;
        let id = EncoderId(self.started);
        let predecessor = self.encoders.iter().rev();
        let mut alike = predecessor.filter(|one| one.role == task.role && !one.is_discarded);
        let follows = alike.next().filter(|one| one.generation == task.generation);
        self.encoders.push(Running {
            id,
            role: task.role,
            generation: task.generation,
            started: now,
            pipes: pipes(&task, &encode, near),
            cursor: Some(cursor),
            follows: follows.map(|one| one.id),
            held: Vec::new(),
            is_discarded: false,
        });
        effects.push(Effect::StartEncoder { id, encode });
        true
    }

    /// Who is being fed.
    pub(super) fn current(&self) -> Vec<EncoderId> {
        let current = self.encoders.iter().filter(|one| one.cursor.is_some());
        current.map(|one| one.id).collect()
    }

    /// What an encoder is fed next.
    pub(super) fn input(&mut self, id: EncoderId) -> Next {
        let mut encoders = self.encoders.iter_mut();
        let cursor = encoders
            .find(|one| one.id == id)
            .and_then(|one| one.cursor.as_mut());
        cursor.map_or(Next::Nothing, |cursor| self.ring.read(cursor))
    }

    /// Nothing more follows for who is fed now.
    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        for role in [Role::Pictures, Role::Audio] {
            self.close_one(role, effects);
        }
    }

    /// Nothing follows for the one of this role but what it has not been fed yet.
    pub(super) fn close_one(&mut self, role: Role, effects: &mut Vec<Effect>) {
        for one in self.encoders.iter_mut().filter(|one| one.role == role) {
            let Some(mut cursor) = one.cursor.take() else {
                continue;
            };
            let mut rest = Vec::new();
            while let Next::Bytes(bytes) = self.ring.read(&mut cursor) {
                rest.push(bytes);
            }
            effects.push(Effect::CloseEncoder { id: one.id, rest });
        }
    }

    /// Nothing more is wanted of who is fed in this role, nor of who still drains for the same timeline: what the segmenter is to be told.
    pub(super) fn discard(&mut self, role: Role, effects: &mut Vec<Effect>) -> Vec<Input> {
        let mut encoders = self.encoders.iter();
        let current = encoders.find(|one| one.role == role && one.cursor.is_some());
        let Some(generation) = current.map(|one| one.generation) else {
            return Vec::new();
        };
        let alike = |one: &&mut Running| one.role == role && one.generation == generation;
        for one in self.encoders.iter_mut().filter(alike) {
            (one.is_discarded, one.cursor, one.follows) = (true, None, None);
            one.held.clear();
            let sound = one.pipes.iter().find(|pipe| pipe.rendition.is_none());
            self.audio = sound.map(|pipe| pipe.brought).or(self.audio);
            effects.push(Effect::EndEncoder { id: one.id });
        }
        self.left_for(generation, role).into_iter().collect()
    }

    /// One that is to be replaced for its age, if any.
    pub(super) fn due(&self, now: Duration) -> Option<Role> {
        let mut current = self.encoders.iter().filter(|one| one.cursor.is_some());
        let due = current.find(|one| now.saturating_sub(one.started) >= RENEWAL)?;
        Some(due.role)
    }

    /// A pipe has brought bytes: what the segmenter is to be told.
    pub(super) fn media(&mut self, id: EncoderId, pipe: usize, bytes: &Bytes) -> Vec<Input> {
        let mut encoders = self.encoders.iter_mut();
        let Some(one) = encoders.find(|one| one.id == id && !one.is_discarded) else {
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
        if one.is_discarded {
            return Vec::new();
        }
        let mut inputs = std::mem::take(&mut one.held);
        for pipe in &mut one.pipes {
            let units = pipe.demuxer.finish();
            inputs.extend(pipe.inputs(one.generation, units));
            if pipe.rendition.is_none() {
                self.audio = Some(pipe.brought);
            }
        }
        let generation = one.generation;
        let mut encoders = self.encoders.iter_mut();
        if let Some(successor) = encoders.find(|next| next.follows == Some(id)) {
            successor.follows = None;
            inputs.append(&mut successor.held);
        } else {
            inputs.extend(self.left_for(generation, one.role));
        }
        inputs
    }

    /// What the segmenter is to be told when the last one of a role is gone.
    fn left_for(&self, generation: GenerationId, role: Role) -> Option<Input> {
        if !self.work_for(generation) {
            return Some(Input::EncoderEnded(generation));
        }
        (role == Role::Pictures).then_some(Input::PicturesEnded(generation))
    }

    fn work_for(&self, generation: GenerationId) -> bool {
        let mut wanted = self.encoders.iter().filter(|one| !one.is_discarded);
        wanted.any(|one| one.generation == generation)
    }

    /// What an encoder does that was not told to end.
    pub(super) fn role(&self, id: EncoderId) -> Option<Role> {
        let mut encoders = self.encoders.iter();
        let current = encoders.find(|one| one.id == id && one.cursor.is_some())?;
        Some(current.role)
    }

    /// Whether any runs or drains.
    pub(super) fn is_empty(&self) -> bool {
        self.encoders.is_empty()
    }

    /// How far the slowest pipe of those that are fed is behind the source. Whoever has just begun with what is older has still to
    /// catch up, and is not judged by it.
    pub(super) fn delay(&self, now: Duration) -> Option<Ticks> {
        let current = self
            .encoders
            .iter()
            .filter(|one| one.cursor.is_some() && now.saturating_sub(one.started) >= CATCHING_UP);
        let pipes = current.flat_map(|one| &one.pipes);
        pipes.map(|pipe| self.behind(pipe)).max()
    }

    /// How far the slowest pipe of pictures is behind the source, whatever it began with; `None` where none is fed.
    pub(super) fn pictures_behind(&self) -> Option<Ticks> {
        let current = self.encoders.iter().filter(|one| one.cursor.is_some());
        let pipes = current.flat_map(|one| &one.pipes);
        let pictures = pipes.filter(|pipe| pipe.rendition.is_some());
        pictures.map(|pipe| self.behind(pipe)).max()
    }

    /// Each pipe is compared with its own track.
    fn behind(&self, pipe: &Pipe) -> Ticks {
        let fed = match pipe.rendition {
            Some(_) => self.pictures,
            None => self.sound,
        };
        (fed - pipe.brought).max(Ticks::ZERO)
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
        let latest = units.iter().map(|unit| unit.pts).max();
        self.brought = self.brought.max(latest.unwrap_or(self.brought));
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

fn pipes(task: &Task, encode: &Encode, near: Ticks) -> Vec<Pipe> {
    let left_out = match task.role {
        Role::Pictures => task.left_out,
        Role::Audio => 0,
    };
    let renditions = task.plan.encoded.iter().skip(left_out);
    let renditions = renditions.take(encode.rungs.len());
    let video = renditions.map(|rendition| Pipe {
        rendition: Some(rendition.clone()),
        demuxer: PipeDemuxer::video(near),
        brought: near,
    });
    let audio = encode.audio.then(|| Pipe {
        rendition: None,
        demuxer: PipeDemuxer::audio(near),
        brought: near,
    });
    video.chain(audio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(rendition: Option<&str>, brought: Ticks) -> Pipe {
        Pipe {
            rendition: rendition.map(RenditionId::new),
            demuxer: PipeDemuxer::audio(Ticks::ZERO),
            brought,
        }
    }

    #[test]
    fn an_encoder_is_not_late_with_sound_that_the_source_does_not_send() {
        let seconds = Ticks::from_seconds;
        let mut encoders = Encoders::new(seconds(10));
        encoders
            .ring
            .begin(Bytes::from_static(b"tables"), Ticks::ZERO);
        encoders.key(seconds(10), true);
        let (cursor, _) = encoders.ring.reader(None).unwrap();
        encoders.heard(seconds(12));
        encoders.encoders.push(Running {
            id: EncoderId(1),
            role: Role::Pictures,
            generation: GenerationId(0),
            started: Duration::ZERO,
            pipes: vec![pipe(Some("144p"), seconds(39)), pipe(None, seconds(12))],
            cursor: Some(cursor),
            follows: None,
            held: Vec::new(),
            is_discarded: false,
        });
        let now = Duration::from_secs(30);
        encoders.fed(Track::Video, seconds(40));
        encoders.heard(Ticks::from_milliseconds(12_500));
        assert_eq!(encoders.delay(now), Some(seconds(1)));
        // It comes again; what of that is not encoded is owed.
        encoders.heard(seconds(40));
        assert_eq!(encoders.delay(now), Some(seconds(1)));
        for half in 81..=90 {
            encoders.heard(Ticks::from_milliseconds(500 * half));
        }
        assert_eq!(encoders.delay(now), Some(seconds(5)));
    }
}
