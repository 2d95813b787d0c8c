//! What the fetched segments of a rendition tell: contents, times, bit rates, decoding, sync. Runs after following, so as not to disturb it.

use std::path::Path;

use super::CheckSettings;
use super::chain::{Chain, frame_rate};
use super::decode::{self, DecodeError};
use super::follow::{Fetched, Followed};
use super::master::Measured;
use super::report::{Finding, RenditionReport, Rule};
use super::segment::{FirstPicture, SegmentFacts, inspect};
use super::sync::offsets;

/// Largest allowed distance of sound from picture, in seconds.
const MAX_OFFSET: f64 = 0.040;

/// What one rendition was found to be.
#[derive(Debug)]
pub(crate) struct Analysed {
    pub(crate) report: RenditionReport,
    pub(crate) measured: Measured,
    pub(crate) findings: Vec<Finding>,
}

/// Judges all fetched segments of a rendition.
pub(crate) async fn analyse(
    followed: &Followed,
    settings: &CheckSettings,
    directory: &Path,
) -> Result<Analysed, DecodeError> {
    let facts = followed
        .fetched
        .iter()
        .map(|fetched| inspect(&fetched.bytes))
        .collect::<Vec<_>>();
    let target = followed.history.last().map_or(4, |last| last.target);
    let mut analysed = Analysed {
        report: report(followed, target),
        measured: measured(&facts),
        findings: chained(followed, &facts),
    };
    analysed.measured.peak_bit_rate = analysed.report.peak_bit_rate;
    analysed.measured.average_bit_rate = analysed.report.average_bit_rate;
    if settings.decode {
        decode_alone(followed, &facts, directory, &mut analysed).await?;
        decode_joined(followed, &facts, directory, &mut analysed).await?;
    }
    Ok(analysed)
}

fn chained(followed: &Followed, facts: &[SegmentFacts]) -> Vec<Finding> {
    let mut chain = Chain::default();
    let pairs = followed.fetched.iter().zip(facts);
    let findings = pairs.flat_map(|(fetched, facts)| {
        let claimed = followed.history.claimed_independent(fetched.segment.number);
        chain.push(&fetched.segment, claimed, facts)
    });
    findings.collect()
}

fn report(followed: &Followed, target: u32) -> RenditionReport {
    let listed = followed.history.segments();
    let (peak, average) = bit_rates(&followed.fetched, i64::from(target) * 500_000);
    RenditionReport {
        base: followed.speaker.base,
        rendition: followed.speaker.rendition,
        url: followed.url.to_string(),
        versions: followed.history.versions(),
        segments: followed.fetched.len() as u64,
        numbers: listed
            .first_key_value()
            .map(|(first, _)| *first)
            .zip(listed.last_key_value().map(|(last, _)| *last)),
        discontinuities: listed
            .values()
            .filter(|segment| segment.discontinuity)
            .count() as u64,
        peak_bit_rate: peak,
        average_bit_rate: average,
        audio_offset_milliseconds: None,
        sync_marks: 0,
    }
}

/// The highest bit rate over neighbouring segments of at least `least` microseconds, and the mean.
fn bit_rates(fetched: &[Fetched], least: i64) -> (u64, u64) {
    let rate =
        |bits: u64, microseconds: i64| bits * 1_000_000 / microseconds.max(1).cast_unsigned();
    let (mut peak, mut bits, mut duration) = (0, 0, 0);
    let (mut all_bits, mut all_duration) = (0, 0);
    for Fetched { segment, bytes } in fetched {
        bits += bytes.len() as u64 * 8;
        duration += segment.duration;
        if duration >= least {
            peak = peak.max(rate(bits, duration));
            all_bits += bits;
            all_duration += duration;
            (bits, duration) = (0, 0);
        }
    }
    (peak, rate(all_bits + bits, all_duration + duration))
}

