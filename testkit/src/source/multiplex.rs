//! Lays pictures and audio frames out as timed transport packets, in the shape a channel asks for. Pure: knows no clock.

use super::carousel::{AUDIO, CLOCK, Carousel, DATA, Draft, PAT, PMT, Stamps, VIDEO};
use super::elementary::{Elementary, Unit};
use super::settings::{AccessIndicator, AudioFormat, ChannelSettings, Mute, VideoFormat};
use crate::ts::packet::{CLOCK_RATIO, PACKET_SIZE};
use crate::ts::pes;
use crate::ts::tables::{ProgrammeMap, StreamEntry, pat_section, pmt_section, section_packet};

/// 90 kHz ticks from the sending of a picture to its decoding.
const DECODE_DELAY: i64 = 63_000;

/// 90 kHz ticks between clock references, and between tables.
const CLOCK_PERIOD: i64 = 3_600;
const TABLE_PERIOD: i64 = 9_000;

/// Audio frames of one PES packet, as usual muxers pack them.
const FRAMES_PER_PES: usize = 4;

/// Lays the loop out.
pub(crate) fn multiplex(media: &Elementary, channel: &ChannelSettings) -> Carousel {
    let delay = DECODE_DELAY + i64::from(channel.audio_late) * 90;
    let mut drafts = tables(media.duration, &programme(channel));
    drafts.extend(clocks(media.duration, channel));
    if channel.codec == VideoFormat::None && channel.audio == AudioFormat::None {
        drafts.extend(data(media.duration, delay));
    }
    if channel.mute != Mute::Video {
        drafts.extend(video(media, channel, delay));
    }
    if channel.mute != Mute::Audio {
        drafts.extend(audio(media, channel, delay));
    }
    let keys = media.video.iter().filter(|unit| unit.key);
    let keys = keys
        .map(|unit| unit.dts.cast_unsigned() * CLOCK_RATIO)
        .collect();
    let gop = media.gop.cast_unsigned() * CLOCK_RATIO;
    Carousel::new(drafts, media.duration, keys, gop)
}

fn clock_pid(channel: &ChannelSettings) -> u16 {
    if channel.pcr_pid {
        CLOCK
    } else if channel.codec != VideoFormat::None {
        VIDEO
    } else if channel.audio != AudioFormat::None {
        AUDIO
    } else {
        DATA
    }
}

fn programme(channel: &ChannelSettings) -> ProgrammeMap {
    let language = vec![0x0a, 4, b'e', b'n', b'g', 0];
    let entry = |stream_type, pid, descriptors| StreamEntry {
        stream_type,
        pid,
        descriptors,
    };
    let mut streams = Vec::new();
    match channel.codec {
        VideoFormat::H264 => streams.push(entry(0x1b, VIDEO, vec![])),
        VideoFormat::Hevc => streams.push(entry(0x24, VIDEO, vec![])),
        VideoFormat::Mpeg2 => streams.push(entry(0x02, VIDEO, vec![])),
        VideoFormat::None => {}
    }
    match channel.audio {
        AudioFormat::Aac | AudioFormat::HeAac => streams.push(entry(0x0f, AUDIO, language)),
        AudioFormat::Latm => streams.push(entry(0x11, AUDIO, language)),
        AudioFormat::Eac3 => streams.push(entry(0x87, AUDIO, language)),
        AudioFormat::Mp2 => streams.push(entry(0x03, AUDIO, language)),
        AudioFormat::Ac3 => {
            let registration = [5, 4, b'A', b'C', b'-', b'3'];
            streams.push(entry(0x81, AUDIO, [&registration[..], &language].concat()));
        }
        AudioFormat::None => {}
    }
    if streams.is_empty() {
        streams.push(entry(0x06, DATA, vec![]));
    }
    ProgrammeMap {
        pcr_pid: clock_pid(channel),
        streams,
    }
}

fn tables(duration: i64, programme: &ProgrammeMap) -> Vec<Draft> {
    let pat = section_packet(PAT, &pat_section(PMT, 0));
    let pmt = section_packet(PMT, &pmt_section(programme, 0));
    let table = |time: i64, pid, bytes| Draft {
        time: time * CLOCK_RATIO.cast_signed(),
        pid,
        stamps: None,
        clock: None,
        bytes,
    };
    (0..duration)
        .step_by(TABLE_PERIOD as usize)
        .flat_map(|time| [table(time, PAT, pat), table(time, PMT, pmt)])
        .collect()
}

