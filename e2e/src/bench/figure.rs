//! What a bench reports: values beside their peer's and the goal. Measures nothing.

use serde::Serialize;

/// What a ratio is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn bound(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }

    /// A ratio to nothing measured is no success.
    fn is_met_by(self, ratio: f64) -> bool {
        let is_met = match self {
            Self::AtMost(bound) => ratio <= bound,
            Self::AtLeast(bound) => ratio >= bound,
        };
        is_met && ratio.is_finite()
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) bench: &'static str,
    /// What was measured, with its unit.
    pub(crate) case: String,
    pub(crate) value: f64,
    /// The same of the peer, in the same run.
    pub(crate) peer: Option<f64>,
    pub(crate) ratio: Option<f64>,
    /// The most that the ratio may be, or the value where there is no ratio; the least where `at_least` says so.
    pub(crate) goal: Option<f64>,
    pub(crate) at_least: bool,
    pub(crate) holds: Option<bool>,
}

impl Figure {
    /// A value that is to stay within a goal of its own.
    pub(crate) fn absolute(bench: &'static str, case: String, value: f64, goal: f64) -> Self {
        Self {
            bench,
            case,
            value,
            peer: None,
            ratio: None,
            goal: Some(goal),
            at_least: false,
            holds: Some(value <= goal),
        }
    }

    /// A value that is only told.
    pub(crate) fn told(bench: &'static str, case: String, value: f64) -> Self {
        Self {
            bench,
            case,
            value,
            peer: None,
            ratio: None,
            goal: None,
            at_least: false,
            holds: None,
        }
    }

    /// A value that is to stay within a share of its peer's; without a goal it is only told.
    pub(crate) fn relative(
        bench: &'static str,
        case: String,
        value: f64,
        peer: f64,
        goal: Option<f64>,
    ) -> Self {
        Self::of_ratio(
            bench,
            case,
            (value, peer),
            value / peer,
            goal.map(Goal::AtMost),
        )
    }

    /// Values that were measured in turns with a peer's: medians of both, and the median of the turns' ratios.
    pub(crate) fn paired(
        bench: &'static str,
        case: String,
        turns: &[(f64, f64)],
        goal: Option<Goal>,
    ) -> Self {
        let of = |part: fn(&(f64, f64)) -> f64| median(&turns.iter().map(part).collect::<Vec<_>>());
        let medians = (of(|turn| turn.0), of(|turn| turn.1));
        Self::of_ratio(bench, case, medians, of(|turn| turn.0 / turn.1), goal)
    }

    fn of_ratio(
        bench: &'static str,
        case: String,
        (value, peer): (f64, f64),
        ratio: f64,
        goal: Option<Goal>,
    ) -> Self {
        Self {
            bench,
            case,
            value,
            peer: Some(peer),
            ratio: Some(ratio),
            goal: goal.map(Goal::bound),
            at_least: matches!(goal, Some(Goal::AtLeast(_))),
            holds: goal.map(|goal| goal.is_met_by(ratio)),
        }
    }

    /// Whether no goal was missed.
    pub(crate) fn is_acceptable(&self) -> bool {
        self.holds != Some(false)
    }
}

/// The middle value; the mean of the two middle ones where there are two. Zero of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The value below which that share of all lie. Zero of nothing.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(index.min(last)).copied().unwrap_or(0.0)
}

/// The figures for people.
pub(crate) fn table(figures: &[Figure]) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let goal = |figure: &Figure| {
        let least = if figure.at_least { "≥ " } else { "" };
        format!("{least}{}", number(figure.goal))
    };
    let holds = |holds: Option<bool>| match holds {
        Some(true) => "holds",
        Some(false) => "MISSED",
        None => "-",
    };
    let width = figures
        .iter()
        .map(|figure| figure.case.len())
        .max()
        .unwrap_or(0);
    let mut text = format!(
        "{:<8} {:<width$} {:>10} {:>10} {:>8} {:>8} \n",
        "bench", "case", "value", "peer", "ratio", "goal"
    );
    for figure in figures {
        text.push_str(&format!(
            "{:<8} {:<width$} {:>10} {:>10} {:>8} {:>8} {}\n",
            figure.bench,
            figure.case,
            number(Some(figure.value)),
            number(figure.peer),
            number(figure.ratio),
            goal(figure),
            holds(figure.holds),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_json_object_with_all_its_fields() {
        let figure = Figure::relative("start", "gop 2 s".to_owned(), 3.0, 6.0, Some(0.55));
        let expected = r#"{"bench":"start","case":"gop 2 s","value":3.0,"peer":6.0,"ratio":0.5,"goal":0.55,"at_least":false,"holds":true}"#;
        assert_eq!(serde_json::to_string(&figure).unwrap(), expected);
    }

    #[test]
    fn a_goal_is_missed_above_it_and_never_by_a_figure_without_one() {
        let value = |value| Figure::absolute("start", String::new(), value, 0.15);
        assert!(value(0.15).is_acceptable() && !value(0.16).is_acceptable());
        let ratio = |peer, goal| Figure::relative("start", String::new(), 1.0, peer, goal);
        assert!(ratio(2.0, Some(0.5)).is_acceptable() && ratio(1.0, None).is_acceptable());
        assert!(!ratio(1.0, Some(0.5)).is_acceptable() && !ratio(0.0, Some(0.5)).is_acceptable());
    }

    #[test]
    fn ratios_are_those_of_the_turns() {
        let turns = [(1.0, 2.0), (3.0, 4.0), (9.0, 3.0)];
        let figure = |goal| Figure::paired("serve", String::new(), &turns, Some(goal));
        let most = figure(Goal::AtMost(0.75));
        assert_eq!((most.value, most.peer), (3.0, Some(3.0)));
        assert_eq!((most.ratio, most.holds), (Some(0.75), Some(true)));
        let least = figure(Goal::AtLeast(0.8));
        assert_eq!((least.at_least, least.holds), (true, Some(false)));
        assert!(table(&[least]).contains("≥ 0.8"));
        let nothing = Figure::paired(
            "serve",
            String::new(),
            &[(1.0, 0.0)],
            Some(Goal::AtLeast(1.0)),
        );
        assert_eq!(nothing.holds, Some(false));
    }

    #[test]
    fn a_quantile_has_that_share_below_it() {
        let mut values: Vec<f64> = (0..200).map(f64::from).rev().collect();
        assert_eq!(quantile(&mut values, 0.99), 198.0);
        assert_eq!(
            (quantile(&mut [7.0], 0.99), quantile(&mut [], 0.99)),
            (7.0, 0.0)
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_table_shouts_what_was_missed() {
        let figures = [Figure::absolute("start", "x".to_owned(), 1.0, 0.5)];
        let lines = table(&figures)
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>();
        assert!(lines[1].ends_with("MISSED"), "{lines:?}");
    }
}
