//! Generations: one after the other, each opened by a key of its leading track and cut along it. How one ends stands in `ending`.

use std::sync::Arc;
use std::time::Duration;

use super::Segmenter;
use super::cutter::{CutReason, Cutter};
use super::follower::Follower;
use super::io::{AudioPlan, GenerationId, Opening, Origin, Output, RenditionId};
use super::lead::Lead;
use super::plan::{Ended, Moment, Start};
use super::source::SourceTimeline;
use super::timeline::{Placed, date_at};
use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess, Track};

/// Media that comes faster than real time by this much is a burst.
const BURST: Ticks = Ticks::from_milliseconds(500);

/// Whether the announced audio is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AudioState {
    Announced,
    LeftOut,
    /// It came after it had been left out.
    Back,
}

/// How the pictures of a leading encoder are taken that follows a lost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    /// From the first key after everything that was seen.
    WithKey,
    /// It began before that: what was seen already is placed again and cuts nothing, and what follows simply goes on.
    Repeating,
}

/// The generation whose segments are being cut.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) id: GenerationId,
    pub(super) opening: Opening,
    pub(super) lead: Lead,
    pub(super) is_closed: bool,
    announced: Option<Arc<AudioPlan>>,
    audio: AudioState,
    pub(super) cutter: Option<Cutter>,
    placed: Option<Placed>,
    began: Moment,
    /// Unix milliseconds of its start, once its first segment has ended.
    anchor: Option<i64>,
    /// Its encoder has ended before it, and nothing has come of a successor.
    pub(super) lost_encoder: bool,
    /// The encoder that leads was lost, and how its successor goes on.
    pub(super) resumption: Option<Resumption>,
    /// Where the encoded audio that has come ends.
    pub(super) audio_end: Option<Ticks>,
    /// Decoding time of a picture that the cutter has seen before it was whole.
    seen_ahead: Option<Ticks>,
}

impl Generation {
    fn new(id: GenerationId, opening: Opening) -> Self {
        Self {
            id,
            lead: Lead::of(&opening),
            is_closed: false,
            announced: opening.audio.clone().map(Arc::new),
            audio: AudioState::Announced,
            opening,
            cutter: None,
            placed: None,
            began: Moment::before_all(Duration::ZERO),
            anchor: None,
            lost_encoder: false,
            resumption: None,
            audio_end: None,
            seen_ahead: None,
        }
    }

    /// What one frame lasts.
    pub(super) fn frame(&self) -> Ticks {
        self.cutter.as_ref().map_or(Ticks::ZERO, Cutter::frame)
    }

    /// Up to where the cuts of this generation are decided; `None` once all are.
    pub(super) fn horizon(&self) -> Option<(GenerationId, Ticks)> {
        if self.is_closed {
            return None;
        }
        let decided = self
            .cutter
            .as_ref()
            .map_or(Ticks(i64::MIN), Cutter::highest);
        Some((self.id, decided))
    }

    /// Whether its cuts are being decided.
    pub(super) fn is_cutting(&self) -> bool {
        self.cutter.is_some() && !self.is_closed
    }

    fn is_mixed(&self) -> bool {
        matches!(self.lead, Lead::Source(Track::Video))
            && self
                .opening
                .renditions
                .iter()
                .any(|rendition| rendition.origin == Origin::Encoded)
    }

    /// Whether its end must wait for an encoder's last pictures.
    pub(super) fn waits_for_encoder(&self) -> bool {
        let is_led = matches!(self.lead, Lead::Encoded(_));
        is_led && self.cutter.is_some() && !self.is_closed && !self.lost_encoder
    }
}

impl Segmenter {
    pub(super) fn leading_track(&self) -> Track {
        let has_video = |opening: &Opening| {
            opening
                .renditions
                .iter()
                .any(|rendition| rendition.video.is_some())
        };
        match &self.active {
            Some(active) if !has_video(&active.opening) => Track::Audio,
            _ => Track::Video,
        }
    }

    pub(super) fn active_is_closed(&self) -> bool {
        self.next.is_none() && self.active.as_ref().is_none_or(|active| active.is_closed)
    }

    pub(super) fn begin(&mut self, opening: Opening) {
        let id = GenerationId(self.next_generation);
        self.next_generation += 1;
        self.finishing = false;
        self.output.push(Output::Began(id));
        self.next = Some((id, opening));
        if !self
            .active
            .as_ref()
            .is_some_and(Generation::waits_for_encoder)
        {
            self.change_over();
        }
    }

    /// Closes the active generation, starts the one that waits and gives it what has arrived for it.
    pub(super) fn change_over(&mut self) {
        let Some((id, opening)) = self.next.take() else {
            return;
        };
        self.close_generation();
        self.source = SourceTimeline::new(self.settings.rules.limit());
        self.moment = Moment::before_all(self.moment.now);
        self.change_renditions(id, &opening);
        self.active = Some(Generation::new(id, opening));
        self.held_bytes = 0;
        for input in std::mem::take(&mut self.held) {
            self.receive(input);
        }
    }

    fn change_renditions(&mut self, id: GenerationId, opening: &Opening) {
        for follower in &mut self.followers {
            let mut plans = opening.renditions.iter();
            let plan = plans.find(|rendition| rendition.id == follower.id);
            follower.change(id, plan.cloned());
        }
        let ordinal = self.plan.next_ordinal();
        for rendition in &opening.renditions {
            if self.follower(&rendition.id).is_none() {
                let follower = Follower::new(id, rendition.clone(), ordinal, true);
                self.followers.push(follower);
            }
        }
        let place = |id: &RenditionId| {
            let mut renditions = opening.renditions.iter();
            renditions.position(|rendition| rendition.id == *id)
        };
        self.followers
            .sort_by_key(|follower| place(&follower.id).unwrap_or(usize::MAX));
    }

