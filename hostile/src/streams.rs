//! Transport streams and what is in them: any bytes in pieces of any size, within bounded memory.

use bytes::Bytes;
use media::codec::audio::AudioFramer;
use media::codec::video::VideoReader;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent};
use media::packed_audio::{PackedAudio, Told, tell};
use media::pipe::PipeDemuxer;
use media::time::Ticks;
use media::ts::packet::Packet;
use media::ts::program::ProgramFollower;
use media::ts::section::{PACKET_BYTES, Section, SectionAssembler};
use media::ts::tables::{Pat, Pmt};
use media::unit::{AudioCodec, VideoCodec};

use crate::choice;

/// A picture, an audio packet and what is held before a gate, with room for the buffers' growth.
const BOUND: usize = 10 << 20;

/// The first byte says how long the pieces are and whether the connection breaks half-way.
pub(crate) fn front_end(bytes: &[u8]) {
    let (choice, bytes) = choice(bytes);
    let length = 1 + (choice & 0x7F) * 53;
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: choice & 1 == 1,
    });
    let mut pipes = [
        PipeDemuxer::video(Ticks::ZERO),
        PipeDemuxer::audio(Ticks::ZERO),
    ];
    for (index, piece) in bytes.chunks(length).enumerate() {
        let piece = Bytes::copy_from_slice(piece);
        if choice & 0x80 != 0 && index == bytes.len() / length / 2 {
            front.reconnect();
        }
        check(&front.push(&piece));
        assert!(front.held_bytes() < BOUND);
        for pipe in &mut pipes {
            pipe.push(&piece);
        }
    }
    check(&front.finish());
    let _ = (front.facts(), front.stage(), front.counters());
    for pipe in &mut pipes {
        pipe.finish();
    }
}

fn check(events: &[FrontEvent]) {
    for event in events {
        match event {
            FrontEvent::Unit(unit) => assert!(unit.payload.len() < BOUND && unit.pts >= unit.dts),
            FrontEvent::Facts(facts) => assert!(!format!("{facts:?}").is_empty()),
            _ => {}
        }
    }
}

/// Sound without a transport stream; the first byte says in pieces of which length it comes, and each hundredth begins a segment. What
/// comes out is a transport stream, whatever went in.
pub(crate) fn packed_audio(bytes: &[u8]) {
    let (length, bytes) = choice(bytes);
    let mut packed = PackedAudio::default();
    for (number, piece) in bytes.chunks(length + 1).enumerate() {
        if number % 100 == 0 {
            packed.begin_segment();
        }
        match packed.push(piece) {
            Ok(stream) => {
                let (packets, rest) = stream.as_chunks::<PACKET_BYTES>();
                assert!(rest.is_empty() && packets.iter().all(|packet| packet[0] == 0x47));
            }
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
}

/// The first byte says how long the pieces are.
pub(crate) fn endless_audio(bytes: &[u8]) {
    let (length, bytes) = choice(bytes);
    let codec = match tell(bytes) {
        Some(Told::Sound(codec)) => codec,
        Some(Told::Other) | None => AudioCodec::Aac,
    };
    let mut sound = PackedAudio::endless(codec);
    for piece in bytes.chunks(length + 1) {
        match sound.push(piece) {
            Ok(stream) => {
                let (packets, rest) = stream.as_chunks::<PACKET_BYTES>();
                assert!(rest.is_empty() && packets.iter().all(|packet| packet[0] == 0x47));
            }
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
}

/// Sections from payloads, tables from sections, a programme from packets.
pub(crate) fn tables(bytes: &[u8]) {
    if let Ok(section) = Section::parse(bytes) {
        assert_eq!(Section::parse(&section.write()), Ok(section));
    }
    let mut assembler = SectionAssembler::default();
    let mut follower = ProgramFollower::new(Some("deu".to_owned()));
    for bytes in bytes.as_chunks::<PACKET_BYTES>().0 {
        let packet = Packet::new(bytes);
        follower.push(packet);
        for section in assembler.push(packet.payload(), packet.starts_unit()) {
            if let Ok(section) = Section::parse(&section) {
                read_tables(&section);
            }
        }
    }
}

fn read_tables(section: &Section) {
    let _ = Pat::parse(section).map(|pat| pat.section());
    if let Some(pmt) = Pmt::parse(section) {
        for stream in &pmt.streams {
            let _ = (
                stream.video_codec(),
                stream.audio_codec(),
                stream.language(),
            );
        }
    }
}

/// The first byte chooses the format; the second says where pictures and sound packets end.
pub(crate) fn codecs(bytes: &[u8]) {
    let (format, bytes) = choice(bytes);
    let (length, bytes) = choice(bytes);
    let video = [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Mpeg2][format % 3];
    let audio = [
        AudioCodec::Aac,
        AudioCodec::Mpeg,
        AudioCodec::Ac3,
        AudioCodec::Eac3,
        AudioCodec::AacLatm,
    ][format % 5];
    let mut reader = VideoReader::new(video);
    let mut framer = AudioFramer::new(audio);
    for (index, piece) in bytes.chunks(16 + length * 16).enumerate() {
        reader.begin_picture();
        let early = reader.read(&piece[..piece.len() / 2], false);
        if early.is_none() {
            assert!(reader.read(piece, true).is_some());
        }
        if let Some(parameters) = reader.parameters() {
            assert!(parameters.dimensions.width > 0 && parameters.dimensions.height > 0);
        }
        let pts = (index % 3 == 0).then_some(Ticks::from_seconds(1));
        framer.push(piece.to_vec(), pts);
        assert!(framer.held_bytes() <= 8192);
    }
}
