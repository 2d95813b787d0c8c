//! `key="value"` lists as `#EXTINF` and `#EXTM3U` carry them, read the way lists in the wild are written.
//! Never fails: what cannot be an attribute is skipped.

/// The attributes (keys in lower case) and, after the comma that ends them, the name.
pub(super) fn parse(text: &str) -> (Vec<(String, String)>, Option<&str>) {
    let mut attributes = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(name) = rest.strip_prefix(',') {
            return (attributes, Some(name.trim()));
        }
        if rest.is_empty() {
            return (attributes, None);
        }
        let end = rest
            .find(|character: char| {
                character == '=' || character == ',' || character.is_whitespace()
            })
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix('=') else {
            // A word without a value.
            rest = after;
            continue;
        };
        let (value, after) = value(after);
        if !key.is_empty() {
            attributes.push((key.to_ascii_lowercase(), value.trim().to_owned()));
        }
        rest = after;
    }
}

fn value(text: &str) -> (&str, &str) {
    match text.strip_prefix('"') {
        Some(quoted) => match closing_quote(quoted) {
            Some(end) => (&quoted[..end], &quoted[end + 1..]),
            // Never closed: what follows the last comma is the name.
            None => quoted.split_at(quoted.rfind(',').unwrap_or(quoted.len())),
        },
        None => {
            let ends = |character: char| character == ',' || character.is_whitespace();
            text.split_at(text.find(ends).unwrap_or(text.len()))
        }
    }
}

/// The quote that ends a value: quotes inside of it are followed by something else than a gap, a comma or the end.
fn closing_quote(text: &str) -> Option<usize> {
    let mut quotes = text.match_indices('"').map(|(index, _)| index);
    let ends = |index: &usize| {
        text[index + 1..]
            .chars()
            .next()
            .is_none_or(|next| next == ',' || next.is_whitespace())
    };
    quotes.find(ends).or_else(|| text.rfind('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn values_may_hold_commas_and_the_name_may_too() {
        assert_eq!(
            parse(r#" tvg-id="a,b" group-title="News, World",One, Two"#),
            (
                pairs(&[("tvg-id", "a,b"), ("group-title", "News, World")]),
                Some("One, Two")
            )
        );
    }

    #[test]
    fn values_may_stand_without_quotes_and_keys_in_any_case() {
        assert_eq!(
            parse("TVG-ID=one tvg-chno=7,One"),
            (pairs(&[("tvg-id", "one"), ("tvg-chno", "7")]), Some("One"))
        );
    }

    #[test]
    fn quotes_inside_a_value_belong_to_it() {
        assert_eq!(
            parse(r#"tvg-name="The "Big"-Show" tvg-id="x",Big"#),
            (
                pairs(&[("tvg-name", r#"The "Big"-Show"#), ("tvg-id", "x")]),
                Some("Big")
            )
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_nothing_but_its_value() {
        assert_eq!(
            parse(r#"tvg-id="one,Name"#),
            (pairs(&[("tvg-id", "one")]), Some("Name"))
        );
    }

    #[test]
    fn attributes_may_touch_each_other_and_words_without_value_are_skipped() {
        assert_eq!(
            parse(r#"tvg-id="one"tvg-name="two" lonely ,Name"#).1,
            Some("Name")
        );
        assert_eq!(parse("lonely"), (vec![], None));
        assert_eq!(parse(""), (vec![], None));
        assert_eq!(parse(",,"), (vec![], Some(",")));
    }
}
