//! Units from one of FFmpeg's output pipes: a transport stream with one track, written by a muxer whose habits we know.
//! Never used on a source's bytes.

use bytes::Bytes;

use crate::codec::audio::AudioFramer;
use crate::codec::video::VideoReader;
use crate::time::Ticks;
use crate::ts::framer::Framer;
use crate::ts::packet::Packet;
use crate::ts::pes::{Assembly, Pes, PesAssembler, PesHeader};
use crate::ts::section::PACKET_BYTES;
use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track, VideoCodec};

/// More than one encoded picture or one PES packet of audio has.
const MAX_UNIT: usize = 8 * 1024 * 1024;

/// Reads one pipe. A unit is complete with its own last packet, not with the next unit's first: FFmpeg pads the one and writes no other padding.
#[derive(Debug)]
pub struct PipeDemuxer {
    framer: Framer,
    assembler: PesAssembler,
    pid: Option<u16>,
    format: Format,
    /// The last time on the unwrapped clock.
    near: Ticks,
}

#[derive(Debug)]
enum Format {
    Video(VideoReader),
    Audio(AudioFramer),
}

impl PipeDemuxer {
    /// A reader of an H.264 pipe whose times are near `near` on the source's clock.
    #[must_use]
    pub fn video(near: Ticks) -> Self {
        Self::new(Format::Video(VideoReader::new(VideoCodec::H264)), near)
    }

    /// A reader of an AAC pipe whose times are near `near` on the source's clock.
    #[must_use]
    pub fn audio(near: Ticks) -> Self {
        Self::new(Format::Audio(AudioFramer::new(AudioCodec::Aac)), near)
    }

    fn new(format: Format, near: Ticks) -> Self {
        Self {
            framer: Framer::default(),
            assembler: PesAssembler::new(Assembly {
                limit: MAX_UNIT,
                joins_untimed: false,
                ends_on_stuffing: true,
            }),
            pid: None,
            format,
            near,
        }
    }

    /// Takes what was read from the pipe and returns the units it completes, in the order of the bytes.
    pub fn push(&mut self, chunk: &Bytes) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        for run in self.framer.push(chunk) {
            let (packets, _) = run.as_chunks::<PACKET_BYTES>();
            for packet in packets {
                self.take_packet(Packet::new(packet), &mut units);
            }
        }
        units
    }

    /// FFmpeg has closed the pipe: what was in progress is whole.
    pub fn finish(&mut self) -> Vec<AccessUnit> {
        let last = self.assembler.take();
        last.and_then(|pes| self.unit(pes)).into_iter().collect()
    }

    /// What the video says of itself, once a picture has come: the master playlist names what the encoder really made.
    #[must_use]
    pub fn video_parameters(&self) -> Option<&crate::codec::video::VideoParameters> {
        match &self.format {
            Format::Video(reader) => reader.parameters(),
            Format::Audio(_) => None,
        }
    }

    fn take_packet(&mut self, packet: Packet<'_>, units: &mut Vec<AccessUnit>) {
        if self.pid.is_none() && starts_pes(packet) {
            self.pid = Some(packet.pid());
        }
        if self.pid != Some(packet.pid()) {
            return;
        }
        let step = self.assembler.push(packet);
        let ended = step.ended.and_then(|pes| self.unit(pes));
        units.extend(ended);
        let completed = step.completed.and_then(|pes| self.unit(pes));
        units.extend(completed);
    }

    fn unit(&mut self, pes: Pes) -> Option<AccessUnit> {
        let pts = Ticks::unwrap_near(pes.header.pts?, self.near);
        let dts = match pes.header.dts {
            Some(dts) => Ticks::unwrap_near(dts, pts),
            None => pts,
        };
        self.near = dts;
        let (track, pts, random_access, payload) = match &mut self.format {
            Format::Video(reader) => {
                reader.begin_picture();
                let picture = reader.read(&pes.payload, true);
                let random_access =
                    picture.map_or(RandomAccess::None, |picture| picture.random_access);
                (Track::Video, pts, random_access, Bytes::from(pes.payload))
            }
            Format::Audio(framer) => {
                let frames = framer.push(pes.payload, Some(pts))?;
                (Track::Audio, frames.pts, RandomAccess::Full, frames.payload)
            }
        };
        Some(AccessUnit {
            track,
            pts,
            dts: if track == Track::Audio { pts } else { dts },
            random_access,
            arrival: dts,
            payload,
        })
    }
}

