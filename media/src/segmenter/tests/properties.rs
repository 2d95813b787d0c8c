//! Live streams with any faults in any order, encoders included: every promise about numbers, cuts and times is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};

use super::stream::{AUDIO_FRAME, Contents, DATE, FRAME, aac, read, rendition, settings};
use crate::segmenter::io::{
    FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId, RenditionPlan,
};
use crate::segmenter::{MAX_HELD_BYTES, Segmenter};
use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess, Track};

/// What a stream is made of.
const SHAPES: [&str; 6] = [
    "source",
    "source 480p",
    "480p 360p",
    "source 480p +",
    "480p 360p +",
    "radio",
];

/// Something that happens to a stream.
#[derive(Debug, Clone)]
enum Event {
    /// So many pictures come, a key every so many, the sound with them.
    Play {
        pictures: u16,
        group: u16,
    },
    /// Pictures and sound of so many milliseconds are lost.
    Lose(u16),
    /// The clock of the source jumps by so many milliseconds, and the front end says so or does not.
    Jump {
        milliseconds: i32,
        is_told: bool,
    },
    /// Another source, another shape.
    Switch(usize),
    /// From now on the sound comes so many milliseconds after its pictures.
    DelaySound(u16),
    /// The sound stops, or begins again.
    Sound(bool),
    /// Encoders bring nothing more of what they are given, until so many pictures wait.
    Lag(u16),
    /// The encoder ends by itself; another is started.
    EncoderDies,
    /// Time passes.
    Wait(u16),
    AddRendition,
    RemoveRendition,
    /// A unit with times that fit nothing, hours away.
    Nonsense {
        dts: i64,
        pts: i64,
        is_sound: bool,
    },
    Finish,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (1..200_u16, 1..260_u16).prop_map(|(pictures, group)| Event::Play { pictures, group }),
        2 => (0..12_000_u16).prop_map(Event::Lose),
        // All together less than half a turn: a clock of 33 bits cannot say more.
        2 => (-1_900_000..1_900_000_i32, any::<bool>()).prop_map(|(milliseconds, is_told)| Event::Jump { milliseconds, is_told }),
        2 => (-5000..5000_i32, any::<bool>()).prop_map(|(milliseconds, is_told)| Event::Jump { milliseconds, is_told }),
        2 => (0..SHAPES.len()).prop_map(Event::Switch),
        2 => (0..3000_u16).prop_map(Event::DelaySound),
        2 => any::<bool>().prop_map(Event::Sound),
        2 => select(vec![0, 1, 10, 60, 400]).prop_map(Event::Lag),
        2 => Just(Event::EncoderDies),
        2 => (0..10_000_u16).prop_map(Event::Wait),
        1 => Just(Event::AddRendition),
        1 => Just(Event::RemoveRendition),
        2 => (any::<i64>(), any::<i64>(), any::<bool>()).prop_map(|(dts, pts, is_sound)| Event::Nonsense {
            dts: dts % (1 << 30),
            pts: pts % (1 << 40),
            is_sound,
        }),
        1 => Just(Event::Finish),
    ]
}

fn opening(shape: usize) -> Opening {
    let shape = SHAPES[shape];
    let encodes_sound = shape.ends_with('+');
    let renditions = shape.split(' ').filter(|id| *id != "+").map(|id| match id {
        "radio" => RenditionPlan {
            video: None,
            ..rendition("audio", Origin::Source)
        },
        "source" => rendition(id, Origin::Source),
        _ => rendition(id, Origin::Encoded),
    });
    Opening {
        program_date_time: DATE,
        split_first_group: true,
        renditions: renditions.collect(),
        audio: Some(aac(if encodes_sound {
            Origin::Encoded
        } else {
            Origin::Source
        })),
    }
}

/// FFmpeg, as it behaves: begins at a key, brings every picture with its time and decoding times that only rise.
#[derive(Debug, Default)]
struct Encoder {
    waiting: VecDeque<(i64, bool)>,
    last: Option<i64>,
    sound: Option<i64>,
}

