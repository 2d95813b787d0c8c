//! Rules for the segments of one rendition, each by itself and each after the one before. Fetches and decodes nothing.

use std::collections::HashMap;

use super::playlist::Segment;
use super::report::{Finding, Rule};
use super::segment::{FirstPicture, SegmentFacts};
use crate::ts::packet::{CLOCK_RATE, CLOCK_RATIO};

/// Longest allowed distance of clock references (ISO/IEC 13818-1 §2.7.2), in 27 MHz ticks.
const CLOCK_GAP: i64 = CLOCK_RATE as i64 / 10;

/// The null packets' PID, which has no counter.
const NULL_PID: u16 = 0x1fff;

/// What is remembered from segment to segment.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    continuity: HashMap<u16, u8>,
    clock: Option<u64>,
    dts: Option<u64>,
    audio_end: Option<u64>,
    previous: Option<Previous>,
}

#[derive(Debug)]
struct Previous {
    number: u64,
    /// EXTINF in 90 kHz ticks.
    duration: i64,
    /// Times at which it may be said to start.
    starts: Vec<u64>,
}

/// One finding per rule and segment: the first, and how many more there were.
#[derive(Default)]
struct Found(Vec<(Finding, u32)>);

impl Found {
    fn add(&mut self, rule: Rule, number: u64, detail: String) {
        match self.0.iter_mut().find(|(finding, _)| finding.rule == rule) {
            Some((_, more)) => *more += 1,
            None => self.0.push((Finding::at(rule, number, detail), 0)),
        }
    }

    fn into_findings(self) -> Vec<Finding> {
        let told = |(mut finding, more): (Finding, u32)| {
            if more > 0 {
                finding.detail = format!("{} (and {more} more)", finding.detail);
            }
            finding
        };
        self.0.into_iter().map(told).collect()
    }
}

impl Chain {
    /// Judges the next segment. `claimed` is whether a playlist claimed that it can be decoded alone.
    pub(crate) fn push(
        &mut self,
        segment: &Segment,
        claimed: bool,
        facts: &SegmentFacts,
    ) -> Vec<Finding> {
        let mut found = Found::default();
        let follows = self
            .previous
            .as_ref()
            .is_some_and(|previous| previous.number + 1 == segment.number);
        if segment.discontinuity || !follows {
            *self = Self::default();
        }
        contents(&mut found, segment.number, claimed, facts);
        self.continuity(&mut found, segment.number, facts);
        self.clocks(&mut found, segment.number, facts);
        self.decoding_times(&mut found, segment.number, facts);
        self.audio(&mut found, segment.number, facts);
        self.duration(&mut found, segment, facts);
        found.into_findings()
    }

    fn continuity(&mut self, found: &mut Found, number: u64, facts: &SegmentFacts) {
        for header in facts
            .demuxed
            .headers
            .iter()
            .filter(|header| header.pid != NULL_PID)
        {
            let last = self.continuity.insert(header.pid, header.continuity);
            let expected = last.map(|last| (last + u8::from(header.has_payload)) % 16);
            if let Some(expected) = expected
                && expected != header.continuity
                && !header.discontinuity
            {
                let detail = format!(
                    "PID {:#x}: {} instead of {expected}",
                    header.pid, header.continuity
                );
                found.add(Rule::SegmentContinuity, number, detail);
            }
        }
    }

