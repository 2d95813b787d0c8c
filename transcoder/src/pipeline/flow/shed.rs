//! The part of the flow that leaves encoded renditions out while the encoder cannot keep up, and takes them up again.
//! What is passed through and the source itself never notice.

use media::segmenter::io::{Input, RenditionId};
use media::shedding::{Change, Rungs};

use super::Flow;
use super::effect::{Effect, Now, Role};

impl Flow {
    /// Looks how far the pictures of encoders are behind, and encodes fewer renditions or more.
    pub(super) fn look_after_pictures(&mut self, now: Now) {
        let behind = self.encoders.pictures_behind();
        let rungs = self.rungs();
        let look = |rungs| self.shedding.look(behind, rungs, now.monotonic);
        match rungs.and_then(look) {
            Some(Change::Fewer) => {
                self.discard(Role::Pictures, now);
                self.leave_out(now);
                if !self.begins {
                    self.start_encoder(Role::Pictures, self.missing_from(), now);
                }
            }
            Some(Change::More) => self.renews = true,
            None => {}
        }
        self.tell_left_out();
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

    /// Says what is left out, when that has changed: by what encoders do, or because another source has other renditions.
    fn tell_left_out(&mut self) {
        let Some(plan) = &self.plan else { return };
        let left_out = plan.encoded.iter().take(self.shedding.left_out());
        if !left_out.clone().eq(&self.left_out) {
            self.left_out = left_out.cloned().collect();
            self.effects.push(Effect::LeftOut(self.left_out.clone()));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::stream_class::{Rung, TranscodeMode};
    use media::ffmpeg::args::Encode;

    use super::*;
    use crate::fixtures;

    const PACKET: usize = 188;

    fn at(milliseconds: u64) -> Now {
        Now {
            monotonic: Duration::from_millis(milliseconds),
            unix_milliseconds: 0,
        }
    }

    /// Plays two seconds from there on.
    fn play(flow: &mut Flow, from: u64, start: u32) -> Vec<Effect> {
        let bytes = fixtures::television(start);
        let packets = bytes.len() / PACKET;
        let play = |index: usize| {
            let passed = 2000 * index / packets;
            let packet = bytes.slice(index * PACKET..(index + 1) * PACKET);
            let now = at(from + u64::try_from(passed).unwrap());
            let mut effects = flow.push(&packet, now);
            effects.extend(flow.advance(now));
            effects
        };
        (0..packets).flat_map(play).collect()
    }

    fn started(effects: &[Effect]) -> Vec<Vec<i32>> {
        let lines = |encode: &Encode| encode.rungs.iter().map(|rung| rung.height).collect();
        let started = effects.iter().filter_map(|effect| match effect {
            Effect::StartEncoder { encode, .. } => Some(lines(encode)),
            _ => None,
        });
        started.collect()
    }

    fn left_out(effects: &[Effect]) -> Vec<Vec<&str>> {
        let left_out = effects.iter().filter_map(|effect| match effect {
            Effect::LeftOut(ids) => Some(ids.iter().map(RenditionId::as_str).collect()),
            _ => None,
        });
        left_out.collect()
    }

    #[test]
    fn where_no_rendition_is_encoded_any_more_the_cheapest_is_tried_again_at_a_key() {
        let mut class = fixtures::job("/nowhere").class;
        class.mode = TranscodeMode::Auto;
        class.ladder = [90, 72, 48]
            .map(|height| Rung {
                height,
                video_kilobits_per_second: 100,
            })
            .into();
        let mut flow = Flow::new(class);
        assert_eq!(started(&play(&mut flow, 0, 1)), [[72, 48]]);
        let mut fail = || flow.encoder_failed(Role::Pictures, true, at(2000));
        assert_eq!(left_out(&fail()), [["72p"]]);
        assert_eq!(left_out(&fail()), [["72p", "48p"]]);
        assert!(left_out(&fail()).is_empty());
        assert!(started(&flow.restart_encoder(Role::Pictures, at(3000))).is_empty());
        assert!(left_out(&flow.advance(at(4000))).is_empty());
        assert_eq!(left_out(&flow.advance(at(64_000))), [["72p"]]);
        assert_eq!(started(&play(&mut flow, 64_000, 3)), [[48]]);
        // Another source has nothing that is to be encoded.
        flow.plan.as_mut().unwrap().encoded.clear();
        assert_eq!(left_out(&flow.advance(at(67_000))), [[""; 0]]);
    }
}
