//! The rendition that passes through what not every player takes, while a client asks for it. It follows the cuts that are made anyway:
//! whether it runs changes nothing for anybody else.

use std::collections::BTreeSet;

use media::segmenter::io::{Input, RenditionId};

use super::Flow;
use super::effect::{Effect, Now};

impl Flow {
    /// Runs it from the next cut on, or no longer.
    pub(super) fn switch_on_request(&mut self, now: Now) {
        let rendition = self.plan.as_ref().and_then(|plan| plan.on_request.as_ref());
        let ids = rendition.map(|one| one.id.clone());
        let is_on = self.demand.is_asked_for(ids.as_slice(), now.monotonic);
        if std::mem::replace(&mut self.on_request, is_on) == is_on {
            return;
        }
        tracing::info!(is_on, "what is passed through on request is switched");
        if is_on && !self.begins {
            return self.follow_on_request(now);
        }
        if let Some(id) = ids.filter(|_| !is_on) {
            self.tell(Input::RemoveRendition(id), now);
        }
    }

    /// A generation knows of it only by being told.
    pub(super) fn follow_on_request(&mut self, now: Now) {
        let plan = self.plan.as_ref().filter(|_| self.on_request);
        if let Some(rendition) = plan.and_then(|plan| plan.on_request.clone()) {
            self.tell(Input::AddRendition(rendition), now);
        }
    }

    /// Says which renditions are not made until somebody asks for them, when that has changed.
    pub(super) fn tell_off(&mut self) {
        let Some(plan) = &self.plan else { return };
        let encoded = plan.encoded.iter().filter(|_| !self.pictures);
        let on_request = plan.on_request.iter().filter(|_| !self.on_request);
        let on_request = on_request.map(|one| &one.id);
        let off: BTreeSet<RenditionId> = encoded.chain(on_request).cloned().collect();
        if off != self.off {
            self.off.clone_from(&off);
            let names = off.iter().map(|id| id.as_str().to_owned());
            self.effects.push(Effect::Off(names.collect()));
        }
    }
}
