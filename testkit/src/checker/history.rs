//! Rules between the versions of one media playlist. Time comes in as a value; fetches nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::playlist::{MediaPlaylist, Segment};
use super::report::{Finding, Rule};

/// All that one rendition's playlist has said so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    segments: BTreeMap<u64, Segment>,
    numbers: HashMap<String, u64>,
    last: Option<MediaPlaylist>,
    changed: Duration,
    complained: bool,
    /// Longest playlist so far, in microseconds.
    longest: i64,
    versions: u64,
    /// Numbers that some version listed while it claimed independence.
    independent: BTreeSet<u64>,
}

/// What a version brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) findings: Vec<Finding>,
    /// Segments listed for the first time.
    pub(crate) added: Vec<Segment>,
    /// Segments no longer listed, and for how long from now they must stay fetchable.
    pub(crate) removed: Vec<(Segment, Duration)>,
}

impl History {
    /// Takes in what a poll returned that was asked at one time and answered at another.
    pub(crate) fn observe(
        &mut self,
        playlist: &MediaPlaylist,
        asked: Duration,
        answered: Duration,
        stale: Option<Duration>,
    ) -> Observation {
        let mut observation = Observation::default();
        if self.last.as_ref() == Some(playlist) {
            observation
                .findings
                .extend(self.staleness(playlist, asked, stale));
            return observation;
        }
        self.changed = answered;
        self.complained = false;
        self.versions += 1;
        if let Some(last) = self.last.take() {
            observation.findings.extend(compare(&last, playlist));
            observation.removed = self.removals(&last, playlist);
        }
        self.longest = self.longest.max(playlist.duration());
        for segment in &playlist.segments {
            self.list(segment, &mut observation);
            if playlist.independent {
                self.independent.insert(segment.number);
            }
        }
        self.last = Some(playlist.clone());
        observation
    }

    /// Everything that was ever listed, by number.
    pub(crate) fn segments(&self) -> &BTreeMap<u64, Segment> {
        &self.segments
    }

    /// Whether a playlist ever claimed that this segment can be decoded alone.
    pub(crate) fn claimed_independent(&self, number: u64) -> bool {
        self.independent.contains(&number)
    }

    pub(crate) fn versions(&self) -> u64 {
        self.versions
    }

    pub(crate) fn last(&self) -> Option<&MediaPlaylist> {
        self.last.as_ref()
    }

    /// The version was seen before `changed` and still stood when it was asked for again.
    fn staleness(
        &mut self,
        playlist: &MediaPlaylist,
        asked: Duration,
        stale: Option<Duration>,
    ) -> Option<Finding> {
        let target = Duration::from_secs(u64::from(playlist.target));
        let limit = stale.unwrap_or(target.mul_f64(1.5));
        let age = asked.saturating_sub(self.changed);
        if self.complained || age <= limit {
            return None;
        }
        self.complained = true;
        let (age, changed) = (age.as_secs_f64(), self.changed.as_secs_f64());
        let detail = format!("no new version for {age:.2} s since {changed:.2} s");
        Some(Finding::new(Rule::Stale, detail))
    }

    fn removals(&self, last: &MediaPlaylist, playlist: &MediaPlaylist) -> Vec<(Segment, Duration)> {
        let gone = last
            .segments
            .iter()
            .filter(|segment| segment.number < playlist.sequence);
        let keep = |segment: &Segment| {
            let microseconds = (segment.duration + self.longest).cast_unsigned();
            (segment.clone(), Duration::from_micros(microseconds))
        };
        gone.filter(|segment| !segment.gap).map(keep).collect()
    }

