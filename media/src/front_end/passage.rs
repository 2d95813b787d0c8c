//! What the leading track decides for both: when the gate opens, when the time line breaks, when the encoder's input begins.

use bytes::Bytes;

use crate::front_end::feed::FeedPart;
use crate::front_end::timeline::{Placed, Resumption};
use crate::front_end::tracks::Feeding;
use crate::front_end::{FrontEnd, FrontEvent, RandomAccessPoint};
use crate::time::Ticks;

impl FrontEnd {
    /// What was gathered for the encoder so far, behind the events so far.
    pub(super) fn end_feed(&mut self, run: &Bytes) {
        self.feed.end_run(run);
        self.feed.settle();
        self.flush_feed();
    }

    pub(super) fn flush_feed(&mut self) {
        self.events.extend(self.feed.flush().map(feed_event));
    }

    pub(super) fn publish(&mut self) {
        let now = self.now();
        if self.gate.is_open()
            && let Some(facts) = &mut self.facts
        {
            self.events
                .extend(facts.publish(now).map(FrontEvent::Facts));
        }
    }

    /// What comes is of another time line: nothing passes before its first random access point.
    pub(super) fn break_timeline(&mut self, run: &Bytes, from: Ticks, to: Ticks) {
        self.end_feed(run);
        self.restart_feed();
        self.gate.close();
        for feeding in [
            self.video.as_mut().map(|track| &mut track.feeding),
            self.audio.as_mut().map(|track| &mut track.feeding),
        ] {
            feeding.into_iter().for_each(Feeding::forget);
        }
        if let Some(facts) = &mut self.facts {
            facts.see_break();
        }
        self.events.push(FrontEvent::Jump { from, to });
    }

    /// A unit of the leading track begins: judges what it means for the time line.
    pub(super) fn follow_leader(&mut self, run: &Bytes, placed: &Placed) {
        if let Some(broke) = placed.broke {
            self.break_timeline(run, broke.from, broke.to);
        } else if let Some(from) = self.gate.resumes_from(self.leader()) {
            match self.timeline.resumption(from, placed.dts) {
                Resumption::Overlaps => {
                    self.feed.resume();
                    let held = self.gate.open(placed.pts, true);
                    self.events.extend(held.into_iter().map(FrontEvent::Unit));
                }
                Resumption::Follows => {}
                Resumption::Breaks => self.break_timeline(run, from, placed.dts),
            }
        }
        self.clock.see_decoding(placed.dts);
        self.tell_clock();
    }

    /// The unit in progress is a random access point: from here on everything passes.
    pub(super) fn pass_key(&mut self, run: &Bytes, key: RandomAccessPoint) {
        let continues = self.gate.resumes_from(self.leader()).is_some();
        let held = if self.gate.is_open() {
            Vec::new()
        } else {
            self.gate.open(key.pts, continues)
        };
        self.publish();
        self.flush_feed();
        let start = self.feed.open(run, continues);
        self.events.extend(start.map(feed_event));
        if self.gate.is_new(self.leader(), key.dts) {
            self.events.push(FrontEvent::RandomAccessPoint(key));
        }
        self.events.extend(held.into_iter().map(FrontEvent::Unit));
    }
}

pub(super) fn feed_event(part: FeedPart) -> FrontEvent {
    match part {
        FeedPart::Start(tables) => FrontEvent::FeedStart(tables),
        FeedPart::More(packets) => FrontEvent::Feed(packets),
    }
}
