//! Marks the start of a finished segment as a seam, when it is only found out later that something else stands before it.
//! Adds packets, changes none.

use bytes::Bytes;

use super::mux::{AUDIO_PID, VIDEO_PID};
use super::packet::{Packet, SYNC_BYTE};
use super::section::PACKET_BYTES;

/// Adaptation field only, which does not move the counter.
const NO_PAYLOAD: u8 = 0x20;
const DISCONTINUITY: u8 = 0x80;

const TRACKS: [u16; 2] = [VIDEO_PID, AUDIO_PID];

/// The segment with a packet before the first one of each of its tracks that says: time and counter do not go on from here
/// (`discontinuity_indicator`, ISO/IEC 13818-1 §2.4.3.5). What is no whole transport stream comes back as it was.
#[must_use]
pub fn mark(segment: &Bytes) -> Bytes {
    let (packets, rest) = segment.as_chunks::<PACKET_BYTES>();
    if !rest.is_empty() || packets.iter().any(|packet| packet[0] != SYNC_BYTE) {
        return segment.clone();
    }
    let mut marked = Vec::with_capacity(segment.len() + TRACKS.len() * PACKET_BYTES);
    let mut unmarked = TRACKS.to_vec();
    for packet in packets {
        let view = Packet::new(packet);
        if let Some(index) = unmarked.iter().position(|pid| *pid == view.pid()) {
            unmarked.swap_remove(index);
            marked.extend(mark_before(view));
        }
        marked.extend_from_slice(packet);
    }
    Bytes::from(marked)
}

/// The packets that [`mark`] adds, to be sent before a segment that is shared and must not be copied. Nothing where it is none.
#[must_use]
pub fn announce(segment: &[u8]) -> Bytes {
    let (packets, _) = segment.as_chunks::<PACKET_BYTES>();
    let first = |pid: u16| {
        let mut packets = packets.iter();
        packets.find(|packet| packet[0] == SYNC_BYTE && Packet::new(packet).pid() == pid)
    };
    let firsts = TRACKS.into_iter().filter_map(first);
    let marks: Vec<_> = firsts
        .map(|packet| mark_before(Packet::new(packet)))
        .collect();
    Bytes::from(marks.concat())
}

fn mark_before(first: Packet) -> [u8; PACKET_BYTES] {
    let counter = match first.has_payload() {
        true => first.continuity_counter().wrapping_sub(1) & 0x0F,
        false => first.continuity_counter(),
    };
    let [high, low] = first.pid().to_be_bytes();
    let mut packet = [0xFF; PACKET_BYTES];
    // 183 bytes of adaptation field: flags and stuffing.
    packet[..6].copy_from_slice(&[
        SYNC_BYTE,
        high,
        low,
        NO_PAYLOAD | counter,
        183,
        DISCONTINUITY,
    ]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Ticks;
    use crate::ts::mux::{AudioTrack, Muxer, SegmentMedia, Tracks};
    use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track, VideoCodec};

    fn unit(track: Track, at: i64) -> AccessUnit {
        AccessUnit {
            track,
            pts: Ticks(at),
            dts: Ticks(at),
            random_access: RandomAccess::Full,
            arrival: Ticks(at),
            payload: Bytes::from(vec![0x55; 500]),
        }
    }

    fn segment(muxer: &mut Muxer, at: i64) -> Bytes {
        let tracks = Tracks {
            video: Some(VideoCodec::H264),
            audio: Some(AudioTrack {
                codec: AudioCodec::Aac,
                language: None,
            }),
        };
        muxer.segment(&SegmentMedia {
            tracks: &tracks,
            offset: Ticks::ZERO,
            seam: false,
            video: &[unit(Track::Video, at)],
            audio: &[unit(Track::Audio, at)],
        })
    }

    #[test]
    fn each_track_says_once_that_it_does_not_go_on_and_its_counter_fits_what_follows() {
        let mut muxer = Muxer::default();
        segment(&mut muxer, 900_000);
        let plain = segment(&mut muxer, 990_000);
        let marked = mark(&plain);
        assert_eq!(marked.len(), plain.len() + 2 * PACKET_BYTES);
        assert_eq!(marked[..2 * PACKET_BYTES], plain[..2 * PACKET_BYTES]);
        for pid in [VIDEO_PID, AUDIO_PID] {
            let (packets, _) = marked.as_chunks::<PACKET_BYTES>();
            let packets: Vec<_> = packets
                .iter()
                .map(Packet::new)
                .filter(|packet| packet.pid() == pid)
                .collect();
            let seams = packets.iter().map(|packet| {
                packet
                    .adaptation()
                    .is_some_and(|adaptation| adaptation.discontinuity)
            });
            let mut expected = vec![false; packets.len()];
            expected[0] = true;
            assert_eq!(seams.collect::<Vec<_>>(), expected);
            assert!(!packets[0].has_payload());
            let next = (packets[0].continuity_counter() + 1) & 0x0F;
            let mut payloads = packets.iter().filter(|packet| packet.has_payload());
            assert_eq!(payloads.next().unwrap().continuity_counter(), next);
        }
    }

    #[test]
    fn what_is_announced_is_what_a_mark_adds() {
        let plain = segment(&mut Muxer::default(), 900_000);
        let announced = announce(&plain);
        let (packets, _) = announced.as_chunks::<PACKET_BYTES>();
        let marked = mark(&plain);
        let (all, _) = marked.as_chunks::<PACKET_BYTES>();
        let added: Vec<_> = all
            .iter()
            .filter(|packet| {
                let view = Packet::new(packet);
                !view.has_payload() && view.adaptation().is_some_and(|field| field.discontinuity)
            })
            .collect();
        assert_eq!(packets.iter().collect::<Vec<_>>(), added);
    }

    #[test]
    fn what_is_no_transport_stream_stays_as_it_is() {
        for bytes in [&b""[..], b"media", &[0; PACKET_BYTES]] {
            assert_eq!(mark(&Bytes::copy_from_slice(bytes)), bytes);
            assert_eq!(announce(bytes), b""[..]);
        }
    }
}
