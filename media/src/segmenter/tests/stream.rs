//! Synthetic units in the order and at the time in which a source would send them, and what segments are made of.

use std::time::Duration;

use bytes::Bytes;

use crate::segmenter::Segmenter;
use crate::segmenter::cutter::CutRules;
use crate::segmenter::io::{
    AudioPlan, FinishedSegment, GenerationId, Input, Opening, Origin, Output, RenditionId,
    RenditionPlan, Settings,
};
use crate::time::Ticks;
use crate::ts::mux::{AUDIO_PID, AudioTrack, VIDEO_PID};
use crate::ts::packet::Packet;
use crate::ts::pes::{Assembly, PesAssembler};
use crate::unit::{AccessUnit, AudioCodec, RandomAccess, Track, VideoCodec};

/// 25 frames per second.
pub(super) const FRAME: i64 = 3600;
/// One AAC frame at 48 kHz.
pub(super) const AUDIO_FRAME: i64 = 1920;
/// Unix milliseconds at which tests begin.
pub(super) const DATE: i64 = 1_700_000_000_000;

pub(super) fn settings() -> Settings {
    Settings {
        rules: CutRules {
            segment_duration: Ticks::from_seconds(2),
            target_duration: Ticks::from_seconds(4),
        },
    }
}

pub(super) fn rendition(id: &str, origin: Origin) -> RenditionPlan {
    RenditionPlan {
        id: RenditionId::new(id),
        origin,
        video: Some(VideoCodec::H264),
    }
}

pub(super) fn aac(origin: Origin) -> AudioPlan {
    AudioPlan {
        origin,
        track: AudioTrack {
            codec: AudioCodec::Aac,
            language: None,
        },
    }
}

/// The source passed through, with its audio.
pub(super) fn pass_through() -> Opening {
    Opening {
        program_date_time: DATE,
        split_first_group: false,
        renditions: vec![rendition("source", Origin::Source)],
        audio: Some(aac(Origin::Source)),
    }
}

/// What a source is like. Times are on its own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) start: i64,
    /// Frames from key to key.
    pub(super) group: i64,
    pub(super) frames: i64,
    /// Pictures between two anchors.
    pub(super) b_frames: i64,
    pub(super) key: RandomAccess,
    /// By how much audio comes later than the video of the same time; absent is a source without audio.
    pub(super) audio_delay: Option<i64>,
}

impl Source {
    pub(super) const PLAIN: Self = Self {
        start: 900_000,
        group: 50,
        frames: 500,
        b_frames: 0,
        key: RandomAccess::Full,
        audio_delay: Some(0),
    };

    /// The pictures, in decoding order.
    pub(super) fn video(&self) -> Vec<AccessUnit> {
        (0..self.frames).map(|index| self.picture(index)).collect()
    }

    /// The picture that is decoded as number `index`: I0 P3 B1 B2 P6 … with two B pictures; the last ones of a group are anchors.
    fn picture(&self, index: i64) -> AccessUnit {
        let in_group = index % self.group;
        let run = self.b_frames + 1;
        let whole_runs = (self.group - 1) / run * run;
        let shown = if in_group == 0 || in_group > whole_runs {
            in_group
        } else if (in_group - 1) % run == 0 {
            in_group + self.b_frames
        } else {
            in_group - 1
        };
        let delay = i64::from(self.b_frames > 0);
        let dts = Ticks(self.start + index * FRAME);
        let pts = Ticks(self.start + (index - in_group + shown + delay) * FRAME);
        AccessUnit {
            track: Track::Video,
            pts,
            dts,
            random_access: if in_group == 0 {
                self.key
            } else {
                RandomAccess::None
            },
            arrival: dts,
            payload: Bytes::from(vec![0, 0, 0, 1, 9, u8::try_from(index % 251).unwrap()]),
        }
    }

    /// The audio, in PES packets of eight frames, from the first picture on.
    pub(super) fn audio(&self) -> Vec<AccessUnit> {
        let Some(delay) = self.audio_delay else {
            return Vec::new();
        };
        let step = AUDIO_FRAME * 8;
        let count = self.frames * FRAME / step;
        (0..count)
            .map(|index| {
                let pts = Ticks(self.start + index * step);
                AccessUnit {
                    track: Track::Audio,
                    pts,
                    dts: pts,
                    random_access: RandomAccess::Full,
                    arrival: pts + Ticks(step + delay),
                    payload: Bytes::from(vec![0xFF; 64]),
                }
            })
            .collect()
    }

    /// Both, in the order in which they come.
    pub(super) fn units(&self) -> Vec<AccessUnit> {
        let mut units = self.video();
        units.extend(self.audio());
        units.sort_by_key(|unit| unit.arrival);
        units
    }
}

/// A segmenter that is fed at real time and remembers when it said what.
pub(super) struct Run {
    pub(super) segmenter: Segmenter,
    pub(super) outputs: Vec<(Output, Ticks)>,
    pub(super) now: Duration,
    origin: Option<Ticks>,
}