    fn clocks(&mut self, found: &mut Found, number: u64, facts: &SegmentFacts) {
        if facts.demuxed.clocks.is_empty() {
            found.add(Rule::SegmentClock, number, "no clock reference".to_owned());
        }
        for clock in &facts.demuxed.clocks {
            let last = self.clock.replace(clock.value);
            let step = last.map_or(0, |last| {
                difference(clock.value / CLOCK_RATIO, last / CLOCK_RATIO)
                    * CLOCK_RATIO.cast_signed()
            });
            if !clock.discontinuity && !(0..=CLOCK_GAP).contains(&step) {
                let detail = format!("a step of {} ms", step / 27_000);
                found.add(Rule::SegmentClock, number, detail);
            }
        }
        let Some(video) = &facts.video else {
            return;
        };
        for (dts, packet) in video.dts.iter().zip(&video.packets) {
            let before = facts
                .demuxed
                .clocks
                .iter()
                .rfind(|clock| clock.packet <= *packet);
            let lead = before.map_or(0, |clock| difference(*dts, clock.value / CLOCK_RATIO));
            if lead < 0 {
                let detail = format!("a picture comes {} ms after its decoding time", -lead / 90);
                found.add(Rule::SegmentClock, number, detail);
            }
        }
    }

    fn decoding_times(&mut self, found: &mut Found, number: u64, facts: &SegmentFacts) {
        for dts in facts.video.iter().flat_map(|video| &video.dts) {
            let step = self
                .dts
                .replace(*dts)
                .map_or(1, |last| difference(*dts, last));
            if step <= 0 {
                found.add(
                    Rule::Timestamps,
                    number,
                    format!("DTS moves by {step} ticks"),
                );
            }
        }
    }

    fn audio(&mut self, found: &mut Found, number: u64, facts: &SegmentFacts) {
        for run in facts
            .audio
            .iter()
            .flat_map(|audio| &audio.runs)
            .filter(|run| run.frame > 0)
        {
            let gap = self.audio_end.map_or(0, |end| difference(run.pts, end));
            if gap.abs() > run.frame {
                let detail = format!("audio moves by {} ms", gap / 90);
                found.add(Rule::AudioContinuity, number, detail);
            }
            self.audio_end = Some(run.pts.wrapping_add_signed(run.duration) & 0x1_ffff_ffff);
        }
    }

    /// The way from a segment's start to the next one's is what EXTINF of the first promised.
    fn duration(&mut self, found: &mut Found, segment: &Segment, facts: &SegmentFacts) {
        let (starts, tolerance) = starts(facts);
        if let Some(previous) = &self.previous {
            let ways = previous.starts.iter().flat_map(|from| {
                let starts = starts.iter();
                starts.map(move |to| difference(*to, *from))
            });
            let (shortest, longest) = (ways.clone().min(), ways.max());
            // Where pictures are reordered across a cut without a key, renditions share the cut and not the pictures beside it.
            let promised = previous.duration;
            let error = match (shortest, longest) {
                (Some(shortest), _) if promised < shortest => shortest - promised,
                (_, Some(longest)) if promised > longest => longest - promised,
                _ => 0,
            };
            if error.abs() > tolerance {
                let detail = format!("media last {} ms longer than EXTINF", error / 90);
                found.add(Rule::SegmentDuration, previous.number, detail);
            }
        }
        self.previous = Some(Previous {
            number: segment.number,
            duration: segment.duration * 9 / 100,
            starts,
        });
    }
}

/// Where a segment starts: at its first picture in decoding order, or at the first one shown. And half a frame.
fn starts(facts: &SegmentFacts) -> (Vec<u64>, i64) {
    if let Some(video) = &facts.video
        && let Some(first) = video.pts.first()
    {
        let earliest = video.pts.iter().min_by_key(|pts| difference(**pts, *first));
        let mut starts = vec![*first];
        starts.extend(earliest.filter(|earliest| *earliest != first));
        return (starts, frame_ticks(&video.pts).unwrap_or(3600) / 2);
    }
    let first = facts.audio.iter().flat_map(|audio| &audio.runs).next();
    (first.map(|run| run.pts).into_iter().collect(), 1080)
}

/// Mean distance of pictures in the order they are shown.
pub(crate) fn frame_ticks(pts: &[u64]) -> Option<i64> {
    frame_rate(pts).map(|rate| (90_000.0 / rate) as i64)
}

