//! What encoders bring: put near the source's clock, and taken once where a successor of a lost one repeats it.

use super::Segmenter;
use super::io::{GenerationId, RenditionId};
use super::lead::Lead;
use crate::codec::audio::{frames_from, parse_header};
use crate::time::Ticks;
use crate::unit::{AccessUnit, AudioCodec};

/// Frames of encoded audio overlap by no more than times are rounded.
const AUDIO_OVERLAP: Ticks = Ticks::from_milliseconds(2);

impl Segmenter {
    pub(super) fn encoded_video(
        &mut self,
        generation: GenerationId,
        rendition: &RenditionId,
        unit: AccessUnit,
    ) {
        let lead = Lead::Encoded(Some(rendition.clone()));
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| generation <= active.id)
        else {
            return;
        };
        if generation == active.id {
            active.lost_encoder = false;
        }
        let leads = active.lead == lead && active.id == generation;
        let unit = near(unit, self.reference(generation));
        if leads && !self.lead(&unit) {
            return;
        }
        let known = self
            .followers
            .iter_mut()
            .find(|follower| follower.id == *rendition);
        if let Some(follower) = known {
            follower.push(generation, unit);
        }
    }

    pub(super) fn encoded_audio(&mut self, generation: GenerationId, unit: AccessUnit) {
        if let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.id == generation)
        {
            active.lost_encoder = false;
        }
        let unit = near(unit, self.reference(generation));
        if let Some(unit) = self.without_repetition(generation, unit) {
            self.audio_unit(generation, unit, &Lead::Encoded(None));
        }
    }

    /// Near which time on the source's clock an encoder of this generation is.
    fn reference(&self, generation: GenerationId) -> Option<Ticks> {
        let mut latest = self.plan.iter().rev();
        let planned = latest.find(|planned| planned.generation == generation);
        planned
            .map(|planned| planned.start)
            .or(self.source.latest())
    }

    /// A successor of a lost encoder repeats what sounds already, and its frames lie elsewhere: none may overlap the last one.
    fn without_repetition(
        &mut self,
        generation: GenerationId,
        unit: AccessUnit,
    ) -> Option<AccessUnit> {
        let active = self
            .active
            .as_mut()
            .filter(|active| active.id == generation);
        let is_read = parse_header(AudioCodec::Aac, &unit.payload).is_some();
        let Some(active) = active.filter(|_| is_read) else {
            return Some(unit);
        };
        let from = active.audio_end.map_or(unit.pts, |end| end - AUDIO_OVERLAP);
        let frames = frames_from(AudioCodec::Aac, &unit.payload, unit.pts, from);
        let (pts, payload, end) = frames?;
        active.audio_end = active.audio_end.max(Some(end));
        Some(AccessUnit {
            pts,
            dts: pts,
            payload,
            ..unit
        })
    }
}

/// A unit whose times were unwrapped from another start, placed near `reference`.
fn near(unit: AccessUnit, reference: Option<Ticks>) -> AccessUnit {
    let Some(reference) = reference else {
        return unit;
    };
    let shift = Ticks::unwrap_near(unit.pts.wrapped(), reference) - unit.pts;
    AccessUnit {
        pts: unit.pts + shift,
        dts: unit.dts + shift,
        ..unit
    }
}
