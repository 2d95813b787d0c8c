//! One rendition: puts its pictures into the planned segments and writes them once their audio is decided.
//! It follows the plan and never changes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::io::{GenerationId, RenditionId, RenditionPlan};
use super::place::{is_past, joining_point};
use super::plan::{Plan, Planned};
use crate::time::Ticks;
use crate::ts::mux::{Muxer, SegmentMedia, Tracks};
use crate::unit::{AccessUnit, RandomAccess, VideoCodec};

/// Pictures that are held for cuts to come are bounded.
const MAX_HELD_BYTES: usize = 64 << 20;

/// Generations that may still be drained.
const REMEMBERED_PLANS: usize = 16;

/// What plan and leading track allow a rendition to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) plan: &'a Plan,
    /// Half a frame: a key this near to a cut is at it.
    pub(super) half_frame: Ticks,
    /// The generation of the open segment and the time up to which its cuts are decided; `None` once all are.
    pub(super) horizon: Option<(GenerationId, Ticks)>,
}

/// A segment in one rendition.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    pub(super) bytes: Bytes,
    pub(super) independent: bool,
}

/// Where a segment stands in a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Written.
    Done,
    /// Being filled, or to come.
    Pending,
    /// Passed over; it will not come.
    Missing,
}

/// The state of one rendition over segments and generations.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) id: RenditionId,
    /// What it is from which generation on; `None` where it pauses.
    plans: Vec<(GenerationId, Option<RenditionPlan>)>,
    /// Others wait for it. Not so while it lags or has not started.
    pub(super) is_expected: bool,
    muxer: Muxer,
    /// The ordinal being filled.
    next: u64,
    /// Its pictures are in step with the plan.
    joined: bool,
    units: Vec<AccessUnit>,
    /// Pictures for which the plan is not yet decided.
    held: VecDeque<(GenerationId, AccessUnit)>,
    held_bytes: usize,
    /// Its encoder has ended for this generation and those before.
    ended: Option<GenerationId>,
    /// Every picture up to the end of this ordinal has come.
    complete: Option<u64>,
    closed: VecDeque<(u64, Vec<AccessUnit>)>,
    finished: BTreeMap<u64, Rendered>,
    /// A segment was passed over since the last one that was written.
    has_hole: bool,
    has_started: bool,
    /// Its encoder has ended, and nothing has come since.
    is_lost: bool,
}

impl Follower {
    /// A rendition that starts with `ordinal`, in this generation. One that is not expected starts in its middle: what players have of
    /// it does not lead there.
    pub(super) fn new(
        generation: GenerationId,
        plan: RenditionPlan,
        ordinal: u64,
        is_expected: bool,
    ) -> Self {
        Self {
            id: plan.id.clone(),
            plans: vec![(generation, Some(plan))],
            is_expected,
            muxer: Muxer::default(),
            next: ordinal,
            joined: false,
            units: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            ended: None,
            complete: None,
            closed: VecDeque::new(),
            finished: BTreeMap::new(),
            has_hole: !is_expected,
            has_started: false,
            is_lost: false,
        }
    }

    /// What it is from this generation on.
    pub(super) fn change(&mut self, generation: GenerationId, plan: Option<RenditionPlan>) {
        self.is_expected = plan.is_some();
        self.plans.push((generation, plan));
        if self.plans.len() > REMEMBERED_PLANS {
            self.plans.remove(0);
        }
    }

    /// It paused, and goes on in this generation. Nobody waits for it until it has found its place.
    pub(super) fn resume(&mut self, generation: GenerationId, plan: RenditionPlan) {
        self.change(generation, Some(plan));
        self.is_expected = false;
    }

    /// What it is in this generation.
    pub(super) fn plan_in(&self, generation: GenerationId) -> Option<&RenditionPlan> {
        let mut plans = self.plans.iter().rev();
        plans
            .find(|(from, _)| *from <= generation)
            .and_then(|(_, plan)| plan.as_ref())
    }

