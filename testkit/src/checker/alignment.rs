//! Rules between renditions and between gateways: one number means one thing everywhere.

use std::collections::HashMap;

use super::playlist::{MediaPlaylist, Segment};
use super::report::{Finding, Rule};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Speaker {
    pub(crate) base: usize,
    pub(crate) rendition: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Meaning {
    duration: i64,
    discontinuity: bool,
    discontinuity_sequence: u64,
    date: Option<i64>,
}

/// What was said about each number first, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Alignment {
    meanings: HashMap<u64, (Speaker, Meaning)>,
    paths: HashMap<(usize, u64), String>,
    target: Option<u32>,
    told: std::collections::HashSet<(Speaker, u64)>,
}

impl Alignment {
    /// Compares a version with what others said. `path` turns a listed URI into the path of its URL.
    pub(crate) fn observe(
        &mut self,
        speaker: Speaker,
        playlist: &MediaPlaylist,
        path: impl Fn(&str) -> String,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let target = *self.target.get_or_insert(playlist.target);
        if target != playlist.target {
            let detail = format!("{target} elsewhere, {} here", playlist.target);
            findings.push(Finding::new(Rule::TargetChanged, detail));
        }
        let mut sequence = playlist.discontinuity_sequence;
        for segment in &playlist.segments {
            sequence += u64::from(segment.discontinuity);
            if self.told.contains(&(speaker, segment.number)) {
                continue;
            }
            let before = findings.len();
            findings.extend(self.compare(speaker, segment, sequence));
            findings.extend(self.compare_path(speaker, segment, &path(&segment.uri)));
            if findings.len() > before {
                self.told.insert((speaker, segment.number));
            }
        }
        findings
    }

    fn compare(
        &mut self,
        speaker: Speaker,
        segment: &Segment,
        discontinuity_sequence: u64,
    ) -> Option<Finding> {
        let meaning = Meaning {
            duration: segment.duration,
            discontinuity: segment.discontinuity,
            discontinuity_sequence,
            date: segment.date,
        };
        let (first, known) = self
            .meanings
            .entry(segment.number)
            .or_insert_with(|| (speaker, meaning.clone()));
        if *known == meaning {
            return None;
        }
        let rule = if first.base == speaker.base {
            Rule::Alignment
        } else {
            Rule::Agreement
        };
        let detail = format!(
            "{known:?} in base {} rendition {}, {meaning:?} here",
            first.base, first.rendition
        );
        Some(Finding::at(rule, segment.number, detail))
    }

    fn compare_path(&mut self, speaker: Speaker, segment: &Segment, path: &str) -> Option<Finding> {
        let known = self
            .paths
            .entry((speaker.rendition, segment.number))
            .or_insert_with(|| path.to_owned());
        if *known == path {
            return None;
        }
        let detail = format!("{known} elsewhere, {path} here");
        Some(Finding::at(Rule::Agreement, segment.number, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(uri: &str) -> MediaPlaylist {
        let segment = |number: u64| Segment {
            number,
            uri: format!("{uri}/{number}.ts"),
            duration: 2_000_000,
            discontinuity: number == 3,
            date: Some(number.cast_signed()),
            odd_date: false,
            gap: false,
        };
        MediaPlaylist {
            target: 4,
            sequence: 1,
            segments: (1..6).map(segment).collect(),
            ..MediaPlaylist::default()
        }
    }

    /// Rules that rendition 0 of base 0 and then the given speaker break.
    fn broken(
        base: usize,
        rendition: usize,
        change: fn(&mut MediaPlaylist),
    ) -> Vec<(Rule, Option<u64>)> {
        let mut alignment = Alignment::default();
        let first = Speaker {
            base: 0,
            rendition: 0,
        };
        assert_eq!(alignment.observe(first, &version("a"), str::to_owned), []);
        let mut other = version(if rendition == 0 { "a" } else { "b" });
        change(&mut other);
        let speaker = Speaker { base, rendition };
        let findings = alignment.observe(speaker, &other, str::to_owned);
        assert_eq!(
            alignment.observe(speaker, &other, str::to_owned).len(),
            findings
                .iter()
                .filter(|finding| finding.number.is_none())
                .count()
        );
        findings
            .into_iter()
            .map(|finding| (finding.rule, finding.number))
            .collect()
    }

    #[test]
    fn renditions_that_agree_are_clean() {
        assert_eq!(broken(0, 1, |_| {}), []);
        assert_eq!(broken(1, 0, |_| {}), []);
    }

    #[test]
    fn renditions_that_differ_are_named_once_by_number() {
        let wrong = [(Rule::Alignment, Some(2))];
        assert_eq!(broken(0, 1, |p| p.segments[1].duration += 40_000), wrong);
        assert_eq!(broken(0, 1, |p| p.segments[1].date = None), wrong);
        assert_eq!(
            broken(0, 1, |p| p.segments[2].discontinuity = false).len(),
            3
        );
        assert_eq!(broken(0, 1, |p| p.discontinuity_sequence = 1).len(), 5);
        assert_eq!(
            broken(0, 1, |p| p.target = 5),
            [(Rule::TargetChanged, None)]
        );
    }

    #[test]
    fn gateways_give_one_number_one_url() {
        let wrong = [(Rule::Agreement, Some(4))];
        assert_eq!(
            broken(1, 0, |p| p.segments[3].uri = "a/x.ts".to_owned()),
            wrong
        );
        assert_eq!(broken(1, 0, |p| p.segments[3].duration = 1), wrong);
    }
}
