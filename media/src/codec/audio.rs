//! What all audio formats have in common: frame headers, and the framer that turns PES payloads into whole frames with their time.
//! Holds at most one unfinished frame; never decodes.

use bytes::Bytes;

use crate::codec::{aac, ac3, mpeg_audio};
use crate::time::{TICKS_PER_SECOND, Ticks};
use crate::unit::AudioCodec;

/// The longest frame of any format: 13 bits of ADTS length.
const MAX_FRAME: usize = 8192;

/// Bytes that surely hold a header of any format.
const MAX_HEADER: usize = 8;

/// RFC 6381 name of HE-AAC.
const HIGH_EFFICIENCY: &str = "mp4a.40.5";

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the frame, header included.
    pub length: usize,
    /// Samples of each channel; zero for what only adds channels to the frame before.
    pub samples: u32,
    /// Hz.
    pub sample_rate: u32,
    /// Channels, low frequency effects counted; `None` where the header does not say.
    pub channels: Option<u8>,
    /// MPEG-4 audio object type, where the format has one.
    pub object_type: Option<u8>,
}

impl FrameHeader {
    /// How long the frame sounds.
    #[must_use]
    pub fn duration(&self) -> Ticks {
        Ticks(i64::from(self.samples) * TICKS_PER_SECOND / i64::from(self.sample_rate.max(1)))
    }
}

/// Reads the header of the frame that starts here; `None` when none does, too little has come, or the format is not read.
#[must_use]
pub fn parse_header(codec: AudioCodec, bytes: &[u8]) -> Option<FrameHeader> {
    match codec {
        AudioCodec::Aac => aac::parse_header(bytes),
        AudioCodec::Mpeg => mpeg_audio::parse_header(bytes),
        AudioCodec::Ac3 | AudioCodec::Eac3 => ac3::parse_header(bytes),
        AudioCodec::AacLatm | AudioCodec::Other(_) => None,
    }
}

/// The frames of a payload of whole ones that begins at `pts` which start at `from` or later: their time, their bytes and their end.
#[must_use]
pub fn frames_from(
    codec: AudioCodec,
    payload: &Bytes,
    pts: Ticks,
    from: Ticks,
) -> Option<(Ticks, Bytes, Ticks)> {
    let (mut offset, mut at) = (0, pts);
    let mut first = None;
    while let Some(header) = payload
        .get(offset..)
        .and_then(|rest| parse_header(codec, rest))
    {
        if at >= from {
            first.get_or_insert((at, offset));
        }
        offset += header.length;
        at += header.duration();
    }
    let (start, skipped) = first?;
    Some((start, payload.slice(skipped..), at))
}

/// The highest rate, in Hz, at which frames of AAC-LC are taken for the lower half of HE-AAC.
const HALF_RATE: u32 = 24_000;

/// RFC 6381 name of the format. ADTS cannot say that frames carry spectral band replication (ISO/IEC 14496-3 §1.6.5: it is signalled
/// implicitly): what states low complexity at half of the usual rates is named HE-AAC, whose decoders play both.
#[must_use]
pub fn codecs(codec: AudioCodec, header: Option<&FrameHeader>) -> Option<String> {
    match codec {
        AudioCodec::Aac
            if header.is_some_and(|header| {
                header.sample_rate <= HALF_RATE && header.object_type == Some(aac::LOW_COMPLEXITY)
            }) =>
        {
            Some(HIGH_EFFICIENCY.to_owned())
        }
        AudioCodec::Aac | AudioCodec::Mpeg => header?
            .object_type
            .map(|object_type| format!("mp4a.40.{object_type}")),
        AudioCodec::Ac3 => Some("ac-3".to_owned()),
        AudioCodec::Eac3 => Some("ec-3".to_owned()),
        AudioCodec::AacLatm | AudioCodec::Other(_) => None,
    }
}

/// Whole frames that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Presentation time of the first.
    pub pts: Ticks,
    /// How long they sound; zero where the format is not read.
    pub duration: Ticks,
    /// The header of the first, where the format is read.
    pub header: Option<FrameHeader>,
    /// Their bytes.
    pub payload: Bytes,
}

/// Cuts the PES payloads of one audio stream at frame boundaries. A PES packet may end inside a frame; its time is that of the first frame that starts in it.
#[derive(Debug)]
pub struct AudioFramer {
    codec: AudioCodec,
    /// The start of a frame whose end is in the next PES packet.
    carry: Vec<u8>,
    /// Where the frame after the last one starts, to time PES packets without a timestamp.
    next_pts: Option<Ticks>,
}