impl Run {
    pub(super) fn new(opening: Opening) -> Self {
        Self::with(settings(), opening)
    }

    pub(super) fn with(settings: Settings, opening: Opening) -> Self {
        let mut run = Self {
            segmenter: Segmenter::new(settings),
            outputs: Vec::new(),
            now: Duration::ZERO,
            origin: None,
        };
        run.handle(Input::Begin(opening), Ticks::ZERO);
        run
    }

    /// Tells the segmenter something at a time of the source's clock.
    pub(super) fn handle(&mut self, input: Input, clock: Ticks) {
        for output in self.segmenter.handle(input, self.now) {
            self.outputs.push((output, clock));
        }
    }

    /// Feeds units of the source at the speed of its clock.
    pub(super) fn source(&mut self, units: &[AccessUnit]) {
        for unit in units {
            self.at(unit.arrival);
            self.handle(Input::Source(unit.clone()), unit.arrival);
        }
    }

    /// Lets time pass up to this time of the source's clock.
    pub(super) fn at(&mut self, clock: Ticks) {
        let origin = *self.origin.get_or_insert(clock);
        self.now = self.now.max((clock - origin).to_duration());
    }

    /// A jump of the source's clock: it goes on from here without a pause.
    pub(super) fn jump_to(&mut self, clock: Ticks) {
        self.origin = Some(clock - Ticks::from_duration(self.now));
    }

    pub(super) fn encoded(&mut self, id: &str, generation: u64, unit: &AccessUnit, clock: Ticks) {
        self.at(clock);
        let input = Input::EncodedVideo {
            generation: GenerationId(generation),
            rendition: RenditionId::new(id),
            unit: unit.clone(),
        };
        self.handle(input, clock);
    }

    pub(super) fn finish(&mut self) {
        self.handle(Input::Finish, Ticks::ZERO);
    }

    pub(super) fn segments(&self) -> Vec<&FinishedSegment> {
        self.published().map(|(segment, _)| segment).collect()
    }

    /// Segments with the source's clock at which they came out.
    pub(super) fn published(&self) -> impl Iterator<Item = (&FinishedSegment, Ticks)> {
        self.outputs
            .iter()
            .filter_map(|(output, clock)| match output {
                Output::Segment(segment) => Some((segment, *clock)),
                _ => None,
            })
    }

    pub(super) fn durations(&self) -> Vec<f64> {
        let segments = self.segments();
        let seconds = segments.iter().map(|segment| segment.duration.as_seconds());
        seconds
            .map(|value| (value * 1000.0).round() / 1000.0)
            .collect()
    }

    /// Everything but segments.
    pub(super) fn remarks(&self) -> Vec<&Output> {
        let outputs = self.outputs.iter().map(|(output, _)| output);
        outputs
            .filter(|output| !matches!(output, Output::Segment(_)))
            .collect()
    }
}

/// What lies in a segment: PTS and DTS on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Contents {
    pub(super) video: Vec<(i64, i64)>,
    pub(super) audio: Vec<i64>,
}

/// Takes a rendition's segment apart.
pub(super) fn contents(segment: &FinishedSegment, id: &str) -> Contents {
    let rendition = segment
        .renditions
        .iter()
        .find(|rendition| rendition.rendition.as_str() == id)
        .unwrap();
    read(&rendition.bytes)
}

/// Takes a transport stream of ours apart.
pub(super) fn read(bytes: &[u8]) -> Contents {
    let (packets, rest) = bytes.as_chunks::<188>();
    assert!(rest.is_empty());
    let mut contents = Contents::default();
    for pid in [VIDEO_PID, AUDIO_PID] {
        let mut assembler = PesAssembler::new(Assembly {
            limit: 1 << 20,
            joins_untimed: false,
            ends_on_stuffing: false,
        });
        let mut found = Vec::new();
        for packet in packets.iter().map(Packet::new) {
            if packet.pid() == pid {
                let step = assembler.push(packet);
                assert!(!step.gap, "packets are missing inside a segment");
                found.extend(step.ended.into_iter().chain(step.completed));
            }
        }
        found.extend(assembler.take());
        for pes in found {
            let pts = i64::try_from(pes.header.pts.unwrap()).unwrap();
            let dts = pes
                .header
                .dts
                .map_or(pts, |dts| i64::try_from(dts).unwrap());
            match pid {
                VIDEO_PID => contents.video.push((pts, dts)),
                _ => contents.audio.push(pts),
            }
        }
    }
    contents
}

/// All segments of a rendition behind each other.
pub(super) fn joined(segments: &[&FinishedSegment], id: &str) -> Contents {
    let mut whole = Vec::new();
    for segment in segments {
        let mut renditions = segment.renditions.iter();
        if let Some(rendition) = renditions.find(|rendition| rendition.rendition.as_str() == id) {
            whole.extend_from_slice(&rendition.bytes);
        }
    }
    read(&whole)
}
