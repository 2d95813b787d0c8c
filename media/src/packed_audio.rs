//! Sound without a transport stream: in segments, as HLS may have it (RFC 8216, 3.4), frames behind a tag with the time of the first;
//! or without an end, as radio stations send it. Makes a transport stream of it. Pure; holds at most one tag and one unfinished frame.

mod endless;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::codec::audio::{FrameHeader, parse_header};
use crate::time::{TICKS_PER_SECOND, Ticks};
use crate::ts::mux::{AudioTrack, Muxer, SegmentMedia, Tracks};
use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track};

use endless::Follower;
pub use endless::{Told, tell};

/// Bytes of a tag at most: pictures of an album would fit.
const TAG_MAXIMUM: usize = 1 << 20;
/// Bytes of the header of a tag, and of each of its frames.
const TAG_HEADER: usize = 10;
/// Bytes that hold a header of any format.
const FRAME_HEADER: usize = 8;
/// A time that is so far from where the frames before it ended is another timeline.
const JUMP: Ticks = Ticks::from_seconds(1);
/// Where the times of sound without an end begin: the clock of a transport stream runs ahead of them.
const ENDLESS_START: Ticks = Ticks::from_seconds(10);
/// Whose frame of a tag has the time.
const OWNER: &[u8] = b"com.apple.streaming.transportStreamTimestamp\0";
/// The formats that may come so.
const CODECS: [AudioCodec; 3] = [AudioCodec::Aac, AudioCodec::Mpeg, AudioCodec::Ac3];

/// Why no transport stream can be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackedAudioError {
    /// A tag has more bytes than any.
    #[error("the tag of a segment is longer than {TAG_MAXIMUM} bytes")]
    TagTooLong,
    /// The first segment does not say when it is to be played.
    #[error("a segment of sound says no time")]
    NoTime,
    /// There is no frame where one should begin.
    #[error("what should be sound has something else than frames")]
    NoFrames,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A tag, if there is one.
    Tag,
    /// Frames.
    Frames(AudioCodec),
}

/// The sound of one track.
#[derive(Debug)]
pub struct PackedAudio {
    state: State,
    held: BytesMut,
    /// When the frames of this segment began, and samples and rate of those that are passed.
    began: Option<Ticks>,
    samples: u64,
    rate: u32,
    muxer: Muxer,
    /// For sound without an end, which may have been joined anywhere.
    follower: Option<Follower>,
}

impl Default for PackedAudio {
    fn default() -> Self {
        Self {
            state: State::Tag,
            held: BytesMut::new(),
            began: None,
            samples: 0,
            rate: 1,
            muxer: Muxer::default(),
            follower: None,
        }
    }
}

impl PackedAudio {
    /// Sound without an end, whose times count its samples. What is between its frames is left out.
    #[must_use]
    pub fn endless(codec: AudioCodec) -> Self {
        Self {
            state: State::Frames(codec),
            began: Some(ENDLESS_START),
            follower: Some(Follower::default()),
            ..Self::default()
        }
    }

    /// A segment begins; what is unfinished stays so.
    pub fn begin_segment(&mut self) {
        self.held.clear();
        self.state = State::Tag;
    }

