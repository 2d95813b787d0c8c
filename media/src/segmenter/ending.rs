//! How a generation ends: where its leading track ends, once its encoders are drained, and never with a segment that lacks its sound.

use super::Segmenter;
use super::cutter::Cutter;
use super::generation::{Generation, Resumption};
use super::io::{GenerationId, Origin, RenditionId};
use super::lead::Lead;
use super::plan::Planned;
use crate::time::Ticks;

impl Segmenter {
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        if !self
            .active
            .as_ref()
            .is_some_and(Generation::waits_for_encoder)
        {
            self.close_generation();
        }
    }

    pub(super) fn encoder_ended(&mut self, generation: GenerationId) {
        let Some(active) = &mut self.active else {
            return;
        };
        let is_open = generation == active.id && !active.is_closed;
        let drains = is_open && (self.next.is_some() || self.finishing);
        if is_open && !drains {
            active.lost_encoder = true;
            // One that has brought nothing yet is opened by a key anyway.
            if active.is_cutting() && matches!(active.lead, Lead::Encoded(_)) {
                active.resumption = Some(Resumption::WithKey);
            }
            return self.renditions_lost(generation);
        }
        self.encoders_end(generation);
        if drains {
            self.close_generation();
            self.change_over();
        }
    }

    /// The encoder of the encoded pictures has ended in the middle of a generation; a successor may bring them again from an earlier
    /// key on. A source that is passed through does not wait for that: what comes after a number was published is late.
    pub(super) fn renditions_lost(&mut self, generation: GenerationId) {
        let Some(active) = self.active.as_ref().filter(|one| one.id == generation) else {
            return;
        };
        let is_waited_for = matches!(active.lead, Lead::Encoded(_));
        for follower in &mut self.followers {
            let plan = follower.plan_in(generation);
            if plan.is_some_and(|plan| plan.origin == Origin::Encoded) {
                follower.lose();
                follower.is_expected &= is_waited_for;
            }
        }
    }

    /// From where on the active generation's encoded `renditions` are to be made again, on the source's clock; `None` when nothing
    /// that was begun lacks any of them.
    #[must_use]
    pub fn resumes_at(&self, renditions: &[RenditionId]) -> Option<Ticks> {
        let active = self.active.as_ref()?;
        let wanted = self
            .followers
            .iter()
            .filter(|follower| renditions.contains(&follower.id));
        let starts = wanted.filter_map(|follower| follower.resumes_in(active.id, &self.plan));
        starts.min()
    }

    /// Where the last segments start that are published of the active generation and last so long together, on the source's clock.
    #[must_use]
    pub fn published_since(&self, duration: Ticks) -> Option<Ticks> {
        let active = self.active.as_ref()?;
        let published = self.plan.iter().rev().filter(|planned| {
            planned.generation == active.id && planned.ordinal < self.publisher.next()
        });
        let mut total = Ticks::ZERO;
        let mut start = None;
        for planned in published {
            if total >= duration {
                break;
            }
            start = Some(planned.start);
            total += planned
                .end
                .map_or(Ticks::ZERO, |end| end.at - planned.start);
        }
        start
    }

    fn encoders_end(&mut self, generation: GenerationId) {
        self.encoders_ended = self.encoders_ended.max(Some(generation));
        for follower in &mut self.followers {
            follower.end(generation);
        }
    }

    /// Closes the open segment where the leading track ends.
    pub(super) fn close_generation(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        if std::mem::replace(&mut active.is_closed, true) {
            return;
        }
        let (id, lost_encoder) = (active.id, active.lost_encoder);
        let end = active.cutter.as_ref().map(Cutter::end);
        if let Some(end) = end
            && !self.take_back_silence(id)
        {
            self.close_segment(end, true);
        }
        if lost_encoder {
            return self.encoders_end(id);
        }
        for follower in &mut self.followers {
            let plan = follower.plan_in(id);
            if plan.is_some_and(|plan| plan.origin == Origin::Source) {
                follower.end(id);
            }
        }
    }

    /// A generation may end before any of the sound of its last segments has come: players expect every announced track in a
    /// segment, so those are not made. Answers whether the open one was among them.
    fn take_back_silence(&mut self, generation: GenerationId) -> bool {
        let mut is_taken = false;
        while self.is_silent_yet(generation)
            && let Some(ordinal) = self.plan.take_back()
        {
            is_taken = true;
            for follower in &mut self.followers {
                follower.take_back(ordinal);
            }
        }
        is_taken
    }

    /// Whether the generation's last segment has announced the source's audio, and none of it has come.
    fn is_silent_yet(&self, generation: GenerationId) -> bool {
        let of_generation = |planned: &&Planned| planned.generation == generation;
        let mut latest = self.plan.iter().rev().take_while(of_generation);
        let Some(last) = latest.next() else {
            return false;
        };
        let announced = last.announced.as_ref().map(|audio| audio.origin);
        let is_left = latest.next().is_some_and(|before| before.audio.is_some());
        announced == Some(Origin::Source) && !self.audio.has_for(generation, last.start, is_left)
    }
}
