//! Reads what one segment holds: tables, tracks, first picture, codec strings, times. Judges nothing.

use bytes::Bytes;

use crate::ts::demux::{Demuxed, Pes, demux};

/// How a decoder may start at a segment's first picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPicture {
    /// Nothing after it refers to anything before it.
    Independent,
    /// A recovery point: pictures shown before it are lost.
    Recovery,
    /// Not a starting point.
    Dependent,
}

/// What the video of a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoFacts {
    pub(crate) first: FirstPicture,
    /// As CODECS must name it, where the parameters stand in the segment.
    pub(crate) codec: Option<String>,
    /// PTS in decoding order, 33 bits.
    pub(crate) pts: Vec<u64>,
    pub(crate) dts: Vec<u64>,
    /// Packet index of each picture.
    pub(crate) packets: Vec<usize>,
}

/// Audio frames of one PES packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AudioRun {
    pub(crate) pts: u64,
    /// 90 kHz ticks its frames last; 0 where the format is not AAC in ADTS.
    pub(crate) duration: i64,
    /// 90 kHz ticks of one frame.
    pub(crate) frame: i64,
}

/// What the audio of a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioFacts {
    pub(crate) codec: Option<String>,
    pub(crate) runs: Vec<AudioRun>,
}

/// What a segment holds.
#[derive(Debug, Clone)]
pub(crate) struct SegmentFacts {
    pub(crate) demuxed: Demuxed,
    pub(crate) starts_with_tables: bool,
    pub(crate) announces_video: bool,
    pub(crate) announces_audio: bool,
    pub(crate) video: Option<VideoFacts>,
    pub(crate) audio: Option<AudioFacts>,
}

/// Takes a segment apart.
pub(crate) fn inspect(bytes: &[u8]) -> SegmentFacts {
    let demuxed = demux(bytes);
    let starts_with_tables = starts_with_tables(&demuxed);
    let streams = demuxed.map.iter().flat_map(|map| &map.streams);
    let find = |types: &[u8]| {
        streams
            .clone()
            .find(|stream| types.contains(&stream.stream_type))
    };
    let video_stream =
        find(&[0x01, 0x02, 0x1b, 0x24]).map(|stream| (stream.stream_type, stream.pid));
    let audio_stream =
        find(&[0x03, 0x04, 0x0f, 0x11, 0x81, 0x87]).map(|stream| (stream.stream_type, stream.pid));
    let video = video_stream.and_then(|(kind, pid)| video_facts(kind, demuxed.pes.get(&pid)?));
    let audio = audio_stream.and_then(|(kind, pid)| audio_facts(kind, demuxed.pes.get(&pid)?));
    SegmentFacts {
        starts_with_tables,
        announces_video: video_stream.is_some(),
        announces_audio: audio_stream.is_some(),
        video,
        audio,
        demuxed,
    }
}

/// PAT, then PMT, before anything else but other tables.
fn starts_with_tables(demuxed: &Demuxed) -> bool {
    let pids = demuxed.headers.iter().map(|header| header.pid);
    let first = pids.filter(|pid| !(0x01..0x20).contains(pid)).take(2);
    demuxed.map.is_some() && first.map(Some).eq([Some(0), demuxed.pmt_pid])
}

fn video_facts(stream_type: u8, pes: &[Pes]) -> Option<VideoFacts> {
    let first = pes.first()?;
    let (picture, codec) = match stream_type {
        0x1b => h264(&first.data),
        0x24 => (hevc(&first.data), None),
        _ => (mpeg2(&first.data), None),
    };
    let timed = pes
        .iter()
        .filter_map(|pes| Some((pes.pts?, pes.dts.or(pes.pts)?, pes.packet)));
    let timed = timed.collect::<Vec<_>>();
    Some(VideoFacts {
        first: picture,
        codec,
        pts: timed.iter().map(|(pts, _, _)| *pts).collect(),
        dts: timed.iter().map(|(_, dts, _)| *dts).collect(),
        packets: timed.iter().map(|(_, _, packet)| *packet).collect(),
    })
}

/// The bytes behind each start code.
fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = data
        .windows(3)
        .enumerate()
        .filter(|(_, code)| *code == [0, 0, 1]);
    starts
        .map(|(index, _)| &data[index + 3..])
        .filter(|unit| !unit.is_empty())
}

fn h264(data: &[u8]) -> (FirstPicture, Option<String>) {
    let kind = |unit: &&[u8]| unit[0] & 0x1f;
    let parameters = units(data).find(|unit| kind(unit) == 7 && unit.len() >= 4);
    let codec =
        parameters.map(|unit| format!("avc1.{:02x}{:02x}{:02x}", unit[1], unit[2], unit[3]));
    let slice = units(data)
        .map(|unit| kind(&unit))
        .find(|kind| [1, 2, 5].contains(kind));
    let recovery = units(data).any(|unit| kind(&unit) == 6 && has_recovery_point(&unit[1..]));
    let picture = match slice {
        Some(5) => FirstPicture::Independent,
        _ if recovery => FirstPicture::Recovery,
        _ => FirstPicture::Dependent,
    };
    (picture, codec)
}

/// Whether a SEI message list, up to the next start code, holds a recovery point (payload type 6).
fn has_recovery_point(message: &[u8]) -> bool {
    let mut rest = message;
    while let [kind, size, tail @ ..] = rest {
        match (kind, size) {
            (6, _) => return true,
            // The end of the list, or sizes beyond one byte, which no recovery point follows in practice.
            (0x80, _) | (_, 0xff) | (0xff, _) => return false,
            _ => rest = tail.get(usize::from(*size)..).unwrap_or(&[]),
        }
    }
    false
}