    fn video_in(&self, generation: GenerationId) -> Option<VideoCodec> {
        self.plan_in(generation).and_then(|plan| plan.video)
    }

    /// Takes a picture of the generation, in decoding order.
    pub(super) fn push(&mut self, generation: GenerationId, unit: AccessUnit) {
        if std::mem::take(&mut self.is_lost) {
            self.leave();
        }
        self.held_bytes += unit.payload.len();
        self.held.push_back((generation, unit));
        while self.held_bytes > MAX_HELD_BYTES {
            let Some((_, dropped)) = self.held.pop_front() else {
                break;
            };
            self.held_bytes -= dropped.payload.len();
            self.leave();
        }
    }

    /// Nothing more of this generation comes.
    pub(super) fn end(&mut self, generation: GenerationId) {
        self.is_lost = false;
        self.ended = self.ended.max(Some(generation));
    }

    /// Every picture up to the end of this ordinal has been pushed.
    pub(super) fn complete_to(&mut self, ordinal: u64) {
        self.complete = Some(ordinal);
    }

    /// The encoder has ended in the middle of a generation. If the generation ends too, what it brought counts; if a successor
    /// brings something, that must find a place in the plan again.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }

    /// This ordinal, which is not published, is another segment from now on.
    pub(super) fn take_back(&mut self, ordinal: u64) {
        if self.next >= ordinal {
            self.next = ordinal;
            self.leave();
        }
        self.closed.retain(|(closed, _)| *closed < ordinal);
        self.complete = self.complete.filter(|complete| *complete < ordinal);
    }

    fn leave(&mut self) {
        self.joined = false;
        self.units.clear();
    }

    /// Gives up on every ordinal below this one.
    pub(super) fn skip_to(&mut self, ordinal: u64) {
        if self.next < ordinal {
            self.next = ordinal;
            self.leave();
            self.has_hole = true;
        }
    }

    /// Places what can be placed.
    pub(super) fn advance(&mut self, view: View) {
        self.skip_to(view.plan.first_ordinal());
        while let Some(&(generation, _)) = self.held.front() {
            if !self.reach(generation, view) || !self.place_front(view) {
                break;
            }
        }
        self.close_ended(view);
    }

    /// Moves on to the segments of a generation; `false` while the ones before it are not over.
    fn reach(&mut self, generation: GenerationId, view: View) -> bool {
        self.close_ended(view);
        match view.plan.get(self.next) {
            Some(planned) => planned.generation >= generation,
            None => false,
        }
    }

    /// Places the oldest held picture; `false` when the plan is not yet decided that far.
    fn place_front(&mut self, view: View) -> bool {
        let Some((generation, unit)) = self.held.front() else {
            return false;
        };
        let Some(planned) = view.plan.get(self.next) else {
            return false;
        };
        let is_undecided = view
            .horizon
            .is_some_and(|(open, decided)| *generation >= open && unit.pts > decided);
        if is_undecided {
            return false;
        }
        if *generation == planned.generation && self.joined && is_past(planned, unit) {
            let closes = planned.end.is_some_and(|end| end.closes);
            if !closes {
                self.close(planned);
                return true;
            }
        }
        let Some((generation, unit)) = self.held.pop_front() else {
            return false;
        };
        self.held_bytes -= unit.payload.len();
        if generation == planned.generation {
            self.place(generation, unit, view);
        }
        true
    }

    fn place(&mut self, generation: GenerationId, unit: AccessUnit, view: View) {
        if !self.joined {
            let Some(ordinal) = joining_point(self.next, generation, &unit, view) else {
                return;
            };
            if ordinal > self.next {
                self.has_hole = true;
                self.next = ordinal;
            }
            self.joined = true;
        }
        let is_past = view
            .plan
            .get(self.next)
            .is_some_and(|planned| is_past(planned, &unit));
        if !is_past {
            self.units.push(unit);
        }
    }