    /// Takes the next bytes of a segment; answers a transport stream with the frames that are whole, which may be none.
    ///
    /// # Errors
    /// Nothing can be made of what comes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, PackedAudioError> {
        self.held.extend_from_slice(bytes);
        while self.state == State::Tag {
            if !self.pass_tag()? {
                return Ok(Bytes::new());
            }
        }
        let State::Frames(codec) = self.state else {
            return Ok(Bytes::new());
        };
        let mut units = Vec::new();
        while let Some(header) = self.header(codec)? {
            if self.held.len() < header.length {
                break;
            }
            let pts = self.time().ok_or(PackedAudioError::NoTime)?;
            units.push(AccessUnit {
                track: Track::Audio,
                pts,
                dts: pts,
                random_access: RandomAccess::Full,
                arrival: Ticks::default(),
                payload: self.held.split_to(header.length).freeze(),
            });
            if self.rate != header.sample_rate {
                (self.began, self.samples, self.rate) = (Some(pts), 0, header.sample_rate.max(1));
            }
            self.samples += u64::from(header.samples);
        }
        Ok(self.written(codec, &units))
    }

    /// The header of the frame that comes next; `None` where more must come.
    fn header(&mut self, codec: AudioCodec) -> Result<Option<FrameHeader>, PackedAudioError> {
        if let Some(follower) = &mut self.follower {
            return follower.header(codec, &mut self.held);
        }
        if self.held.len() < FRAME_HEADER {
            return Ok(None);
        }
        let header = parse_header(codec, &self.held);
        header.map(Some).ok_or(PackedAudioError::NoFrames)
    }

    /// Reads the tag at the start, or finds that there is none; answers whether there was enough to tell.
    fn pass_tag(&mut self) -> Result<bool, PackedAudioError> {
        if self.held.len() < TAG_HEADER {
            return Ok(false);
        }
        if !self.held.starts_with(b"ID3") {
            let codec = CODECS
                .into_iter()
                .find(|codec| parse_header(*codec, &self.held).is_some());
            self.state = State::Frames(codec.ok_or(PackedAudioError::NoFrames)?);
            return Ok(true);
        }
        let length = TAG_HEADER + synchsafe(&self.held[6..TAG_HEADER]);
        if length > TAG_MAXIMUM {
            return Err(PackedAudioError::TagTooLong);
        }
        if self.held.len() < length {
            return Ok(false);
        }
        let tag = self.held.split_to(length);
        if let Some(wire) = timestamp(&tag[TAG_HEADER..]) {
            let expected = self.time();
            let began = Ticks::unwrap_near(wire, expected.unwrap_or_default());
            let is_near = |expected: Ticks| (began - JUMP..=began + JUMP).contains(&expected);
            if !expected.is_some_and(is_near) {
                // The clock of the stream would go on from where it was.
                self.muxer = Muxer::default();
            }
            (self.began, self.samples) = (Some(began), 0);
        }
        Ok(true)
    }

    /// When the next frame is played.
    fn time(&self) -> Option<Ticks> {
        let seconds = Duration::from_secs(self.samples / u64::from(self.rate));
        let rest = self.samples % u64::from(self.rate) * TICKS_PER_SECOND.cast_unsigned();
        let rest = Ticks((rest / u64::from(self.rate)).cast_signed());
        self.began
            .map(|began| began + Ticks::from_duration(seconds) + rest)
    }

    fn written(&mut self, codec: AudioCodec, units: &[AccessUnit]) -> Bytes {
        if units.is_empty() {
            return Bytes::new();
        }
        let audio = AudioTrack {
            codec,
            language: None,
        };
        self.muxer.segment(&SegmentMedia {
            tracks: &Tracks {
                video: None,
                audio: Some(audio),
            },
            offset: Ticks::default(),
            seam: false,
            video: &[],
            audio: units,
        })
    }
}

/// A number of four times seven bits.
fn synchsafe(bytes: &[u8]) -> usize {
    let seven = |number: usize, byte: &u8| number << 7 | usize::from(byte & 0x7F);
    bytes.iter().fold(0, seven)
}

