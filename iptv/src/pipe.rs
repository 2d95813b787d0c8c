//! Channel lists of one row a source: `id|name|url|logo|category|quality|order|category_order`. Rows of one id are sources of one channel.
//! A bad row costs that row only, named by its line.

use std::fmt::Write;

use crate::m3u::Limits;

/// Fields of a row.
const FIELDS: usize = 8;
/// Fields that every row has: id, name, address.
const NEEDED: usize = 3;

/// A list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// The rows, in the list's order.
    pub rows: Vec<Row>,
    /// What was wrong, in the list's order.
    pub problems: Vec<Problem>,
    /// Problems beyond [`Limits::problems`].
    pub problems_left_out: usize,
}

/// One source of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The line, from 1.
    pub line: usize,
    /// What the channel is known by.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The source's address. Bars in it are part of it, where the row has all of its fields.
    pub url: String,
    /// The address of a picture.
    pub logo: Option<String>,
    /// What it is listed in.
    pub category: Option<String>,
    /// What people call the quality, such as `FHD` or `720p`.
    pub quality: Option<String>,
    /// The channel's place in lists.
    pub order: Option<u32>,
    /// The category's place in lists.
    pub category_order: Option<u32>,
}

/// A bad row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it. Never repeats an address.
    pub fault: Fault,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than [`Limits::line_bytes`].
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// No id, name and address.
    #[error(
        "the row has no id, name and address: it is id|name|url|logo|category|quality|order|category_order"
    )]
    FewFields,
    /// An order that is no number; the row stays without it.
    #[error("the {field} of {id:?} is not a whole number")]
    BadNumber {
        /// Which one.
        field: &'static str,
        /// The channel's id.
        id: String,
    },
    /// More rows than [`Limits::entries`].
    #[error("the list has more than {limit} rows; the rest is left out")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// More bytes than [`Limits::bytes`].
    #[error("the list is longer than {limit} bytes; the rest is left out")]
    TooManyBytes {
        /// The limit.
        limit: usize,
    },
}

/// Reads a list. Empty lines, those that begin with `#` and one that names the fields are passed over.
#[must_use]
pub fn parse(bytes: &[u8], limits: Limits) -> List {
    let mut reader = Reader {
        limits,
        list: List::default(),
    };
    let whole = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let read = whole.get(..limits.bytes).unwrap_or(whole);
    for (index, line) in read.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if reader.list.rows.len() >= limits.entries {
            let limit = limits.entries;
            reader.problem(number, Fault::TooManyRows { limit });
            return reader.list;
        }
        if line.len() > limits.line_bytes {
            let limit = limits.line_bytes;
            reader.problem(number, Fault::LineTooLong { limit });
            continue;
        }
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            reader.row(number, text);
        }
    }
    if read.len() < whole.len() {
        let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
        let limit = limits.bytes;
        reader.problem(line, Fault::TooManyBytes { limit });
    }
    reader.list
}

struct Reader {
    limits: Limits,
    list: List,
}