struct Stream {
    segmenter: Segmenter,
    shape: usize,
    clock: i64,
    now: Duration,
    in_group: u16,
    sound_delay: i64,
    has_sound: bool,
    next_sound: i64,
    sounds: VecDeque<i64>,
    lag: usize,
    encoder: Encoder,
    generation: u64,
    segments: Vec<FinishedSegment>,
}

impl Stream {
    fn new(shape: usize) -> Self {
        let mut stream = Self {
            segmenter: Segmenter::new(settings()),
            shape,
            clock: 900_000,
            now: Duration::ZERO,
            in_group: 0,
            sound_delay: 0,
            has_sound: true,
            next_sound: 900_000,
            sounds: VecDeque::new(),
            lag: 0,
            encoder: Encoder::default(),
            generation: 0,
            segments: Vec::new(),
        };
        stream.handle(Input::Begin(opening(shape)));
        stream
    }

    fn handle(&mut self, input: Input) {
        let mut ended = Vec::new();
        for output in self.segmenter.handle(input, self.now) {
            match output {
                Output::Segment(segment) => self.segments.push(segment),
                Output::Late(late) => {
                    // Put in place, as if no player had seen the gap.
                    let published = self
                        .segments
                        .iter_mut()
                        .find(|other| other.ordinal == late.ordinal);
                    published.unwrap().renditions.push(late.segment);
                }
                Output::Began(id) if id.0 > 0 => ended.push(id),
                _ => {}
            }
        }
        for id in ended {
            self.drain(0);
            let before = GenerationId(id.0 - 1);
            self.generation = id.0;
            self.encoder = Encoder::default();
            self.handle(Input::EncoderEnded(before));
        }
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let segmenter = &self.segmenter;
        assert!(segmenter.held_bytes <= MAX_HELD_BYTES);
        assert!(segmenter.plan.iter().count() <= 66);
        for follower in &segmenter.followers {
            assert!(follower.held_bytes() <= MAX_HELD_BYTES);
            assert!(follower.held_segments() <= 66);
        }
    }

    fn unit(track: Track, pts: i64, dts: i64, is_key: bool, arrival: i64) -> AccessUnit {
        AccessUnit {
            track,
            pts: Ticks(pts),
            dts: Ticks(dts),
            random_access: if is_key {
                RandomAccess::Full
            } else {
                RandomAccess::None
            },
            arrival: Ticks(arrival),
            payload: Bytes::from_static(&[0, 0, 0, 1, 9, 16]),
        }
    }

    fn play(&mut self, pictures: u16, group: u16) {
        for _ in 0..pictures {
            let is_key = self.in_group == 0;
            self.in_group = (self.in_group + 1) % group;
            let pts = self.clock;
            let random_access = RandomAccess::Full;
            if is_key && SHAPES[self.shape] != "radio" {
                let (pts, dts) = (Ticks(pts), Ticks(pts));
                self.handle(Input::RandomAccessPoint {
                    pts,
                    dts,
                    random_access,
                });
            }
            if SHAPES[self.shape] != "radio" {
                self.handle(Input::Source(Self::unit(
                    Track::Video,
                    pts,
                    pts,
                    is_key,
                    pts,
                )));
            }
            self.give_encoder(pts, is_key);
            self.clock += FRAME;
            self.now += Duration::from_millis(40);
            self.bring_sound();
            self.drain(self.lag);
        }
    }

    fn bring_sound(&mut self) {
        while self.next_sound < self.clock {
            if self.has_sound {
                self.sounds.push_back(self.next_sound);
            }
            self.next_sound += 8 * AUDIO_FRAME;
        }
        while let Some(&pts) = self.sounds.front() {
            if pts + self.sound_delay > self.clock {
                break;
            }
            self.sounds.pop_front();
            let unit = Self::unit(Track::Audio, pts, pts, true, self.clock);
            self.handle(Input::Source(unit));
            let encodes = SHAPES[self.shape].ends_with('+');
            if encodes && self.encoder.sound.is_none_or(|last| pts > last) {
                self.encoder.sound = Some(pts);
                let generation = GenerationId(self.generation);
                let unit = Self::unit(
                    Track::Audio,
                    pts - AUDIO_FRAME,
                    pts - AUDIO_FRAME,
                    true,
                    self.clock,
                );
                self.handle(Input::EncodedAudio { generation, unit });
            }
        }
    }