/// The time that the frames of a tag say, of 33 bits.
fn timestamp(mut frames: &[u8]) -> Option<u64> {
    while frames.len() > TAG_HEADER {
        let length = synchsafe(&frames[4..8]);
        let body = frames.get(TAG_HEADER..TAG_HEADER + length)?;
        if frames.starts_with(b"PRIV")
            && let Some(time) = body.strip_prefix(OWNER)
        {
            let time = u64::from_be_bytes(*time.first_chunk()?);
            return Some(time & 0x1_FFFF_FFFF);
        }
        frames = &frames[TAG_HEADER + length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::PipeDemuxer;
    use crate::ts::packet::Packet;

    /// AAC-LC, 48 kHz, stereo, 16 bytes.
    fn frame(fill: u8) -> Vec<u8> {
        let mut frame = vec![0xFF, 0xF1, 0x4C, 0x80, 0x02, 0x1F, 0xFC];
        frame.resize(16, fill);
        frame
    }

    fn tag(time: u64) -> Vec<u8> {
        let body = [OWNER, &time.to_be_bytes()].concat();
        let length = u8::try_from(body.len()).unwrap();
        let other = [&b"TXXX\0\0\0\x03\0\0"[..], b"abc"].concat();
        let frame = [&b"PRIV\0\0\0"[..], &[length], &[0, 0], &body].concat();
        let length = u8::try_from(other.len() + frame.len()).unwrap();
        [&b"ID3\x04\0\0\0\0\0"[..], &[length], &other, &frame].concat()
    }

    /// The first times of what comes out, and all its bytes.
    fn played(segments: &[Vec<u8>], step: usize) -> Result<(Vec<i64>, usize), PackedAudioError> {
        let mut packed = PackedAudio::default();
        let mut demuxer = PipeDemuxer::audio(Ticks::default());
        let mut units = Vec::new();
        for segment in segments {
            packed.begin_segment();
            for piece in segment.chunks(step) {
                units.extend(demuxer.push(&packed.push(piece)?));
            }
        }
        units.extend(demuxer.finish());
        let bytes = units.iter().map(|unit| unit.payload.len()).sum();
        Ok((units.iter().map(|unit| unit.pts.0).collect(), bytes))
    }

    #[test]
    fn frames_have_the_time_of_their_tag_however_they_come() {
        let long = [tag(90_000), frame(1).repeat(100)].concat();
        let next = [tag(90_000 + 200_000), frame(2), frame(3)].concat();
        let bare = [frame(4), frame(5)].concat();
        let wrapped = [tag((1 << 33) + 500_000), frame(6)].concat();
        let segments = [long, next, bare, wrapped];
        for step in [1, 7, 100, 10_000] {
            let (times, bytes) = played(&segments, step).unwrap();
            assert_eq!(bytes, 105 * 16, "{step}");
            assert_eq!(times[0], 90_000);
            // A frame takes 1920 ticks.
            for expected in [290_000, 500_000] {
                assert!(times.contains(&expected), "{step} {times:?}");
            }
            assert!(times.iter().all(|time| *time < 600_000), "{times:?}");
        }
    }

    #[test]
    fn the_clock_stays_ahead_of_the_times_wherever_they_jump_to() {
        let mut packed = PackedAudio::default();
        for time in [900_000, 901_920, 450_000, 1_350_000] {
            packed.begin_segment();
            let segment = [tag(time), frame(1)].concat();
            let bytes = packed.push(&segment).unwrap();
            let (packets, _) = bytes.as_chunks::<188>();
            let clocks = packets
                .iter()
                .filter_map(|packet| Packet::new(packet).adaptation()?.pcr);
            for clock in clocks {
                assert!((time - 90_000..time).contains(&clock), "{time} {clock}");
            }
        }
    }

    #[test]
    fn what_says_no_time_or_has_no_frames_is_named() {
        let long = [&b"ID3\x04\0\0\x7F\x7F\x7F\x7F"[..], &[0; 20]].concat();
        for (segment, expected) in [
            (frame(1), PackedAudioError::NoTime),
            (
                [tag(1), b"something else".to_vec()].concat(),
                PackedAudioError::NoFrames,
            ),
            (
                [tag(1), frame(1), b"something else".to_vec()].concat(),
                PackedAudioError::NoFrames,
            ),
            (long, PackedAudioError::TagTooLong),
        ] {
            assert_eq!(played(&[segment], 5), Err(expected));
        }
        assert_eq!(
            played(&[b"ID3".to_vec(), Vec::new()], 1),
            Ok((Vec::new(), 0))
        );
    }
}