    /// A rendition stops. Where its pictures decided the cuts, those of the next one do from now on: they are of the same source, and have
    /// its keys.
    pub(super) fn remove_rendition(&mut self, id: &RenditionId) {
        self.followers.retain(|follower| follower.id != *id);
        let Some(active) = &mut self.active else {
            return;
        };
        if active.lead != Lead::Encoded(Some(id.clone())) {
            return;
        }
        let is_followed = |id: &RenditionId| self.followers.iter().any(|one| one.id == *id);
        let mut others = active.opening.renditions.iter();
        let next = others.find(|one| one.video.is_some() && is_followed(&one.id));
        let Some(next) = next else { return };
        active.lead = Lead::Encoded(Some(next.id.clone()));
    }

    /// Shows a unit of the leading track to the cutter; `false` when the unit is of no use.
    pub(super) fn lead(&mut self, unit: &AccessUnit) -> bool {
        let Some(active) = self.active.as_mut().filter(|active| !active.is_closed) else {
            return false;
        };
        let is_key = unit.random_access != RandomAccess::None;
        let Some(cutter) = &mut active.cutter else {
            return is_key && self.open_generation(unit);
        };
        if cutter.is_full() {
            return false;
        }
        if let Some(resumption) = &mut active.resumption {
            if unit.pts <= cutter.highest() {
                if is_key {
                    *resumption = Resumption::Repeating;
                }
                return *resumption == Resumption::Repeating;
            }
            if *resumption == Resumption::WithKey && !is_key {
                return false;
            }
            active.resumption = None;
        }
        if active.seen_ahead == Some(unit.dts) {
            cutter.add_bytes(unit.payload.len());
        } else {
            self.observe(unit);
        }
        true
    }

    /// Shows the start of a picture to the cutter before its end has come; returns the ordinal that ends there.
    pub(super) fn look_ahead(&mut self, unit: &AccessUnit) -> Option<u64> {
        if let Some(active) = &mut self.active {
            active.seen_ahead = Some(unit.dts);
        }
        self.observe(unit)
    }

    /// Lets the cutter decide; returns the ordinal of the segment that ended.
    fn observe(&mut self, unit: &AccessUnit) -> Option<u64> {
        let active = self.active.as_mut()?;
        let (cutter, placed) = (active.cutter.as_mut()?, active.placed?);
        let played = self.moment.now.saturating_sub(active.began.now);
        if unit.pts - placed.start - Ticks::from_duration(played) > BURST {
            cutter.stop_splitting();
        }
        self.timeline.decoded(unit.dts + placed.offset);
        let cut = cutter.observe(unit)?;
        let ordinal = self.close_segment(cut.at, false)?;
        if cut.reason == CutReason::Forced {
            self.output.push(Output::ForcedCut { ordinal });
        }
        self.open_segment(cut.at, false);
        Some(ordinal)
    }

    fn open_generation(&mut self, first: &AccessUnit) -> bool {
        let Some(active) = &mut self.active else {
            return false;
        };
        let cutter = Cutter::new(self.settings.rules, first, active.opening.split_first_group);
        let placed = self
            .timeline
            .place(first, cutter.frame(), active.is_mixed());
        active.cutter = Some(cutter);
        active.placed = Some(placed);
        active.began = self.moment;
        if active.lead == Lead::Source(Track::Video) {
            self.source.starts_at(first.pts);
        }
        self.timeline.decoded(first.dts + placed.offset);
        self.open_segment(first.pts, true);
        true
    }

    fn open_segment(&mut self, at: Ticks, opens: bool) {
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(placed) = active.placed else { return };
        let audio_is_back = active.audio == AudioState::Back;
        if audio_is_back {
            active.audio = AudioState::Announced;
        }
        let is_first = active.id == GenerationId(0);
        let ordinal = self.plan.open(Start {
            generation: active.id,
            at,
            offset: placed.offset,
            opens,
            discontinuity: audio_is_back || (opens && !is_first),
            announced: active
                .announced
                .clone()
                .filter(|_| active.audio == AudioState::Announced),
            began: self.moment,
        });
        if audio_is_back {
            self.output.push(Output::AudioCameBack { ordinal });
        }
    }

    /// Ends the open segment and returns its ordinal.
    pub(super) fn close_segment(&mut self, at: Ticks, closes: bool) -> Option<u64> {
        let active = self.active.as_mut()?;
        let placed = active.placed?;
        let wanted = active.opening.program_date_time;
        let timeline = &self.timeline;
        let anchor = *active.anchor.get_or_insert_with(|| timeline.anchor(wanted));
        let half_frame = Ticks(active.frame().0 / 2);
        let planned = self.plan.last_mut()?;
        planned.end = Some(Ended {
            at,
            half_frame,
            date: date_at(anchor, placed.start, planned.start),
            decided: self.moment,
            closes,
        });
        let ordinal = planned.ordinal;
        self.timeline
            .ended(at + placed.offset, date_at(anchor, placed.start, at));
        Some(ordinal)
    }

    /// The announced audio does not come: it is left out from this ordinal on.
    pub(super) fn leave_audio_out(&mut self, generation: GenerationId, ordinal: u64) {
        for planned in self.plan.iter_mut() {
            if planned.generation == generation && planned.ordinal >= ordinal {
                planned.announced = None;
            }
        }
        if let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.id == generation)
        {
            active.audio = AudioState::LeftOut;
        }
        self.output.push(Output::AudioLeftOut(generation));
    }

    /// Audio has come: if it had been left out, the next segment announces it again.
    pub(super) fn audio_returns(&mut self, generation: GenerationId) {
        if let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.id == generation)
            && active.audio == AudioState::LeftOut
        {
            active.audio = AudioState::Back;
        }
    }
}