    fn give_encoder(&mut self, pts: i64, is_key: bool) {
        let encoder = &mut self.encoder;
        let follows = encoder.last.map_or(is_key, |last| pts > last);
        if follows {
            encoder.last = Some(pts);
            encoder.waiting.push_back((pts, is_key));
        }
    }

    /// The encoder brings what it was given, down to so many pictures.
    fn drain(&mut self, left: usize) {
        let ids: Vec<_> = SHAPES[self.shape]
            .split(' ')
            .filter(|id| id.ends_with('p'))
            .collect();
        while self.encoder.waiting.len() > left {
            let Some((pts, is_key)) = self.encoder.waiting.pop_front() else {
                return;
            };
            for id in &ids {
                let unit = Self::unit(Track::Video, pts, pts - 2 * FRAME, is_key, pts);
                self.handle(Input::EncodedVideo {
                    generation: GenerationId(self.generation),
                    rendition: RenditionId::new(id),
                    unit,
                });
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Play { pictures, group } => self.play(pictures, group),
            Event::Lose(milliseconds) => {
                self.clock += i64::from(milliseconds) * 90;
                self.next_sound = self.clock;
                self.now += Duration::from_millis(u64::from(milliseconds));
            }
            Event::Jump {
                milliseconds,
                is_told,
            } => {
                self.clock += i64::from(milliseconds) * 90;
                self.next_sound = self.clock;
                self.sounds.clear();
                if is_told {
                    self.in_group = 0;
                    self.handle(Input::Begin(opening(self.shape)));
                }
            }
            Event::Switch(shape) => {
                self.in_group = 0;
                self.handle(Input::Begin(opening(shape)));
                self.shape = shape;
            }
            Event::DelaySound(milliseconds) => self.sound_delay = i64::from(milliseconds) * 90,
            Event::Sound(is_on) => self.has_sound = is_on,
            Event::Lag(pictures) => self.lag = usize::from(pictures),
            Event::EncoderDies => {
                self.encoder = Encoder::default();
                self.handle(Input::EncoderEnded(GenerationId(self.generation)));
            }
            Event::Wait(milliseconds) => {
                for _ in 0..milliseconds / 250 {
                    self.now += Duration::from_millis(250);
                    self.handle(Input::Tick);
                }
            }
            Event::AddRendition => {
                self.handle(Input::AddRendition(rendition("480p", Origin::Encoded)));
            }
            Event::RemoveRendition => self.handle(Input::RemoveRendition(RenditionId::new("480p"))),
            Event::Nonsense { dts, pts, is_sound } => {
                let track = if is_sound { Track::Audio } else { Track::Video };
                let dts = self.clock + dts;
                self.handle(Input::Source(Self::unit(track, pts, dts, true, self.clock)));
            }
            Event::Finish => self.finish(),
        }
    }

    fn finish(&mut self) {
        self.handle(Input::Finish);
        self.drain(0);
        self.handle(Input::EncoderEnded(GenerationId(self.generation)));
        for _ in 0..20 {
            self.now += Duration::from_secs(1);
            self.handle(Input::Tick);
        }
    }
}

fn check_numbers(segments: &[FinishedSegment]) {
    for segment in segments {
        let seconds = segment.duration.as_seconds();
        assert!(
            (0.0..=4.49).contains(&seconds),
            "{seconds} in {}",
            segment.ordinal
        );
    }
    for pair in segments.windows(2) {
        let [before, segment] = pair else {
            unreachable!()
        };
        assert_eq!(segment.ordinal, before.ordinal + 1);
        assert!(segment.discontinuity || segment.generation == before.generation);
        let end = before.program_date_time + before.duration.0 / 90;
        assert!(segment.program_date_time >= end - 1);
    }
}

/// The same sound in every rendition, and times that only rise in each: what continuous streams are made of.
fn check_media(segments: &[FinishedSegment]) {
    let mut joined: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    // An encoder may begin a generation a few pictures later.
    let mut opened = None;
    for segment in segments {
        let opens = opened.replace(segment.generation) != Some(segment.generation);
        let read: Vec<Contents> = segment
            .renditions
            .iter()
            .map(|rendition| read(&rendition.bytes))
            .collect();
        for pair in read.windows(2) {
            assert_eq!(pair[0].audio, pair[1].audio, "sound of {}", segment.ordinal);
            let starts =
                [&pair[0], &pair[1]].map(|contents| contents.video.first().map(|(pts, _)| *pts));
            if let [Some(one), Some(other)] = starts
                && !opens
            {
                assert!(
                    (one - other).abs() <= FRAME / 2,
                    "cuts of {}",
                    segment.ordinal
                );
            }
        }
        for rendition in &segment.renditions {
            let stream = joined.entry(rendition.rendition.as_str()).or_default();
            stream.extend_from_slice(&rendition.bytes);
        }
    }
    for (id, stream) in joined {
        let contents = read(&stream);
        // On the wire the clock starts again now and then.
        let is_later = |one: i64, other: i64| {
            Ticks::unwrap_near(other.cast_unsigned(), Ticks(one)) > Ticks(one)
        };
        let rises = |times: Vec<i64>| {
            let wrong = times
                .windows(2)
                .position(|pair| !is_later(pair[0], pair[1]));
            wrong.map(|index| (times[index], times[index + 1]))
        };
        let decoded = contents.video.iter().map(|(_, dts)| *dts).collect();
        assert_eq!(rises(decoded), None, "pictures of {id}");
        assert_eq!(rises(contents.audio), None, "sound of {id}");
    }
}

#[test]
fn the_same_pictures_stand_on_each_side_of_a_cut_however_late_they_come() {
    // A step of half a frame just before a cut, and an encoder that is ten pictures behind.
    let mut stream = Stream::new(1);
    let play = |pictures, group| Event::Play { pictures, group };
    let jump = Event::Jump {
        milliseconds: -2140,
        is_told: false,
    };
    for event in [
        play(20, 20),
        Event::Lag(10),
        jump,
        play(1, 1),
        play(1, 1),
        play(1, 1),
        play(59, 57),
    ] {
        stream.happen(&event);
    }
    stream.finish();
    check_media(&stream.segments);
}

proptest! {
    #![proptest_config(Config {
        cases: (Config::default().cases / 4).max(1),
        failure_persistence: None,
        rng_seed: match Config::default().rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        ..Config::default()
    })]

    #[test]
    fn no_faults_in_any_order_break_a_promise(shape in 0..SHAPES.len(), events in vec(event(), 1..25)) {
        let mut stream = Stream::new(shape);
        for event in &events {
            stream.happen(event);
        }
        stream.finish();
        check_numbers(&stream.segments);
        check_media(&stream.segments);
        prop_assert!(stream.segmenter.is_drained());
    }

    #[test]
    fn every_rendition_comes_back_after_any_faults(shape in 0..SHAPES.len(), events in vec(event(), 1..15)) {
        let mut stream = Stream::new(shape);
        // What changes the renditions themselves aside.
        let is_change = |event: &&Event| {
            matches!(event, Event::Switch(_) | Event::Finish | Event::AddRendition | Event::RemoveRendition | Event::Nonsense { .. })
        };
        for event in events.iter().filter(|event| !is_change(event)) {
            stream.happen(event);
        }
        let calm = [
            Event::Lag(0),
            Event::Sound(true),
            Event::DelaySound(0),
            Event::Play { pictures: 500, group: 50 },
        ];
        for event in &calm {
            stream.happen(event);
        }
        stream.finish();
        let wanted = SHAPES[shape].split(' ').filter(|id| *id != "+").count();
        let last = &stream.segments[stream.segments.len() - 3..];
        for segment in last {
            prop_assert_eq!(segment.renditions.len(), wanted, "{:?}", segment.ordinal);
        }
    }

    #[test]
    fn what_plays_is_published(shape in 0..SHAPES.len(), group in 1..100_u16) {
        let mut stream = Stream::new(shape);
        stream.play(500, group);
        stream.finish();
        check_numbers(&stream.segments);
        check_media(&stream.segments);
        let total: f64 = stream.segments.iter().map(|segment| segment.duration.as_seconds()).sum();
        prop_assert!((total - 20.0).abs() < 0.6, "{total}");
    }
}
