//! Makes one stream of the segments that a reader is given. Bytes in, bytes out: those that need no change are handed on as they are, shared
//! with everybody; the others are changed portion by portion, so that no reader ever has a segment of its own.

use bytes::Bytes;
use media::ts::seam;
use media::ts::section::PACKET_BYTES;
use media::ts::splice::Splice;

/// Bytes that are handed on at once: whole packets.
const PORTION: usize = 348 * PACKET_BYTES;

/// What a reader was given last, and how it was changed.
#[derive(Debug, Default)]
pub(super) struct Join {
    last: Option<Bytes>,
    splice: Splice,
    is_broken: bool,
}

impl Join {
    /// The next segment. `goes_on`: its maker wrote it behind the last one. `is_marked`: it says itself that it follows something else.
    pub(super) fn append(&mut self, segment: Bytes, goes_on: bool, is_marked: bool) -> Portions {
        let is_seam = !goes_on || self.is_broken;
        let mut mark = Bytes::new();
        if let Some(last) = self.last.as_ref().filter(|_| is_seam) {
            self.splice = self.splice.onto(last, &segment);
            if !is_marked {
                mark = seam::announce(&segment);
            }
        }
        self.is_broken = false;
        self.last = Some(segment.clone());
        Portions {
            splice: self.splice,
            mark,
            rest: segment,
        }
    }

    /// Something is left out before the next segment.
    pub(super) fn leave_out(&mut self) {
        self.is_broken = true;
    }
}

/// A segment, bit by bit.
#[derive(Debug)]
pub(super) struct Portions {
    splice: Splice,
    mark: Bytes,
    rest: Bytes,
}

impl Iterator for Portions {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let portion = match self.mark.is_empty() {
            true => self.rest.split_to(PORTION.min(self.rest.len())),
            false => std::mem::take(&mut self.mark),
        };
        if portion.is_empty() {
            return None;
        }
        let is_plain = self.splice.is_plain();
        Some(if is_plain {
            portion
        } else {
            self.splice.apply(&portion)
        })
    }
}

#[cfg(test)]
mod tests {
    use media::time::Ticks;
    use media::ts::mux::{Muxer, SegmentMedia, Tracks, VIDEO_PID};
    use media::ts::packet::Packet;
    use media::ts::pes::PesHeader;
    use media::unit::{AccessUnit, RandomAccess, Track, VideoCodec};

    use super::*;

    /// A second from then on, in about so many bytes.
    fn segment(muxer: &mut Muxer, second: i64, bytes: usize) -> Bytes {
        let times = (0..25).map(|index| Ticks::from_seconds(second) + Ticks(index * 3600));
        let video = times.map(|time| AccessUnit {
            track: Track::Video,
            pts: time,
            dts: time,
            random_access: RandomAccess::Full,
            arrival: time,
            payload: Bytes::from(vec![0x55; bytes / 25]),
        });
        muxer.segment(&SegmentMedia {
            tracks: &Tracks {
                video: Some(VideoCodec::H264),
                audio: None,
            },
            offset: Ticks::ZERO,
            seam: false,
            video: &video.collect::<Vec<_>>(),
            audio: &[],
        })
    }

    fn seconds(bytes: &[u8]) -> Vec<u64> {
        let packets = bytes.as_chunks().0.iter().map(Packet::new);
        let starts = packets.filter(|packet| packet.pid() == VIDEO_PID && packet.starts_unit());
        let headers = starts.map(|packet| PesHeader::parse(packet.payload()).unwrap().unwrap());
        let mut seconds: Vec<u64> = headers.map(|one| one.pts.unwrap() / 90_000).collect();
        seconds.dedup();
        seconds
    }

    fn marks(bytes: &[u8]) -> usize {
        let packets = bytes.as_chunks().0.iter().map(Packet::new);
        let fields = packets.filter_map(Packet::adaptation);
        fields.filter(|field| field.discontinuity).count()
    }

    #[test]
    fn what_goes_on_is_handed_on_as_it_is_without_a_copy() {
        let (mut join, mut muxer) = (Join::default(), Muxer::default());
        for second in 10..13 {
            let segment = segment(&mut muxer, second, 200_000);
            let range = segment.as_ptr_range();
            let portions: Vec<Bytes> = join.append(segment.clone(), second > 10, false).collect();
            assert!(portions.len() > 3, "{}", portions.len());
            for portion in &portions {
                assert!(portion.len() <= PORTION && range.contains(&portion.as_ptr()));
            }
            assert_eq!(portions.concat(), segment);
        }
    }

    #[test]
    fn what_does_not_go_on_is_moved_behind_the_last_one_and_says_so_once() {
        let (mut one, mut other) = (Muxer::default(), Muxer::default());
        let mut join = Join::default();
        let mut given = |segment, goes_on, is_marked| {
            let portions: Vec<Bytes> = join.append(segment, goes_on, is_marked).collect();
            portions.concat()
        };
        let first = given(segment(&mut one, 100, 1000), false, false);
        assert_eq!((seconds(&first), marks(&first)), (vec![100], 0));
        let moved = given(segment(&mut other, 10, 1000), false, false);
        assert_eq!((seconds(&moved), marks(&moved)), (vec![101], 1));
        let after = given(segment(&mut other, 11, 1000), true, false);
        assert_eq!((seconds(&after), marks(&after)), (vec![102], 0));
        let marked = seam::mark(&segment(&mut Muxer::default(), 10, 1000));
        let marked = given(marked, false, true);
        assert_eq!((seconds(&marked), marks(&marked)), (vec![103], 1));
    }

    #[test]
    fn what_is_left_out_leaves_no_hole() {
        let mut muxer = Muxer::default();
        let [first, _, third] = [10, 11, 12].map(|second| segment(&mut muxer, second, 1000));
        let mut join = Join::default();
        join.append(first, false, false).for_each(drop);
        join.leave_out();
        let third: Vec<Bytes> = join.append(third, true, false).collect();
        assert_eq!(seconds(&third.concat()), [11]);
    }

    #[test]
    fn what_is_no_transport_stream_goes_through() {
        let mut join = Join::default();
        for text in ["one", "two", ""] {
            let portions: Vec<Bytes> = join.append(text.into(), false, false).collect();
            assert_eq!(portions.concat(), text.as_bytes());
        }
    }
}
