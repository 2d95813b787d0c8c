//! What a source turns out to be, learned from what has passed the front end. Plain data and its keeper; decides nothing.

use crate::codec::audio::{FrameHeader, codecs};
use crate::codec::video::{Chroma, Dimensions, FrameRate, Scan, VideoParameters};
use crate::time::{TICKS_PER_SECOND, Ticks};
use crate::ts::program::Selection;
use crate::unit::{AudioCodec, VideoCodec};

/// How long what is not known yet is waited for, in media time: announced audio may be silent, and a frame rate too low to measure.
const PATIENCE: Ticks = Ticks::from_milliseconds(1500);

/// Differences between decoding times that are taken before the frame rate is believed.
const RATE_SAMPLES: usize = 8;

/// Differences that are collected before the measured rate is compared with the stated one.
const RATE_CHECK_SAMPLES: usize = 24;

/// Growth of the longest keyframe interval, and of the audio's delay, that is worth telling.
const WORTH_TELLING: Ticks = Ticks::from_milliseconds(500);

/// Keyframe intervals longer than this are told of while they last.
const LONG_INTERVAL: Ticks = Ticks::from_seconds(4);

const COMMON_RATES: [(u32, u32); 11] = [
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
    (15, 1),
    (12, 1),
    (10, 1),
];

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Which programme was chosen.
    pub program_number: u16,
    /// Where its clock is, if anywhere.
    pub pcr_pid: Option<u16>,
    /// Its video; absent on the radio.
    pub video: Option<VideoFacts>,
    /// Its audio, once some has come.
    pub audio: Option<AudioFacts>,
    /// The longest distance between random access points; the one in progress counts once it is long.
    pub keyframe_interval: Option<Ticks>,
    /// The most by which audio came later in byte order than video of the same time.
    pub audio_delay: Option<Ticks>,
    /// Nothing is expected any more: what is unknown or absent now counts as unknown or absent.
    pub complete: bool,
}

/// What the video is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFacts {
    /// Coding format.
    pub codec: VideoCodec,
    /// `profile_idc`, or MPEG-2's profile bits.
    pub profile: Option<u8>,
    /// `level_idc`, or MPEG-2's level bits.
    pub level: Option<u8>,
    /// Size of the shown picture.
    pub dimensions: Option<Dimensions>,
    /// Stated by the stream, or measured where it states none or a wrong one.
    pub frame_rate: Option<FrameRate>,
    /// Progressive or interlaced.
    pub scan: Option<Scan>,
    /// Colour sampling.
    pub chroma: Option<Chroma>,
    /// Bits per sample.
    pub bit_depth: Option<u8>,
    /// RFC 6381.
    pub codecs: Option<String>,
}

/// What the audio is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFacts {
    /// Coding format.
    pub codec: AudioCodec,
    /// MPEG-4 audio object type, where the format has one.
    pub object_type: Option<u8>,
    /// Channels, low frequency effects counted.
    pub channels: Option<u8>,
    /// Hz.
    pub sample_rate: Option<u32>,
    /// ISO 639-2, as the tables name it.
    pub language: Option<String>,
    /// RFC 6381.
    pub codecs: Option<String>,
}

/// Learns the facts of one selection.
#[derive(Debug)]
pub(super) struct FactsKeeper {
    facts: SourceFacts,
    published: Option<SourceFacts>,
    announces_audio: bool,
    rate: RateMeter,
    stated_rate: Option<FrameRate>,
    last_key: Option<Ticks>,
    /// When the gate opened, by the source's clock.
    opened: Option<Ticks>,
}

impl FactsKeeper {
    pub(super) fn new(selection: &Selection) -> Self {
        Self {
            facts: SourceFacts {
                program_number: selection.program_number,
                pcr_pid: selection.pcr_pid,
                video: selection
                    .video
                    .as_ref()
                    .map(|(codec, _)| unread_video(*codec)),
                audio: None,
                keyframe_interval: None,
                audio_delay: None,
                complete: false,
            },
            published: None,
            announces_audio: selection.audio.is_some(),
            rate: RateMeter::default(),
            stated_rate: None,
            last_key: None,
            opened: None,
        }
    }

