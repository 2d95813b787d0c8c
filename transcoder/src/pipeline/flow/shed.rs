//! The part of the flow that leaves encoded renditions out while the encoder cannot keep up, and takes them up again.
//! What is passed through and the source itself never notice.

use media::segmenter::io::{Input, RenditionId};
use media::shedding::{Change, Rungs};

use super::Flow;
use super::effect::{Effect, Now, Role};

impl Flow {
    /// Looks how far the pictures of encoders are behind, and encodes fewer renditions or more.
    pub(super) fn look_after_pictures(&mut self, now: Now) {
        let Some(rungs) = self.rungs() else { return };
        let behind = self.encoders.pictures_behind();
        match self.shedding.look(behind, rungs, now.monotonic) {
            Some(Change::Fewer) => {
                self.discard(Role::Pictures, now);
                self.leave_out(now);
                if !self.begins {
                    self.start_encoder(Role::Pictures, self.missing_from(), now);
                }
            }
            Some(Change::More) => {
                self.renews = true;
                self.tell_left_out();
            }
            None => {}
        }
    }

    /// An encoder is gone, or of no use any more; another one is started when it is time. It `is_hard` where less work may mend it.
    pub(crate) fn encoder_failed(&mut self, role: Role, is_hard: bool, now: Now) -> Vec<Effect> {
        self.discard(role, now);
        if is_hard
            && role == Role::Pictures
            && let Some(rungs) = self.rungs()
            && self.shedding.failed(rungs, now.monotonic).is_some()
        {
            self.leave_out(now);
        }
        self.effects()
    }

    /// The segmenter expects nothing of renditions that nobody encodes.
    pub(super) fn leave_off(&mut self, now: Now) {
        let Some(plan) = &self.plan else { return };
        let count = match self.pictures {
            true => self.shedding.left_out(),
            false => plan.encoded.len(),
        };
        let left_off: Vec<_> = plan.encoded.iter().take(count).cloned().collect();
        for rendition in left_off {
            self.tell(Input::RemoveRendition(rendition), now);
        }
    }

    /// The segmenter expects every rendition that is to be encoded.
    pub(super) fn take_up(&mut self, now: Now) {
        let Some(plan) = self.plan.as_ref().filter(|_| self.pictures) else {
            return;
        };
        let encoded = plan.encoded.iter().skip(self.shedding.left_out());
        let of = |id: &RenditionId| plan.renditions.iter().find(|one| one.id == *id).cloned();
        for rendition in encoded.filter_map(of).collect::<Vec<_>>() {
            self.tell(Input::AddRendition(rendition), now);
        }
    }

    /// Nothing is wanted of the encoder of this role any more.
    pub(super) fn discard(&mut self, role: Role, now: Now) {
        for input in self.encoders.discard(role, &mut self.effects) {
            self.tell(input, now);
        }
    }

    fn leave_out(&mut self, now: Now) {
        self.renews = false;
        self.leave_off(now);
        self.tell_left_out();
    }

    fn tell_left_out(&mut self) {
        if let Some(plan) = &self.plan {
            let left_out = plan.encoded.iter().take(self.shedding.left_out());
            let left_out = left_out.cloned().collect();
            self.effects.push(Effect::LeftOut(left_out));
        }
    }

    /// What could be encoded; `None` where nothing is known or nothing is to be.
    fn rungs(&self) -> Option<Rungs> {
        let plan = self.plan.as_ref()?;
        let rungs = Rungs {
            encoded: plan.encoded.len(),
            least: usize::from(!plan.passes_video_through()),
        };
        (rungs.encoded > 0).then_some(rungs)
    }
}
