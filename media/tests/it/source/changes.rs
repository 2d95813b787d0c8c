//! Sources that change under way, and sources whose clock, audio or tables are odd.

use media::codec::video::Dimensions;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent, SourceFacts};
use media::time::Ticks;
use media::ts::section::Section;
use media::ts::tables::Pmt;
use media::unit::{AccessUnit, Track, VideoCodec};

use crate::source::stream::{
    PACKET, each_packet, events_of, pid, push_all, television, units, usual, usual_with,
};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;
const PMT: u16 = 0x1000;
const CLOCK: u16 = 0x1F0;

fn all_facts(events: &[FrontEvent]) -> Vec<SourceFacts> {
    events
        .iter()
        .filter_map(|event| match event {
            FrontEvent::Facts(facts) => Some(facts.clone()),
            _ => None,
        })
        .collect()
}

fn jumps(events: &[FrontEvent]) -> usize {
    let is_jump = |event: &&FrontEvent| matches!(event, FrontEvent::Jump { .. });
    events.iter().filter(is_jump).count()
}

/// Where other tracks were chosen.
fn choices(events: &[FrontEvent]) -> Vec<usize> {
    let numbered = events.iter().enumerate();
    let choices = numbered.filter(|(_, event)| matches!(event, FrontEvent::OtherTracks));
    choices.map(|(index, _)| index).collect()
}

fn packets_of(bytes: &[u8]) -> impl Iterator<Item = &[u8; PACKET]> {
    bytes.as_chunks::<PACKET>().0.iter()
}

/// The sample with its clock on another PID, or without any.
fn with_clock_on(sample: &[u8], clock: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets_of(sample) {
        let mut packet = *packet;
        if pid(&packet) == PMT {
            let start = 5 + usize::from(packet[4]);
            let mut pmt = Pmt::parse(&Section::parse(&packet[start..]).unwrap()).unwrap();
            pmt.pcr_pid = clock;
            bytes.extend(pmt.section().packets(PMT, &mut (packet[3] & 0x0F)));
            continue;
        }
        if packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0 {
            if clock < 0x1FFF {
                let [high, low] = clock.to_be_bytes();
                let mut alone = [0xFF; PACKET];
                alone[..6].copy_from_slice(&[0x47, high, low, 0x20, 183, 0x10]);
                alone[6..12].copy_from_slice(&packet[6..12]);
                bytes.extend(alone);
            }
            packet[5] &= !0x10;
        }
        bytes.extend(packet);
    }
    bytes
}

#[test]
fn a_clock_on_a_pid_of_its_own_is_the_same_clock() {
    let sample = usual(1.0);
    let moved = events_of(&with_clock_on(&sample, CLOCK), 1316);
    let plain = events_of(&sample, 1316);
    assert_eq!(units(&moved, Track::Video), units(&plain, Track::Video));
    assert_eq!(all_facts(&moved)[0].pcr_pid, Some(CLOCK));
}

#[test]
fn without_a_clock_the_decoding_times_are_the_clock() {
    let events = events_of(&with_clock_on(&usual(1.0), 0x1FFF), 1316);
    let video = units(&events, Track::Video);
    assert_eq!(video.len(), 25);
    assert!(video.iter().all(|unit| unit.arrival == unit.dts));
    assert_eq!(all_facts(&events).last().unwrap().pcr_pid, None);
}

#[test]
fn another_programme_map_brings_other_facts() {
    let first = usual_with(1.0, "-output_ts_offset 10");
    let codecs = "-c:v mpeg2video -g 10 -c:a mp2 -mpegts_start_pid 0x300 -output_ts_offset 11";
    let second = television("320x180", "25", 1.0, codecs);
    let events = events_of(&[first, second].concat(), 1316);
    // The last picture of the first part was in progress.
    assert_eq!(units(&events, Track::Video).len(), 49);
    let codecs: Vec<_> = all_facts(&events)
        .into_iter()
        .map(|facts| facts.video.unwrap().codec)
        .collect();
    assert_eq!(codecs.first(), Some(&VideoCodec::H264));
    assert_eq!(codecs.last(), Some(&VideoCodec::Mpeg2));
    let starts = events
        .iter()
        .filter(|event| matches!(event, FrontEvent::FeedStart(_)));
    assert_eq!(starts.count(), 2);
    let [choice] = choices(&events)[..] else {
        panic!("{:?}", choices(&events));
    };
    assert_eq!(units(&events[..choice], Track::Video).len(), 24);
}

#[test]
fn audio_of_another_format_is_another_track_and_goes_to_no_one_who_expects_the_first() {
    let first = usual_with(1.0, "-output_ts_offset 10");
    let codecs = "-c:v libx264 -preset ultrafast -bf 2 -g 10 -sc_threshold 0 -pix_fmt yuv420p \
                  -c:a mp2 -output_ts_offset 11";
    let second = television("160x96", "25", 1.0, codecs);
    let events = events_of(&[first, second].concat(), 1316);
    let [choice] = choices(&events)[..] else {
        panic!("{:?}", choices(&events));
    };
    let is_aac = |unit: &AccessUnit| unit.payload[1] & 0xF6 == 0xF0;
    let (before, after) = events.split_at(choice);
    assert!(units(before, Track::Audio).iter().all(is_aac));
    let after = units(after, Track::Audio);
    assert!(!after.is_empty() && !after.iter().any(is_aac));
}

