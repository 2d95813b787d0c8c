//! Writes the segments of one rendition: own tables, own counters, own clock, whole packets.
//! The plain concatenation of what one [`Muxer`] returns is one continuous transport stream; it never decides where a segment ends.

mod packet;

use bytes::Bytes;

use crate::time::Ticks;
use crate::ts::tables::{Descriptor, ElementaryStream, PAT_PID, Pat, Pmt, Program};
use crate::unit::{AccessUnit, AudioCodec, VideoCodec};
pub(super) use packet::timestamp;
use packet::{Adaptation, Stream};

/// PID of the programme map.
pub const PMT_PID: u16 = 0x1000;
/// PID of the video.
pub const VIDEO_PID: u16 = 0x100;
/// PID of the audio.
pub const AUDIO_PID: u16 = 0x101;

const PROGRAM_NUMBER: u16 = 1;
const AUDIO_STREAM_ID: u8 = 0xC0;
const PRIVATE_STREAM_ID: u8 = 0xBD;

/// How far the clock runs ahead of the first timestamp that a receiver still waits for: room for its buffers.
const CLOCK_LEAD: Ticks = Ticks::from_milliseconds(700);
/// Clock references stand at most 100 ms apart; this leaves a margin for rounding.
const CLOCK_STEP: Ticks = Ticks::from_milliseconds(90);
/// No hole in a source is bridged by more clock packets than this.
const CLOCK_PACKETS: usize = 64;

/// Audio frames are packed into PES packets of about this length: fewer headers, little delay.
const AUDIO_PES: Ticks = Ticks::from_milliseconds(165);
/// Units further apart than this are not single frames and stay as they are.
const AUDIO_FRAME: Ticks = Ticks::from_milliseconds(50);

/// What the segments of a generation carry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracks {
    /// The video's format; `None` is radio.
    pub video: Option<VideoCodec>,
    /// The audio's format; `None` is silence.
    pub audio: Option<AudioTrack>,
}

/// An audio track as the programme map names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// Its format.
    pub codec: AudioCodec,
    /// Its language (ISO 639-2), if known.
    pub language: Option<String>,
}

/// What goes into one segment. Units are in decoding order, on the source's clock.
#[derive(Debug, Clone, Copy)]
pub struct SegmentMedia<'a> {
    /// What the programme map announces.
    pub tracks: &'a Tracks,
    /// What is added to a source time to get the time on the wire.
    pub offset: Ticks,
    /// Whether this is the first segment after a seam.
    pub seam: bool,
    /// The pictures.
    pub video: &'a [AccessUnit],
    /// The audio that was assigned to this segment.
    pub audio: &'a [AccessUnit],
}

/// Writes one rendition, segment after segment.
#[derive(Debug, Default)]
pub struct Muxer {
    tables: TableState,
    video: Stream,
    audio: Stream,
    /// The last clock reference on the wire.
    clock: Option<Ticks>,
}

#[derive(Debug, Default)]
struct TableState {
    pat_continuity: u8,
    pmt_continuity: u8,
    version: u8,
    tracks: Option<Tracks>,
}

impl Muxer {
    /// The bytes of the next segment: PAT, PMT, then the media interleaved by decoding time, the leading picture first.
    pub fn segment(&mut self, media: &SegmentMedia) -> Bytes {
        let mut out = Vec::with_capacity(estimated_size(media));
        self.tables.write(media.tracks, &mut out);
        if media.seam {
            self.video.after_seam();
            self.audio.after_seam();
        }
        let packets = interleave(media);
        // The clock may not pass what is still to come, so each packet looks at the lowest time from itself on.
        let mut lowest_from: Vec<Ticks> = packets.iter().map(|packet| packet.dts).collect();
        for index in (1..lowest_from.len()).rev() {
            lowest_from[index - 1] = lowest_from[index - 1].min(lowest_from[index]);
        }
        let clock_kind = match media.tracks.video {
            Some(_) => Kind::Video,
            None => Kind::Audio,
        };
        let mut is_first = true;
        for (packet, &lowest) in packets.iter().zip(&lowest_from) {
            let clock = if packet.kind == clock_kind {
                let start = std::mem::replace(&mut is_first, false);
                let is_seam = start && media.seam;
                self.next_clock(lowest - CLOCK_LEAD, start, is_seam, &mut out)
            } else {
                None
            };
            self.write_pes(packet, clock, &mut out);
        }
        Bytes::from(out)
    }

