//! Brings decided segments out, in their order: audio, then bytes, then one [`FinishedSegment`] for all renditions.
//! A rendition that lags is waited for once, for a bounded time; it never holds the others up for good.

use std::time::Duration;

use super::Segmenter;
use super::audio::{Answer, Prospect};
use super::follower::{Follower, Standing};
use super::io::{FinishedSegment, GenerationId, LateSegment, Origin, Output, RenditionSegment};
use super::plan::{Ended, Planned};
use crate::time::Ticks;

/// How long the first segment waits for an encoder that is being started.
const START_PATIENCE: Duration = Duration::from_millis(1500);

/// Which segment is next, and since when only laggards keep it back.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    next: u64,
    ready_since: Option<Duration>,
}

impl Publisher {
    /// The ordinal that is published next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the next ordinal may go out with these renditions at `now`: standing, and for how long each is waited for.
    fn may_publish(&mut self, renditions: &[(Standing, Duration)], now: Duration) -> bool {
        let is_done = renditions
            .iter()
            .any(|&(standing, _)| standing == Standing::Done);
        let waits = renditions
            .iter()
            .filter(|&&(standing, _)| standing == Standing::Pending);
        let Some(patience) = waits.map(|&(_, patience)| patience).max() else {
            return true;
        };
        is_done && now >= *self.ready_since.get_or_insert(now) + patience
    }
}

impl Segmenter {
    /// Does everything that has become possible.
    pub(super) fn settle(&mut self) {
        self.decide_audio();
        let mut followers = std::mem::take(&mut self.followers);
        for follower in &mut followers {
            follower.advance(self.view());
            follower.is_expected |= follower.is_in_step(self.publisher.next);
            for ordinal in follower.write(&self.plan) {
                self.written(follower, ordinal);
            }
        }
        self.followers = followers;
        while self.publish_next() {}
        self.plan.prune(self.publisher.next);
    }

    fn decide_audio(&mut self) {
        let mut ordinal = self.publisher.next;
        while let Some(planned) = self.plan.get(ordinal) {
            if planned.audio.is_none() {
                let prospect = self.prospect(planned);
                match self.audio.decide(planned, prospect, self.moment) {
                    Answer::Wait => return,
                    Answer::Absent => {
                        let generation = planned.generation;
                        self.leave_audio_out(generation, ordinal);
                        continue;
                    }
                    Answer::Take(units) => {
                        if let Some(planned) = self.plan.get_mut(ordinal) {
                            planned.audio = Some(units.into());
                        }
                    }
                }
            }
            ordinal += 1;
        }
    }

    fn prospect(&self, planned: &Planned) -> Prospect {
        let origin = planned.announced.as_ref().map(|audio| audio.origin);
        Prospect {
            is_over: match origin {
                Some(Origin::Encoded) => self.encoders_ended >= Some(planned.generation),
                _ => self.generation_is_over(planned.generation),
            },
            source_audio: self.source.latest_audio(),
            source_pause: self.source.audio_pause(),
        }
    }

    fn generation_is_over(&self, generation: GenerationId) -> bool {
        self.active
            .as_ref()
            .is_none_or(|active| active.id > generation || active.is_closed)
    }

    /// A rendition has written a segment, which may come too late.
    fn written(&mut self, follower: &mut Follower, ordinal: u64) {
        if ordinal < self.publisher.next
            && let Some(rendered) = follower.take(ordinal)
        {
            self.output.push(Output::Late(LateSegment {
                ordinal,
                independent: rendered.independent,
                segment: RenditionSegment {
                    rendition: follower.id.clone(),
                    bytes: rendered.bytes,
                },
            }));
        }
    }

    fn publish_next(&mut self) -> bool {
        let ordinal = self.publisher.next;
        let Some(planned) = self.plan.get(ordinal) else {
            return false;
        };
        let (Some(end), Some(_)) = (planned.end, &planned.audio) else {
            return false;
        };
        let renditions: Vec<(Standing, Duration)> = self
            .followers
            .iter()
            .filter(|follower| follower.plan_in(planned.generation).is_some())
            .map(|follower| (follower.standing(ordinal), self.patience(follower)))
            .collect();
        let may = self.publisher.may_publish(&renditions, self.moment.now);
        if !may && !self.plan.is_full() {
            return false;
        }
        let planned = planned.clone();
        self.publish(&planned, end);
        true
    }

    /// How long the others wait for a rendition. One that has never brought anything gets less: its playlist simply starts later.
    fn patience(&self, follower: &Follower) -> Duration {
        let target = self.settings.rules.target_duration.to_duration();
        match (follower.is_expected, follower.has_started()) {
            (false, _) => Duration::ZERO,
            (true, false) => START_PATIENCE.min(target),
            (true, true) => target,
        }
    }

    fn publish(&mut self, planned: &Planned, end: Ended) {
        let ordinal = planned.ordinal;
        let mut independent = true;
        let mut renditions = Vec::new();
        for follower in &mut self.followers {
            if follower.standing(ordinal) == Standing::Pending {
                follower.is_expected = false;
            }
            if let Some(rendered) = follower.take(ordinal) {
                independent &= rendered.independent;
                renditions.push(RenditionSegment {
                    rendition: follower.id.clone(),
                    bytes: rendered.bytes,
                });
            }
        }
        self.publisher.next = ordinal + 1;
        self.publisher.ready_since = None;
        self.output.push(Output::Segment(FinishedSegment {
            ordinal,
            generation: planned.generation,
            duration: (end.at - planned.start).max(Ticks::ZERO),
            discontinuity: planned.discontinuity,
            independent,
            program_date_time: end.date,
            renditions,
        }));
    }
}
