//! What a muxer writes, taken apart again packet by packet.

use std::collections::HashMap;

use super::*;
use crate::time::WRAP;
use crate::ts::packet::Packet as TsPacket;
use crate::ts::pes::{Assembly, Pes, PesAssembler};
use crate::ts::section::{Section, SectionAssembler};
use crate::unit::{RandomAccess, Track};

const FRAME: i64 = 3600;

fn tracks() -> Tracks {
    Tracks {
        video: Some(VideoCodec::H264),
        audio: Some(AudioTrack {
            codec: AudioCodec::Aac,
            language: Some("deu".to_owned()),
        }),
    }
}

fn unit(track: Track, pts: i64, dts: i64, payload: Vec<u8>) -> AccessUnit {
    AccessUnit {
        track,
        pts: Ticks(pts),
        dts: Ticks(dts),
        random_access: RandomAccess::None,
        arrival: Ticks(dts),
        payload: Bytes::from(payload),
    }
}

fn picture(index: i64, size: usize) -> AccessUnit {
    let mut payload = vec![0, 0, 0, 1, 9, 0xF0];
    payload.resize(size.max(6), u8::try_from(index % 251).unwrap());
    let mut unit = unit(
        Track::Video,
        900_000 + index * FRAME,
        900_000 + index * FRAME,
        payload,
    );
    if index % 50 == 0 {
        unit.random_access = RandomAccess::Full;
    }
    unit
}

fn frame(index: i64) -> AccessUnit {
    let time = 900_000 + index * 1920;
    unit(Track::Audio, time, time, vec![0xFF; 250])
}

fn media<'a>(
    tracks: &'a Tracks,
    video: &'a [AccessUnit],
    audio: &'a [AccessUnit],
) -> SegmentMedia<'a> {
    SegmentMedia {
        tracks,
        offset: Ticks::ZERO,
        seam: false,
        video,
        audio,
    }
}

/// Two seconds of both.
fn pictures(second: i64) -> (Vec<AccessUnit>, Vec<AccessUnit>) {
    let video = (second * 25..(second + 2) * 25).map(|index| picture(index, 3000));
    let audio = (second * 90_000..(second + 2) * 90_000)
        .filter(|time| time % 1920 == 0)
        .map(|time| frame(time / 1920));
    (video.collect(), audio.collect())
}

fn packets(bytes: &[u8]) -> impl Iterator<Item = TsPacket<'_>> {
    let (packets, rest) = bytes.as_chunks::<188>();
    assert!(rest.is_empty());
    packets.iter().map(|packet| {
        assert_eq!(packet[0], 0x47);
        TsPacket::new(packet)
    })
}

fn pes(bytes: &[u8], pid: u16) -> Vec<Pes> {
    let mut assembler = PesAssembler::new(Assembly {
        limit: 1 << 20,
        joins_untimed: false,
        ends_on_stuffing: false,
    });
    let mut found = Vec::new();
    for packet in packets(bytes).filter(|packet| packet.pid() == pid) {
        let step = assembler.push(packet);
        found.extend(step.ended.into_iter().chain(step.completed));
    }
    found.extend(assembler.take());
    found
}

fn clocks(bytes: &[u8], pid: u16) -> Vec<i64> {
    packets(bytes)
        .filter(|packet| packet.pid() == pid)
        .filter_map(|packet| packet.adaptation()?.pcr)
        .map(|clock| i64::try_from(clock).unwrap())
        .collect()
}

fn section(bytes: &[u8], pid: u16) -> Section {
    let mut assembler = SectionAssembler::default();
    let mut sections = Vec::new();
    for packet in packets(bytes).filter(|packet| packet.pid() == pid) {
        sections.extend(assembler.push(packet.payload(), packet.starts_unit()));
    }
    assert_eq!(sections.len(), 1);
    Section::parse(&sections[0]).unwrap()
}

