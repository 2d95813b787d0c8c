//! Hours of media through front end, segmenter and window as fast as they go, with everything that happens to a source in between:
//! what comes out runs on, and what is held stays as small as it was.

mod tape;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use api::job::ResumeFloor;
use bytes::Bytes;
use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent, RandomAccessPoint};
use media::playlist::numbers::Numbers;
use media::playlist::window::{Window, WindowSettings};
use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{
    AudioPlan, FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId,
    RenditionPlan, Settings,
};
use media::time::{Ticks, WRAP};
use media::ts::mux::AudioTrack;
use media::ts::packet::Packet;
use media::ts::pes::PesHeader;
use media::unit::{AudioCodec, Track, VideoCodec};

use crate::source::stream::PACKET;
use tape::{SECONDS, Tape};

/// What a process may grow by once it has seen everything, in KiB: allocators keep some of what was freed.
const GROWTH: u64 = 1024;
/// A target of 4 s and a list of 12: so many segments of a second are listed, and as many are kept behind them.
const LISTED: usize = 20;
const KEPT: usize = 2 * LISTED;
const CHUNK: usize = 7 * PACKET;

/// Marsaglia's xorshift: the same numbers at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn opening(has_audio: bool) -> Opening {
    let rendition = |id, origin| RenditionPlan {
        id: RenditionId::new(id),
        origin,
        video: Some(VideoCodec::H264),
    };
    let audio = AudioPlan {
        origin: Origin::Source,
        track: AudioTrack {
            codec: AudioCodec::Aac,
            language: None,
        },
    };
    Opening {
        program_date_time: 1_700_000_000_000,
        split_first_group: true,
        renditions: vec![
            rendition("source", Origin::Source),
            rendition("480p", Origin::Encoded),
        ],
        audio: has_audio.then_some(audio),
    }
}

/// The whole way of a stream, with an encoder that brings every picture as it came.
struct Way {
    front: FrontEnd,
    segmenter: Segmenter,
    numbers: Numbers,
    window: Window,
    now: Duration,
    generation: u64,
    has_audio: bool,
    /// Bytes by number, until they may be deleted.
    files: BTreeMap<u64, usize>,
    /// The highest decoding time on the wire, by rendition and PID.
    decoded: BTreeMap<(String, u16), Ticks>,
    total: Ticks,
    seams: u64,
}

impl Way {
    fn new() -> Self {
        let start = ResumeFloor {
            media_sequence: 1000,
            discontinuity_sequence: 1000,
        };
        let mut way = Self {
            front: FrontEnd::new(FrontEndConfig {
                audio_language: None,
                feed: true,
            }),
            segmenter: Segmenter::new(Settings {
                rules: CutRules {
                    segment_duration: Ticks::from_seconds(2),
                    target_duration: Ticks::from_seconds(4),
                },
            }),
            numbers: Numbers::new(start, false),
            window: Window::new(WindowSettings {
                class: String::new(),
                stream_uid: "uid".to_owned(),
                attempt: 1,
                version: 1,
                segment_duration_seconds: 2,
                target_duration_seconds: 4,
                playlist_duration_seconds: 12,
                start,
            }),
            now: Duration::ZERO,
            generation: 0,
            has_audio: true,
            files: BTreeMap::new(),
            decoded: BTreeMap::new(),
            total: Ticks::ZERO,
            seams: 0,
        };
        way.handle(Input::Begin(opening(true)));
        way
    }

    /// Takes bytes that last so many seconds.
    fn push(&mut self, bytes: &[u8], seconds: i64) {
        let pieces = u32::try_from(bytes.len() / CHUNK + 1).unwrap();
        let step = Duration::from_secs(seconds.unsigned_abs()) / pieces;
        for piece in bytes.chunks(CHUNK) {
            self.now += step;
            for event in self.front.push(&Bytes::copy_from_slice(piece)) {
                self.take(event);
            }
            assert!(self.front.held_bytes() < 1 << 20);
        }
        self.handle(Input::Tick);
    }

    fn take(&mut self, event: FrontEvent) {
        match event {
            FrontEvent::Clock(clock) => self.handle(Input::Clock(clock)),
            FrontEvent::Jump { .. } | FrontEvent::OtherTracks => {
                self.handle(Input::Begin(opening(self.has_audio)));
            }
            FrontEvent::Facts(facts)
                if facts.complete && facts.audio.is_some() != self.has_audio =>
            {
                self.has_audio = facts.audio.is_some();
                self.handle(Input::Begin(opening(self.has_audio)));
            }
            FrontEvent::RandomAccessPoint(RandomAccessPoint {
                pts,
                dts,
                random_access,
            }) => {
                self.handle(Input::RandomAccessPoint {
                    pts,
                    dts,
                    random_access,
                });
            }
            FrontEvent::Unit(unit) => {
                self.handle(Input::Source(unit.clone()));
                if unit.track == Track::Video {
                    self.handle(Input::EncodedVideo {
                        generation: GenerationId(self.generation),
                        rendition: RenditionId::new("480p"),
                        unit,
                    });
                }
            }
            _ => {}
        }
    }

    fn handle(&mut self, input: Input) {
        for output in self.segmenter.handle(input, self.now) {
            match output {
                Output::Segment(segment) => self.publish(segment),
                Output::Began(id) if id.0 > 0 => {
                    self.generation = id.0;
                    self.handle(Input::EncoderEnded(GenerationId(id.0 - 1)));
                }
                _ => {}
            }
        }
    }