    /// Other audio, or another clock, was selected beside the same video.
    pub(super) fn select_audio(&mut self, selection: &Selection) {
        self.facts.program_number = selection.program_number;
        self.facts.pcr_pid = selection.pcr_pid;
        self.facts.audio = None;
        self.facts.audio_delay = None;
        self.facts.complete = false;
        self.announces_audio = selection.audio.is_some();
        self.opened = None;
    }

    pub(super) fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    /// A random access point has come, with the parameters then in force. Whether pictures are of another kind from there on.
    pub(super) fn see_key(&mut self, pts: Ticks, parameters: Option<&VideoParameters>) -> bool {
        let mut is_other = false;
        if let (Some(video), Some(parameters)) = (&mut self.facts.video, parameters) {
            let before = video.codecs.clone().zip(video.dimensions);
            self.stated_rate = parameters.frame_rate;
            read_video(video, parameters, &self.rate);
            is_other = before.is_some() && before != video.codecs.clone().zip(video.dimensions);
        }
        if let Some(last) = self.last_key.replace(pts) {
            let longest = self.facts.keyframe_interval.max(Some(pts - last));
            self.facts.keyframe_interval = longest.filter(|span| span.0 > 0);
        }
        is_other
    }

    /// A picture starts `step` after the one before.
    pub(super) fn see_picture(&mut self, pts: Ticks, step: Option<Ticks>) {
        if let Some(step) = step
            && self.rate.push(step)
            && let Some(video) = &mut self.facts.video
            && video.dimensions.is_some()
        {
            video.frame_rate = settle_rate(self.stated_rate, &self.rate, video.scan);
        }
        // An interval beyond the usual must show before it ends.
        let waiting = self.last_key.map(|key| pts - key);
        if waiting > self.facts.keyframe_interval.max(Some(LONG_INTERVAL)) {
            self.facts.keyframe_interval = waiting;
        }
    }

    /// Audio has come that says something new.
    pub(super) fn see_audio(
        &mut self,
        codec: AudioCodec,
        language: Option<String>,
        header: Option<&FrameHeader>,
    ) {
        self.facts.audio = Some(AudioFacts {
            codec,
            object_type: header.and_then(|header| header.object_type),
            channels: header.and_then(|header| header.channels),
            sample_rate: header.map(|header| header.sample_rate),
            language,
            codecs: codecs(codec, header),
        });
    }

    /// Whether this frame header says anything new.
    pub(super) fn is_news(&self, header: Option<&FrameHeader>) -> bool {
        let Some(audio) = &self.facts.audio else {
            return true;
        };
        header.is_some_and(|header| {
            audio.channels != header.channels
                || audio.sample_rate != Some(header.sample_rate)
                || audio.object_type != header.object_type
        })
    }

    /// Audio has come `delay` later in byte order than the video of its time.
    pub(super) fn see_delay(&mut self, delay: Ticks) {
        if self.facts.audio_delay.is_none_or(|most| most < delay) {
            self.facts.audio_delay = Some(delay);
        }
    }

    /// The time line broke: distances across the break mean nothing.
    pub(super) fn see_break(&mut self) {
        self.last_key = None;
    }

    /// The gate is open at `now`; the facts, when something worth telling changed.
    pub(super) fn publish(&mut self, now: Ticks) -> Option<SourceFacts> {
        let opened = *self.opened.get_or_insert(now);
        let video_known = self.facts.video.as_ref().is_none_or(|video| {
            matches!(video.codec, VideoCodec::Other(_)) || video.frame_rate.is_some()
        });
        let audio_known = self.facts.audio.is_some() || !self.announces_audio;
        self.facts.complete |= video_known && audio_known || now - opened > PATIENCE;
        let is_news = self
            .published
            .as_ref()
            .is_none_or(|told| is_news(told, &self.facts));
        is_news.then(|| {
            self.published = Some(self.facts.clone());
            self.facts.clone()
        })
    }
}

fn is_news(told: &SourceFacts, facts: &SourceFacts) -> bool {
    grew(told.keyframe_interval, facts.keyframe_interval)
        || grew(told.audio_delay, facts.audio_delay)
        || told.complete != facts.complete
        || told.video != facts.video
        || told.audio != facts.audio
}