fn clocks(duration: i64, channel: &ChannelSettings) -> Vec<Draft> {
    let pid = clock_pid(channel);
    let [high, low] = pid.to_be_bytes();
    // Thousandths of the jitter, the same at every lap and different from one reference to the next.
    let thousandths = |time: i64| time / CLOCK_PERIOD * 7919 % 2001 - 1000;
    let late = |time: i64| thousandths(time) * i64::from(channel.pcr_jitter) * 27;
    let mut bytes = [0xff; PACKET_SIZE];
    bytes[..6].copy_from_slice(&[0x47, high, low, 0x20, 183, 0x10]);
    (0..duration)
        .step_by(CLOCK_PERIOD as usize)
        .map(|time| Draft {
            time: time * CLOCK_RATIO.cast_signed() + late(time),
            pid,
            stamps: None,
            clock: Some(-late(time)),
            bytes,
        })
        .collect()
}

fn video(media: &Elementary, channel: &ChannelSettings, delay: i64) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (index, unit) in media.video.iter().enumerate() {
        let next = media
            .video
            .get(index + 1)
            .map_or(media.duration, |next| next.dts);
        let random_access = match channel.rai {
            AccessIndicator::Keys => unit.key,
            AccessIndicator::Never => false,
            AccessIndicator::Always => true,
        };
        let piece = Piece {
            pid: VIDEO,
            stream_id: 0xe0,
            time: unit.dts,
            spread: (next - unit.dts) * 9 / 10,
            pts: unit.pts + delay,
            dts: (unit.dts != unit.pts).then_some(unit.dts + delay),
            random_access,
        };
        drafts.extend(packets(&piece, &unit.data));
    }
    drafts
}

fn audio(media: &Elementary, channel: &ChannelSettings, delay: i64) -> Vec<Draft> {
    let stream_id = match channel.audio {
        AudioFormat::Ac3 | AudioFormat::Eac3 => 0xbd,
        _ => 0xc0,
    };
    let middle = media.duration / 2;
    let missing = middle..middle + i64::from(channel.audio_gap) * 90;
    let late = i64::from(channel.audio_late) * 90;
    let group = |units: &[Unit]| {
        let data = units
            .iter()
            .flat_map(|unit| &unit.data[..])
            .copied()
            .collect::<Vec<_>>();
        let piece = Piece {
            pid: AUDIO,
            stream_id,
            time: units[units.len() - 1].pts + late,
            spread: 180,
            pts: units[0].pts + delay,
            dts: None,
            random_access: false,
        };
        packets(&piece, &data)
    };
    let groups = media.audio.chunks(FRAMES_PER_PES);
    groups
        .filter(|units| !missing.contains(&units[0].pts))
        .flat_map(group)
        .collect()
}

fn data(duration: i64, delay: i64) -> Vec<Draft> {
    (0..duration)
        .step_by(45_000)
        .flat_map(|time| {
            let piece = Piece {
                pid: DATA,
                stream_id: 0xbd,
                time,
                spread: 0,
                pts: time + delay,
                dts: None,
                random_access: false,
            };
            packets(&piece, &[0; 32])
        })
        .collect()
}

/// One PES packet and when it is sent; times in 90 kHz ticks.
struct Piece {
    pid: u16,
    stream_id: u8,
    time: i64,
    /// Its packets are sent evenly over this time.
    spread: i64,
    pts: i64,
    dts: Option<i64>,
    random_access: bool,
}

fn packets(piece: &Piece, data: &[u8]) -> Vec<Draft> {
    let length = if piece.pid == VIDEO { 0 } else { data.len() };
    let mut pes = pes::header(piece.stream_id, piece.dts.is_some(), length);
    pes.extend_from_slice(data);
    let mut drafts = Vec::new();
    let mut rest = &pes[..];
    while !rest.is_empty() {
        let first = drafts.is_empty();
        let field = usize::from(first && piece.random_access) * 2;
        let taken = rest.len().min(PACKET_SIZE - 4 - field);
        let bytes = packet(piece, first, &rest[..taken]);
        rest = &rest[taken..];
        let stamps = first.then_some(Stamps {
            offset: (PACKET_SIZE - taken + 9) as u8,
            pts: piece.pts,
            dts: piece.dts,
        });
        drafts.push(Draft {
            time: 0,
            pid: piece.pid,
            stamps,
            clock: None,
            bytes,
        });
    }
    let count = drafts.len() as i64;
    for (index, draft) in drafts.iter_mut().enumerate() {
        let share = piece.spread * CLOCK_RATIO.cast_signed() * index as i64 / count;
        draft.time = piece.time * CLOCK_RATIO.cast_signed() + share;
    }
    drafts
}