/// Every counter runs on, over all packets with payload.
fn assert_continuous(bytes: &[u8]) {
    let mut counters: HashMap<u16, u8> = HashMap::new();
    for packet in packets(bytes).filter(|packet| packet.has_payload()) {
        let counter = packet.continuity_counter();
        if let Some(last) = counters.insert(packet.pid(), counter) {
            assert_eq!(counter, (last + 1) & 0x0F, "pid {:#x}", packet.pid());
        }
    }
}

#[test]
fn a_segment_starts_with_its_tables_and_the_leading_picture() {
    let (video, audio) = pictures(0);
    let tracks = tracks();
    // Audio from before the key must not come before it.
    let early = [vec![frame(-20)], audio].concat();
    let bytes = Muxer::default().segment(&media(&tracks, &video, &early));
    let pids: Vec<u16> = packets(&bytes).map(TsPacket::pid).take(3).collect();
    assert_eq!(pids, [PAT_PID, PMT_PID, VIDEO_PID]);
    let first = packets(&bytes).nth(2).unwrap().adaptation().unwrap();
    assert!(first.random_access && first.pcr.is_some() && !first.discontinuity);
    let pat = Pat::parse(&section(&bytes, PAT_PID)).unwrap();
    assert_eq!(pat.programs[0].pmt_pid, PMT_PID);
    let pmt = Pmt::parse(&section(&bytes, PMT_PID)).unwrap();
    assert_eq!(pmt, program_map(&tracks, 0));
    assert_eq!(pmt.pcr_pid, VIDEO_PID);
    assert_eq!(pmt.streams[1].language().as_deref(), Some("deu"));
}

#[test]
fn payloads_of_every_size_come_out_as_they_went_in() {
    let video: Vec<_> = (0..400)
        .map(|index| picture(i64::from(index), usize::try_from(index).unwrap() + 6))
        .collect();
    let tracks = tracks();
    let bytes = Muxer::default().segment(&media(&tracks, &video, &[]));
    assert_continuous(&bytes);
    let found = pes(&bytes, VIDEO_PID);
    assert_eq!(found.len(), video.len());
    for (pes, unit) in found.iter().zip(&video) {
        assert_eq!(pes.payload, unit.payload);
        assert_eq!(pes.header.pts, Some(unit.pts.wrapped()));
    }
}

#[test]
fn counters_and_clock_run_on_over_segments() {
    let tracks = tracks();
    let mut muxer = Muxer::default();
    let mut whole = Vec::new();
    for second in [0, 2, 4, 6] {
        let (video, audio) = pictures(second);
        whole.extend_from_slice(&muxer.segment(&media(&tracks, &video, &audio)));
    }
    assert_continuous(&whole);
    let clocks = clocks(&whole, VIDEO_PID);
    assert!(
        clocks
            .windows(2)
            .all(|pair| (1..=9000).contains(&(pair[1] - pair[0])))
    );
    assert!(packets(&whole).all(|packet| !packet.adaptation().unwrap_or_default().discontinuity));
}

#[test]
fn the_clock_is_ahead_of_every_time_that_follows_and_at_most_100_ms_from_the_last() {
    let slow: Vec<_> = (0..12).map(|index| picture(index * 12, 500)).collect();
    let (usual, audio) = pictures(0);
    for video in [slow, usual] {
        let tracks = tracks();
        let bytes = Muxer::default().segment(&media(&tracks, &video, &audio));
        let mut clock = None;
        for packet in packets(&bytes) {
            if let Some(now) = packet.adaptation().and_then(|field| field.pcr) {
                let now = i64::try_from(now).unwrap();
                assert!(clock.is_none_or(|last| (1..=9000).contains(&(now - last))));
                clock = Some(now);
            }
        }
        let last = video.last().unwrap().dts.0;
        assert!(last - clock.unwrap() >= CLOCK_LEAD.0);
        assert_continuous(&bytes);
    }
}

