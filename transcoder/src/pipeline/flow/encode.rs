//! The part of the flow that deals with encoders: when one is started, from which key on, and what it brings.
//! Synchronous like the rest; what processes do is told from outside.

use std::collections::BTreeSet;

use bytes::Bytes;
use media::time::Ticks;

use super::Flow;
use super::effect::{Effect, EncoderId, Now, Role};
use super::encoders::Task;
use super::ring::Next;

/// Before anything that is kept.
const EVERYTHING: Ticks = Ticks(i64::MIN / 4);

impl Flow {
    /// A pipe of an encoder has brought bytes.
    pub(crate) fn encoded(
        &mut self,
        id: EncoderId,
        pipe: usize,
        bytes: &Bytes,
        now: Now,
    ) -> Vec<Effect> {
        for input in self.encoders.media(id, pipe, bytes) {
            self.tell(input, now);
        }
        self.effects()
    }

    /// An encoder has ended and its pipes are read to the end.
    pub(crate) fn encoder_ended(&mut self, id: EncoderId, now: Now) -> Vec<Effect> {
        for input in self.encoders.ended(id) {
            self.tell(input, now);
        }
        self.effects()
    }

    /// What an encoder is for, if it was not told to end.
    pub(crate) fn role(&self, id: EncoderId) -> Option<Role> {
        self.encoders.role(id)
    }

    /// The encoders that are to be fed.
    pub(crate) fn fed(&self) -> Vec<EncoderId> {
        self.encoders.current()
    }

    /// What an encoder is fed next.
    pub(crate) fn input(&mut self, id: EncoderId) -> Next {
        self.encoders.input(id)
    }

    /// A fresh encoder takes over, and makes again what is not complete.
    pub(crate) fn restart_encoder(&mut self, role: Role, now: Now) -> Vec<Effect> {
        self.encoders.close_one(role, &mut self.effects);
        if !self.begins {
            self.start_encoder(role, self.missing_from(), now);
        }
        self.effects()
    }

    /// Viewers asked for these renditions.
    pub(crate) fn requested(&mut self, renditions: BTreeSet<String>, now: Now) -> Vec<Effect> {
        self.demand.ask(renditions, now.monotonic);
        self.switch(now);
        self.effects()
    }

    /// Looks what viewers ask for.
    pub(super) fn switch(&mut self, now: Now) {
        self.switch_on_request(now);
        self.switch_pictures(now);
        self.tell_off();
    }

    /// Encodes pictures while they are wanted, or while there are no others: from the oldest that is listed on, and so faster than
    /// they come until everything listed has them.
    fn switch_pictures(&mut self, now: Now) {
        let Some(plan) = &self.plan else { return };
        let is_on = !plan.passes_video_through() || self.demand.wants(&plan.encoded, now.monotonic);
        if std::mem::replace(&mut self.pictures, is_on) == is_on {
            return;
        }
        tracing::info!(is_on, "encoded renditions are switched");
        if self.begins {
            return;
        }
        if !is_on {
            self.discard(Role::Pictures, now);
            return self.leave_off(now);
        }
        self.take_up(now);
        // What is about to leave the list is not worth the time.
        let class = &self.class;
        let listed = class.playlist_duration_seconds - class.segment_duration_seconds;
        let listed = Ticks::from_seconds(i64::from(listed));
        let from = self.segmenter.published_since(listed);
        self.start_encoder(Role::Pictures, from.or(Some(EVERYTHING)), now);
    }

    /// Whether nothing of an encoder is awaited any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.encoders.is_empty()
    }

    /// How far the encoder is behind the source.
    pub(crate) fn encoder_delay(&self, now: Now) -> Option<Ticks> {
        self.encoders.delay(now.monotonic)
    }

    /// The encoders' input has come to a random access point: an encoder that is too old is replaced here.
    pub(super) fn at_key(&mut self, pts: Ticks, now: Now) {
        if !self.encoders.key(pts, self.begins) || self.begins {
            return;
        }
        if std::mem::take(&mut self.renews) {
            self.take_up(now);
            self.renew(Role::Pictures, now);
        } else if let Some(role) = self.encoders.due(now.monotonic) {
            self.renew(role, now);
        }
    }

    /// A fresh encoder goes on from here on.
    fn renew(&mut self, role: Role, now: Now) {
        self.encoders.close_one(role, &mut self.effects);
        self.start_encoder(role, None, now);
    }

    pub(super) fn start_encoders(&mut self, now: Now) {
        for role in [Role::Audio, Role::Pictures] {
            self.start_encoder(role, None, now);
        }
    }

    pub(super) fn start_encoder(&mut self, role: Role, from: Option<Ticks>, now: Now) {
        let is_off = role == Role::Pictures && !self.pictures;
        let Some(plan) = self.plan.as_ref().filter(|_| !is_off) else {
            return;
        };
        let task = Task {
            plan,
            role,
            left_out: self.shedding.left_out(),
            generation: self.generation,
            from,
        };
        let effects = &mut self.effects;
        if !self.encoders.start(task, now.monotonic, effects) {
            self.front.restart_feed();
        }
    }

    /// From where on pictures are encoded again; from the newest key where what is older is of no use any more: while a picture is
    /// passed through, numbers go out without them, and players have been shown that they are missing.
    pub(super) fn missing_from(&self) -> Option<Ticks> {
        let plan = self.plan.as_ref()?;
        let from = self.segmenter.resumes_at(&plan.encoded)?;
        let target = i64::from(self.class.target_duration_seconds);
        let is_shown = self.encoders.latest() - from > Ticks::from_seconds(target * 3);
        (!is_shown || !plan.passes_video_through()).then_some(from)
    }
}
