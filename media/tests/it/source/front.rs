//! Units, breaks and the encoder's input of real streams, whole and spoiled.

use bytes::Bytes;
use media::front_end::{Foreign, FrontEnd, FrontEndConfig, FrontEvent, Malformed, Stage};
use media::time::{Ticks, WRAP};
use media::unit::{RandomAccess, Track};

use crate::source::probe::{self, ProbedPacket};
use crate::source::stream::{
    self, PACKET, each_packet, events_of, fed, make, push_all, starts_unit, television, units,
    usual, usual_with,
};

fn in_probers_words(events: &[FrontEvent], track: Track) -> Vec<ProbedPacket> {
    units(events, track)
        .into_iter()
        .map(|unit| ProbedPacket {
            pts: i64::try_from(unit.pts.wrapped()).unwrap(),
            dts: i64::try_from(unit.dts.wrapped()).unwrap(),
            is_key: unit.random_access != RandomAccess::None,
        })
        .collect()
}

#[test]
fn every_picture_passes_with_the_times_and_keys_the_prober_reads() {
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=10 \
                -pix_fmt yuv420p -c:a aac";
    let mpeg2 = "-c:v mpeg2video -g 10 -bf 2 -c:a mp2";
    for bytes in [
        usual(2.0),
        television("160x96", "25", 1.5, hevc),
        television("160x96", "25", 1.5, mpeg2),
    ] {
        let events = events_of(&bytes, 1316);
        assert_eq!(
            in_probers_words(&events, Track::Video),
            probe::packets(&bytes, "v")
        );
    }
}

#[test]
fn open_groups_start_at_recovery_points() {
    let codecs = "-c:v libx264 -preset veryfast -bf 2 -g 10 -sc_threshold 0 -pix_fmt yuv420p \
                  -x264-params open-gop=1 -c:a aac";
    let bytes = television("160x96", "25", 2.0, codecs);
    let keys: Vec<_> = units(&events_of(&bytes, 1316), Track::Video)
        .into_iter()
        .map(|unit| unit.random_access)
        .filter(|random_access| *random_access != RandomAccess::None)
        .collect();
    assert_eq!(keys[0], RandomAccess::Full);
    assert!(keys.len() >= 4);
    assert!(keys[1..].iter().all(|key| *key == RandomAccess::Recovery));
}

#[test]
fn chunks_of_any_size_give_the_same_units() {
    let bytes = usual(1.0);
    let whole = events_of(&bytes, bytes.len());
    for chunk in [17, 188, 1000, 1316, 65_536] {
        let events = events_of(&bytes, chunk);
        for track in [Track::Video, Track::Audio] {
            assert_eq!(units(&events, track), units(&whole, track), "chunk {chunk}");
        }
        assert_eq!(fed(&events), fed(&whole), "chunk {chunk}");
    }
}

#[test]
fn a_unit_passes_with_the_first_packet_of_the_next() {
    let bytes = usual(1.0);
    let mut front = FrontEnd::new(FrontEndConfig::default());
    let mut starts = 0;
    let mut passed = 0;
    for packet in bytes.chunks(PACKET) {
        let events = front.push(&Bytes::copy_from_slice(packet));
        passed += units(&events, Track::Video).len();
        let packet: &[u8; PACKET] = packet.try_into().unwrap();
        starts += usize::from(stream::pid(packet) == 0x100 && starts_unit(packet));
        // The framer believes in sync from the third packet on.
        if starts > 1 {
            assert_eq!(passed, starts - 1);
        }
    }
    assert_eq!(starts, 25);
}

#[test]
fn a_random_access_point_is_told_with_its_first_packet() {
    let bytes = usual(1.0);
    let mut front = FrontEnd::new(FrontEndConfig::default());
    let mut told = Vec::new();
    for packet in bytes.chunks(PACKET) {
        for event in front.push(&Bytes::copy_from_slice(packet)) {
            match event {
                FrontEvent::RandomAccessPoint(point) => told.push((point.pts, false)),
                FrontEvent::Unit(unit) if unit.track == Track::Video => {
                    if let Some(last) = told.last_mut().filter(|last| last.0 == unit.pts) {
                        last.1 = true;
                    }
                }
                _ => {}
            }
        }
    }
    let last = told.pop().unwrap();
    assert_eq!(
        told.iter().map(|point| point.1).collect::<Vec<_>>(),
        [true; 2]
    );
    assert!(last.1);
}

