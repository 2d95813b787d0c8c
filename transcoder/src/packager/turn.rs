//! How a packager waits for its turn, and takes over the list of the attempt before. Until then nothing gets a number.

use api::control::{JobPhase, PublishRequest};
use api::playlists::Playlists;
use media::segmenter::io::FinishedSegment;

use super::rates::RenditionFacts;
use super::{Packager, first};
use crate::status::unix_milliseconds;
use crate::trace;

impl Packager {
    /// The renditions of what follows.
    pub(super) fn renditions(&mut self, facts: Vec<RenditionFacts>) {
        match &mut self.parts.reserve {
            Some(reserve) => reserve.renditions(facts),
            None => self.facts = facts,
        }
    }

    /// The next segment is complete.
    pub(super) fn segment(&mut self, segment: FinishedSegment) {
        let Some(reserve) = &mut self.parts.reserve else {
            return self.finished(segment);
        };
        reserve.keep(segment);
        if !reserve.is_told() {
            return self.parts.board.update(|status| status.ready = true);
        }
        self.begin_to_list();
    }

    /// The next segment is complete, and nobody's media: it is listed like any other, and tells nobody that all is well.
    pub(super) fn slate(&mut self, segment: FinishedSegment) {
        if self.parts.reserve.is_none() {
            let number = self.parts.numbers.next().media_sequence;
            self.slates.extend(u64::try_from(number));
            self.finished(segment);
        }
    }

    /// It is its turn. What publishes already does so anyway.
    pub(super) fn go_on_behind(&mut self, request: &PublishRequest) {
        let Some(reserve) = &mut self.parts.reserve else {
            return;
        };
        let end = request.previous.as_ref().and_then(end);
        reserve.tell(end);
        self.is_successor = true;
        let now = unix_milliseconds();
        let floor = first::handed_over(request.floor, now / 1000);
        self.parts.numbers.go_on(floor, end);
        let next = self.parts.numbers.next();
        let previous = request.previous.as_ref();
        self.parts.window.go_on(next, previous);
        self.parts.board.set_next(next);
        let document = self.parts.window.document(now);
        self.parts.playlists.send_replace(document.into());
        self.begin_to_list();
    }

    /// These numbers are published. Slates are no sign of life.
    pub(super) fn tell_live(&mut self, numbers: &[u64]) {
        let media = numbers.iter().filter(|number| !self.slates.remove(number));
        if media.count() == 0 {
            return;
        }
        let elapsed = self.parts.started.elapsed();
        self.parts.board.update(|status| match status.phase {
            JobPhase::Starting => {
                status.phase = JobPhase::Live;
                if self.is_successor {
                    return;
                }
                let milliseconds = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
                status.first_segment_milliseconds = Some(milliseconds);
                self.parts.metrics.first_segment(milliseconds, status.start);
                if let Some(trace) = self.parts.trace {
                    trace::tell_start(trace, milliseconds, status.start);
                }
            }
            // What was still under way when the source was lost does not make it well again.
            JobPhase::Interrupted if status.source.healthy == Some(true) => {
                status.phase = JobPhase::Live;
            }
            _ => {}
        });
    }

    fn begin_to_list(&mut self) {
        let reserve = self.parts.reserve.as_mut();
        let Some(kept) = reserve.and_then(|reserve| reserve.take()) else {
            return;
        };
        self.parts.reserve = None;
        for one in kept {
            if let Some(facts) = one.facts {
                self.facts = facts;
            }
            self.finished(one.segment);
        }
    }
}

/// When the last segment of a list ends, Unix milliseconds.
fn end(playlists: &Playlists) -> Option<i64> {
    let last = playlists.segments.last()?;
    let milliseconds = i64::try_from(last.duration_ticks / 90).ok()?;
    last.program_date_time_unix_milliseconds
        .checked_add(milliseconds)
}
