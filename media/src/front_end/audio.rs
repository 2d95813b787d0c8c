//! The way of the audio through the front end, packet by packet; on the radio it leads. Passes whole frames only.

use bytes::Bytes;

use crate::codec::audio::Frames;
use crate::front_end::{FrontEnd, FrontEvent, RandomAccessPoint};
use crate::ts::packet::Packet;
use crate::ts::pes::{Pes, PesHeader};
use crate::unit::{AccessUnit, RandomAccess, Track};

impl FrontEnd {
    pub(super) fn take_audio(&mut self, run: &Bytes, start: usize, packet: Packet<'_>) {
        if self.is_scrambled(packet) {
            return;
        }
        let Some(track) = &mut self.audio else {
            return;
        };
        let step = track.assembler.push(packet);
        if step.gap {
            track.framer.reset();
        }
        self.count(&step);
        if let Some(pes) = step.ended {
            self.end_audio(run, pes);
        }
        if let Some(header) = step.started {
            self.begin_audio(run, &header);
        }
        let is_wanted = |front: &Self| {
            let track = front.audio.as_ref();
            front.feed.wants_packets() && track.is_some_and(|track| track.feeding.is_wanted())
        };
        if is_wanted(self) {
            self.feed.take(run, start);
        }
        if let Some(pes) = step.completed {
            self.end_audio(run, pes);
        }
    }

    fn begin_audio(&mut self, run: &Bytes, header: &PesHeader) {
        let placed = self.timeline.place(Track::Audio, header, &self.clock);
        let has_rounds = self.has_rounds;
        if let (Some(track), Some(placed)) = (&mut self.audio, placed) {
            track.is_covered = has_rounds && track.covers(placed.pts);
            if track.is_covered {
                return track.feeding.leave_out();
            }
        }
        let leads = self.leader() == Track::Audio;
        if let Some(placed) = placed.filter(|_| leads) {
            self.follow_leader(run, &placed);
        }
        let Some(track) = &mut self.audio else {
            return;
        };
        track.current = placed;
        let is_new = placed.is_some_and(|placed| track.feeding.begin(placed.dts));
        if is_new && leads {
            self.feed.begin_picture(run);
        }
    }

    pub(super) fn end_audio(&mut self, run: &Bytes, pes: Pes) {
        let Some(track) = &mut self.audio else {
            return;
        };
        if std::mem::take(&mut track.is_covered) {
            return;
        }
        let pts = track.current.take().map(|placed| placed.pts);
        let Some(frames) = track.framer.push(pes.payload, pts) else {
            return;
        };
        track.heard = Some((frames.pts, frames.duration));
        if !self.timeline.admits_audio(frames.pts) {
            self.counters.stray_audio_units += 1;
            return;
        }
        self.learn_audio(&frames);
        let unit = AccessUnit {
            track: Track::Audio,
            pts: frames.pts,
            dts: frames.pts,
            random_access: RandomAccess::Full,
            arrival: self.now(),
            payload: frames.payload,
        };
        if self.leader() == Track::Audio {
            self.lead_with(run, &unit);
        }
        let passed = self.gate.pass(unit, frames.duration);
        self.events.extend(passed.map(FrontEvent::Unit));
        self.publish();
    }

    /// On the radio any frame is a random access point; only the one that opens the gate is told of.
    fn lead_with(&mut self, run: &Bytes, unit: &AccessUnit) {
        if self.gate.is_open() {
            let start = self.feed.open(run, false);
            self.events.extend(start.map(super::passage::feed_event));
        } else {
            let key = RandomAccessPoint {
                pts: unit.pts,
                dts: unit.dts,
                random_access: unit.random_access,
            };
            self.pass_key(run, key);
        }
    }

    fn learn_audio(&mut self, frames: &Frames) {
        let delay = match self.leader() {
            Track::Video => self.clock.decoding().map(|video| video - frames.pts),
            Track::Audio => None,
        };
        let (Some(track), Some(facts)) = (&self.audio, &mut self.facts) else {
            return;
        };
        if facts.is_news(frames.header.as_ref()) {
            let language = track.language.clone();
            facts.see_audio(track.codec, language, frames.header.as_ref());
        }
        if let Some(delay) = delay {
            facts.see_delay(delay);
        }
    }
}