#[test]
fn the_wrap_of_the_clock_goes_unnoticed() {
    let start = WRAP as f64 / 90_000.0 - 2.2;
    let bytes = usual_with(2.0, &format!("-output_ts_offset {start}"));
    let events = events_of(&bytes, 1316);
    let times: Vec<_> = units(&events, Track::Video)
        .iter()
        .map(|unit| unit.dts)
        .collect();
    assert_eq!(times.len(), 50);
    assert!(times[0] < Ticks(WRAP) && times[49] > Ticks(WRAP));
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] == Ticks(3600))
    );
    let jumps = events
        .iter()
        .filter(|event| matches!(event, FrontEvent::Jump { .. }));
    assert_eq!(jumps.count(), 0);
    let audio = units(&events, Track::Audio);
    assert!(audio.windows(2).all(|pair| pair[0].pts < pair[1].pts));
}

#[test]
fn the_random_access_indicator_does_not_matter() {
    let bytes = usual(1.0);
    let expected = units(&events_of(&bytes, 1316), Track::Video);
    for always in [false, true] {
        let mut spoiled = bytes.clone();
        each_packet(&mut spoiled, |packet| {
            if packet[3] & 0x20 != 0 && packet[4] > 0 {
                let indicator = if always && starts_unit(packet) {
                    0x40
                } else {
                    0
                };
                packet[5] = packet[5] & !0x40 | indicator;
            }
        });
        assert_ne!(spoiled, bytes);
        assert_eq!(units(&events_of(&spoiled, 1316), Track::Video), expected);
    }
}

#[test]
fn a_join_in_the_middle_of_a_group_begins_with_the_next_key() {
    let bytes = usual(2.0);
    let whole = units(&events_of(&bytes, 1316), Track::Video);
    let joined = events_of(&bytes[bytes.len() / 4 + 77..], 1316);
    let video = units(&joined, Track::Video);
    assert_eq!(video[0].random_access, RandomAccess::Full);
    assert_eq!(video[..], whole[whole.len() - video.len()..]);
    assert!(video.len() > 20);
    let audio = units(&joined, Track::Audio);
    assert!(audio[0].pts + Ticks(8 * 1920) > video[0].pts);
}

#[test]
fn a_jump_closes_the_gate_until_the_next_key() {
    let first = usual_with(1.0, "-output_ts_offset 1000");
    let second = usual_with(1.0, "-output_ts_offset 500");
    let joined = [first, second[second.len() / 4 / PACKET * PACKET..].to_vec()].concat();
    let events = events_of(&joined, 1316);
    let jump = events
        .iter()
        .position(|event| matches!(event, FrontEvent::Jump { .. }))
        .expect("a jump");
    let (before, after) = events.split_at(jump);
    assert_eq!(units(before, Track::Video).len(), 25);
    let video = units(after, Track::Video);
    assert_eq!(video[0].random_access, RandomAccess::Full);
    let audio = units(after, Track::Audio);
    assert!(!audio.is_empty());
    assert!(audio.iter().all(|unit| unit.pts < Ticks::from_seconds(600)));
    let starts = events
        .iter()
        .filter(|event| matches!(event, FrontEvent::FeedStart(_)));
    assert_eq!(starts.count(), 2);
}

#[test]
fn a_new_connection_that_repeats_goes_on_without_a_seam() {
    let bytes = usual(3.0);
    let whole = events_of(&bytes, 1316);
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    });
    let cut = bytes.len() * 2 / 3 + 50;
    let mut events = push_all(&mut front, &bytes[..cut], 1316);
    front.reconnect();
    events.extend(push_all(&mut front, &bytes[bytes.len() / 3 + 31..], 1316));
    events.extend(front.finish());
    for track in [Track::Video, Track::Audio] {
        assert_eq!(units(&events, track), units(&whole, track));
    }
    let is_seam =
        |event: &&FrontEvent| matches!(event, FrontEvent::Jump { .. } | FrontEvent::FeedStart(_));
    assert_eq!(events.iter().filter(is_seam).count(), 1);
}

#[test]
fn a_source_that_starts_anew_with_each_connection_is_not_taken_for_a_repetition() {
    let bytes = usual(4.0);
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    });
    push_all(&mut front, &bytes, 1316);
    front.reconnect();
    let mut events = push_all(&mut front, &bytes, 1316);
    events.extend(front.finish());
    let is_jump = |event: &FrontEvent| matches!(event, FrontEvent::Jump { .. });
    assert!(events.iter().any(is_jump));
    assert_eq!(units(&events, Track::Video).len(), 100);
}

#[test]
fn a_new_connection_elsewhere_is_a_jump() {
    let mut front = FrontEnd::new(FrontEndConfig {
        audio_language: None,
        feed: true,
    });
    push_all(&mut front, &usual_with(1.0, "-output_ts_offset 1000"), 1316);
    front.reconnect();
    assert_eq!(front.stage(), Stage::AwaitingRandomAccessPoint);
    let events = push_all(&mut front, &usual_with(1.0, "-output_ts_offset 10"), 1316);
    let is_jump = |event: &FrontEvent| matches!(event, FrontEvent::Jump { .. });
    let is_start = |event: &FrontEvent| matches!(event, FrontEvent::FeedStart(_));
    let jump = events.iter().position(is_jump).expect("a jump");
    let start = events.iter().position(is_start).expect("a new input");
    assert!(jump < start);
    assert_eq!(
        units(&events, Track::Video)[0].random_access,
        RandomAccess::Full
    );
}

