//! Text from elsewhere, bounded before it gets into a status, an event or a log.

/// Longest message taken over from a pod or a person, in bytes; an event's note may have 1024.
const LONGEST: usize = 800;

/// The text without control characters, at most as long as a message may be.
pub(crate) fn clipped(text: &str) -> String {
    let mut clipped = String::new();
    let plain = text
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one });
    for character in plain {
        if clipped.len() + character.len_utf8() > LONGEST {
            clipped.push('…');
            break;
        }
        clipped.push(character);
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_loses_its_controls() {
        assert_eq!(clipped("one\ntwo\u{1b}[31m"), "one two [31m");
        let long = clipped(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST / 2 + 1);
        assert!(long.ends_with('…'));
    }
}
