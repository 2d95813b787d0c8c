//! The way of the video through the front end, packet by packet. Never waits for more of a picture than its first slice header.

use bytes::Bytes;

use crate::codec::video::VideoReader;
use crate::front_end::tracks::CurrentPicture;
use crate::front_end::{FrontEnd, FrontEvent, RandomAccessPoint};
use crate::time::Ticks;
use crate::ts::packet::Packet;
use crate::ts::pes::{Pes, PesHeader};
use crate::unit::{AccessUnit, RandomAccess, Track};

impl FrontEnd {
    pub(super) fn take_video(&mut self, run: &Bytes, start: usize, packet: Packet<'_>) {
        if self.is_scrambled(packet) {
            return;
        }
        let Some(track) = &mut self.video else {
            return;
        };
        let step = track.assembler.push(packet);
        if step.oversized {
            track.current = None;
        }
        self.count(&step);
        if let Some(pes) = step.ended {
            self.end_picture(run, pes);
        }
        if let Some(header) = step.started {
            self.begin_picture(run, &header);
        }
        let Some(track) = &mut self.video else {
            return;
        };
        if self.feed.wants_packets() && track.feeding.is_wanted() {
            self.feed.take(run, start);
        }
        if let Some(picture) = track.read_progress() {
            self.see_picture(run, picture.random_access);
        }
    }

    fn begin_picture(&mut self, run: &Bytes, header: &PesHeader) {
        let placed = self.timeline.place(Track::Video, header, &self.clock);
        if let Some(placed) = &placed {
            self.follow_leader(run, placed);
            if let Some(facts) = &mut self.facts {
                facts.see_picture(placed.pts, placed.step);
            }
        }
        let Some(track) = &mut self.video else {
            return;
        };
        track.reader.begin_picture();
        track.current = placed.map(|placed| CurrentPicture {
            pts: placed.pts,
            dts: placed.dts,
            random_access: None,
        });
        if placed.is_some_and(|placed| track.feeding.begin(placed.dts)) {
            self.feed.begin_picture(run);
        }
    }

    /// The kind of the picture in progress is known.
    fn see_picture(&mut self, run: &Bytes, random_access: RandomAccess) {
        let Some(track) = &self.video else {
            return;
        };
        let parameters = track.reader.parameters();
        // Nothing can be decoded before the first parameter set.
        let decodable = parameters.is_some() || matches!(track.reader, VideoReader::Opaque);
        match track.current {
            Some(current) if decodable && random_access != RandomAccess::None => {
                let facts = self.facts.as_mut();
                if facts.is_some_and(|facts| facts.see_key(current.pts, parameters)) {
                    self.feed.renew_as_it_is();
                }
                let key = RandomAccessPoint {
                    pts: current.pts,
                    dts: current.dts,
                    random_access,
                };
                self.pass_key(run, key);
            }
            _ => self.feed.reject_picture(),
        }
    }

    pub(super) fn end_picture(&mut self, run: &Bytes, pes: Pes) {
        let Some(track) = &mut self.video else {
            return;
        };
        if let Some(picture) = track.read_ended(&pes.payload) {
            self.see_picture(run, picture.random_access);
        }
        let arrival = self.now();
        let Some(current) = self.video.as_mut().and_then(|track| track.current.take()) else {
            return;
        };
        let unit = AccessUnit {
            track: Track::Video,
            pts: current.pts,
            dts: current.dts,
            random_access: current.random_access.unwrap_or(RandomAccess::None),
            arrival,
            payload: Bytes::from(pes.payload),
        };
        let passed = self.gate.pass(unit, Ticks::ZERO);
        self.events.extend(passed.map(FrontEvent::Unit));
        self.publish();
    }
}
