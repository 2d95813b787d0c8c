//! The segmenter: bytes are what happens to a stream, a few for each thing. Numbers, lengths and dates keep their promises.

use std::time::Duration;

use api::job::ResumeFloor;
use bytes::Bytes;
use media::playlist::numbers::{NumberedSegment, Numbers};
use media::segmenter::Segmenter;
use media::segmenter::cutter::CutRules;
use media::segmenter::io::{
    AudioPlan, FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId,
    RenditionPlan, Settings,
};
use media::time::Ticks;
use media::ts::mux::AudioTrack;
use media::unit::{AccessUnit, AudioCodec, RandomAccess, Track, VideoCodec};

const IDS: [&str; 3] = ["source", "480p", "360p"];

/// The stream so far.
struct Stream {
    segmenter: Segmenter,
    clock: i64,
    now: Duration,
    generation: u64,
    numbers: Numbers,
    last: Option<NumberedSegment>,
}

/// Reads the bytes three at a time: what, how, how much.
pub(crate) fn segmenter(bytes: &[u8]) {
    let seconds = Ticks::from_seconds;
    let mut stream = Stream {
        segmenter: Segmenter::new(Settings {
            rules: CutRules {
                segment_duration: seconds(2),
                target_duration: seconds(4),
            },
        }),
        clock: 900_000,
        now: Duration::ZERO,
        generation: 0,
        numbers: Numbers::new(
            ResumeFloor {
                media_sequence: 100,
                discontinuity_sequence: 7,
            },
            false,
        ),
        last: None,
    };
    stream.handle(Input::Begin(opening(1)));
    for &[what, how, much] in bytes.as_chunks::<3>().0 {
        let input = stream.input(what, how, much);
        stream.handle(input);
    }
    stream.handle(Input::Finish);
}

fn opening(kind: u8) -> Opening {
    let count = usize::from(kind & 3);
    let renditions = IDS.iter().take(count).enumerate().map(|(index, id)| {
        let is_encoded = kind >> (2 + index) & 1 == 1;
        RenditionPlan {
            id: RenditionId::new(id),
            origin: origin(is_encoded),
            video: Some(VideoCodec::H264),
        }
    });
    let audio = AudioPlan {
        origin: origin(kind & 0x40 != 0),
        track: AudioTrack {
            codec: AudioCodec::Aac,
            language: None,
        },
    };
    Opening {
        program_date_time: 1_700_000_000_000,
        split_first_group: kind & 0x20 != 0,
        renditions: renditions.collect(),
        audio: (kind & 0x80 == 0).then_some(audio),
    }
}

fn origin(is_encoded: bool) -> Origin {
    match is_encoded {
        true => Origin::Encoded,
        false => Origin::Source,
    }
}

impl Stream {
    fn unit(&self, track: Track, how: u8, much: u8) -> AccessUnit {
        let shift = match how & 0x30 {
            0x00 => 0,
            0x10 => i64::from(much) * -3600,
            0x20 => i64::from(much) * 9000,
            _ => i64::from(much) << 26,
        };
        let dts = self.clock + shift;
        AccessUnit {
            track,
            pts: Ticks(dts + i64::from(how & 3) * 3600),
            dts: Ticks(dts),
            random_access: match how >> 2 & 3 {
                0 => RandomAccess::Full,
                1 => RandomAccess::Recovery,
                _ => RandomAccess::None,
            },
            arrival: Ticks(self.clock),
            payload: Bytes::from_static(&[0; 300]).slice(..usize::from(much)),
        }
    }

    fn input(&mut self, what: u8, how: u8, much: u8) -> Input {
        self.now += Duration::from_millis(u64::from(much) / 4);
        let generation = GenerationId(self.generation.saturating_sub(u64::from(how >> 7)));
        let rendition = RenditionId::new(IDS[usize::from(how >> 6) % 3]);
        match what {
            0..90 => {
                self.clock += i64::from(much) * 60;
                Input::Source(self.unit(Track::Video, how, much))
            }
            90..130 => Input::Source(self.unit(Track::Audio, how, much)),
            130..170 => Input::EncodedVideo {
                generation,
                rendition,
                unit: self.unit(Track::Video, how, much),
            },
            170..190 => Input::EncodedAudio {
                generation,
                unit: self.unit(Track::Audio, how, much),
            },
            190..205 => Input::Clock(self.unit(Track::Video, how, much).dts),
            205..215 => {
                let unit = self.unit(Track::Video, how, much);
                Input::RandomAccessPoint {
                    pts: unit.pts,
                    dts: unit.dts,
                    random_access: unit.random_access,
                }
            }
            215..225 => Input::Begin(opening(how)),
            225..230 => Input::EncoderEnded(generation),
            230..232 => Input::PicturesEnded(generation),
            232..238 => Input::AddRendition(RenditionPlan {
                id: rendition,
                origin: Origin::Encoded,
                video: Some(VideoCodec::H264),
            }),
            238..242 => Input::RemoveRendition(rendition),
            242..244 => Input::Finish,
            _ => {
                self.now += Duration::from_millis(u64::from(much) * 20);
                Input::Tick
            }
        }
    }

    fn handle(&mut self, input: Input) {
        for output in self.segmenter.handle(input, self.now) {
            match output {
                Output::Began(id) => self.generation = id.0,
                Output::Segment(segment) => self.check(segment),
                Output::Late(late) => {
                    let last = self.last.as_ref().map(|last| last.number);
                    let late = self.numbers.late(late);
                    assert!(late.is_none_or(|late| Some(late.number) <= last));
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, segment: FinishedSegment) {
        let segment = self.numbers.give(segment);
        assert!(segment.duration >= Ticks::ZERO);
        assert!(segment.duration <= Ticks::from_milliseconds(4490));
        for rendition in &segment.renditions {
            assert_eq!(rendition.bytes.len() % 188, 0);
        }
        if let Some(before) = &self.last {
            let added = u64::from(segment.discontinuity);
            assert_eq!(segment.number, before.number + 1);
            assert_eq!(
                segment.discontinuity_sequence,
                before.discontinuity_sequence + added
            );
            let end = before.program_date_time + before.duration.0 / 90;
            assert!(segment.program_date_time >= end - 1);
        }
        self.last = Some(segment);
    }
}
