//! A channel's slug from its names: the same list gives the same slugs on every machine, today and tomorrow.
//! Nothing here makes slugs unique: two channels with one slug are an error that a person solves.

use api::live_stream::NAME_MAXIMUM;
use sha2::{Digest, Sha256};

/// Hexadecimal digits that stand for what a slug cannot hold.
const DIGEST_DIGITS: usize = 8;

/// The slug of a channel with that name and, where the name has no letter a slug can hold, that guide id.
#[must_use]
pub fn derive(name: &str, guide_id: Option<&str>) -> String {
    [Some(name), guide_id]
        .into_iter()
        .flatten()
        .map(folded)
        .find(|slug| !slug.is_empty())
        .map_or_else(|| format!("channel-{}", digest(name)), shortened)
}

/// Letters a to z, digits and single hyphens; nothing else.
fn folded(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            'a'..='z' | '0'..='9' => slug.push(character),
            '+' => push_word(&mut slug, "plus"),
            '&' => push_word(&mut slug, "and"),
            // Part of a word, not a gap: O'Neill, D’Arte.
            '\'' | '’' => {}
            _ => match without_accent(character) {
                Some(letters) => slug.push_str(letters),
                None => gap(&mut slug),
            },
        }
    }
    slug.trim_end_matches('-').to_owned()
}

fn gap(slug: &mut String) {
    if !slug.is_empty() && !slug.ends_with('-') {
        slug.push('-');
    }
}

fn push_word(slug: &mut String, word: &str) {
    gap(slug);
    slug.push_str(word);
    gap(slug);
}

fn without_accent(character: char) -> Option<&'static str> {
    Some(match character {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' | 'ä' => "a",
        'ç' | 'ć' | 'č' | 'ċ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ł' | 'ļ' | 'ľ' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' => "o",
        'ŕ' | 'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ť' | 'ţ' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ž' | 'ż' => "z",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        // Left over when a capital İ becomes small.
        '\u{307}' => "",
        _ => return None,
    })
}

fn shortened(slug: String) -> String {
    if slug.len() <= NAME_MAXIMUM {
        return slug;
    }
    let head = &slug[..NAME_MAXIMUM - DIGEST_DIGITS - 1];
    format!("{}-{}", head.trim_end_matches('-'), digest(&slug))
}

fn digest(text: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(text.as_bytes()));
    digits.truncate(DIGEST_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use api::names::is_slug;

    use super::*;

    #[test]
    fn slugs_are_what_people_would_write() {
        for (name, slug) in [
            ("News One", "news-one"),
            ("  BBC 1 (HD) ", "bbc-1-hd"),
            ("Canal+", "canal-plus"),
            ("A&E", "a-and-e"),
            ("Télé Québec", "tele-quebec"),
            ("Das Erste – ARD", "das-erste-ard"),
            ("TV İstanbul", "tv-istanbul"),
            ("Sport's Best", "sports-best"),
        ] {
            assert_eq!(derive(name, None), slug);
            assert!(is_slug(slug));
        }
    }

    #[test]
    fn names_in_other_scripts_fall_back_to_the_guide_id_and_then_to_a_digest() {
        assert_eq!(derive("Первый канал", Some("1tv.ru")), "1tv-ru");
        let digested = derive("Первый канал", None);
        assert!(
            digested.starts_with("channel-") && is_slug(&digested),
            "{digested}"
        );
        assert_ne!(digested, derive("Второй канал", None));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let one = derive(&format!("{} one", "very long name ".repeat(5)), None);
        let two = derive(&format!("{} two", "very long name ".repeat(5)), None);
        assert!(is_slug(&one) && is_slug(&two), "{one} {two}");
        assert_ne!(one, two);
    }
}