#[test]
fn late_audio_does_not_turn_the_clock_back() {
    let tracks = tracks();
    let mut muxer = Muxer::default();
    let (video, audio) = pictures(0);
    let mut whole = muxer
        .segment(&media(&tracks, &video, &audio[..40]))
        .to_vec();
    let (next, more) = pictures(2);
    let late = [&audio[40..], &more[..]].concat();
    whole.extend_from_slice(&muxer.segment(&media(&tracks, &next, &late)));
    let clocks = clocks(&whole, VIDEO_PID);
    assert!(clocks.windows(2).all(|pair| pair[1] > pair[0]));
    assert!(
        pes(&whole, AUDIO_PID)
            .windows(2)
            .all(|pair| pair[1].header.pts > pair[0].header.pts)
    );
}

#[test]
fn radio_carries_the_clock_on_its_audio() {
    let tracks = Tracks {
        video: None,
        ..tracks()
    };
    let audio: Vec<_> = (0..188).map(frame).collect();
    let (before, behind) = audio.split_at(94);
    let mut muxer = Muxer::default();
    for (audio, seam) in [(before, false), (behind, true)] {
        let bytes = muxer.segment(&SegmentMedia {
            seam,
            ..media(&tracks, &[], audio)
        });
        let clocks = clocks(&bytes, AUDIO_PID);
        assert!(
            clocks
                .windows(2)
                .all(|pair| (1..=9000).contains(&(pair[1] - pair[0])))
        );
        assert!(clocks.len() >= 20);
        assert_continuous(&bytes);
        assert_eq!(
            Pmt::parse(&section(&bytes, PMT_PID)).unwrap().pcr_pid,
            AUDIO_PID
        );
    }
}

#[test]
fn the_first_packet_of_each_track_after_a_seam_says_so() {
    let tracks = tracks();
    let mut muxer = Muxer::default();
    let (video, audio) = pictures(0);
    muxer.segment(&media(&tracks, &video, &audio));
    let (video, audio) = pictures(2);
    let bytes = muxer.segment(&SegmentMedia {
        seam: true,
        ..media(&tracks, &video, &audio)
    });
    for pid in [VIDEO_PID, AUDIO_PID] {
        let flags: Vec<bool> = packets(&bytes)
            .filter(|packet| packet.pid() == pid)
            .map(|packet| packet.adaptation().unwrap_or_default().discontinuity)
            .collect();
        assert!(flags[0]);
        assert!(flags[1..].iter().all(|flag| !flag));
    }
}

#[test]
fn audio_frames_are_packed_but_not_over_a_hole() {
    let tracks = tracks();
    let audio: Vec<_> = (0..10).chain(40..45).map(frame).collect();
    let bytes = Muxer::default().segment(&media(&tracks, &[picture(0, 100)], &audio));
    let found = pes(&bytes, AUDIO_PID);
    let sizes: Vec<usize> = found.iter().map(|pes| pes.payload.len() / 250).collect();
    assert_eq!(sizes, [8, 2, 5]);
    let starts: Vec<u64> = found.iter().map(|pes| pes.header.pts.unwrap()).collect();
    assert_eq!(starts, [0, 8, 40].map(|index| 900_000 + index * 1920));
}

#[test]
fn audio_longer_than_a_length_field_becomes_several_packets() {
    let tracks = tracks();
    let long = unit(
        Track::Audio,
        900_000,
        900_000,
        (0..150_000_u32).map(|byte| byte.to_be_bytes()[3]).collect(),
    );
    let bytes = Muxer::default().segment(&media(
        &tracks,
        &[picture(0, 100)],
        std::slice::from_ref(&long),
    ));
    let found = pes(&bytes, AUDIO_PID);
    assert_eq!(found.len(), 3);
    assert_eq!(found[1].header.pts, None);
    let joined: Vec<u8> = found.into_iter().flat_map(|pes| pes.payload).collect();
    assert_eq!(joined, long.payload);
}