#[test]
fn another_size_is_told_before_its_first_picture() {
    let first = usual_with(1.0, "-output_ts_offset 10");
    let codecs = "-c:v libx264 -preset ultrafast -bf 2 -g 10 -pix_fmt yuv420p -c:a aac \
                  -output_ts_offset 11";
    let second = television("320x180", "25", 1.0, codecs);
    let events = events_of(&[first, second].concat(), 1316);
    assert_eq!(jumps(&events), 0);
    let starts = events
        .iter()
        .filter(|event| matches!(event, FrontEvent::FeedStart(_)));
    assert_eq!(starts.count(), 2);
    let larger = Dimensions::new(320, 180);
    let told = events.iter().position(|event| match event {
        FrontEvent::Facts(facts) => facts.video.as_ref().unwrap().dimensions == larger,
        _ => false,
    });
    let pictures_before = units(&events[..told.expect("the new size")], Track::Video);
    assert_eq!(pictures_before.len(), 25);
    assert_eq!(units(&events, Track::Video).len(), 50);
}

#[test]
fn other_audio_does_not_disturb_the_video() {
    let first = usual_with(1.0, "-output_ts_offset 10");
    let second = usual_with(1.0, "-output_ts_offset 11 -streamid 1:0x155");
    let events = events_of(&[first.clone(), second].concat(), 1316);
    assert_eq!(jumps(&events), 0);
    assert_eq!(units(&events, Track::Video).len(), 50);
    assert!(choices(&events).is_empty());
    let first_audio = units(&events_of(&first, 1316), Track::Audio);
    assert!(units(&events, Track::Audio).len() > first_audio.len());
    assert!(all_facts(&events).last().unwrap().complete);
}

#[test]
fn announced_audio_that_never_comes_does_not_hold_up_the_facts() {
    let mut bytes = usual(3.0);
    each_packet(&mut bytes, |packet| {
        if pid(packet) == AUDIO {
            (packet[1], packet[2]) = (0x1F, 0xFF);
        }
    });
    let facts = all_facts(&events_of(&bytes, 1316));
    assert!(!facts[0].complete);
    let last = facts.last().unwrap();
    assert!(last.complete);
    assert_eq!(last.audio, None);
}

#[test]
fn audio_that_comes_late_in_byte_order_is_measured_and_whole() {
    const LATE: usize = 30;
    let sample = usual(3.0);
    let mut bytes = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    let mut pictures = 0;
    for packet in packets_of(&sample) {
        if pid(packet) == AUDIO {
            waiting.push_back((pictures + LATE, *packet));
            continue;
        }
        pictures += usize::from(pid(packet) == VIDEO && packet[1] & 0x40 != 0);
        bytes.extend_from_slice(packet);
        while waiting.front().is_some_and(|(due, _)| *due <= pictures) {
            bytes.extend(waiting.pop_front().unwrap().1);
        }
    }
    bytes.extend(waiting.into_iter().flat_map(|(_, packet)| packet));
    let events = events_of(&bytes, 1316);
    let in_order = events_of(&sample, 1316);
    let delay_of = |events| all_facts(events).last().unwrap().audio_delay.unwrap();
    let delay = delay_of(&events) - delay_of(&in_order);
    assert!(Ticks::from_milliseconds(900) < delay && delay < Ticks::from_milliseconds(1500));
    let times = |events: &[FrontEvent]| {
        let audio = units(events, Track::Audio);
        audio.into_iter().map(|unit| unit.pts).collect::<Vec<_>>()
    };
    assert_eq!(times(&events), times(&in_order));
}

#[test]
fn rare_pictures_are_not_taken_for_breaks() {
    let codecs = "-c:v libx264 -preset ultrafast -g 2 -pix_fmt yuv420p -c:a aac";
    let events = events_of(&television("160x96", "1/2", 12.0, codecs), 1316);
    assert_eq!(jumps(&events), 0);
    assert_eq!(units(&events, Track::Video).len(), 6);
    let facts = all_facts(&events).pop().unwrap();
    assert!(facts.complete);
    assert_eq!(facts.video.unwrap().frame_rate, None);
}

#[test]
fn where_a_round_begins_before_the_sound_of_the_last_has_ended_nothing_sounds_twice() {
    let round = |offset: f64| {
        let times = format!("-muxdelay 0 -muxpreload 0 -output_ts_offset {offset}");
        usual_with(1.0, &times)
    };
    let first = round(10.0);
    let sounds = units(&events_of(&first, 4000), Track::Audio);
    // A frame takes 1920 ticks. The first one came before the first key.
    let (start, last) = (sounds[0].pts - Ticks(1920), sounds[sounds.len() - 1].pts);
    for (overlap, expected) in [(1919, 1), (500, 1), (400, 0), (0, 0), (-5000, 0)] {
        let offset = last.0 + 1920 - overlap - start.0;
        let both = [first.clone(), round(10.0 + offset as f64 / 90_000.0)].concat();
        let mut front = FrontEnd::new(FrontEndConfig {
            audio_language: None,
            feed: false,
        });
        front.expect_rounds();
        let mut events = push_all(&mut front, &both, 4000);
        events.extend(front.finish());
        let count = units(&events, Track::Audio).len();
        assert_eq!(count, 2 * sounds.len() + 1 - expected, "{overlap}");
    }
}
