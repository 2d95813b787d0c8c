//! Sound without an end, as radio stations send it over HTTP: told from anything else by its first bytes, and followed from frame to
//! frame, past tags and whatever else stands between them. Pure; what is passed over in a row is bounded.

use bytes::{Buf, BytesMut};

use super::{CODECS, FRAME_HEADER, PackedAudioError, TAG_HEADER, TAG_MAXIMUM, synchsafe};
use crate::codec::audio::{FrameHeader, parse_header};
use crate::front_end::is_foreign;
use crate::ts::packet::SYNC_BYTE;
use crate::ts::section::PACKET_BYTES;
use crate::unit::AudioCodec;

/// Bytes that are looked at, a tag at the start apart: they hold the frames that are asked for, however long.
const HEAD: usize = 64 << 10;
/// Frames in a row that no other bytes have by chance.
const FRAMES: usize = 4;
/// Packets in a row that no sound has by chance; in so many bytes a transport stream shows itself.
const PACKETS: usize = 5;
/// Bytes that are passed over in a row.
const GARBAGE_MAXIMUM: usize = 256 << 10;

/// What comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Frames of this format, maybe from the middle of one on.
    Sound(AudioCodec),
    /// Something else, such as a transport stream.
    Other,
}

/// Tells by its first bytes what comes; `None` where more are needed. What ends before that is something else.
#[must_use]
pub fn tell(head: &[u8]) -> Option<Told> {
    let tag = match tag(head) {
        Tag::None => 0,
        Tag::Of(length) => length,
        Tag::Unknown => return None,
    };
    let head = head.get(tag..)?;
    if is_foreign(head) {
        return Some(Told::Other);
    }
    if head.len() < PACKETS * PACKET_BYTES {
        return None;
    }
    if has_packets(head) {
        return Some(Told::Other);
    }
    let codec = (0..head.len()).find_map(|at| codec_of(&head[at..]));
    match codec {
        Some(codec) => Some(Told::Sound(codec)),
        None if head.len() >= HEAD => Some(Told::Other),
        None => None,
    }
}

enum Tag {
    None,
    /// So many bytes.
    Of(usize),
    /// More must come.
    Unknown,
}

/// The tag that these bytes begin with. One that is longer than any is none.
fn tag(bytes: &[u8]) -> Tag {
    const NAME: &[u8] = b"ID3";
    if !bytes.starts_with(&NAME[..bytes.len().min(NAME.len())]) {
        return Tag::None;
    }
    match bytes.get(6..TAG_HEADER).map(synchsafe) {
        None => Tag::Unknown,
        Some(length) if length > TAG_MAXIMUM => Tag::None,
        Some(length) => Tag::Of(TAG_HEADER + length),
    }
}

/// Whether there are packets of a transport stream, which may well have frames within.
fn has_packets(head: &[u8]) -> bool {
    let needed = (PACKETS - 1) * PACKET_BYTES;
    let starts = 0..head.len().saturating_sub(needed);
    let mut starts = starts.filter(|&start| head[start] == SYNC_BYTE);
    starts.any(|start| {
        let mut others = (1..PACKETS).map(|number| head[start + number * PACKET_BYTES]);
        others.all(|byte| byte == SYNC_BYTE)
    })
}

/// The format of the frames that follow each other from here on.
fn codec_of(bytes: &[u8]) -> Option<AudioCodec> {
    let follow = |codec: &AudioCodec| {
        let mut rest = bytes;
        (0..FRAMES).all(|_| {
            let header = parse_header(*codec, rest);
            // Of the last one the beginning is enough.
            rest = header.map_or(&[], |header| rest.get(header.length..).unwrap_or(&[]));
            header.is_some()
        })
    };
    CODECS.into_iter().find(follow)
}

/// Where in the sound it is.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Bytes of a tag that are still to come.
    tag: usize,
    /// Bytes that were passed over since the last frame.
    passed: usize,
}

impl Follower {
    /// The header of the frame that what is held begins with, after what stands before it is taken away. `None` where more must come: a
    /// frame is one where another follows it, or a tag; else something may be missing of it.
    pub(super) fn header(
        &mut self,
        codec: AudioCodec,
        held: &mut BytesMut,
    ) -> Result<Option<FrameHeader>, PackedAudioError> {
        loop {
            let part = self.tag.min(held.len());
            held.advance(part);
            self.tag -= part;
            if held.len() < TAG_HEADER {
                return Ok(None);
            }
            match (parse_header(codec, held), tag(held)) {
                (Some(header), _) => match held.get(header.length..header.length + FRAME_HEADER) {
                    None => return Ok(None),
                    Some(next) if goes_on(codec, next) => {
                        self.passed = 0;
                        return Ok(Some(header));
                    }
                    Some(_) => self.pass_over(held)?,
                },
                // Elsewhere these letters are chance.
                (None, Tag::Of(length)) if self.passed == 0 => self.tag = length,
                (None, _) => self.pass_over(held)?,
            }
        }
    }