#[test]
fn a_missing_access_unit_delimiter_is_put_in() {
    let cases = [
        (
            VideoCodec::H264,
            vec![0, 0, 1, 0x65, 1],
            vec![0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x65, 1],
        ),
        (
            VideoCodec::H264,
            vec![0, 0, 0, 1, 9, 0x10, 1],
            vec![0, 0, 0, 1, 9, 0x10, 1],
        ),
        (
            VideoCodec::Hevc,
            vec![0, 0, 1, 0x40, 1],
            vec![0, 0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, 0x40, 1],
        ),
        (
            VideoCodec::Hevc,
            vec![0, 0, 0, 1, 0x46, 1, 0x10],
            vec![0, 0, 0, 1, 0x46, 1, 0x10],
        ),
        (VideoCodec::Mpeg2, vec![0, 0, 1, 0xB3], vec![0, 0, 1, 0xB3]),
        (VideoCodec::H264, vec![7, 7], vec![7, 7]),
    ];
    for (codec, payload, expected) in cases {
        let tracks = Tracks {
            video: Some(codec),
            audio: None,
        };
        let video = [unit(Track::Video, 900_000, 900_000, payload)];
        let bytes = Muxer::default().segment(&media(&tracks, &video, &[]));
        assert_eq!(pes(&bytes, VIDEO_PID)[0].payload, expected, "{codec:?}");
    }
}

#[test]
fn other_tracks_get_another_version_of_the_map() {
    let (video, audio) = pictures(0);
    let with = tracks();
    let without = Tracks {
        audio: None,
        ..tracks()
    };
    let mut muxer = Muxer::default();
    let versions: Vec<u8> = [&with, &with, &without, &with]
        .map(|tracks| muxer.segment(&media(tracks, &video, &audio)))
        .iter()
        .map(|bytes| section(bytes, PMT_PID).version)
        .collect();
    assert_eq!(versions, [0, 0, 1, 2]);
    let silent = Muxer::default().segment(&media(&without, &video, &audio));
    assert!(packets(&silent).all(|packet| packet.pid() != AUDIO_PID));
}

#[test]
fn dolby_audio_is_private_and_registered() {
    let tracks = Tracks {
        audio: Some(AudioTrack {
            codec: AudioCodec::Ac3,
            language: None,
        }),
        ..tracks()
    };
    let bytes = Muxer::default().segment(&media(&tracks, &[picture(0, 100)], &[frame(0)]));
    let start = packets(&bytes)
        .find(|packet| packet.pid() == AUDIO_PID)
        .unwrap();
    assert_eq!(start.payload()[..4], [0, 0, 1, 0xBD]);
    let pmt = Pmt::parse(&section(&bytes, PMT_PID)).unwrap();
    assert_eq!(pmt.streams[1].audio_codec(), Some(AudioCodec::Ac3));
    assert_eq!(pmt.streams[1].descriptors[0].data, b"AC-3");
}

#[test]
fn times_wrap_on_the_wire() {
    let tracks = tracks();
    let (video, audio) = pictures(0);
    let bytes = Muxer::default().segment(&SegmentMedia {
        offset: Ticks(WRAP - 900_000 - 90_000),
        ..media(&tracks, &video, &audio)
    });
    let times: Vec<u64> = pes(&bytes, VIDEO_PID)
        .iter()
        .map(|pes| pes.header.pts.unwrap())
        .collect();
    assert_eq!(
        (times[24], times[25], times[26]),
        ((WRAP - FRAME).unsigned_abs(), 0, FRAME.unsigned_abs())
    );
    assert_continuous(&bytes);
}

#[test]
fn a_decoding_time_differs_from_the_presentation_time_only_where_it_must() {
    let tracks = tracks();
    let video = [
        unit(Track::Video, 907_200, 900_000, vec![0, 0, 1, 9]),
        unit(Track::Video, 903_600, 903_600, vec![0, 0, 1, 9]),
    ];
    let bytes = Muxer::default().segment(&media(&tracks, &video, &[]));
    let headers: Vec<_> = pes(&bytes, VIDEO_PID)
        .into_iter()
        .map(|pes| (pes.header.pts, pes.header.dts))
        .collect();
    assert_eq!(
        headers,
        [(Some(907_200), Some(900_000)), (Some(903_600), None)]
    );
}
