//! What the master says of each rendition, from its facts and from the first segment, which is measured. Pure.

use api::playlists::{Rendition, Resolution};
use media::segmenter::io::FinishedSegment;
use media::time::TICKS_PER_SECOND;

/// A first segment says little of those that follow: so much is added for the peak and for the average, in percent.
const PEAK_HEADROOM: u64 = 40;
const AVERAGE_HEADROOM: u64 = 15;

/// What is known of a rendition besides its bit rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenditionFacts {
    /// Its id.
    pub(crate) id: String,
    /// CODECS (RFC 6381).
    pub(crate) codecs: String,
    /// Size of the picture; none for radio.
    pub(crate) resolution: Option<Resolution>,
    /// Frames per second, in thousandths; none for radio.
    pub(crate) frame_rate_thousandths: Option<u32>,
    /// The rate that its encoder may not exceed, tracks and packets included; none when it is passed through.
    pub(crate) ceiling: Option<u64>,
    /// The master lists it only for clients that ask.
    pub(crate) on_request: bool,
}

impl RenditionFacts {
    /// Whether segments may go out without it, because it comes later or only when it is asked for.
    pub(crate) fn may_lack(&self) -> bool {
        self.ceiling.is_some() || self.on_request
    }

    /// Whether a segment has it.
    pub(crate) fn is_in(&self, segment: &FinishedSegment) -> bool {
        let mut renditions = segment.renditions.iter();
        renditions.any(|one| one.rendition.as_str() == self.id)
    }
}

/// The renditions as the master lists them. A rendition that is known already keeps its rates: players read a master once.
pub(crate) fn renditions(
    facts: &[RenditionFacts],
    first: &FinishedSegment,
    known: &[Rendition],
) -> Vec<Rendition> {
    let of = |facts: &RenditionFacts| {
        let old = known.iter().find(|rendition| rendition.id == facts.id);
        let rates = old.map(|old| (old.bandwidth, old.average_bandwidth));
        let (bandwidth, average_bandwidth) = rates.unwrap_or_else(|| measured(facts, first));
        Rendition {
            id: facts.id.clone(),
            bandwidth,
            average_bandwidth,
            codecs: facts.codecs.clone(),
            resolution: facts.resolution,
            frame_rate_thousandths: facts.frame_rate_thousandths,
        }
    };
    facts.iter().map(of).collect()
}

fn measured(facts: &RenditionFacts, first: &FinishedSegment) -> (u64, u64) {
    let mut renditions = first.renditions.iter();
    let segment = renditions.find(|one| one.rendition.as_str() == facts.id);
    let bits = segment.map_or(0, |segment| segment.bytes.len() as u64 * 8);
    let ticks = u64::try_from(first.duration.0).unwrap_or(0).max(1);
    let rate = bits * TICKS_PER_SECOND.unsigned_abs() / ticks;
    let peak = (rate + rate * PEAK_HEADROOM / 100).max(1);
    let average = (rate + rate * AVERAGE_HEADROOM / 100).max(1);
    match facts.ceiling {
        // Its encoder aims at the ceiling, however simple the first pictures were.
        Some(ceiling) => (peak.max(ceiling), average.max(ceiling)),
        None => (peak, average),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::segmenter::io::{GenerationId, RenditionId, RenditionSegment};
    use media::time::Ticks;

    use super::*;

    fn facts(id: &str, ceiling: Option<u64>) -> RenditionFacts {
        RenditionFacts {
            id: id.to_owned(),
            codecs: "avc1.64001f".to_owned(),
            resolution: None,
            frame_rate_thousandths: Some(25_000),
            ceiling,
            on_request: false,
        }
    }

    fn segment(bytes: usize) -> FinishedSegment {
        let rendition = |id| RenditionSegment {
            rendition: RenditionId::new(id),
            bytes: Bytes::from(vec![0; bytes]),
        };
        FinishedSegment {
            ordinal: 0,
            generation: GenerationId(0),
            duration: Ticks::from_seconds(2),
            discontinuity: false,
            independent: true,
            program_date_time: 0,
            renditions: vec![rendition("source"), rendition("480p")],
        }
    }

    #[test]
    fn a_passed_through_rendition_is_measured_and_an_encoded_one_has_its_ceiling() {
        let found = renditions(
            &[facts("source", None), facts("480p", Some(1_500_000))],
            &segment(250_000),
            &[],
        );
        let rates: Vec<_> = found
            .iter()
            .map(|one| (one.bandwidth, one.average_bandwidth))
            .collect();
        assert_eq!(rates, [(1_400_000, 1_150_000), (1_500_000, 1_500_000)]);
    }

    #[test]
    fn a_rendition_keeps_the_rates_it_was_announced_with() {
        let first = renditions(&[facts("source", None)], &segment(250_000), &[]);
        let again = renditions(&[facts("source", None)], &segment(900_000), &first);
        assert_eq!(again, first);
    }
}