fn measured(facts: &[SegmentFacts]) -> Measured {
    let mut video = facts.iter().filter_map(|facts| facts.video.as_ref());
    let mut audio = facts.iter().filter_map(|facts| facts.audio.as_ref());
    let longest = video.clone().max_by_key(|video| video.pts.len());
    Measured {
        has_video: longest.is_some(),
        frame_rate: longest.and_then(|video| frame_rate(&video.pts)),
        video_codec: video.find_map(|video| video.codec.clone()),
        audio_codec: audio.find_map(|audio| audio.codec.clone()),
        ..Measured::default()
    }
}

async fn write(directory: &Path, parts: &[Fetched]) -> Result<std::path::PathBuf, DecodeError> {
    let file = directory.join("segment.ts");
    let bytes = parts
        .iter()
        .flat_map(|part| &part.bytes[..])
        .copied()
        .collect::<Vec<_>>();
    tokio::fs::write(&file, bytes)
        .await
        .map_err(DecodeError::Directory)?;
    Ok(file)
}

async fn decode_alone(
    followed: &Followed,
    facts: &[SegmentFacts],
    directory: &Path,
    analysed: &mut Analysed,
) -> Result<(), DecodeError> {
    for (fetched, facts) in followed.fetched.iter().zip(facts) {
        let number = fetched.segment.number;
        let independent = facts
            .video
            .as_ref()
            .is_none_or(|video| video.first == FirstPicture::Independent);
        if !independent || !followed.history.claimed_independent(number) {
            continue;
        }
        let file = write(directory, std::slice::from_ref(fetched)).await?;
        let complaints = decode::complaints(&file).await?;
        if !complaints.is_empty() {
            analysed
                .findings
                .push(Finding::at(Rule::DecodeAlone, number, complaints));
        }
    }
    Ok(())
}

async fn decode_joined(
    followed: &Followed,
    facts: &[SegmentFacts],
    directory: &Path,
    analysed: &mut Analysed,
) -> Result<(), DecodeError> {
    let mut found: Vec<f64> = Vec::new();
    for (from, to) in runs(&followed.fetched, facts) {
        let file = write(directory, &followed.fetched[from..to]).await?;
        if analysed.measured.size.is_none() {
            analysed.measured.size = decode::size(&file).await?;
        }
        let video = facts[from].video.as_ref();
        let first = video.map_or(FirstPicture::Independent, |video| video.first);
        let decoded = decode::measure(&file, directory, first).await?;
        let number = followed.fetched[from].segment.number;
        if !decoded.complaints.is_empty() {
            analysed
                .findings
                .push(Finding::at(Rule::DecodeJoined, number, decoded.complaints));
        }
        let offsets = offsets(&decoded.brightness, &decoded.loudness);
        if let Some(worst) = worst(&offsets).filter(|worst| worst.abs() > MAX_OFFSET) {
            let detail = format!("the sound comes {:.1} ms after the picture", worst * 1000.0);
            analysed
                .findings
                .push(Finding::at(Rule::AudioVideoOffset, number, detail));
        }
        found.extend(offsets);
    }
    analysed.report.sync_marks = found.len() as u64;
    analysed.report.audio_offset_milliseconds = worst(&found).map(|seconds| seconds * 1000.0);
    Ok(())
}

fn worst(offsets: &[f64]) -> Option<f64> {
    offsets
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()))
}

/// Stretches of neighbouring segments without a discontinuity, each from its first starting point on.
fn runs(fetched: &[Fetched], facts: &[SegmentFacts]) -> Vec<(usize, usize)> {
    let startable = |index: usize| {
        let video = facts[index].video.as_ref();
        video.is_none_or(|video| video.first != FirstPicture::Dependent)
    };
    let mut runs = Vec::new();
    let mut start = None;
    for index in 0..fetched.len() {
        let segment = &fetched[index].segment;
        let follows = index > 0 && fetched[index - 1].segment.number + 1 == segment.number;
        if segment.discontinuity || !follows {
            runs.extend(start.take().map(|start| (start, index)));
        }
        if start.is_none() && startable(index) {
            start = Some(index);
        }
    }
    runs.extend(start.map(|start| (start, fetched.len())));
    runs
}