fn grew(told: Option<Ticks>, seen: Option<Ticks>) -> bool {
    match (told, seen) {
        (Some(told), Some(seen)) => seen - told >= WORTH_TELLING,
        (told, seen) => told.is_some() != seen.is_some(),
    }
}

fn unread_video(codec: VideoCodec) -> VideoFacts {
    VideoFacts {
        codec,
        profile: None,
        level: None,
        dimensions: None,
        frame_rate: None,
        scan: None,
        chroma: None,
        bit_depth: None,
        codecs: None,
    }
}

fn read_video(video: &mut VideoFacts, parameters: &VideoParameters, rate: &RateMeter) {
    *video = VideoFacts {
        codec: video.codec,
        profile: Some(parameters.profile),
        level: Some(parameters.level),
        dimensions: Some(parameters.dimensions),
        frame_rate: settle_rate(parameters.frame_rate, rate, Some(parameters.scan)),
        scan: Some(parameters.scan),
        chroma: Some(parameters.chroma),
        bit_depth: Some(parameters.bit_depth),
        codecs: Some(parameters.codecs.clone()),
    };
}

/// The stated rate, unless the measured one tells of another; fields may come one by one, so interlaced streams are believed.
fn settle_rate(
    stated: Option<FrameRate>,
    rate: &RateMeter,
    scan: Option<Scan>,
) -> Option<FrameRate> {
    let Some(stated) = stated else {
        return rate.measured(RATE_SAMPLES);
    };
    let measured = rate.measured(RATE_CHECK_SAMPLES);
    let is_wrong = |measured: &FrameRate| {
        let ratio = measured.as_f64() / stated.as_f64();
        scan == Some(Scan::Progressive) && !(0.95..=1.05).contains(&ratio)
    };
    measured.filter(is_wrong).or(Some(stated))
}

/// Measures the frame rate from the distances between decoding times.
#[derive(Debug, Default)]
struct RateMeter {
    steps: Vec<Ticks>,
}

impl RateMeter {
    /// Takes one distance; `true` when that may have changed the answer.
    fn push(&mut self, step: Ticks) -> bool {
        if self.steps.len() >= RATE_CHECK_SAMPLES || step.0 <= 0 {
            return false;
        }
        self.steps.push(step);
        matches!(self.steps.len(), RATE_SAMPLES | RATE_CHECK_SAMPLES)
    }

    /// The rate by the usual distance, when at least `least` were seen.
    fn measured(&self, least: usize) -> Option<FrameRate> {
        if self.steps.len() < least {
            return None;
        }
        let mut sorted = self.steps.clone();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2].0;
        // Lost pictures double a distance; rounding to milliseconds evens out.
        let usual = median * 4 / 5..=median * 6 / 5;
        let usual: Vec<i64> = sorted
            .iter()
            .map(|step| step.0)
            .filter(|step| usual.contains(step))
            .collect();
        let (sum, count) = (usual.iter().sum::<i64>(), i64::try_from(usual.len()).ok()?);
        closest_rate(sum, count)
    }
}