    /// Closes the segments that nothing more can come for.
    fn close_ended(&mut self, view: View) {
        while let Some(planned) = view.plan.get(self.next) {
            let Some(end) = planned.end else { return };
            let has_video = self.video_in(planned.generation).is_some();
            let is_over =
                self.ended >= Some(planned.generation) || self.complete >= Some(planned.ordinal);
            let has_more = self
                .held
                .front()
                .is_some_and(|(generation, _)| *generation <= planned.generation);
            if has_video && (!is_over || has_more) {
                return;
            }
            self.close(planned);
            if end.closes {
                self.joined = false;
            }
        }
    }

    fn close(&mut self, planned: &Planned) {
        let units = std::mem::take(&mut self.units);
        match self.plan_in(planned.generation) {
            Some(plan) if plan.video.is_none() || !units.is_empty() => {
                self.closed.push_back((planned.ordinal, units));
            }
            _ => self.has_hole = true,
        }
        self.next = planned.ordinal + 1;
    }

    /// Writes what is closed and has its audio; returns the ordinals.
    pub(super) fn write(&mut self, plan: &Plan) -> Vec<u64> {
        let mut written = Vec::new();
        while let Some((ordinal, _)) = self.closed.front() {
            let Some(planned) = plan.get(*ordinal) else {
                self.closed.pop_front();
                continue;
            };
            let Some(sound) = planned.audio.as_ref().map(Arc::clone) else {
                break;
            };
            let Some((ordinal, video)) = self.closed.pop_front() else {
                break;
            };
            let rendered = self.render(planned, &video, &sound);
            self.has_started = true;
            self.finished.insert(ordinal, rendered);
            written.push(ordinal);
        }
        written
    }

    fn render(
        &mut self,
        planned: &Planned,
        video: &[AccessUnit],
        sound: &[AccessUnit],
    ) -> Rendered {
        let tracks = Tracks {
            video: self.video_in(planned.generation),
            audio: planned.announced.as_ref().map(|audio| audio.track.clone()),
        };
        let bytes = self.muxer.segment(&SegmentMedia {
            tracks: &tracks,
            offset: planned.offset,
            seam: planned.discontinuity || self.has_hole,
            video,
            audio: sound,
        });
        self.has_hole = false;
        let leads = video.first().map(|unit| unit.random_access);
        Rendered {
            bytes,
            independent: leads.is_none_or(|access| access == RandomAccess::Full),
        }
    }

    /// Whether it is filling this segment or a later one: then it is worth waiting for.
    pub(super) fn is_in_step(&self, ordinal: u64) -> bool {
        self.joined && !self.is_lost && self.next >= ordinal
    }

    /// Where a segment stands here.
    pub(super) fn standing(&self, ordinal: u64) -> Standing {
        if self.finished.contains_key(&ordinal) {
            Standing::Done
        } else if ordinal >= self.next || self.closed.iter().any(|(closed, _)| *closed == ordinal) {
            Standing::Pending
        } else {
            Standing::Missing
        }
    }

    /// Whether it has ever brought a segment.
    pub(super) fn has_started(&self) -> bool {
        self.has_started
    }

    /// Hands a written segment out.
    pub(super) fn take(&mut self, ordinal: u64) -> Option<Rendered> {
        self.finished.remove(&ordinal)
    }

    /// Where the first segment of a generation starts that it has not completed, on the source's clock.
    pub(super) fn resumes_in(&self, generation: GenerationId, plan: &Plan) -> Option<Ticks> {
        let mut planned = plan.iter().filter(|one| one.generation == generation);
        planned
            .find(|one| one.ordinal >= self.next)
            .map(|one| one.start)
    }
}

#[cfg(test)]
impl Follower {
    /// Bytes of pictures that wait for the plan.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.iter().map(|(_, unit)| unit.payload.len()).sum()
    }

    /// Segments that wait for their sound or for being published.
    pub(super) fn held_segments(&self) -> usize {
        self.closed.len() + self.finished.len()
    }
}
