//! Lets a segment go on from one that another [`Muxer`](super::mux::Muxer) has written: times, clock, counters and the version of the map run on.
//! Changes headers, packet by packet, and neither adds nor removes any; what is no transport stream of ours stays as it is.

use bytes::Bytes;

use super::mux::{AUDIO_PID, PMT_PID, VIDEO_PID, timestamp};
use super::packet::{Packet, SYNC_BYTE};
use super::pes::PesHeader;
use super::section::{PACKET_BYTES, Section};
use super::tables::{PAT_PID, Pmt};
use crate::codec::audio::frames_from;
use crate::time::Ticks;

/// Whose counters run on; the first two are tables, the others tracks.
const PIDS: [u16; 4] = [PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID];
const TABLES: usize = 2;
const SOUND: usize = 3;

/// A seam may leave so much room between two segments: what one attempt leaves where pictures are decoded in another order than shown.
const ROOM: Ticks = Ticks::from_milliseconds(500);

/// Times of sound are rounded by so much at the most.
const ROUNDING: Ticks = Ticks(9);

/// What a unit is taken to last where it is the only one of its track.
const LONE: Ticks = Ticks::from_milliseconds(40);

/// How a segment is changed so that it goes on from the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Splice {
    /// Added to every time.
    shift: Ticks,
    /// Added to the counters of [`PIDS`].
    counters: [u8; 4],
    /// Added to the version of the map.
    version: u8,
}

impl Splice {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.shift.wrapped() == 0 && self.counters == [0; 4] && self.version == 0
    }

    /// How `next` has to be changed to go on from `last`, which was changed by `self` itself. As before where one of them cannot be read.
    #[must_use]
    pub fn onto(self, last: &[u8], next: &[u8]) -> Self {
        let (Some(before), Some(after)) = (Edges::of(last), Edges::of(next)) else {
            return self;
        };
        let mut counters = self.counters;
        let ends = before.counters.iter().zip(&after.counters);
        for (counter, (before, after)) in counters.iter_mut().zip(ends) {
            if let (Some((_, last)), Some((first, _))) = (before, after) {
                *counter = counter.wrapping_add(last + 1).wrapping_sub(*first) & 0x0F;
            }
        }
        Self {
            shift: self.shift(&before, &after),
            counters,
            version: self.version(&before, &after),
        }
    }

    /// No track goes back, and one of them goes on at once. What is near enough already stays where it is.
    fn shift(self, before: &Edges, after: &Edges) -> Ticks {
        let tracks = before.tracks.iter().zip(&after.tracks);
        let mut pairs: Vec<(Span, Span)> = tracks
            .filter_map(|(before, after)| before.zip(*after))
            .collect();
        if pairs.is_empty() {
            let latest = before.tracks.iter().flatten().max_by_key(|one| one.end());
            let earliest = after.tracks.iter().flatten().min_by_key(|one| one.first);
            pairs.extend(latest.copied().zip(earliest.copied()));
        }
        let mut is_near = true;
        let mut least = None;
        for (before, after) in pairs {
            let last = before.last + self.shift;
            let start = Ticks::unwrap_near((after.first + self.shift).wrapped(), last);
            let gap = start - (before.end() + self.shift);
            is_near &= match before.sounds_until {
                Some(end) => start + ROUNDING >= end + self.shift,
                None => start > last,
            };
            least = Some(least.map_or(gap, |least: Ticks| least.min(gap)));
        }
        match least {
            Some(gap) if !is_near || gap > ROOM => self.shift - gap,
            _ => self.shift,
        }
    }

    /// Another map needs another version, and the same one the same (ISO/IEC 13818-1 §2.4.4.9).
    fn version(self, before: &Edges, after: &Edges) -> u8 {
        let (Some(before), Some(after)) = (&before.map, &after.map) else {
            return self.version;
        };
        let last = before.version.wrapping_add(self.version) & 0x1F;
        let own = after.version.wrapping_add(self.version) & 0x1F;
        let wanted = match (before.body == after.body, own == last) {
            (true, _) => last,
            (false, true) => last + 1,
            (false, false) => own,
        };
        wanted.wrapping_sub(after.version) & 0x1F
    }

    /// These whole packets, changed.
    #[must_use]
    pub fn apply(&self, packets: &[u8]) -> Bytes {
        let mut changed = packets.to_vec();
        let (packets, _) = changed.as_chunks_mut::<PACKET_BYTES>();
        for packet in packets {
            if packet[0] == SYNC_BYTE {
                self.change(packet);
            }
        }
        Bytes::from(changed)
    }

    fn change(&self, packet: &mut [u8; PACKET_BYTES]) {
        let view = Packet::new(packet);
        let starts = view.starts_unit();
        let payload = PACKET_BYTES - view.payload().len();
        let clock = view.adaptation().and_then(|adaptation| adaptation.pcr);
        let Some(index) = PIDS.iter().position(|pid| *pid == view.pid()) else {
            return;
        };
        packet[3] = packet[3] & 0xF0 | packet[3].wrapping_add(self.counters[index]) & 0x0F;
        if index >= TABLES {
            if let Some(clock) = clock {
                self.move_clock(packet, clock);
            }
            if starts {
                self.move_stamps(&mut packet[payload..]);
            }
        } else if PIDS[index] == PMT_PID && starts && self.version != 0 {
            self.renumber(&mut packet[payload..]);
        }
    }

    /// 33 bits behind the flags; reserved bits and extension stay.
    fn move_clock(&self, packet: &mut [u8; PACKET_BYTES], clock: u64) {
        let base = self.moved(clock).wrapped();
        let high = u32::try_from(base >> 1).unwrap_or(0);
        packet[6..10].copy_from_slice(&high.to_be_bytes());
        packet[10] = packet[10] & 0x7F | u8::from(base & 1 == 1) << 7;
    }

    /// The times in a PES header.
    fn move_stamps(&self, payload: &mut [u8]) {
        let Ok(Some(header)) = PesHeader::parse(payload) else {
            return;
        };
        for (at, stamp) in [(9, header.pts), (14, header.dts)] {
            if let (Some(stamp), Some(bytes)) = (stamp, payload.get_mut(at..at + 5)) {
                bytes.copy_from_slice(&timestamp(bytes[0] & 0xF0, self.moved(stamp)));
            }
        }
    }

    fn renumber(&self, payload: &mut [u8]) {
        let Some(bytes) = section_mut(payload) else {
            return;
        };
        let Ok(mut section) = Section::parse(bytes) else {
            return;
        };
        section.version = section.version.wrapping_add(self.version) & 0x1F;
        let written = section.write();
        if let Some(bytes) = bytes.get_mut(..written.len()) {
            bytes.copy_from_slice(&written);
        }
    }

    fn moved(&self, wire: u64) -> Ticks {
        Ticks::unwrap_near(wire, Ticks::ZERO) + self.shift
    }
}