/// Pictures per second over a segment.
pub(crate) fn frame_rate(pts: &[u64]) -> Option<f64> {
    let first = *pts.first()?;
    let relative = pts.iter().map(|pts| difference(*pts, first));
    let span = relative.clone().max()? - relative.min()?;
    (span > 0).then(|| (pts.len() - 1) as f64 * 90_000.0 / span as f64)
}

fn contents(found: &mut Found, number: u64, claimed: bool, facts: &SegmentFacts) {
    if facts.demuxed.broken > 0 {
        let detail = format!("{} broken packets or PES headers", facts.demuxed.broken);
        found.add(Rule::SegmentPackets, number, detail);
    }
    if !facts.starts_with_tables {
        found.add(
            Rule::SegmentTables,
            number,
            "no PAT and PMT at its start".to_owned(),
        );
    }
    let missing = |announced: bool, there: bool| announced && !there;
    if missing(facts.announces_video, facts.video.is_some()) {
        found.add(
            Rule::SegmentTracks,
            number,
            "no video though announced".to_owned(),
        );
    }
    if missing(facts.announces_audio, facts.audio.is_some()) {
        found.add(
            Rule::SegmentTracks,
            number,
            "no audio though announced".to_owned(),
        );
    }
    if !facts.announces_video && !facts.announces_audio {
        found.add(
            Rule::SegmentTracks,
            number,
            "neither video nor audio announced".to_owned(),
        );
    }
    if let Some(video) = &facts.video
        && claimed
        && video.first != FirstPicture::Independent
    {
        let detail = format!("the first picture is {:?}", video.first);
        found.add(Rule::SegmentKeyframe, number, detail);
    }
}