/// A packet whose payload stands at its end, behind as much adaptation field as is needed.
fn packet(piece: &Piece, first: bool, payload: &[u8]) -> [u8; PACKET_SIZE] {
    let [high, low] = piece.pid.to_be_bytes();
    let mut bytes = [0xff; PACKET_SIZE];
    bytes[0] = 0x47;
    bytes[1] = high | u8::from(first) << 6;
    bytes[2] = low;
    let field = PACKET_SIZE - 4 - payload.len();
    bytes[3] = if field > 0 { 0x30 } else { 0x10 };
    if field > 0 {
        bytes[4] = (field - 1) as u8;
    }
    if field > 1 {
        bytes[5] = u8::from(first && piece.random_access) << 6;
    }
    bytes[PACKET_SIZE - payload.len()..].copy_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::source::test_media::{carousel, elementary};
    use crate::ts::demux::{Demuxed, demux};

    fn rendered(channel: &ChannelSettings, seconds: (u64, u64), offset: i64) -> Demuxed {
        let carousel = multiplex(&elementary(), channel);
        let mut cursor = carousel.cursor(seconds.0 * 27_000_000);
        let mut out = BytesMut::new();
        carousel.render(&mut cursor, seconds.1 * 27_000_000, offset, &mut out);
        demux(&out)
    }

    fn steps(stamps: impl IntoIterator<Item = u64>) -> Vec<i64> {
        let stamps = stamps.into_iter().collect::<Vec<_>>();
        let step = |pair: &[u64]| (pair[1] as i64 - pair[0] as i64).rem_euclid(1 << 33);
        stamps.windows(2).map(step).collect()
    }

    #[test]
    fn the_timeline_runs_on_over_laps_and_over_the_wrap_of_the_timestamps() {
        // Laps end at 16, 24, 32 s; the wrap comes at 20 s.
        let channel = ChannelSettings::small("a");
        let demuxed = rendered(&channel, (10, 40), (1 << 33) - 20 * 90_000);
        let video = demuxed.pes[&VIDEO].iter().filter_map(|pes| pes.dts);
        let video = steps(video);
        assert_eq!(
            (video.len(), video.iter().all(|step| *step == 3600)),
            (749, true)
        );
        let audio = steps(demuxed.pes[&AUDIO].iter().filter_map(|pes| pes.pts));
        // 375 frames are 93 groups of four and one of three.
        assert!(
            audio.iter().all(|step| [7680, 5760].contains(step)),
            "{audio:?}"
        );
        let clocks = demuxed.clocks.iter().map(|clock| clock.value / 300);
        assert!(steps(clocks).iter().all(|step| *step == 3600));
    }

    #[test]
    fn continuity_counters_run_on_over_laps() {
        let demuxed = rendered(&ChannelSettings::small("a"), (7, 41), 0);
        for pid in [PAT, PMT, VIDEO, AUDIO] {
            let mut last: Option<u8> = None;
            for header in demuxed.headers.iter().filter(|header| header.pid == pid) {
                let step = u8::from(header.has_payload);
                let expected = last.map(|last| (last + step) % 16);
                assert_eq!(
                    Some(header.continuity),
                    expected.or(Some(header.continuity))
                );
                last = Some(header.continuity);
            }
        }
        assert_eq!(demuxed.broken, 0);
    }

    #[test]
    fn late_audio_comes_after_the_video_of_its_time() {
        let lead = |late| {
            let channel = ChannelSettings {
                audio_late: late,
                ..ChannelSettings::small("a")
            };
            let demuxed = rendered(&channel, (16, 24), 0);
            let sound = &demuxed.pes[&AUDIO][40];
            let before = |pes: &&crate::ts::demux::Pes| pes.packet < sound.packet;
            let picture = demuxed.pes[&VIDEO].iter().rfind(before).unwrap();
            picture.dts.unwrap() as i64 - sound.pts.unwrap() as i64
        };
        let moved = lead(1200) - lead(0);
        assert!((104_400..=111_600).contains(&moved), "{moved} ticks");
    }

    #[test]
    fn the_random_access_indicator_follows_the_settings() {
        for (rai, expected) in [
            (AccessIndicator::Keys, 8),
            (AccessIndicator::Never, 0),
            (AccessIndicator::Always, 200),
        ] {
            let channel = ChannelSettings {
                rai,
                ..ChannelSettings::small("a")
            };
            let demuxed = rendered(&channel, (16, 24), 0);
            let marked = demuxed.pes[&VIDEO].iter().filter(|pes| pes.random_access);
            assert_eq!(marked.count(), expected, "{rai:?}");
        }
    }

    #[test]
    fn clock_references_and_tracks_follow_the_settings() {
        let channel = ChannelSettings {
            pcr_pid: true,
            mute: Mute::Audio,
            ..ChannelSettings::small("a")
        };
        let demuxed = rendered(&channel, (16, 24), 0);
        let map = demuxed.map.unwrap();
        assert_eq!((map.pcr_pid, map.streams.len()), (CLOCK, 2));
        assert_eq!(demuxed.pes.keys().copied().collect::<Vec<_>>(), [VIDEO]);
        assert_eq!(demuxed.clocks.len(), 200);
    }

    #[test]
    fn a_phase_is_found_behind_the_edge() {
        let carousel = carousel(|_| {});
        let second = 27_000_000;
        let edge = 16 * second + second / 10;
        assert_eq!(carousel.phase_before(edge, 0.0), 16 * second);
        assert_eq!(
            carousel.phase_before(edge, 0.4),
            15 * second + second * 4 / 10
        );
    }
}
