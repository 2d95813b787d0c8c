//! `docs/metrics.md` as data, and what a process exposes in the same form, so that tests can hold the two together. Judges nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// The rows of the table, as names and kinds such as `headend_api_writes_total counter`, of every process or of one.
///
/// # Errors
/// When the document cannot be read.
pub fn documented(process: Option<&str>) -> io::Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(path)?;
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let (name, kind, of) = (cells.next()?, cells.next()?, cells.next()?);
        let is_of = process.is_none_or(|process| of == process || of == "all");
        is_of.then(|| format!("{} {kind}", name.trim_end_matches('`')))
    });
    Ok(rows.collect())
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
    fn names_are_those_that_a_query_uses() {
        let text = "# HELP headend_api_writes Requests.\n# TYPE headend_api_writes counter\n\
                    headend_api_writes_total 1\n# TYPE headend_blind gauge\n# EOF\n";
        let expected = ["headend_api_writes_total counter", "headend_blind gauge"];
        assert_eq!(exposed(text), expected.map(str::to_owned).into());
        let documented = documented(Some("operator")).unwrap();
        assert!(expected.iter().all(|row| documented.contains(*row)));
        assert!(documented.contains("headend_build_info info"));
        assert!(!documented.contains("headend_gateway_holding gauge"));
    }
}