#[test]
fn a_new_connection_behind_a_hole_is_a_jump_however_small_the_hole() {
    // Groups of 0.4 s: what lies between the last picture of one and the first of a later one is lost.
    let bytes = usual(3.0);
    let keys = key_packets(&bytes);
    for (last, next) in [(3, 3), (3, 4), (2, 4)] {
        let mut front = FrontEnd::new(FrontEndConfig {
            audio_language: None,
            feed: true,
        });
        // The picture before the key that is cut off has not ended, so even the next key leaves a hole.
        let mut events = push_all(&mut front, &bytes[..keys[last]], 1316);
        front.reconnect();
        events.extend(push_all(&mut front, &bytes[keys[next]..], 1316));
        events.extend(front.finish());
        let count = |is_one: fn(&FrontEvent) -> bool| events.iter().filter(|e| is_one(e)).count();
        let jumps = count(|event| matches!(event, FrontEvent::Jump { .. }));
        let inputs = count(|event| matches!(event, FrontEvent::FeedStart(_)));
        assert_eq!((jumps, inputs), (1, 2), "{last} {next}");
        let is_jump = |event: &FrontEvent| matches!(event, FrontEvent::Jump { .. });
        let jump = events.iter().position(is_jump).unwrap();
        let after = units(&events[jump..], Track::Video);
        assert_eq!(after[0].random_access, RandomAccess::Full);
        assert!(
            after
                .windows(2)
                .all(|pair| pair[1].dts - pair[0].dts == Ticks(3600))
        );
    }
}

/// Where the random access points begin.
fn key_packets(bytes: &[u8]) -> Vec<usize> {
    let (packets, _) = bytes.as_chunks::<PACKET>();
    let is_key = |packet: &&[u8; PACKET]| {
        let is_marked = packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0;
        stream::pid(packet) == 0x100 && starts_unit(packet) && is_marked
    };
    let numbered = packets.iter().enumerate();
    let keys = numbered.filter(|(_, packet)| is_key(packet));
    keys.map(|(index, _)| index * PACKET).collect()
}

#[test]
fn the_encoders_input_decodes_and_keeps_the_sources_times() {
    let open_gop = "-c:v libx264 -preset veryfast -bf 2 -g 10 -pix_fmt yuv420p -c:a ac3 -ac 2";
    for bytes in [usual(2.0), television("160x96", "25", 2.0, open_gop)] {
        let joined = &bytes[bytes.len() / 4..];
        let events = events_of(joined, 1316);
        let input = fed(&events);
        assert_eq!(
            probe::packets(&input, "v"),
            in_probers_words(&events, Track::Video)
        );
        assert_eq!(probe::streams(&input).len(), 2);
        assert_eq!(probe::complaints(&input), "");
    }
}

#[test]
fn radio_begins_with_its_first_frame() {
    let bytes = make("-f lavfi -i sine=sample_rate=48000 -t 2 -c:a aac -ac 2");
    let events = events_of(&bytes, 1316);
    let audio = units(&events, Track::Audio);
    let probed = probe::packets(&bytes, "a");
    assert_eq!(audio[0].pts, Ticks(probed[0].pts));
    let points = events
        .iter()
        .filter(|event| matches!(event, FrontEvent::RandomAccessPoint(_)));
    assert_eq!(points.count(), 1);
    assert_eq!(probe::packets(&fed(&events), "a"), probed);
}

#[test]
fn what_is_no_transport_stream_is_named_at_once() {
    let mut front = FrontEnd::new(FrontEndConfig::default());
    let events = front.push(&Bytes::from_static(
        b"<!DOCTYPE html><html><body>Login</body>",
    ));
    let html = Malformed::NotTransportStream(Foreign::Html);
    assert_eq!(
        html.to_string(),
        "source sends an HTML page instead of an MPEG transport stream"
    );
    assert_eq!(events, [FrontEvent::Malformed(html)]);
    assert_eq!(front.stage(), Stage::AwaitingPackets);
    assert_eq!(front.push(&Bytes::from(vec![b'x'; 500_000])), []);
}

#[test]
fn scrambled_tracks_are_named() {
    let mut bytes = usual(1.0);
    each_packet(&mut bytes, |packet| {
        if stream::pid(packet) >= 0x100 && stream::pid(packet) < 0x1000 {
            packet[3] |= 0xC0;
        }
    });
    let events = events_of(&bytes, 1316);
    assert!(events.contains(&FrontEvent::Malformed(Malformed::Scrambled)));
    assert_eq!(units(&events, Track::Video), []);
}