/// Whether video or audio starts in this packet; tables never start with a PES header.
fn starts_pes(packet: Packet<'_>) -> bool {
    packet.starts_unit()
        && matches!(PesHeader::parse(packet.payload()), Ok(Some(header)) if header.pts.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of one PID with this payload behind a PES header, padded at the end as FFmpeg does.
    fn packets(pid: u16, stamp: u8, payload: &[u8], counter: &mut u8) -> Vec<u8> {
        let mut pes = vec![0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, stamp, 1];
        pes.extend_from_slice(payload);
        let mut bytes = Vec::new();
        for (index, part) in pes.chunks(184).enumerate() {
            let fill = 184 - part.len();
            let start = if index == 0 { 0x40 } else { 0 };
            let control = if fill == 0 { 0x10 } else { 0x30 };
            let [high, low] = pid.to_be_bytes();
            bytes.extend([0x47, start | high, low, control | *counter]);
            *counter = (*counter + 1) & 0x0F;
            if fill > 0 {
                bytes.push(u8::try_from(fill - 1).unwrap());
                bytes.extend(
                    std::iter::repeat_n(0xFF, fill - 1)
                        .enumerate()
                        .map(|(position, stuffing)| if position == 0 { 0 } else { stuffing }),
                );
            }
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn push(demuxer: &mut PipeDemuxer, bytes: &[u8]) -> Vec<AccessUnit> {
        demuxer.push(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_picture_is_complete_with_its_own_last_packet() {
        let mut demuxer = PipeDemuxer::video(Ticks(0));
        let mut counter = 0;
        let idr = [vec![0, 0, 1, 0x65, 0x88], vec![0x55; 600]].concat();
        let bytes = packets(0x100, 90, &idr, &mut counter);
        let (head, last) = bytes.split_at(bytes.len() - PACKET_BYTES);
        assert_eq!(push(&mut demuxer, head), []);
        assert_eq!(
            push(&mut demuxer, last),
            [AccessUnit {
                track: Track::Video,
                pts: Ticks(90 << 7),
                dts: Ticks(90 << 7),
                random_access: RandomAccess::Full,
                arrival: Ticks(90 << 7),
                payload: Bytes::from(idr),
            }]
        );
        assert_eq!(demuxer.finish(), []);
    }

    #[test]
    fn a_picture_that_fills_its_packets_is_complete_with_the_next() {
        let mut demuxer = PipeDemuxer::video(Ticks(0));
        let mut counter = 0;
        let exact = vec![0x55; 184 * 3 - 14];
        let first = packets(0x100, 1, &exact, &mut counter);
        assert_eq!(push(&mut demuxer, &first), []);
        let second = packets(0x100, 2, &exact, &mut counter);
        let units = push(&mut demuxer, &second);
        assert_eq!(units.len(), 1);
        assert_eq!(
            (units[0].pts, units[0].payload.len()),
            (Ticks(128), exact.len())
        );
        assert_eq!(demuxer.finish()[0].pts, Ticks(256));
    }

    #[test]
    fn times_are_put_near_the_sources_clock() {
        let near = Ticks(3 * crate::time::WRAP + 5000);
        let mut demuxer = PipeDemuxer::video(near);
        let bytes = packets(0x100, 40, &[0x55; 600], &mut 0);
        assert_eq!(
            push(&mut demuxer, &bytes)[0].pts,
            Ticks(3 * crate::time::WRAP + (40 << 7))
        );
    }
}