impl Reader {
    fn row(&mut self, line: usize, text: &str) {
        let fields: Vec<&str> = text.split('|').collect();
        let needed = fields.iter().take(NEEDED);
        let there = needed.filter(|field| !field.trim().is_empty()).count();
        if there < NEEDED {
            return self.problem(line, Fault::FewFields);
        }
        // Bars beyond those between fields are the address's, as players have headers behind one.
        let further = fields.len().saturating_sub(FIELDS);
        let (head, tail) = fields.split_at(NEEDED + further);
        let field = |index: usize| {
            let text = tail.get(index).map(|text| text.trim());
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let [id, name, url @ ..] = head else {
            return;
        };
        let id = id.trim().to_owned();
        if line == 1 && id.eq_ignore_ascii_case("id") {
            return;
        }
        let order = self.number(line, &id, "order", field(3));
        let category_order = self.number(line, &id, "category_order", field(4));
        self.list.rows.push(Row {
            line,
            name: name.trim().to_owned(),
            url: url.join("|").trim().to_owned(),
            logo: field(0),
            category: field(1),
            quality: field(2),
            order,
            category_order,
            id,
        });
    }

    fn number(
        &mut self,
        line: usize,
        id: &str,
        field: &'static str,
        text: Option<String>,
    ) -> Option<u32> {
        let number = text?.parse().ok();
        if number.is_none() {
            let id = id.to_owned();
            self.problem(line, Fault::BadNumber { field, id });
        }
        number
    }

    fn problem(&mut self, line: usize, fault: Fault) {
        if self.list.problems.len() < self.limits.problems {
            self.list.problems.push(Problem { line, fault });
        } else {
            self.list.problems_left_out += 1;
        }
    }
}

/// Writes one row. What would end a field or a line is a space.
///
/// # Errors
/// Those of `out`.
pub fn write_row(out: &mut impl Write, row: &Row) -> std::fmt::Result {
    let plain = |text: &str| text.replace(['|', '\r', '\n'], " ");
    let optional = |text: &Option<String>| text.as_deref().map(plain).unwrap_or_default();
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    writeln!(
        out,
        "{}|{}|{}|{}|{}|{}|{}|{}",
        plain(&row.id),
        plain(&row.name),
        row.url.replace(['\r', '\n'], " "),
        optional(&row.logo),
        optional(&row.category),
        optional(&row.quality),
        number(row.order),
        number(row.category_order),
    )
}

/// How good a quality is: about its lines of picture; 0 where nothing is known of it.
#[must_use]
pub fn lines_of(quality: &str) -> u32 {
    let text = quality.to_ascii_lowercase();
    for (word, lines) in [
        ("8k", 4320),
        ("4k", 2160),
        ("uhd", 2160),
        ("qhd", 1440),
        ("fhd", 1080),
        ("full hd", 1080),
        ("hd", 720),
        ("sd", 576),
    ] {
        if text.contains(word) {
            return lines;
        }
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .ok()
        .filter(|lines| *lines <= 4320)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: usize, id: &str, name: &str, url: &str) -> Row {
        Row {
            line,
            id: id.to_owned(),
            name: name.to_owned(),
            url: url.to_owned(),
            ..Row::default()
        }
    }

    fn faults(list: &List) -> Vec<String> {
        list.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_are_read_with_all_their_fields_or_the_first_three() {
        let text = "\u{feff}id|name|url|logo|category|quality|order|category_order\r\n\
            # a note\n\
            101|News One|http://a.example/1|http://logos.example/1.png|News|FHD|3|1\r\n\
            \n\
            102 | Sport | http://a.example/2\n\
            103|Film|http://a.example/3|User-Agent=x|Referer=y||Films|HD||2\n";
        let list = parse(text.as_bytes(), Limits::default());
        assert_eq!(list.problems, []);
        let news = Row {
            logo: Some("http://logos.example/1.png".to_owned()),
            category: Some("News".to_owned()),
            quality: Some("FHD".to_owned()),
            order: Some(3),
            category_order: Some(1),
            ..row(3, "101", "News One", "http://a.example/1")
        };
        let film = Row {
            category: Some("Films".to_owned()),
            quality: Some("HD".to_owned()),
            category_order: Some(2),
            ..row(
                6,
                "103",
                "Film",
                "http://a.example/3|User-Agent=x|Referer=y",
            )
        };
        let sport = row(5, "102", "Sport", "http://a.example/2");
        assert_eq!(list.rows, [news, sport, film]);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line_and_costs_no_other() {
        let long = "x".repeat(100);
        let text = format!(
            "101|One|u\n102|Two\n|Three|u\n104||u\n{long}\n105|Five|u||||first|\n106|Six|u"
        );
        let limits = Limits {
            line_bytes: 99,
            ..Limits::default()
        };
        let list = parse(text.as_bytes(), limits);
        let ids: Vec<_> = list.rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["101", "105", "106"]);
        let few = "the row has no id, name and address: it is id|name|url|logo|category|quality|order|category_order";
        assert_eq!(
            faults(&list),
            [
                format!("line 2: {few}"),
                format!("line 3: {few}"),
                format!("line 4: {few}"),
                "line 5: the line is longer than 99 bytes".to_owned(),
                "line 6: the order of \"105\" is not a whole number".to_owned(),
            ]
        );
    }

    #[test]
    fn lists_are_bounded() {
        let text = "1|One|u\n".repeat(100);
        let of = |limits| parse(text.as_bytes(), limits);
        let rows = of(Limits {
            entries: 7,
            ..Limits::default()
        });
        assert_eq!((rows.rows.len(), rows.problems[0].line), (7, 8));
        let bytes = of(Limits {
            bytes: 20,
            ..Limits::default()
        });
        assert_eq!(bytes.rows.len(), 2);
        assert_eq!(bytes.problems.len(), 2);
        let few = parse(
            "x\n".repeat(50).as_bytes(),
            Limits {
                problems: 3,
                ..Limits::default()
            },
        );
        assert_eq!((few.problems.len(), few.problems_left_out), (3, 47));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let row = Row {
            logo: Some("http://logos.example/1.png".to_owned()),
            quality: Some("HD".to_owned()),
            order: Some(0),
            ..row(1, "101", "News | One\n", "http://a.example/1|User-Agent=x")
        };
        let mut text = String::new();
        write_row(&mut text, &row).unwrap();
        let expected = Row {
            name: "News   One".to_owned(),
            ..row
        };
        assert_eq!(parse(text.as_bytes(), Limits::default()).rows, [expected]);
    }

    #[test]
    fn qualities_are_ordered_by_their_lines() {
        let words = [
            "4K UHD", "1440p", "FHD", "Full HD", "1080i", "hd", "720p", "SD", "480", "best", "",
        ];
        let lines = words.map(lines_of);
        assert_eq!(
            lines,
            [2160, 1440, 1080, 1080, 1080, 720, 720, 576, 480, 0, 0]
        );
    }
}