/// The common rate that `count` pictures in `span` ticks mean, or their plain quotient when none is within 1 %.
fn closest_rate(span: i64, count: i64) -> Option<FrameRate> {
    let expected = count * TICKS_PER_SECOND;
    let deviation = |&(numerator, denominator): &(u32, u32)| {
        (span * i64::from(numerator) / i64::from(denominator) - expected).abs()
    };
    let &closest = COMMON_RATES.iter().min_by_key(|rate| deviation(rate))?;
    if deviation(&closest) <= expected / 100 {
        return FrameRate::new(closest.0, closest.1);
    }
    FrameRate::new(u32::try_from(expected).ok()?, u32::try_from(span).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::tables::ElementaryStream;

    fn stream(pid: u16) -> ElementaryStream {
        ElementaryStream {
            stream_type: 0,
            pid,
            descriptors: Vec::new(),
        }
    }

    fn keeper() -> FactsKeeper {
        FactsKeeper::new(&Selection {
            program_number: 1,
            pcr_pid: None,
            video: Some((VideoCodec::H264, stream(0x100))),
            audio: Some((AudioCodec::Aac, stream(0x101))),
        })
    }

    fn parameters(frame_rate: Option<FrameRate>) -> VideoParameters {
        VideoParameters {
            profile: 100,
            level: 31,
            dimensions: Dimensions {
                width: 1280,
                height: 720,
            },
            frame_rate,
            scan: Scan::Progressive,
            chroma: Chroma::Yuv420,
            bit_depth: 8,
            codecs: "avc1.64001f".to_owned(),
        }
    }

    fn header(channels: u8) -> FrameHeader {
        FrameHeader {
            length: 100,
            samples: 1024,
            sample_rate: 48_000,
            channels: Some(channels),
            object_type: Some(2),
        }
    }

    fn measured(steps: &[i64]) -> Option<FrameRate> {
        let mut meter = RateMeter::default();
        for &step in steps {
            meter.push(Ticks(step));
        }
        meter.measured(RATE_SAMPLES)
    }

    #[test]
    fn common_rates_are_recognised_through_rounding_and_loss() {
        assert_eq!(measured(&[3600; 8]), FrameRate::new(25, 1));
        let film = [3754, 3754, 3754, 3753, 3754, 3754, 3754, 3753];
        assert_eq!(measured(&film), FrameRate::new(24_000, 1001));
        let milliseconds = [2970, 3060, 2970, 3060, 2970, 2970, 3060, 2970];
        assert_eq!(measured(&milliseconds), FrameRate::new(30_000, 1001));
        let lossy = [3600, 3600, 7200, 3600, 3600, 3600, 10_800, 3600];
        assert_eq!(measured(&lossy), FrameRate::new(25, 1));
        assert_eq!(measured(&[4500; 8]), FrameRate::new(20, 1));
        assert_eq!(measured(&[3600; 7]), None);
    }

    #[test]
    fn a_rate_that_is_stated_wrongly_is_corrected_by_measuring() {
        let mut keeper = keeper();
        keeper.see_key(Ticks(0), Some(&parameters(FrameRate::new(50, 1))));
        for picture in 1..40 {
            keeper.see_picture(Ticks(picture * 3600), Some(Ticks(3600)));
        }
        let video = keeper.facts().video.clone().unwrap();
        assert_eq!(video.frame_rate, FrameRate::new(25, 1));
    }

    #[test]
    fn facts_are_told_when_the_gate_opens_and_when_they_change() {
        let mut keeper = keeper();
        keeper.see_key(Ticks(0), Some(&parameters(FrameRate::new(25, 1))));
        let first = keeper.publish(Ticks(0)).unwrap();
        assert_eq!((first.complete, first.audio), (false, None));
        assert_eq!(keeper.publish(Ticks(1000)), None);
        keeper.see_audio(AudioCodec::Aac, None, Some(&header(2)));
        let second = keeper.publish(Ticks(2000)).unwrap();
        assert!(second.complete);
        assert_eq!(second.audio.unwrap().codecs.as_deref(), Some("mp4a.40.2"));
        assert_eq!(keeper.publish(Ticks(3000)), None);
        assert!(!keeper.is_news(Some(&header(2))));
        assert!(keeper.is_news(Some(&header(6))));
    }

    #[test]
    fn silence_completes_the_facts_after_its_time() {
        let mut keeper = keeper();
        keeper.see_key(Ticks(0), Some(&parameters(FrameRate::new(25, 1))));
        assert!(!keeper.publish(Ticks(0)).unwrap().complete);
        assert_eq!(keeper.publish(PATIENCE), None);
        let facts = keeper.publish(PATIENCE + Ticks(1)).unwrap();
        assert_eq!((facts.complete, facts.audio), (true, None));
    }

    #[test]
    fn a_long_keyframe_interval_is_told_of_while_it_lasts() {
        let mut keeper = keeper();
        keeper.see_key(Ticks(0), Some(&parameters(FrameRate::new(25, 1))));
        keeper.publish(Ticks(0));
        for picture in 1..=150 {
            keeper.see_picture(Ticks(picture * 3600), Some(Ticks(3600)));
        }
        let interval = keeper.facts().keyframe_interval;
        assert_eq!(interval, Some(Ticks::from_seconds(6)));
        assert!(keeper.publish(Ticks::from_seconds(6)).is_some());
        keeper.see_break();
        keeper.see_key(Ticks::from_seconds(900), None);
        assert_eq!(keeper.facts().keyframe_interval, interval);
    }
}