impl AudioFramer {
    /// A framer for a format.
    #[must_use]
    pub fn new(codec: AudioCodec) -> Self {
        Self {
            codec,
            carry: Vec::new(),
            next_pts: None,
        }
    }

    /// Forgets the unfinished frame, as when packets are missing.
    pub fn reset(&mut self) {
        self.carry.clear();
    }

    /// Bytes of the unfinished frame.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.carry.len()
    }

    /// Takes the payload of a PES packet and returns the frames it completes.
    pub fn push(&mut self, payload: Vec<u8>, pts: Option<Ticks>) -> Option<Frames> {
        if matches!(self.codec, AudioCodec::AacLatm | AudioCodec::Other(_)) {
            return Some(Frames {
                pts: pts?,
                duration: Ticks::ZERO,
                header: None,
                payload: Bytes::from(payload),
            });
        }
        let carried = self.carry.len();
        let mut bytes = payload;
        if carried > 0 {
            let mut joined = std::mem::take(&mut self.carry);
            joined.extend_from_slice(&bytes);
            bytes = joined;
        }
        let walk = Walk::over(self.codec, &mut bytes);
        if bytes.len() - walk.read <= MAX_FRAME {
            self.carry = bytes[walk.read..].to_vec();
        }
        bytes.truncate(walk.kept);
        let header = walk.first?;
        // The timestamp belongs to the first frame that starts in this PES packet, one after the carried one.
        let before = if carried > 0 && !walk.starts_with_garbage {
            header.duration()
        } else {
            Ticks::ZERO
        };
        let pts = pts.map(|pts| pts - before).or(self.next_pts)?;
        self.next_pts = Some(pts + walk.duration);
        Some(Frames {
            pts,
            duration: walk.duration,
            header: Some(header),
            payload: Bytes::from(bytes),
        })
    }
}

/// Where the whole frames of a buffer are.
#[derive(Default)]
struct Walk {
    first: Option<FrameHeader>,
    /// The buffer began with garbage rather than with a frame.
    starts_with_garbage: bool,
    duration: Ticks,
    /// Bytes looked at; what follows may be the start of another frame.
    read: usize,
    /// Bytes of whole frames, moved together at the start of the buffer.
    kept: usize,
}

impl Walk {
    /// Walks from frame to frame and closes the gaps that garbage between them leaves.
    fn over(codec: AudioCodec, bytes: &mut [u8]) -> Self {
        let mut walk = Self::default();
        while walk.read < bytes.len() {
            let rest = &bytes[walk.read..];
            match parse_header(codec, rest) {
                Some(header) if header.length > rest.len() => break,
                Some(header) => {
                    walk.first = walk.first.or(Some(header));
                    walk.duration += header.duration();
                    if walk.kept < walk.read {
                        bytes.copy_within(walk.read..walk.read + header.length, walk.kept);
                    }
                    walk.read += header.length;
                    walk.kept += header.length;
                }
                None if rest.len() < MAX_HEADER => break,
                None => {
                    walk.starts_with_garbage |= walk.read == 0;
                    walk.read += find_frame(codec, rest);
                }
            }
        }
        walk
    }
}

