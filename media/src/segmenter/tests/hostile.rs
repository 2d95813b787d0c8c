//! Whatever comes in whatever order: no panic, and every promise about order and times is kept.

use std::time::Duration;

use bytes::Bytes;

use super::stream::{aac, pass_through, rendition, settings};
use crate::segmenter::Segmenter;
use crate::segmenter::io::{
    FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId, RenditionPlan,
};
use crate::time::{Ticks, WRAP};
use crate::unit::{AccessUnit, RandomAccess, Track};

const IDS: [&str; 4] = ["source", "480p", "360p", "audio"];

/// Marsaglia's xorshift: the same numbers at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn signed(&mut self, limit: u64) -> i64 {
        i64::try_from(self.below(limit)).unwrap() - i64::try_from(limit / 2).unwrap()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()]
    }
}

/// A stream that mostly makes sense and sometimes none.
struct Chaos {
    random: Random,
    clock: i64,
    /// How often what comes is nonsense: one in so many.
    sanity: u64,
}

impl Chaos {
    fn unit(&mut self, track: Track) -> AccessUnit {
        let sanity = self.sanity;
        let random = &mut self.random;
        let lag = i64::try_from(random.below(90_000)).unwrap();
        let mut dts = self.clock - lag;
        if random.one_in(sanity) {
            dts += random.signed(40 * 90_000);
        }
        if random.one_in(sanity * 4) {
            dts = random.signed(4 * WRAP.unsigned_abs());
        }
        let mut pts = dts + i64::try_from(random.below(4)).unwrap() * 3600;
        if random.one_in(sanity) {
            pts += random.signed(WRAP.unsigned_abs());
        }
        let random_access = match random.below(30) {
            0 => RandomAccess::Full,
            1 => RandomAccess::Recovery,
            _ if track == Track::Audio => RandomAccess::Full,
            _ => RandomAccess::None,
        };
        let size = if random.one_in(200) {
            300_000
        } else {
            random.below(400)
        };
        AccessUnit {
            track,
            pts: Ticks(pts),
            dts: Ticks(dts),
            random_access,
            arrival: Ticks(self.clock),
            payload: Bytes::from(vec![0xAB; usize::try_from(size).unwrap()]),
        }
    }

    fn opening(&mut self) -> Opening {
        let random = &mut self.random;
        let count = usize::try_from(random.below(4)).unwrap();
        let renditions = IDS[..count].iter().map(|id| {
            let origin = random.pick(&[Origin::Source, Origin::Encoded]);
            RenditionPlan {
                video: rendition(id, origin).video.filter(|_| !random.one_in(6)),
                ..rendition(id, origin)
            }
        });
        let renditions = renditions.collect();
        Opening {
            program_date_time: 1_700_000_000_000 + random.signed(1_000_000),
            split_first_group: random.one_in(2),
            renditions,
            audio: (!random.one_in(3))
                .then(|| aac(random.pick(&[Origin::Source, Origin::Encoded]))),
        }
    }

    fn input(&mut self, generation: u64) -> Input {
        let generation = match self.random.below(10) {
            0 => GenerationId(self.random.below(generation + 2)),
            _ => GenerationId(generation),
        };
        self.clock += 1800;
        match self.random.below(400) {
            0 => Input::Begin(self.opening()),
            2 => Input::Finish,
            3 | 4 => Input::EncoderEnded(generation),
            5 => Input::AddRendition(rendition(self.random.pick(&IDS), Origin::Encoded)),
            6 => Input::RemoveRendition(RenditionId::new(self.random.pick(&IDS))),
            7..20 => Input::Clock(Ticks(self.clock + self.random.signed(900_000))),
            20..40 => Input::Tick,
            40..60 => {
                let unit = self.unit(Track::Video);
                Input::RandomAccessPoint {
                    pts: unit.pts,
                    dts: unit.dts,
                    random_access: unit.random_access,
                }
            }
            60..180 => Input::Source(self.unit(Track::Video)),
            180..240 => Input::Source(self.unit(Track::Audio)),
            240..280 => Input::EncodedAudio {
                generation,
                unit: self.unit(Track::Audio),
            },
            _ => Input::EncodedVideo {
                generation,
                rendition: RenditionId::new(self.random.pick(&IDS)),
                unit: self.unit(Track::Video),
            },
        }
    }
}

fn check(previous: Option<&FinishedSegment>, segment: &FinishedSegment) {
    assert!(
        segment.duration <= Ticks::from_milliseconds(4490),
        "{segment:?}"
    );
    assert!(segment.duration >= Ticks::ZERO, "{segment:?}");
    for rendition in &segment.renditions {
        assert_eq!(rendition.bytes.len() % 188, 0);
        assert_eq!(rendition.bytes[..3], [0x47, 0x40, 0x00]);
    }
    let Some(previous) = previous else { return };
    assert_eq!(segment.ordinal, previous.ordinal + 1);
    let end = previous.program_date_time + previous.duration.0 / 90;
    assert!(
        segment.program_date_time >= end - 1,
        "{previous:?} {segment:?}"
    );
    if !segment.discontinuity {
        assert!(
            segment.program_date_time <= end + 1,
            "{previous:?} {segment:?}"
        );
        assert_eq!(segment.generation, previous.generation);
    }
}

fn run(seed: u64, sanity: u64) -> usize {
    let mut chaos = Chaos {
        random: Random(seed),
        clock: 900_000,
        sanity,
    };
    let mut segmenter = Segmenter::new(settings());
    let mut generation = 0;
    let mut segments: Vec<FinishedSegment> = Vec::new();
    let mut now = Duration::ZERO;
    let mut inputs = vec![Input::Begin(pass_through())];
    for _ in 0..6000 {
        let input = inputs.pop().unwrap_or_else(|| chaos.input(generation));
        now += Duration::from_millis(chaos.random.below(40));
        for output in segmenter.handle(input, now) {
            match output {
                Output::Segment(segment) => {
                    check(segments.last(), &segment);
                    segments.push(segment);
                }
                Output::Began(id) => {
                    assert!(id.0 <= generation + 1);
                    generation = id.0;
                    let before = GenerationId(id.0.saturating_sub(1));
                    if !chaos.random.one_in(4) {
                        inputs.push(Input::EncoderEnded(before));
                    }
                }
                Output::Late(late) => assert!(late.ordinal < segments.len() as u64),
                _ => {}
            }
        }
    }
    segments.len()
}

#[test]
fn no_sequence_of_inputs_breaks_a_promise() {
    let mut published = 0;
    for seed in 1..=60_u64 {
        let sanity = [3, 30, 3000][usize::try_from(seed % 3).unwrap()];
        published += run(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), sanity);
    }
    assert!(published > 800, "{published}");
}
