//! Answers for people to read: tables, and fields one a line. What a name has of signs that a terminal would obey is left out.

use std::fmt::Write;

use serde_json::Value;

/// Rows under the names of their columns.
pub(super) fn table(columns: &[&str], rows: &[Value]) -> String {
    let head = columns.iter().map(|column| column.to_uppercase()).collect();
    let cells = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| text(&row[*column]));
        cells.collect::<Vec<String>>()
    });
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut table = String::new();
    for line in &lines {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let padded: Vec<String> = padded.collect();
        table.push_str(padded.join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// The fields of a document, each on a line.
pub(super) fn fields(document: &Value) -> String {
    let mut lines = String::new();
    add(&mut lines, "", document);
    lines
}

fn add(lines: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            let dot = if name.is_empty() { "" } else { "." };
            for (field, value) in fields {
                add(lines, &format!("{name}{dot}{field}"), value);
            }
        }
        Value::Array(values) if values.iter().any(|value| !value.is_string()) => {
            for (index, value) in values.iter().enumerate() {
                let _ = writeln!(lines, "{name}[{index}]: {}", text(value));
            }
        }
        other => {
            let _ = writeln!(lines, "{name}: {}", text(other));
        }
    }
}

/// A value in a line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            let texts: Vec<String> = values.iter().map(text).collect();
            texts.join(", ")
        }
        other => plain(&other.to_string()),
    }
}

/// A text without signs that are none of its own letters.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_under_their_columns() {
        let rows = [
            json!({ "name": "News One", "order": 7, "groups": ["a", "b"] }),
            json!({ "name": "\u{1b}[2JSport\n", "order": 12 }),
        ];
        let expected = [
            "NAME      ORDER  GROUPS",
            "News One  7      a, b",
            "[2JSport  12",
        ];
        let shown = table(&["name", "order", "groups"], &rows);
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
        assert_eq!(table(&["name"], &[]), "NAME\n");
    }

    #[test]
    fn fields_stand_one_a_line() {
        let document = json!({
            "streams": { "active": 1, "phases": { "Live": 1 } }, "formats": ["hls", "ts"], "days": [{ "bytes": 7 }], "note": "a\u{7}b"
        });
        let shown = fields(&document);
        let mut lines: Vec<&str> = shown.lines().collect();
        lines.sort_unstable();
        let expected = [
            "days[0]: {\"bytes\":7}",
            "formats: hls, ts",
            "note: ab",
            "streams.active: 1",
            "streams.phases.Live: 1",
        ];
        assert_eq!(lines, expected);
    }
}