    fn list(&mut self, segment: &Segment, observation: &mut Observation) {
        let number = segment.number;
        let Some(known) = self.segments.get(&number) else {
            let earlier = self.numbers.insert(segment.uri.clone(), number);
            if let Some(earlier) = earlier {
                let detail = format!("{} was number {earlier}", segment.uri);
                observation
                    .findings
                    .push(Finding::at(Rule::UrlReused, number, detail));
            }
            self.segments.insert(number, segment.clone());
            observation.added.push(segment.clone());
            return;
        };
        let mut changed =
            |rule, detail: String| observation.findings.push(Finding::at(rule, number, detail));
        if known.uri != segment.uri {
            changed(
                Rule::UrlChanged,
                format!("{} became {}", known.uri, segment.uri),
            );
        }
        if known.duration != segment.duration {
            changed(
                Rule::DurationChanged,
                format!(
                    "{} became {} microseconds",
                    known.duration, segment.duration
                ),
            );
        }
        if known.discontinuity != segment.discontinuity {
            changed(
                Rule::DiscontinuityChanged,
                format!("{} became {}", known.discontinuity, segment.discontinuity),
            );
        }
        if known.date != segment.date {
            changed(Rule::ProgramDateTime, "the date changed".to_owned());
        }
        // Each change is told once.
        self.segments.insert(number, segment.clone());
    }
}

