//! Whether encoded renditions are wanted: all of them as soon as a viewer asks for one, none when nobody has for a while. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::stream_class::EncodedRenditions;
use media::segmenter::io::RenditionId;

/// How long a request counts.
const WANTED: Duration = Duration::from_secs(60);
/// Names that are remembered: more than any stream has renditions.
const NAMES: usize = 16;

/// What viewers asked for of late.
#[derive(Debug)]
pub(super) struct Demand {
    rule: EncodedRenditions,
    asked: BTreeMap<String, Duration>,
}

impl Demand {
    /// Nobody has asked for anything.
    pub(super) fn new(rule: EncodedRenditions) -> Self {
        Self {
            rule,
            asked: BTreeMap::new(),
        }
    }

    /// These renditions were asked for. What a stream has is not known before its first key, so any name counts.
    pub(super) fn ask(&mut self, renditions: BTreeSet<String>, now: Duration) {
        self.asked.retain(|_, at| now.saturating_sub(*at) < WANTED);
        for rendition in renditions {
            if self.asked.len() < NAMES || self.asked.contains_key(&rendition) {
                self.asked.insert(rendition, now);
            }
        }
    }

    /// Whether these renditions are to be encoded.
    pub(super) fn wants(&self, encoded: &[RenditionId], now: Duration) -> bool {
        self.rule == EncodedRenditions::Always || self.is_asked_for(encoded, now)
    }

    /// Whether any of these was asked for of late.
    pub(super) fn is_asked_for(&self, renditions: &[RenditionId], now: Duration) -> bool {
        let is_asked = |id: &RenditionId| {
            let at = self.asked.get(id.as_str());
            at.is_some_and(|at| now.saturating_sub(*at) < WANTED)
        };
        renditions.iter().any(is_asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn all_are_wanted_from_the_first_request_for_one_until_a_minute_after_the_last() {
        let encoded = ["480p", "360p"].map(RenditionId::new);
        let mut demand = Demand::new(EncodedRenditions::OnDemand);
        assert!(!demand.wants(&encoded, seconds(0)));
        demand.ask(names(&["source"]), seconds(1));
        assert!(!demand.wants(&encoded, seconds(1)));
        demand.ask(names(&["360p", "source"]), seconds(2));
        assert!(demand.wants(&encoded, seconds(61)));
        assert!(!demand.wants(&encoded, seconds(62)));
        demand.ask(names(&["480p"]), seconds(70));
        assert!(demand.wants(&encoded, seconds(129)) && !demand.wants(&encoded, seconds(130)));
        assert!(!demand.wants(&[], seconds(71)));
    }

    #[test]
    fn a_class_may_want_them_always_and_names_without_end_are_not_kept() {
        let encoded = [RenditionId::new("480p")];
        let always = Demand::new(EncodedRenditions::Always);
        assert!(always.wants(&encoded, seconds(9)) && !always.is_asked_for(&encoded, seconds(9)));
        let mut demand = Demand::new(EncodedRenditions::OnDemand);
        demand.ask(
            (0..99).map(|number| number.to_string()).collect(),
            seconds(0),
        );
        assert_eq!(demand.asked.len(), NAMES);
        demand.ask(names(&["480p"]), seconds(60));
        assert!(demand.wants(&encoded, seconds(60)));
    }
}