    /// The clock reference to write now, if one is due; longer steps are first filled with packets of their own.
    fn next_clock(
        &mut self,
        due: Ticks,
        segment_start: bool,
        seam: bool,
        out: &mut Vec<u8>,
    ) -> Option<Ticks> {
        let Some(mut last) = self.clock else {
            self.clock = Some(due);
            return self.clock;
        };
        if due <= last {
            // A receiver that joins here needs a reference, even where late audio holds the clock back.
            if !segment_start {
                return None;
            }
            self.clock = Some(last + Ticks(1));
            return self.clock;
        }
        let (pid, stream) = match self.tables.tracks {
            Some(Tracks { video: None, .. }) => (AUDIO_PID, &mut self.audio),
            _ => (VIDEO_PID, &mut self.video),
        };
        if !seam {
            for _ in 0..CLOCK_PACKETS {
                if due - last <= CLOCK_STEP {
                    break;
                }
                last += CLOCK_STEP;
                stream.write_clock(pid, last, out);
            }
        }
        self.clock = Some(due);
        self.clock
    }

    fn write_pes(&mut self, packet: &Packet, clock: Option<Ticks>, out: &mut Vec<u8>) {
        let adaptation = Adaptation {
            random_access: packet.random_access,
            clock,
        };
        match packet.kind {
            Kind::Video => {
                self.video
                    .write_video(packet.pts, packet.dts, &packet.pieces, adaptation, out);
            }
            Kind::Audio => self.audio.write_audio(
                self.tables.audio_stream_id(),
                packet.pts,
                &packet.pieces,
                adaptation,
                out,
            ),
        }
    }
}

impl TableState {
    fn write(&mut self, tracks: &Tracks, out: &mut Vec<u8>) {
        if self.tracks.as_ref() != Some(tracks) {
            if self.tracks.is_some() {
                self.version = (self.version + 1) & 0x1F;
            }
            self.tracks = Some(tracks.clone());
        }
        let pat = Pat {
            transport_stream_id: 1,
            version: 0,
            programs: vec![Program {
                number: PROGRAM_NUMBER,
                pmt_pid: PMT_PID,
            }],
        };
        let pmt = program_map(tracks, self.version);
        out.extend(pat.section().packets(PAT_PID, &mut self.pat_continuity));
        out.extend(pmt.section().packets(PMT_PID, &mut self.pmt_continuity));
    }
}

impl TableState {
    fn audio_stream_id(&self) -> u8 {
        let track = self
            .tracks
            .as_ref()
            .and_then(|tracks| tracks.audio.as_ref());
        match track.map(|track| track.codec) {
            Some(AudioCodec::Ac3 | AudioCodec::Eac3 | AudioCodec::Other(_)) => PRIVATE_STREAM_ID,
            _ => AUDIO_STREAM_ID,
        }
    }
}

/// The programme map of our streams.
#[must_use]
pub fn program_map(tracks: &Tracks, version: u8) -> Pmt {
    let mut streams = Vec::new();
    if let Some(codec) = tracks.video {
        streams.push(ElementaryStream {
            stream_type: video_stream_type(codec),
            pid: VIDEO_PID,
            descriptors: Vec::new(),
        });
    }
    if let Some(track) = &tracks.audio {
        streams.push(ElementaryStream {
            stream_type: audio_stream_type(track.codec),
            pid: AUDIO_PID,
            descriptors: audio_descriptors(track),
        });
    }
    Pmt {
        program_number: PROGRAM_NUMBER,
        version,
        pcr_pid: if tracks.video.is_some() {
            VIDEO_PID
        } else {
            AUDIO_PID
        },
        streams,
    }
}

fn video_stream_type(codec: VideoCodec) -> u8 {
    match codec {
        VideoCodec::Mpeg2 => 0x02,
        VideoCodec::H264 => 0x1B,
        VideoCodec::Hevc => 0x24,
        VideoCodec::Other(stream_type) => stream_type,
    }
}

