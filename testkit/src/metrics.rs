//! `docs/metrics.md` as data, and what a process exposes in the same form, so that tests can hold the two together. Judges nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The metric's name, as a query has it; of a histogram without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// The process that has it, or `all`.
    pub of: String,
    /// Its labels, and their values where those are few.
    pub labels: Vec<String>,
}

/// The table.
///
/// # Errors
/// When the document cannot be read.
pub fn table() -> io::Result<Vec<Row>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(path)?;
    Ok(text.lines().filter_map(row).collect())
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let (name, kind, of, labels) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    // Between backticks stands every second part.
    let labels = labels.split('`').skip(1).step_by(2);
    Some(Row {
        name: name.trim_end_matches('`').to_owned(),
        kind: kind.to_owned(),
        of: of.to_owned(),
        labels: labels.map(str::to_owned).collect(),
    })
}

/// The metrics of one process, as names and kinds such as `headend_api_writes_total counter`.
///
/// # Errors
/// When the document cannot be read.
pub fn documented(process: &str) -> io::Result<BTreeSet<String>> {
    let rows = table()?.into_iter();
    let rows = rows.filter(|row| row.of == process || row.of == "all");
    Ok(rows
        .map(|row| format!("{} {}", row.name, row.kind))
        .collect())
}

/// The same of what a process answers on `/metrics`. A family that has counted nothing yet is not in it.
#[must_use]
pub fn exposed(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some(format!("{name}{suffix} {kind}"))
    });
    types.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_labels_and_their_values() {
        let line =
            "| `headend_x_total` | counter | gateway | `end`: `Ready`, `Refused`; `code` | `x` |";
        let row = row(line).unwrap();
        assert_eq!(
            (row.name.as_str(), row.of.as_str()),
            ("headend_x_total", "gateway")
        );
        assert_eq!(row.labels, ["end", "Ready", "Refused", "code"]);
        assert_eq!(self::row("|---|---|---|---|---|"), None);
    }

    #[test]
    fn names_are_those_that_a_query_uses() {
        let text = "# HELP headend_api_writes Requests.\n# TYPE headend_api_writes counter\n\
                    headend_api_writes_total 1\n# TYPE headend_blind gauge\n# EOF\n";
        let expected = ["headend_api_writes_total counter", "headend_blind gauge"];
        assert_eq!(exposed(text), expected.map(str::to_owned).into());
        let documented = documented("operator").unwrap();
        assert!(expected.iter().all(|row| documented.contains(*row)));
        assert!(documented.contains("headend_build_info info"));
        assert!(!documented.contains("headend_gateway_holding gauge"));
    }
}