/// How many bytes to skip to the next frame that is followed by another, or to where one may start in bytes still to come.
fn find_frame(codec: AudioCodec, bytes: &[u8]) -> usize {
    let last = bytes.len() - (MAX_HEADER - 1).min(bytes.len());
    (1..last)
        .find(|&start| {
            parse_header(codec, &bytes[start..]).is_some_and(|header| {
                let next = bytes.get(start + header.length..).unwrap_or(&[]);
                next.len() < MAX_HEADER || parse_header(codec, next).is_some()
            })
        })
        .unwrap_or(last.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 ms at 32 kHz are 2880 ticks exactly.
    const FRAME: Ticks = Ticks(2880);

    /// An ADTS frame of 100 bytes, 1024 samples at 32 kHz.
    fn frame(fill: u8) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xF1, 0x54, 0x80, 0x0C, 0x9F, 0xFC];
        bytes.resize(100, fill);
        bytes
    }

    fn stream(count: u8) -> Vec<u8> {
        (0..count).flat_map(frame).collect()
    }

    #[test]
    fn low_complexity_at_half_the_usual_rate_is_named_high_efficiency() {
        for (object_type, sample_rate, expected) in [
            (2, 48_000, "mp4a.40.2"),
            (2, 32_000, "mp4a.40.2"),
            (2, 24_000, "mp4a.40.5"),
            (2, 22_050, "mp4a.40.5"),
            (1, 24_000, "mp4a.40.1"),
        ] {
            let header = FrameHeader {
                length: 100,
                samples: 1024,
                sample_rate,
                channels: Some(2),
                object_type: Some(object_type),
            };
            let named = codecs(AudioCodec::Aac, Some(&header));
            assert_eq!(named.as_deref(), Some(expected), "{sample_rate}");
        }
    }

    #[test]
    fn frames_that_fill_their_pes_packet_pass_without_a_copy() {
        let payload = stream(3);
        let address = payload.as_ptr();
        let frames = AudioFramer::new(AudioCodec::Aac).push(payload, Some(Ticks(7)));
        let frames = frames.unwrap();
        assert_eq!(frames.pts, Ticks(7));
        assert_eq!(frames.duration, Ticks(3 * FRAME.0));
        assert_eq!(frames.payload, stream(3));
        assert_eq!(frames.payload.as_ptr(), address);
    }

    #[test]
    fn frames_before_a_time_are_left_out() {
        let payload = Bytes::from(stream(4));
        for (from, expected) in [
            (-5, Some((7, 4))),
            (7, Some((7, 4))),
            (8, Some((7 + FRAME.0, 3))),
            (7 + 3 * FRAME.0, Some((7 + 3 * FRAME.0, 1))),
            (8 + 3 * FRAME.0, None),
        ] {
            let found = frames_from(AudioCodec::Aac, &payload, Ticks(7), Ticks(from));
            let end = Ticks(7 + 4 * FRAME.0);
            let expected = expected.map(|(pts, count)| {
                let first = payload.len() - count * 100;
                (Ticks(pts), payload.slice(first..), end)
            });
            assert_eq!(found, expected, "{from}");
        }
    }

    #[test]
    fn a_frame_across_two_pes_packets_keeps_its_own_time() {
        let mut framer = AudioFramer::new(AudioCodec::Aac);
        let (first, second) = (stream(4)[..150].to_vec(), stream(4)[150..].to_vec());
        let start = framer.push(first, Some(Ticks(90_000))).unwrap();
        assert_eq!((start.pts, start.payload), (Ticks(90_000), frame(0).into()));
        // The first frame that starts in the second packet is number 2.
        let stamp = Ticks(90_000 + 2 * FRAME.0);
        let rest = framer.push(second, Some(stamp)).unwrap();
        assert_eq!(rest.pts, Ticks(90_000 + FRAME.0));
        assert_eq!(rest.payload, stream(4)[100..]);
    }

    #[test]
    fn a_pes_packet_without_timestamp_follows_the_one_before() {
        let mut framer = AudioFramer::new(AudioCodec::Aac);
        assert_eq!(framer.push(stream(1), None), None);
        framer.push(stream(2), Some(Ticks(100))).unwrap();
        let frames = framer.push(stream(1), None).unwrap();
        assert_eq!(frames.pts, Ticks(100 + 2 * FRAME.0));
    }

    #[test]
    fn garbage_before_and_between_frames_is_left_out() {
        let mut framer = AudioFramer::new(AudioCodec::Aac);
        let payload = [vec![0xFF; 33], frame(1), frame(2), vec![0x00; 20], frame(3)].concat();
        let frames = framer.push(payload, Some(Ticks(0))).unwrap();
        assert_eq!(frames.payload, [frame(1), frame(2), frame(3)].concat());
        assert_eq!(framer.carry.len(), 0);
    }

    #[test]
    fn endless_garbage_is_not_kept() {
        let mut framer = AudioFramer::new(AudioCodec::Aac);
        for _ in 0..50 {
            assert_eq!(framer.push(vec![0xFF; 3000], Some(Ticks(0))), None);
            assert!(framer.carry.len() <= MAX_FRAME);
        }
    }

    #[test]
    fn formats_we_do_not_read_pass_as_they_are() {
        let mut framer = AudioFramer::new(AudioCodec::AacLatm);
        assert_eq!(framer.push(vec![1], None), None);
        assert_eq!(
            framer.push(vec![1, 2, 3], Some(Ticks(5))),
            Some(Frames {
                pts: Ticks(5),
                duration: Ticks::ZERO,
                header: None,
                payload: Bytes::from_static(&[1, 2, 3]),
            })
        );
    }

    #[test]
    fn names_follow_rfc_6381() {
        let header = parse_header(AudioCodec::Aac, &frame(0));
        let name = |codec| codecs(codec, header.as_ref());
        assert_eq!(name(AudioCodec::Aac).as_deref(), Some("mp4a.40.2"));
        assert_eq!(name(AudioCodec::Ac3).as_deref(), Some("ac-3"));
        assert_eq!(name(AudioCodec::Eac3).as_deref(), Some("ec-3"));
        assert_eq!(name(AudioCodec::Other(0x8A)), None);
    }
}