/// Where a segment begins and ends.
#[derive(Debug, Default)]
struct Edges {
    /// First and last counter of [`PIDS`].
    counters: [Option<(u8, u8)>; 4],
    /// Video and audio.
    tracks: [Option<Span>; 2],
    map: Option<Section>,
    /// The last unit of sound, header and all.
    sound: Vec<u8>,
}

/// Decoding times of a track.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: Ticks,
    last: Ticks,
    /// Units after the first one.
    steps: i64,
    /// The end of the last one, where its frames tell.
    sounds_until: Option<Ticks>,
}

impl Span {
    fn push(&mut self, wire: u64) {
        self.last = self.last.max(Ticks::unwrap_near(wire, self.last));
        self.steps += 1;
    }

    /// When the last unit is over; where it does not tell, as far as the others do.
    fn end(&self) -> Ticks {
        if let Some(end) = self.sounds_until {
            return end;
        }
        let step = (self.last - self.first).0.checked_div(self.steps);
        self.last + step.map_or(LONE, |step| Ticks(step.max(1)))
    }
}

impl Edges {
    /// `None` where it is no whole transport stream.
    fn of(segment: &[u8]) -> Option<Self> {
        let (packets, rest) = segment.as_chunks::<PACKET_BYTES>();
        let is_whole = rest.is_empty() && !packets.is_empty();
        let is_synced = packets.iter().all(|packet| packet[0] == SYNC_BYTE);
        let mut edges = Self::default();
        for packet in packets {
            edges.push(Packet::new(packet));
        }
        let end = edges.end_of_sound();
        if let Some(sound) = &mut edges.tracks[SOUND - TABLES] {
            sound.sounds_until = end;
        }
        (is_whole && is_synced).then_some(edges)
    }

