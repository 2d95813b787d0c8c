//! From the bytes of the source to segments, without waiting for anything: front end, plan, encoders' media, segmenter.
//! Synchronous and without a clock: what is to be done besides is answered as effects.

mod class;
mod demand;
pub(crate) mod effect;
mod encode;
mod encoders;
mod hear;
mod held;
mod on_request;
pub(crate) mod ring;
mod shed;
pub(crate) mod slate;
#[cfg(test)]
mod turns;

use std::collections::BTreeSet;
use std::time::Duration;

use api::condition::Reason;
use api::job::JobClass;
use bytes::Bytes;
use media::front_end::{FrontEnd, FrontEvent, Malformed, SourceFacts, Stage};
use media::segmenter::Segmenter;
use media::segmenter::io::{GenerationId, Input, Opening, RenditionId};
use media::shedding::Shedding;
use media::unit::Track;

use super::plan::{self, MediaPlan, Unusable};
use class::{front_end, kept, segmenter};
use demand::Demand;
use effect::{Effect, Now};
use encoders::Encoders;
use held::Held;
use slate::Showing;

/// Events that wait for the facts of a source at most; then it is decided on what is known.
const WAITING_MAXIMUM: usize = 20_000;

/// The flow of one attempt, over all its sources.
#[derive(Debug)]
pub(crate) struct Flow {
    class: JobClass,
    front: FrontEnd,
    held: Held,
    segmenter: Segmenter,
    encoders: Encoders,
    demand: Demand,
    /// Pictures are encoded, where there are any to be.
    pictures: bool,
    /// What only clients that ask get is passed through.
    on_request: bool,
    /// What is not made until somebody asks for it, as it was told.
    off: BTreeSet<RenditionId>,
    shedding: Shedding,
    /// What it leaves out, as it was told.
    left_out: Vec<RenditionId>,
    /// Other renditions are encoded from the next key on.
    renews: bool,
    facts: Option<SourceFacts>,
    plan: Option<MediaPlan>,
    /// What viewers were told of last, over all sources.
    promised: Option<MediaPlan>,
    slate: Option<Showing>,
    /// The last one.
    slate_generation: Option<GenerationId>,
    /// What came before it was decided what is played.
    waiting: Vec<FrontEvent>,
    /// The segmenter must begin a new generation at the next random access point.
    begins: bool,
    generation: GenerationId,
    delivers: bool,
    /// The master must be told of renditions before the next segment.
    unannounced: bool,
    has_audio: bool,
    demoted: bool,
    forced_cut: Option<Duration>,
    finishing: bool,
    effects: Vec<Effect>,
}

impl Flow {
    /// A flow that has seen nothing.
    pub(crate) fn new(class: JobClass) -> Self {
        Self {
            front: front_end(&class),
            held: Held::default(),
            segmenter: segmenter(&class),
            encoders: Encoders::new(kept(&class)),
            demand: Demand::new(class.encoded_renditions),
            pictures: true,
            on_request: false,
            off: BTreeSet::new(),
            shedding: Shedding::default(),
            left_out: Vec::new(),
            renews: false,
            facts: None,
            plan: None,
            promised: None,
            slate: None,
            slate_generation: None,
            waiting: Vec::new(),
            begins: true,
            generation: GenerationId::default(),
            delivers: false,
            unannounced: true,
            has_audio: true,
            demoted: false,
            forced_cut: None,
            finishing: false,
            effects: Vec::new(),
            class,
        }
    }

    /// Takes the next bytes of the source.
    pub(crate) fn push(&mut self, bytes: &Bytes, now: Now) -> Vec<Effect> {
        for event in self.front.push(bytes) {
            if let Some(event) = self.held.offer(event, now.monotonic) {
                self.take(event, now);
            }
        }
        self.effects()
    }

    /// Time has passed: lets through what was held back until now.
    pub(crate) fn advance(&mut self, now: Now) -> Vec<Effect> {
        for event in self.held.due(now.monotonic) {
            self.take(event, now);
        }
        self.switch(now);
        self.look_after_pictures(now);
        self.go_on_with_slate(now);
        self.tell(Input::Tick, now);
        self.effects()
    }

    /// Until when media are held back; nothing more is to be read before that.
    pub(crate) fn held_until(&self) -> Option<Duration> {
        self.held.until()
    }

    /// What is being waited for.
    pub(crate) fn stage(&self) -> Stage {
        self.front.stage()
    }

    /// The same source is connected again: what it sends may go on where it was.
    pub(crate) fn reconnected(&mut self, now: Now) -> Vec<Effect> {
        self.release(now);
        self.front.reconnect();
        self.delivers = false;
        self.effects()
    }

    /// The times of the connection begin with it.
    pub(crate) fn expect_own_times(&mut self) {
        self.front.expect_own_times();
    }

    /// What follows is of another source.
    pub(crate) fn switched(&mut self, now: Now) -> Vec<Effect> {
        self.release(now);
        self.encoders.close(&mut self.effects);
        self.front = front_end(&self.class);
        self.forget();
        self.delivers = false;
        self.effects()
    }

    /// What was known of the source holds no more.
    fn forget(&mut self) {
        self.facts = None;
        self.plan = None;
        self.waiting.clear();
        self.begins = true;
        (self.demoted, self.forced_cut) = (false, None);
    }