fn hevc(data: &[u8]) -> FirstPicture {
    let kinds = units(data).map(|unit| unit[0] >> 1 & 0x3f);
    match kinds.into_iter().find(|kind| *kind < 32) {
        Some(16..=20) => FirstPicture::Independent,
        Some(21) => FirstPicture::Recovery,
        _ => FirstPicture::Dependent,
    }
}

fn mpeg2(data: &[u8]) -> FirstPicture {
    let sequence = units(data).any(|unit| unit[0] == 0xb3);
    let closed =
        units(data).any(|unit| unit[0] == 0xb8 && unit.get(4).is_some_and(|byte| byte & 0x40 != 0));
    match (sequence, closed) {
        (true, true) => FirstPicture::Independent,
        (true, false) => FirstPicture::Recovery,
        (false, _) => FirstPicture::Dependent,
    }
}

fn audio_facts(stream_type: u8, pes: &[Pes]) -> Option<AudioFacts> {
    pes.first()?;
    let adts = stream_type == 0x0f;
    let codec = match stream_type {
        0x0f => pes.first().and_then(|pes| adts_codec(&pes.data)),
        0x03 | 0x04 => Some("mp4a.40.34".to_owned()),
        0x81 => Some("ac-3".to_owned()),
        0x87 => Some("ec-3".to_owned()),
        _ => None,
    };
    let run = |pes: &Pes| {
        let (duration, frame) = if adts {
            adts_duration(&pes.data)
        } else {
            (0, 0)
        };
        Some(AudioRun {
            pts: pes.pts?,
            duration,
            frame,
        })
    };
    Some(AudioFacts {
        codec,
        runs: pes.iter().filter_map(run).collect(),
    })
}

fn adts_codec(data: &[u8]) -> Option<String> {
    let (profile, rate) = (data.get(2)? >> 6, data.get(2)? >> 2 & 0x0f);
    // Low complexity at 24 kHz and below is HE-AAC, which ADTS has no way to say.
    let kind = match (profile, rate) {
        (1, 6..) => 5,
        _ => profile + 1,
    };
    (data.starts_with(&[0xff])).then(|| format!("mp4a.40.{kind}"))
}

const SAMPLE_RATES: [i64; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Ticks of all ADTS frames, and of one.
fn adts_duration(data: &Bytes) -> (i64, i64) {
    let (mut frames, mut rate, mut rest) = (0, 48_000, &data[..]);
    while let [0xff, second, third, fourth, fifth, sixth, ..] = rest {
        if second & 0xf6 != 0xf0 {
            break;
        }
        rate = *SAMPLE_RATES
            .get(usize::from(third >> 2 & 0x0f))
            .unwrap_or(&rate);
        let length =
            usize::from(fourth & 3) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
        frames += 1;
        rest = rest.get(length.max(7)..).unwrap_or(&[]);
    }
    (frames * 1024 * 90_000 / rate, 1024 * 90_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_h264_picture_is_told_by_its_slices_not_by_a_flag() {
        let parameters = [0, 0, 1, 0x67, 0x64, 0, 0x1f, 0xac];
        let idr = [&parameters[..], &[0, 0, 1, 0x65, 1]].concat();
        let recovery = [
            &parameters[..],
            &[0, 0, 1, 6, 6, 1, 0xc4, 0x80, 0, 0, 1, 0x41, 1],
        ]
        .concat();
        let other = [
            0, 0, 1, 9, 0xf0, 0, 0, 1, 6, 5, 2, 6, 6, 0x80, 0, 0, 1, 0x41, 1,
        ];
        assert_eq!(
            h264(&idr),
            (FirstPicture::Independent, Some("avc1.64001f".to_owned()))
        );
        assert_eq!(h264(&recovery).0, FirstPicture::Recovery);
        assert_eq!(h264(&other), (FirstPicture::Dependent, None));
    }

    #[test]
    fn the_first_hevc_and_mpeg2_pictures_are_told_too() {
        assert_eq!(
            hevc(&[0, 0, 1, 0x40, 1, 0, 0, 1, 0x26, 1]),
            FirstPicture::Independent
        );
        assert_eq!(hevc(&[0, 0, 1, 0x2a, 1]), FirstPicture::Recovery);
        assert_eq!(hevc(&[0, 0, 1, 0x02, 1]), FirstPicture::Dependent);
        let header = |flags| [0, 0, 1, 0xb3, 9, 0, 0, 1, 0xb8, 0, 8, 0, flags];
        assert_eq!(mpeg2(&header(0x40)), FirstPicture::Independent);
        assert_eq!(mpeg2(&header(0x00)), FirstPicture::Recovery);
        assert_eq!(mpeg2(&[0, 0, 1, 0, 0]), FirstPicture::Dependent);
    }

    #[test]
    fn adts_frames_are_counted() {
        // Two frames of 9 bytes, LC, 48 kHz.
        let frame = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 0, 0];
        let data = Bytes::from([frame, frame].concat());
        assert_eq!(adts_duration(&data), (3840, 1920));
        assert_eq!(adts_codec(&data), Some("mp4a.40.2".to_owned()));
        let half_rate = [0xff, 0xf1, 0x58, 0x80];
        assert_eq!(adts_codec(&half_rate), Some("mp4a.40.5".to_owned()));
    }
}