    fn push(&mut self, packet: Packet) {
        let Some(index) = PIDS.iter().position(|pid| *pid == packet.pid()) else {
            return;
        };
        if !packet.has_payload() {
            return;
        }
        let counter = packet.continuity_counter();
        let (_, last) = self.counters[index].get_or_insert((counter, counter));
        *last = counter;
        if index == SOUND {
            if packet.starts_unit() {
                self.sound.clear();
            }
            self.sound.extend_from_slice(packet.payload());
        }
        if !packet.starts_unit() {
            return;
        }
        if index >= TABLES {
            self.time(index - TABLES, packet.payload());
        } else if PIDS[index] == PMT_PID && self.map.is_none() {
            self.map = section(packet.payload()).and_then(|bytes| Section::parse(bytes).ok());
        }
    }

    /// What the frames of the last unit of sound tell: it is often shorter than the others.
    fn end_of_sound(&self) -> Option<Ticks> {
        let last = self.tracks[SOUND - TABLES]?.last;
        let map = Pmt::parse(self.map.as_ref()?)?;
        let sound = map.streams.iter().find(|one| one.pid == PIDS[SOUND])?;
        let header = PesHeader::parse(&self.sound).ok()??;
        let frames = Bytes::copy_from_slice(self.sound.get(header.header_bytes..)?);
        let found = frames_from(sound.audio_codec()?, &frames, last, last)?;
        Some(found.2)
    }

    fn time(&mut self, track: usize, payload: &[u8]) {
        let Ok(Some(header)) = PesHeader::parse(payload) else {
            return;
        };
        let Some(stamp) = header.dts.or(header.pts) else {
            return;
        };
        match &mut self.tracks[track] {
            Some(span) => span.push(stamp),
            none => {
                let first = Ticks::unwrap_near(stamp, Ticks::ZERO);
                *none = Some(Span {
                    first,
                    last: first,
                    steps: 0,
                    sounds_until: None,
                });
            }
        }
    }
}

/// The section that starts in a payload, behind the pointer field.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let (pointer, rest) = payload.split_first()?;
    rest.get(usize::from(*pointer)..)
}