    /// Nothing of the source follows: closes what is open. Encoders may still bring what they have.
    pub(crate) fn finish(&mut self, now: Now) -> Vec<Effect> {
        self.release(now);
        self.finishing = true;
        self.encoders.close(&mut self.effects);
        self.tell(Input::Finish, now);
        self.end_slate(now);
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn release(&mut self, now: Now) {
        for event in self.held.all() {
            self.take(event, now);
        }
    }

    fn take(&mut self, event: FrontEvent, now: Now) {
        match event {
            FrontEvent::Malformed(malformed) => self.malformed(&malformed),
            FrontEvent::Facts(facts) => self.learn(facts, now),
            FrontEvent::OtherTracks => {
                self.encoders.close(&mut self.effects);
                self.forget();
            }
            event if self.plan.is_none() => {
                self.waiting.push(event);
                if self.waiting.len() > WAITING_MAXIMUM {
                    self.decide(now);
                }
            }
            event => self.pass(event, now),
        }
    }

    fn malformed(&mut self, malformed: &Malformed) {
        let reason = match malformed {
            Malformed::NotTransportStream(_) => Reason::NotTransportStream,
            Malformed::NothingPlayable => Reason::NoTracks,
            Malformed::Scrambled => Reason::UnsupportedMedia,
            Malformed::Oversized => {
                tracing::warn!("the source sent a unit without end; it was thrown away");
                return;
            }
        };
        self.effects.push(Effect::Unusable(Unusable {
            reason,
            message: format!("the {malformed}"),
        }));
    }

    fn learn(&mut self, facts: SourceFacts, now: Now) {
        let is_complete = facts.complete;
        self.facts = Some(facts);
        if is_complete {
            self.decide(now);
        }
    }

    /// Decides what is played, anew when the source has changed.
    fn decide(&mut self, now: Now) {
        let Some(facts) = &self.facts else { return };
        let planned = plan::plan(facts, &self.class, self.demoted);
        let plan = match planned {
            Ok(plan) if plan.lacks_keyframes && !self.demoted => {
                // Stays so: the source may well have shorter intervals now and then.
                self.demoted = true;
                return self.decide(now);
            }
            Ok(plan) => plan,
            Err(unusable) => return self.effects.push(Effect::Unusable(unusable)),
        };
        if self.plan.as_ref() == Some(&plan) {
            return;
        }
        let before = self.plan.replace(plan.clone());
        if !before
            .as_ref()
            .is_some_and(|before| before.plays_like(&plan))
        {
            self.begins = true;
        }
        self.front.set_feed(plan.encode.is_some());
        self.effects.push(Effect::Planned(Box::new(plan)));
        self.switch(now);
        if before.is_none() {
            for event in std::mem::take(&mut self.waiting) {
                self.pass(event, now);
            }
        }
    }

    fn pass(&mut self, event: FrontEvent, now: Now) {
        match event {
            FrontEvent::RandomAccessPoint(key) => {
                self.encoders.fed(Track::Video, key.pts);
                self.at_key(key.pts, now);
                self.begin(now);
                let input = Input::RandomAccessPoint {
                    pts: key.pts,
                    dts: key.dts,
                    random_access: key.random_access,
                };
                self.tell_source(input, now);
            }
            FrontEvent::Unit(unit) => {
                // While a slate is shown, nobody has anything of it.
                if self.slate.is_none() && !std::mem::replace(&mut self.delivers, true) {
                    self.effects.push(Effect::Delivering);
                }
                self.encoders.fed(unit.track, unit.pts);
                if self.plan.as_ref().is_some_and(MediaPlan::is_radio) {
                    // Of its frames only the first is told of as a random access point.
                    self.at_key(unit.pts, now);
                }
                self.tell_source(Input::Source(unit), now);
            }
            FrontEvent::Clock(clock) => self.tell_source(Input::Clock(clock), now),
            FrontEvent::Jump { .. } => {
                self.begins = true;
                self.encoders.close(&mut self.effects);
            }
            FrontEvent::FeedStart(tables) => {
                self.encoders.new_input(tables, &mut self.effects);
                if !self.begins {
                    self.start_encoders(now);
                }
            }
            FrontEvent::Feed(bytes) => self.encoders.feed(&bytes),
            FrontEvent::Facts(_) | FrontEvent::OtherTracks | FrontEvent::Malformed(_) => {}
        }
    }

    /// Begins a generation at a random access point, if one is to begin.
    fn begin(&mut self, now: Now) {
        let Some(plan) = self.plan.as_ref().filter(|_| self.begins) else {
            return;
        };
        if plan.encode.is_some() && !self.encoders.are_at_key() {
            // Without its input from here on an encoder would miss the first pictures: begin at the next one.
            return self.front.restart_feed();
        }
        let burst = i64::try_from(self.held.burst().as_millis()).unwrap_or(0);
        let opening = Opening {
            program_date_time: now.unix_milliseconds - burst,
            split_first_group: true,
            renditions: plan.renditions.clone(),
            audio: plan.audio.clone(),
        };
        self.begins = false;
        self.tell(Input::Begin(opening), now);
        self.end_slate(now);
    }

    fn tell(&mut self, input: Input, now: Now) {
        for output in self.segmenter.handle(input, now.monotonic) {
            self.hear(output, now);
        }
    }
}