    fn publish(&mut self, segment: FinishedSegment) {
        let segment = self.numbers.give(segment);
        for rendition in &segment.renditions {
            self.check_times(rendition.rendition.as_str(), &rendition.bytes);
        }
        self.total += segment.duration;
        self.seams += u64::from(segment.discontinuity);
        let bytes = segment
            .renditions
            .iter()
            .map(|rendition| rendition.bytes.len())
            .sum();
        self.files.insert(segment.number, bytes);
        self.window.push(&segment, self.now);
        for number in self.window.expired(self.now) {
            assert!(self.files.remove(&number).is_some());
        }
        let listed = self.window.document(0).segments.len();
        assert!(
            listed <= LISTED && self.files.len() <= KEPT,
            "{listed} listed, {} kept",
            self.files.len()
        );
    }

    /// Decoding times rise on every PID over every seam.
    fn check_times(&mut self, id: &str, bytes: &[u8]) {
        for packet in bytes.as_chunks::<PACKET>().0.iter().map(Packet::new) {
            let Some(Ok(Some(header))) = packet
                .starts_unit()
                .then(|| PesHeader::parse(packet.payload()))
            else {
                continue;
            };
            let Some(wire) = header.dts.or(header.pts) else {
                continue;
            };
            let last = self.decoded.get(&(id.to_owned(), packet.pid())).copied();
            let time = Ticks::unwrap_near(wire, last.unwrap_or_default());
            assert!(
                last.is_none_or(|last| time > last),
                "{id}: {last:?} and then {time:?}"
            );
            self.decoded.insert((id.to_owned(), packet.pid()), time);
        }
    }
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What happens to the source before it goes on: about every second minute something.
fn disturb(
    way: &mut Way,
    random: &mut Random,
    at: &mut i64,
    tape: &mut usize,
    bytes: &mut Vec<u8>,
) {
    match random.below(240) {
        0 => {
            // The connection breaks in mid-packet; the next one repeats some of it.
            bytes.truncate(bytes.len() / 2 + usize::try_from(random.below(188)).unwrap());
            *at -= SECONDS * 90_000;
            way.front.reconnect();
        }
        1 => *at += i64::try_from(random.below(7200)).unwrap() * 90_000,
        2 => *at -= i64::try_from(random.below(7200)).unwrap() * 90_000,
        3 => {
            let lost = i64::try_from(1 + random.below(20)).unwrap();
            *at += lost * 90_000;
            way.now += Duration::from_secs(lost.unsigned_abs());
        }
        4 => {
            for _ in 0..20 {
                let place = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[place] ^= 0x55;
            }
        }
        5 => {
            let start = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes.drain(start..(start + 3000).min(bytes.len()));
        }
        6..12 => *tape = usize::try_from(random.below(4)).unwrap(),
        _ => {}
    }
}

/// Plays so many hours; answers how long the process was resident with after a sixth and at the end, in KiB.
fn play(hours: i64, seed: u64) -> (u64, u64) {
    let tapes = [
        Tape::new("64x48", 0, ""),
        Tape::new("96x64", 1, ""),
        Tape::new(
            "64x48",
            2,
            "-mpegts_start_pid 0x200 -mpegts_pmt_start_pid 0x900",
        ),
        Tape::new("64x48", 3, "-an"),
    ];
    let mut way = Way::new();
    let mut random = Random(seed);
    let mut counters = BTreeMap::new();
    // The clock starts again after the first hour.
    let mut at = WRAP - 3600 * 90_000;
    let (mut tape, mut warm) = (0, 0);
    let loops = hours * 3600 / SECONDS;
    for index in 0..loops {
        let mut bytes = tapes[tape].play(at, &mut counters);
        disturb(&mut way, &mut random, &mut at, &mut tape, &mut bytes);
        way.push(&bytes, SECONDS);
        at += SECONDS * 90_000;
        if index == loops / 6 {
            warm = resident();
        }
    }
    let played = way.total.as_seconds() / 3600.0;
    println!("{played:.2} of {hours} hours, {} seams", way.seams);
    let whole = loops as f64 * SECONDS as f64 / 3600.0;
    assert!(
        played > whole * 0.95 && way.seams > 10,
        "{played} of {whole} hours with {} seams",
        way.seams
    );
    (warm, resident())
}

#[test]
#[ignore = "takes minutes; the next test runs six hours of it in a process of its own"]
fn memory_stays_as_it_is_however_long_a_stream_runs() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u32>().unwrap())
    };
    let hours = number("HEADEND_SOAK_HOURS").unwrap_or(100);
    let seed = number("HEADEND_SOAK_SEED").unwrap_or(1);
    let (warm, end) = play(i64::from(hours), u64::from(seed) << 32 | 0x9E37_79B9);
    println!("resident: {warm} KiB when warm, {end} KiB at the end");
    assert!(
        end <= warm + GROWTH,
        "{warm} KiB when warm, {end} KiB at the end"
    );
}

/// Memory is a process's: other tests must not share it.
#[test]
fn six_hours_of_media_need_as_much_memory_as_one() {
    let inner = "soak::memory_stays_as_it_is_however_long_a_stream_runs";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([inner, "--exact", "--ignored", "--nocapture"])
        .env("HEADEND_SOAK_HOURS", "6")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
