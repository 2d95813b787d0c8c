//! What a bench reports: values beside their peer's and the goal. Measures nothing.

use serde::Serialize;

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
    /// The most that the ratio may be, or the value where there is no ratio.
    pub(crate) goal: Option<f64>,
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
        let ratio = value / peer;
        Self {
            bench,
            case,
            value,
            peer: Some(peer),
            ratio: Some(ratio),
            goal,
            // A ratio to nothing measured is no success.
            holds: goal.map(|goal| ratio.is_finite() && ratio <= goal),
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

/// The figures for people.
pub(crate) fn table(figures: &[Figure]) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
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
            number(figure.goal),
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
        let expected = r#"{"bench":"start","case":"gop 2 s","value":3.0,"peer":6.0,"ratio":0.5,"goal":0.55,"holds":true}"#;
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
