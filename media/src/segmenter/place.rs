//! Where a picture lies in the plan. Pure.

use super::follower::View;
use super::io::GenerationId;
use super::plan::Planned;
use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess};

/// The first picture of a generation may come this much after the planned start (a decoder that drops its first frames).
const START_TOLERANCE: Ticks = Ticks::from_milliseconds(500);

/// The ordinal whose start this picture is, from `next` on. A decoder starts here, so it must be a key.
pub(super) fn joining_point(
    next: u64,
    generation: GenerationId,
    unit: &AccessUnit,
    view: View,
) -> Option<u64> {
    if unit.random_access == RandomAccess::None {
        return None;
    }
    let mut segments = view
        .plan
        .iter()
        .filter(|planned| planned.ordinal >= next && planned.generation == generation);
    let planned = segments.find(|planned| {
        let distance = unit.pts - planned.start;
        let tolerance = if planned.opens {
            START_TOLERANCE
        } else {
            view.half_frame
        };
        distance >= -view.half_frame && distance <= tolerance
    })?;
    Some(planned.ordinal)
}

pub(super) fn is_past(planned: &Planned, unit: &AccessUnit) -> bool {
    planned
        .end
        .is_some_and(|end| unit.pts >= end.at - end.half_frame)
}