/// The way from `b` to `a` on the 33-bit circle.
fn difference(a: u64, b: u64) -> i64 {
    let forward = (a.cast_signed() - b.cast_signed()).rem_euclid(1 << 33);
    if forward >= 1 << 32 {
        forward - (1 << 33)
    } else {
        forward
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::checker::segment::inspect;
    use crate::source::test_media::carousel;

    /// Seconds of a healthy stream, cut at its keys, as segments.
    fn segments(changes: fn(&mut crate::source::ChannelSettings)) -> Vec<Vec<u8>> {
        let carousel = carousel(changes);
        let cut = |second: u64| {
            let mut out = BytesMut::new();
            let mut cursor = carousel.cursor(second * CLOCK_RATE);
            carousel.render(
                &mut cursor,
                (second + 1) * CLOCK_RATE,
                1000 * 90_000,
                &mut out,
            );
            out.to_vec()
        };
        (20..24).map(cut).collect()
    }

    fn listed(number: u64) -> Segment {
        Segment {
            number,
            uri: String::new(),
            duration: 1_000_000,
            discontinuity: false,
            date: None,
            odd_date: false,
            gap: false,
        }
    }

    fn judge(segments: &[Vec<u8>], list: impl Fn(u64) -> Segment) -> Vec<(Rule, Option<u64>)> {
        let mut chain = Chain::default();
        let numbered = segments.iter().zip(1..);
        let findings =
            numbered.flat_map(|(bytes, number)| chain.push(&list(number), true, &inspect(bytes)));
        findings
            .map(|finding| (finding.rule, finding.number))
            .collect()
    }

    fn broken(change: fn(&mut Vec<Vec<u8>>)) -> Vec<(Rule, Option<u64>)> {
        let mut segments = segments(|_| {});
        change(&mut segments);
        judge(&segments, listed)
    }

    fn pid(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
    }

    fn without(bytes: &[u8], drop: impl Fn(usize, &[u8]) -> bool) -> Vec<u8> {
        let packets = bytes
            .chunks(188)
            .enumerate()
            .filter(|(index, packet)| !drop(*index, packet));
        packets.flat_map(|(_, packet)| packet.to_vec()).collect()
    }

    #[test]
    fn segments_of_a_healthy_stream_are_clean() {
        assert_eq!(broken(|_| {}), []);
    }

    #[test]
    fn what_a_segment_must_hold_is_found_missing() {
        let noise = broken(|s| s[1][188 * 50] = 0);
        assert_eq!(noise[0], (Rule::SegmentPackets, Some(2)));
        let tables = broken(|s| s[1].rotate_left(188));
        assert!(
            tables.contains(&(Rule::SegmentTables, Some(2))),
            "{tables:?}"
        );
        let keyless = broken(|s| s[1] = without(&s[1], |_, packet| pid(packet) == 0x101));
        assert!(
            keyless.contains(&(Rule::SegmentTracks, Some(2))),
            "{keyless:?}"
        );
        let silent = judge(&segments(|c| c.mute = crate::source::Mute::Video), listed);
        assert_eq!(silent[0], (Rule::SegmentTracks, Some(1)));
    }

    #[test]
    fn a_segment_that_starts_between_keys_breaks_a_claim_of_independence() {
        let all = segments(|_| {}).concat();
        let half = all.len() / 188 / 8 * 188;
        let shifted = [all[..188 * 2].to_vec(), all[half..].to_vec()].concat();
        let found = judge(&[shifted], listed);
        assert!(
            found.contains(&(Rule::SegmentKeyframe, Some(1))),
            "{found:?}"
        );
    }

    #[test]
    fn a_lost_packet_breaks_the_counter_unless_a_discontinuity_says_so() {
        let lost = |s: &mut Vec<Vec<u8>>| {
            s[1] = without(&s[1], |index, packet| {
                pid(packet) == 0 && (10..35).contains(&index)
            });
        };
        let mut cut = segments(|_| {});
        lost(&mut cut);
        assert_eq!(judge(&cut, listed), [(Rule::SegmentContinuity, Some(2))]);
        cut.remove(2);
        let seam = |number: u64| Segment {
            discontinuity: true,
            ..listed(number)
        };
        assert_eq!(judge(&[cut[0].clone(), cut[2].clone()], seam), []);
    }

    #[test]
    fn clocks_must_come_often_and_before_what_they_time() {
        let is_clock = |packet: &[u8]| packet[3] & 0xf0 == 0x20 && packet[5] == 0x10;
        let mut seldom = segments(|_| {});
        seldom[3] = without(&seldom[3], |index, packet| {
            is_clock(packet) && !index.is_multiple_of(7)
        });
        assert_eq!(judge(&seldom, listed), [(Rule::SegmentClock, Some(4))]);
        let late = segments(|c| c.audio_late = 0);
        let mut late = late;
        for packet in late[1]
            .chunks_mut(188)
            .filter(|packet| packet[3] & 0xf0 == 0x20 && packet[5] == 0x10)
        {
            // A second later than it is.
            packet[7] = packet[7].wrapping_add(1);
        }
        assert!(judge(&late, listed).contains(&(Rule::SegmentClock, Some(2))));
    }

    #[test]
    fn a_segment_twice_breaks_times_and_audio() {
        let found = broken(|s| s[2] = s[1].clone());
        for rule in [
            Rule::Timestamps,
            Rule::AudioContinuity,
            Rule::SegmentDuration,
        ] {
            assert!(
                found.iter().any(|(found, _)| *found == rule),
                "{rule}: {found:?}"
            );
        }
    }

    #[test]
    fn a_duration_that_media_do_not_keep_is_named_on_its_segment() {
        let lie = |number: u64| Segment {
            duration: if number == 2 { 1_100_000 } else { 1_000_000 },
            ..listed(number)
        };
        assert_eq!(
            judge(&segments(|_| {}), lie),
            [(Rule::SegmentDuration, Some(2))]
        );
    }

    #[test]
    fn times_run_on_over_the_wrap() {
        assert_eq!(difference(5, (1 << 33) - 5), 10);
        assert_eq!(difference((1 << 33) - 5, 5), -10);
    }
}