fn audio_stream_type(codec: AudioCodec) -> u8 {
    match codec {
        AudioCodec::Aac => 0x0F,
        AudioCodec::AacLatm => 0x11,
        AudioCodec::Mpeg => 0x03,
        AudioCodec::Ac3 => 0x81,
        AudioCodec::Eac3 => 0x87,
        AudioCodec::Other(stream_type) => stream_type,
    }
}

fn audio_descriptors(track: &AudioTrack) -> Vec<Descriptor> {
    let registration = match track.codec {
        AudioCodec::Ac3 => Some(b"AC-3"),
        AudioCodec::Eac3 => Some(b"EAC3"),
        _ => None,
    };
    let registration = registration.map(|format| Descriptor {
        tag: 0x05,
        data: format.to_vec(),
    });
    let language = track.language.as_ref().filter(|code| code.len() == 3);
    let language = language.map(|code| Descriptor {
        tag: 0x0A,
        data: [code.as_bytes(), &[0]].concat(),
    });
    registration.into_iter().chain(language).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Video,
    Audio,
}

/// One PES packet to write, its times already on the wire's clock.
#[derive(Debug)]
struct Packet {
    kind: Kind,
    pts: Ticks,
    dts: Ticks,
    random_access: bool,
    pieces: Vec<Bytes>,
}

/// Video and audio by decoding time, except that the leading picture comes first: a player that joins here finds it at once.
fn interleave(media: &SegmentMedia) -> Vec<Packet> {
    let mut video = video_packets(media).into_iter().peekable();
    let mut audio = audio_packets(media).into_iter().peekable();
    let mut packets = Vec::with_capacity(video.len() + audio.len());
    packets.extend(video.next());
    loop {
        let takes_video = match (video.peek(), audio.peek()) {
            (Some(picture), Some(sound)) => picture.dts <= sound.dts,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let next = if takes_video {
            video.next()
        } else {
            audio.next()
        };
        match next {
            Some(packet) => packets.push(packet),
            None => return packets,
        }
    }
}

fn video_packets(media: &SegmentMedia) -> Vec<Packet> {
    let Some(codec) = media.tracks.video else {
        return Vec::new();
    };
    media
        .video
        .iter()
        .map(|unit| Packet {
            kind: Kind::Video,
            pts: unit.pts + media.offset,
            dts: unit.dts + media.offset,
            random_access: unit.random_access != crate::unit::RandomAccess::None,
            pieces: missing_delimiter(codec, &unit.payload)
                .map(Bytes::from_static)
                .into_iter()
                .chain([unit.payload.clone()])
                .collect(),
        })
        .collect()
}

/// Transport streams want an access unit delimiter before each picture; some sources leave it out.
fn missing_delimiter(codec: VideoCodec, payload: &[u8]) -> Option<&'static [u8]> {
    let unit = match payload {
        [0, 0, 1, unit, ..] | [0, 0, 0, 1, unit, ..] => *unit,
        _ => return None,
    };
    match codec {
        VideoCodec::H264 if unit & 0x1F != 9 => Some(&[0, 0, 0, 1, 9, 0xF0]),
        VideoCodec::Hevc if unit >> 1 & 0x3F != 35 => Some(&[0, 0, 0, 1, 0x46, 1, 0x50]),
        _ => None,
    }
}

fn audio_packets(media: &SegmentMedia) -> Vec<Packet> {
    if media.tracks.audio.is_none() {
        return Vec::new();
    }
    let mut packets: Vec<Packet> = Vec::new();
    let mut previous = Ticks::ZERO;
    for unit in media.audio {
        let pts = unit.pts + media.offset;
        let step = pts - previous;
        previous = pts;
        match packets.last_mut() {
            Some(packet)
                if step > Ticks::ZERO && step <= AUDIO_FRAME && pts - packet.pts < AUDIO_PES =>
            {
                packet.pieces.push(unit.payload.clone());
            }
            open => {
                let random_access = open.is_none();
                packets.push(Packet {
                    kind: Kind::Audio,
                    pts,
                    dts: pts,
                    random_access,
                    pieces: vec![unit.payload.clone()],
                });
            }
        }
    }
    packets
}

fn estimated_size(media: &SegmentMedia) -> usize {
    let units = media.video.iter().chain(media.audio);
    let payload: usize = units.map(|unit| unit.payload.len() + 250).sum();
    payload + payload / 40 + 4 * 188
}

#[cfg(test)]
mod tests;
