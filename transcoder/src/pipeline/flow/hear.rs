//! What follows in the flow from what the segmenter says.

use std::time::Duration;

use api::stream_class::TranscodeMode;
use media::segmenter::io::Output;

use super::Flow;
use super::effect::{Effect, Now};

/// Two cuts without a key within this: passing the video through has proved wrong.
const FORCED_CUTS: Duration = Duration::from_secs(60);

impl Flow {
    /// Does what the segmenter says.
    pub(super) fn hear(&mut self, output: Output, now: Now) {
        match output {
            // A key had begun and will not come.
            Output::Segment(segment) if self.finishing && segment.renditions.is_empty() => {}
            Output::Segment(segment) if self.slate_generation == Some(segment.generation) => {
                self.effects.push(Effect::Slate(segment));
            }
            Output::Segment(segment) => {
                self.announce();
                self.effects.push(Effect::Segment(segment));
            }
            Output::ForcedCut { .. } => self.forced_cut(now),
            Output::Began(generation) if self.slate_began(generation) => {}
            Output::Began(generation) => {
                self.generation = generation;
                self.has_audio = true;
                self.unannounced = true;
                let is_at_key = self.encoders.are_at_key();
                self.encoders.begin(&mut self.effects);
                self.renews = false;
                self.leave_off(now);
                self.follow_on_request(now);
                if is_at_key {
                    self.start_encoders(now);
                } else {
                    self.front.restart_feed();
                }
            }
            Output::AudioLeftOut(_) => (self.has_audio, self.unannounced) = (false, true),
            Output::AudioCameBack { .. } => (self.has_audio, self.unannounced) = (true, true),
            Output::Late(late) => self.effects.push(Effect::Late(late)),
        }
    }

    fn forced_cut(&mut self, now: Now) {
        self.effects.push(Effect::ForcedCut);
        let before = self.forced_cut.replace(now.monotonic);
        let is_second =
            before.is_some_and(|before| now.monotonic.saturating_sub(before) < FORCED_CUTS);
        if is_second && !self.demoted && self.class.mode == TranscodeMode::Auto {
            self.demoted = true;
            self.decide(now);
        }
    }

    /// Says what the next segment is made of, once after each change.
    fn announce(&mut self) {
        if !std::mem::replace(&mut self.unannounced, false) {
            return;
        }
        if let Some(plan) = &self.plan {
            let encoders = &self.encoders;
            let facts = plan.announced(self.has_audio, |id| encoders.parameters(id));
            self.promised = Some(plan.clone());
            self.effects.push(Effect::Renditions(facts));
        }
    }
}