/// What must hold between one version and the next.
fn compare(last: &MediaPlaylist, next: &MediaPlaylist) -> Vec<Finding> {
    let mut findings = Vec::new();
    if next.target != last.target {
        let detail = format!("{} became {}", last.target, next.target);
        findings.push(Finding::new(Rule::TargetChanged, detail));
    }
    if next.sequence < last.sequence {
        let detail = format!("{} became {}", last.sequence, next.sequence);
        findings.push(Finding::new(Rule::SequenceBack, detail));
        return findings;
    }
    if next.end() < last.end() {
        let detail = format!("the last number {} became {}", last.end(), next.end());
        findings.push(Finding::new(Rule::TailRemoved, detail));
    }
    let seam = next
        .segments
        .first()
        .is_some_and(|segment| segment.discontinuity)
        || next.discontinuity_sequence > last.discontinuity_sequence;
    if next.sequence > last.end() && !seam {
        let detail = format!("{} follows {}", next.sequence, last.end());
        findings.push(Finding::new(Rule::SequenceJump, detail));
    }
    if next.sequence > last.sequence && next.duration() < 3_000_000 * i64::from(next.target) {
        let detail = format!(
            "{} s listed, target {} s",
            next.duration() as f64 / 1e6,
            next.target
        );
        findings.push(Finding::new(Rule::WindowTooShort, detail));
    }
    let removed = last
        .segments
        .iter()
        .filter(|segment| segment.number < next.sequence);
    let counted = removed.filter(|segment| segment.discontinuity).count() as u64;
    let expected = last.discontinuity_sequence + counted;
    let right = if next.sequence > last.end() {
        next.discontinuity_sequence >= expected
    } else {
        next.discontinuity_sequence == expected
    };
    if !right {
        let detail = format!("{} instead of {expected}", next.discontinuity_sequence);
        findings.push(Finding::new(Rule::DiscontinuitySequence, detail));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers `from..to` of two seconds each; a discontinuity at 5.
    fn version(from: u64, to: u64) -> MediaPlaylist {
        let segment = |number: u64| Segment {
            number,
            uri: format!("{number}.ts"),
            duration: 2_000_000,
            discontinuity: number == 5,
            date: None,
            odd_date: false,
            gap: false,
        };
        MediaPlaylist {
            version: Some(6),
            target: 4,
            sequence: from,
            discontinuity_sequence: u64::from(from > 5),
            segments: (from..to).map(segment).collect(),
            ..MediaPlaylist::default()
        }
    }

    fn observe(history: &mut History, playlist: &MediaPlaylist, second: u64) -> Observation {
        history.observe(
            playlist,
            Duration::from_secs(second),
            Duration::from_secs(second),
            None,
        )
    }

    /// Rules broken by what follows `version(1, 8)`.
    fn broken(next: &MediaPlaylist) -> Vec<Rule> {
        let mut history = History::default();
        assert_eq!(observe(&mut history, &version(1, 8), 0).findings, []);
        let findings = observe(&mut history, next, 2).findings;
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    fn changed(change: fn(&mut MediaPlaylist)) -> Vec<Rule> {
        let mut next = version(2, 9);
        change(&mut next);
        broken(&next)
    }

    #[test]
    fn a_window_that_slides_is_clean_and_tells_what_came_and_went() {
        let mut history = History::default();
        observe(&mut history, &version(1, 8), 0);
        let observation = observe(&mut history, &version(3, 10), 4);
        let numbers = |segments: &[Segment]| {
            segments
                .iter()
                .map(|segment| segment.number)
                .collect::<Vec<_>>()
        };
        assert_eq!(observation.findings, []);
        assert_eq!(numbers(&observation.added), [8, 9]);
        let removed = observation
            .removed
            .iter()
            .map(|(segment, keep)| (segment.number, keep.as_secs()));
        assert_eq!(removed.collect::<Vec<_>>(), [(1, 16), (2, 16)]);
        assert_eq!(observe(&mut history, &version(6, 13), 8).findings, []);
    }

    #[test]
    fn what_a_number_says_never_changes() {
        assert_eq!(
            changed(|p| p.segments[1].uri = "other.ts".to_owned()),
            [Rule::UrlChanged]
        );
        assert_eq!(
            changed(|p| p.segments[1].duration += 1),
            [Rule::DurationChanged]
        );
        assert_eq!(
            changed(|p| p.segments[1].discontinuity = true),
            [Rule::DiscontinuityChanged]
        );
        assert_eq!(
            changed(|p| p.segments[1].date = Some(1)),
            [Rule::ProgramDateTime]
        );
        assert_eq!(changed(|p| p.target = 3), [Rule::TargetChanged]);
    }

    #[test]
    fn a_url_is_used_once() {
        assert_eq!(
            changed(|p| p.segments[6].uri = "1.ts".to_owned()),
            [Rule::UrlReused]
        );
    }

    #[test]
    fn numbers_only_go_on_and_only_the_head_is_removed() {
        let mut reset = version(1, 4);
        reset.sequence = 0;
        assert_eq!(broken(&reset)[0], Rule::SequenceBack);
        assert_eq!(broken(&version(1, 7)), [Rule::TailRemoved]);
        assert_eq!(broken(&version(12, 19)), []);
        let mut jump = version(12, 19);
        jump.discontinuity_sequence = 0;
        assert_eq!(
            broken(&jump),
            [Rule::SequenceJump, Rule::DiscontinuitySequence]
        );
        assert_eq!(broken(&version(4, 9)), [Rule::WindowTooShort]);
    }

    #[test]
    fn a_discontinuity_that_scrolls_off_is_counted() {
        let mut uncounted = version(6, 13);
        uncounted.discontinuity_sequence = 0;
        assert_eq!(broken(&uncounted), [Rule::DiscontinuitySequence]);
        assert_eq!(
            changed(|p| p.discontinuity_sequence = 1),
            [Rule::DiscontinuitySequence]
        );
    }

    #[test]
    fn a_playlist_that_stands_still_is_stale_after_one_and_a_half_targets_and_says_so_once() {
        let mut history = History::default();
        observe(&mut history, &version(1, 8), 0);
        assert_eq!(observe(&mut history, &version(1, 8), 6).findings, []);
        let late = observe(&mut history, &version(1, 8), 7).findings;
        assert_eq!(late[0].rule, Rule::Stale);
        assert_eq!(observe(&mut history, &version(1, 8), 9).findings, []);
        assert_eq!(observe(&mut history, &version(2, 9), 10).findings, []);
        let patient = history.observe(
            &version(2, 9),
            Duration::from_secs(30),
            Duration::from_secs(30),
            Some(Duration::from_secs(60)),
        );
        assert_eq!(patient.findings, []);
    }
}