fn section_mut(payload: &mut [u8]) -> Option<&mut [u8]> {
    let (pointer, rest) = payload.split_first_mut()?;
    rest.get_mut(usize::from(*pointer)..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WRAP;
    use crate::ts::mux::{AudioTrack, Muxer, SegmentMedia, Tracks};
    use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track, VideoCodec};

    const PICTURE: i64 = 3600;
    const FRAME: i64 = 1920;
    const SECOND: i64 = 90_000;

    fn unit(track: Track, pts: i64, dts: i64) -> AccessUnit {
        AccessUnit {
            track,
            pts: Ticks(pts),
            dts: Ticks(dts),
            random_access: RandomAccess::Full,
            arrival: Ticks(dts),
            payload: Bytes::from(vec![0x55; 700]),
        }
    }

    fn tracks(audio: Option<AudioCodec>) -> Tracks {
        Tracks {
            video: Some(VideoCodec::H264),
            audio: audio.map(|codec| AudioTrack {
                codec,
                language: None,
            }),
        }
    }

    /// A second that starts then, its pictures shown two frames after they are decoded.
    fn segment(muxer: &mut Muxer, at: i64, audio: Option<AudioCodec>) -> Bytes {
        let video = (0..25).map(|index| at + index * PICTURE);
        let video = video.map(|time| unit(Track::Video, time + 2 * PICTURE, time));
        let sound = (0..46).map(|index| at + index * FRAME);
        let sound = sound.map(|time| unit(Track::Audio, time, time));
        muxer.segment(&SegmentMedia {
            tracks: &tracks(audio),
            offset: Ticks::ZERO,
            seam: false,
            video: &video.collect::<Vec<_>>(),
            audio: &sound.collect::<Vec<_>>(),
        })
    }

    fn packets(bytes: &[u8]) -> impl Iterator<Item = Packet<'_>> {
        bytes.as_chunks().0.iter().map(Packet::new)
    }

    fn decoded(bytes: &[u8], pid: u16) -> Vec<i64> {
        let starts = packets(bytes).filter(|packet| packet.pid() == pid && packet.starts_unit());
        let stamps = starts.map(|packet| {
            let header = PesHeader::parse(packet.payload()).unwrap().unwrap();
            header.dts.or(header.pts).unwrap().cast_signed()
        });
        stamps.collect()
    }

    fn clocks(bytes: &[u8]) -> Vec<i64> {
        let clocks = packets(bytes).filter_map(|packet| packet.adaptation()?.pcr);
        clocks.map(u64::cast_signed).collect()
    }

    fn versions(bytes: &[u8]) -> Vec<u8> {
        let maps = packets(bytes).filter(|packet| packet.pid() == PMT_PID);
        let maps = maps.map(|packet| Section::parse(section(packet.payload()).unwrap()).unwrap());
        maps.map(|map| map.version).collect()
    }

    fn assert_counters_run_on(bytes: &[u8]) {
        for pid in PIDS {
            let of_pid = packets(bytes).filter(|packet| packet.pid() == pid);
            let counted = of_pid.filter(|packet| packet.has_payload());
            let counters: Vec<u8> = counted.map(Packet::continuity_counter).collect();
            let mut pairs = counters.windows(2);
            assert!(
                pairs.all(|pair| pair[1] == (pair[0] + 1) & 0x0F),
                "{pid:#x}: {counters:?}"
            );
        }
    }

    fn assert_even(times: &[i64], longest: i64) {
        let steps = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).rem_euclid(WRAP));
        for step in steps {
            assert!((1..=longest).contains(&step), "{step} in {times:?}");
        }
    }

    /// These segments as a reader gets them, each joined to the one before.
    fn joined(segments: &[Bytes]) -> Vec<u8> {
        let mut splice = Splice::default();
        let mut whole = segments[0].to_vec();
        for pair in segments.windows(2) {
            splice = splice.onto(&pair[0], &pair[1]);
            whole.extend_from_slice(&splice.apply(&pair[1]));
        }
        whole
    }

    #[test]
    fn what_one_muxer_wrote_goes_on_by_itself_also_over_a_seam_that_leaves_room() {
        let mut muxer = Muxer::default();
        let aac = Some(AudioCodec::Aac);
        for start in [SECOND, SECOND + 5 * PICTURE] {
            let first = segment(&mut muxer, 0, aac);
            let next = segment(&mut muxer, start, aac);
            assert!(Splice::default().onto(&first, &next).is_plain());
            assert_eq!(Splice::default().apply(&next), next);
        }
    }

    #[test]
    fn another_muxer_s_segments_go_on_without_a_jump_of_any_kind() {
        let aac = Some(AudioCodec::Aac);
        for start in [10, 0, 300, 1000, 80_000, 95_443].map(|second| second * SECOND) {
            let (mut one, mut other) = (Muxer::default(), Muxer::default());
            let second = |second: i64| start + second * SECOND;
            let segments = [
                segment(&mut one, 100 * SECOND, aac),
                segment(&mut one, 101 * SECOND, aac),
                segment(&mut other, second(0), aac),
                segment(&mut other, second(1), aac),
            ];
            let whole = joined(&segments);
            assert_counters_run_on(&whole);
            // Sound is in units of several frames, the last one shorter than the others.
            assert_even(&decoded(&whole, VIDEO_PID), 2 * PICTURE);
            assert_even(&decoded(&whole, AUDIO_PID), 8 * FRAME);
            assert_even(&clocks(&whole), SECOND / 10);
            assert_eq!(versions(&whole), [0; 4]);
        }
    }

    #[test]
    fn a_hole_is_closed_and_what_was_skipped_leaves_no_trace_in_the_counters() {
        let mut muxer = Muxer::default();
        let segments = [10, 11, 12, 13].map(|at| segment(&mut muxer, at * SECOND, None));
        let whole = joined(&[segments[0].clone(), segments[3].clone()]);
        assert_counters_run_on(&whole);
        assert_even(&decoded(&whole, VIDEO_PID), PICTURE);
    }

    #[test]
    fn another_map_has_another_version_and_the_same_one_keeps_its_own() {
        let (aac, ac3) = (Some(AudioCodec::Aac), Some(AudioCodec::Ac3));
        let one = |audio| segment(&mut Muxer::default(), 10 * SECOND, audio);
        let segments = [one(aac), one(ac3), one(ac3), one(aac), one(None)];
        let whole = joined(&segments);
        assert_eq!(versions(&whole), [0, 1, 1, 2, 3]);
        assert_counters_run_on(&whole);
        assert_even(&decoded(&whole, VIDEO_PID), 2 * PICTURE);
    }

    #[test]
    fn tracks_that_end_apart_both_go_forward() {
        let mut longer = Muxer::default();
        let sound = (0..70).map(|index| unit(Track::Audio, 900_000 + index * FRAME, 0));
        let video = (0..25).map(|index| 900_000 + index * PICTURE);
        let video = video.map(|time| unit(Track::Video, time, time));
        let first = longer.segment(&SegmentMedia {
            tracks: &tracks(Some(AudioCodec::Aac)),
            offset: Ticks::ZERO,
            seam: false,
            video: &video.collect::<Vec<_>>(),
            audio: &sound.collect::<Vec<_>>(),
        });
        let next = segment(&mut Muxer::default(), 5 * SECOND, Some(AudioCodec::Aac));
        let whole = joined(&[first, next]);
        for pid in [VIDEO_PID, AUDIO_PID] {
            assert_even(&decoded(&whole, pid), SECOND);
        }
    }

    /// A second of pictures from 0 on or later, and sound from then on until its last unit is over.
    fn sounding(muxer: &mut Muxer, at: i64, sound: std::ops::Range<i64>) -> Bytes {
        // Four frames of AAC-LC at 48 kHz, 13 bytes each.
        let frame = [0xFF, 0xF1, 0x4C, 0x80, 0x01, 0xBF, 0xFC, 0, 0, 0, 0, 0, 0];
        let unit_of_sound = |time| AccessUnit {
            payload: Bytes::from(frame.repeat(4)),
            ..unit(Track::Audio, time, time)
        };
        let video = (0..25).map(|index| at + index * PICTURE);
        let video = video.map(|time| unit(Track::Video, time, time));
        let sound = sound.step_by(4 * FRAME as usize).map(unit_of_sound);
        muxer.segment(&SegmentMedia {
            tracks: &tracks(Some(AudioCodec::Aac)),
            offset: Ticks::ZERO,
            seam: false,
            video: &video.collect::<Vec<_>>(),
            audio: &sound.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn sound_never_begins_before_the_last_of_it_is_over() {
        let end = 12 * 4 * FRAME;
        for (start, expected) in [
            (end, end),
            (end - 2 * FRAME, end),
            (end + FRAME, end + FRAME),
        ] {
            let mut muxer = Muxer::default();
            let first = sounding(&mut muxer, 0, 0..end);
            let next = sounding(&mut muxer, SECOND, start..start + end);
            let splice = Splice::default().onto(&first, &next);
            assert_eq!(splice.is_plain(), start == expected);
            assert_eq!(decoded(&splice.apply(&next), AUDIO_PID)[0], expected);
        }
    }

    #[test]
    fn no_byte_that_is_wrong_does_harm() {
        let one = segment(&mut Muxer::default(), 10 * SECOND, Some(AudioCodec::Aac));
        let one = &one[..20 * PACKET_BYTES];
        for index in 0..one.len() {
            for wrong in [0x00, 0xFF, one[index] ^ 0x10] {
                let mut other = one.to_vec();
                other[index] = wrong;
                let there = Splice::default().onto(one, &other);
                let back = there.onto(&other, one);
                assert_eq!(back.apply(&there.apply(&other)).len(), one.len());
            }
        }
    }

    #[test]
    fn what_is_no_transport_stream_changes_nothing_and_is_not_changed() {
        let one = segment(&mut Muxer::default(), 10 * SECOND, None);
        let splice = Splice {
            shift: Ticks(7),
            counters: [1; 4],
            version: 1,
        };
        for bytes in [&b""[..], b"media", &[0; PACKET_BYTES], &one[..100]] {
            assert_eq!(splice.onto(&one, bytes), splice);
            assert_eq!(splice.onto(bytes, &one), splice);
            assert_eq!(splice.apply(bytes), bytes);
        }
    }
}
