//! Rules that one version of a media playlist keeps or breaks by itself.

use super::playlist::MediaPlaylist;
use super::report::{Finding, Rule};

const CHECKS: &[fn(&MediaPlaylist) -> Vec<Finding>] = &[version, target, kind, end_list, dates];

/// All findings of one version.
pub(crate) fn check(playlist: &MediaPlaylist) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(playlist)).collect()
}

fn version(playlist: &MediaPlaylist) -> Vec<Finding> {
    let version = playlist.version.unwrap_or(1);
    if playlist.decimals && version < 3 {
        let detail = format!("decimal EXTINF in version {version}");
        return vec![Finding::new(Rule::Version, detail)];
    }
    Vec::new()
}

fn target(playlist: &MediaPlaylist) -> Vec<Finding> {
    let target = i64::from(playlist.target);
    let longer = |duration: i64| (duration + 500_000) / 1_000_000 > target;
    let segments = playlist
        .segments
        .iter()
        .filter(|segment| longer(segment.duration));
    let mut findings = segments
        .map(|segment| {
            let detail = format!(
                "{} s in a target of {target} s",
                segment.duration as f64 / 1e6
            );
            Finding::at(Rule::TargetDuration, segment.number, detail)
        })
        .collect::<Vec<_>>();
    if target == 0 {
        findings.push(Finding::new(Rule::TargetDuration, "a target of zero"));
    }
    findings
}

fn kind(playlist: &MediaPlaylist) -> Vec<Finding> {
    let finding = |kind: &String| Finding::new(Rule::PlaylistType, format!("PLAYLIST-TYPE {kind}"));
    playlist.kind.iter().map(finding).collect()
}

fn end_list(playlist: &MediaPlaylist) -> Vec<Finding> {
    if playlist.ended {
        return vec![Finding::new(Rule::EndList, "the stream was ended")];
    }
    Vec::new()
}

/// Dates on all segments or on none, each the previous one plus its duration; behind a discontinuity never earlier.
fn dates(playlist: &MediaPlaylist) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dated = playlist
        .segments
        .iter()
        .filter(|segment| segment.date.is_some());
    if dated.count() % playlist.segments.len().max(1) != 0 {
        findings.push(Finding::new(
            Rule::ProgramDateTime,
            "only some segments are dated",
        ));
    }
    for segment in playlist.segments.iter().filter(|segment| segment.odd_date) {
        let detail = "no colon in the zone";
        findings.push(Finding::at(
            Rule::ProgramDateTimeFormat,
            segment.number,
            detail,
        ));
    }
    for pair in playlist.segments.windows(2) {
        let (Some(date), Some(next)) = (pair[0].date, pair[1].date) else {
            continue;
        };
        let off = next - date - pair[0].duration;
        // Dates are written in milliseconds.
        let allowed = if pair[1].discontinuity {
            i64::MAX
        } else {
            2_000
        };
        if off < -2_000 || off > allowed {
            let detail = format!("{} ms off the end of the segment before", off / 1000);
            findings.push(Finding::at(Rule::ProgramDateTime, pair[1].number, detail));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::playlist::Segment;

    fn good() -> MediaPlaylist {
        let segment = |number: u64| Segment {
            number,
            uri: format!("{number}.ts"),
            duration: 2_000_000,
            discontinuity: false,
            date: Some(number.cast_signed() * 2_000_000),
            odd_date: false,
            gap: false,
        };
        MediaPlaylist {
            version: Some(6),
            target: 4,
            sequence: 1,
            decimals: true,
            segments: (1..8).map(segment).collect(),
            ..MediaPlaylist::default()
        }
    }

    fn broken(change: fn(&mut MediaPlaylist)) -> Vec<(Rule, Option<u64>)> {
        let mut playlist = good();
        change(&mut playlist);
        let findings = check(&playlist);
        findings
            .into_iter()
            .map(|finding| (finding.rule, finding.number))
            .collect()
    }

    #[test]
    fn a_good_playlist_has_no_findings() {
        assert_eq!(check(&good()), []);
    }

    #[test]
    fn each_rule_is_found_broken() {
        assert_eq!(broken(|p| p.version = Some(2)), [(Rule::Version, None)]);
        assert_eq!(broken(|p| p.ended = true), [(Rule::EndList, None)]);
        let event = broken(|p| p.kind = Some("EVENT".to_owned()));
        assert_eq!(event, [(Rule::PlaylistType, None)]);
        let long = broken(|p| p.segments[6].duration = 4_500_000);
        assert_eq!(long, [(Rule::TargetDuration, Some(7))]);
        let undated = broken(|p| p.segments[6].date = None);
        assert_eq!(undated, [(Rule::ProgramDateTime, None)]);
        let odd = broken(|p| p.segments[2].odd_date = true);
        assert_eq!(odd, [(Rule::ProgramDateTimeFormat, Some(3))]);
    }

    #[test]
    fn four_and_almost_a_half_seconds_fit_a_target_of_four() {
        assert_eq!(broken(|p| p.segments[6].duration = 4_490_000), []);
    }

    #[test]
    fn a_date_may_leap_forward_at_a_discontinuity_only_and_never_back() {
        fn shift(playlist: &mut MediaPlaylist, by: i64) {
            for segment in &mut playlist.segments[4..] {
                segment.date = segment.date.map(|date| date + by);
            }
        }
        let wrong = [(Rule::ProgramDateTime, Some(5))];
        assert_eq!(broken(|p| shift(p, 500_000)), wrong);
        assert_eq!(broken(|p| shift(p, -500_000)), wrong);
        assert_eq!(
            broken(|p| {
                shift(p, 500_000);
                p.segments[4].discontinuity = true;
            }),
            []
        );
        assert_eq!(
            broken(|p| {
                shift(p, -500_000);
                p.segments[4].discontinuity = true;
            }),
            wrong
        );
    }
}