    fn pass_over(&mut self, held: &mut BytesMut) -> Result<(), PackedAudioError> {
        self.passed += 1;
        held.advance(1);
        match self.passed {
            0..=GARBAGE_MAXIMUM => Ok(()),
            _ => Err(PackedAudioError::NoFrames),
        }
    }
}

/// Whether a frame begins, or one of the tags that stand between the songs of a station.
fn goes_on(codec: AudioCodec, bytes: &[u8]) -> bool {
    parse_header(codec, bytes).is_some() || bytes.starts_with(b"ID3") || bytes.starts_with(b"TAG")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed_audio::PackedAudio;
    use crate::pipe::PipeDemuxer;
    use crate::time::Ticks;

    /// AAC-LC, 48 kHz, stereo, 200 bytes.
    fn aac() -> Vec<u8> {
        let mut frame = vec![0xFF, 0xF1, 0x4C, 0x80, 0x19, 0x1F, 0xFC];
        frame.resize(200, 0xD5);
        frame
    }

    /// Layer III, 44.1 kHz, 128 kbit/s, 417 bytes.
    fn mp3() -> Vec<u8> {
        let mut frame = vec![0xFF, 0xFB, 0x90, 0x00];
        frame.resize(417, 0xD5);
        frame
    }

    fn id3(length: usize) -> Vec<u8> {
        let seven = |shift: usize| u8::try_from(length >> shift & 0x7F).unwrap();
        let mut tag = b"ID3\x04\0\0".to_vec();
        tag.extend([seven(21), seven(14), seven(7), seven(0)]);
        tag.resize(TAG_HEADER + length, 0xFF);
        tag
    }

    fn packets(count: usize) -> Vec<u8> {
        let mut packet = vec![SYNC_BYTE];
        packet.resize(PACKET_BYTES, 0x55);
        // With short frames in it.
        packet[20..52].copy_from_slice(&[0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x1F, 0xFC, 0].repeat(4));
        packet.repeat(count)
    }

    #[test]
    fn sound_is_told_from_anything_else_by_its_first_bytes() {
        let (aac, mp3) = (aac().repeat(6), mp3().repeat(6));
        let sound = |codec| Some(Told::Sound(codec));
        let text =
            "<html> and so on and on, until there is nothing left but what is said in words of men";
        let cases = [
            (aac.clone(), sound(AudioCodec::Aac)),
            (aac[90..].to_vec(), sound(AudioCodec::Aac)),
            (mp3.clone(), sound(AudioCodec::Mpeg)),
            (mp3[..1255].to_vec(), sound(AudioCodec::Mpeg)),
            (mp3[..1250].to_vec(), None),
            (
                [id3(300_000), mp3.clone()].concat(),
                sound(AudioCodec::Mpeg),
            ),
            (id3(300_000)[..200_000].to_vec(), None),
            (b"I".to_vec(), None),
            (Vec::new(), None),
            (
                [vec![0; 9000], aac.clone()].concat(),
                sound(AudioCodec::Aac),
            ),
            (packets(5), Some(Told::Other)),
            ([vec![0; 100], packets(5)].concat(), Some(Told::Other)),
            (packets(4), None),
            (text.as_bytes().to_vec(), Some(Told::Other)),
            (vec![0; HEAD - 1], None),
            (vec![0; HEAD], Some(Told::Other)),
        ];
        for (number, (head, expected)) in cases.into_iter().enumerate() {
            assert_eq!(tell(&head), expected, "{number}");
        }
    }

    /// How many frames come out, whose times follow each other.
    fn played(bytes: &[u8], step: usize) -> Result<usize, PackedAudioError> {
        let mut sound = PackedAudio::endless(AudioCodec::Aac);
        let mut demuxer = PipeDemuxer::audio(Ticks::default());
        let mut units = Vec::new();
        for piece in bytes.chunks(step) {
            units.extend(demuxer.push(&sound.push(piece)?));
        }
        units.extend(demuxer.finish());
        let mut frames = 0;
        for unit in units {
            assert_eq!(unit.pts.0, 900_000 + 1920 * i64::try_from(frames).unwrap());
            frames += unit.payload.len() / 200;
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_followed_past_tags_and_garbage_and_their_times_count_samples() {
        let (ten, noise) = (aac().repeat(10), [0x13; 777]);
        let title = [&b"TAG"[..], &[0x20; 125]].concat();
        let middle = [&ten[50..], &noise, &ten].concat();
        let titled = [
            &id3(5000)[..],
            &ten,
            &title,
            &ten[..1900],
            &ten,
            &ten[..1999],
        ]
        .concat();
        let bytes = [middle, titled].concat();
        // Nothing comes of a frame that was joined in its middle, was cut, has noise behind it, or is the last.
        for step in [1, 7, 150, 100_000] {
            assert_eq!(played(&bytes, step), Ok(8 + 10 + 10 + 9 + 10 + 9), "{step}");
        }
    }

    #[test]
    fn sound_that_became_something_else_is_named_in_bounded_time() {
        let garbage = vec![0x13; GARBAGE_MAXIMUM + 100];
        let bytes = [aac().repeat(10), garbage].concat();
        assert_eq!(played(&bytes, 1000), Err(PackedAudioError::NoFrames));
    }
}
