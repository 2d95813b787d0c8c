//! Attribute lists of HLS tags: `NAME=value,NAME="quoted, value"`. What is no attribute is passed over, never an error.

/// The attributes of a list, in its order; quotes are taken off.
pub(super) fn attributes(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let Some(equals) = rest.find('=') else {
                rest = "";
                return None;
            };
            let name = rest[..equals].trim().trim_start_matches(',').trim();
            let value = &rest[equals + 1..];
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => value.split_once(',').unwrap_or((value, "")),
            };
            rest = after.trim_start_matches([',', ' ']);
            if !name.is_empty() {
                return Some((name, value.trim()));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Vec<(&str, &str)> {
        attributes(list).collect()
    }

    #[test]
    fn values_may_be_quoted_and_contain_what_separates() {
        assert_eq!(
            read(
                "BANDWIDTH=1280000,CODECS=\"avc1.64001f,mp4a.40.2\", NAME=\"a=b\",RESOLUTION=1280x720"
            ),
            [
                ("BANDWIDTH", "1280000"),
                ("CODECS", "avc1.64001f,mp4a.40.2"),
                ("NAME", "a=b"),
                ("RESOLUTION", "1280x720"),
            ]
        );
    }

    #[test]
    fn what_is_broken_ends_somewhere() {
        assert_eq!(
            read("METHOD=AES-128,URI=\"open"),
            [("METHOD", "AES-128"), ("URI", "open")]
        );
        assert_eq!(read("nothing"), []);
        assert_eq!(read(",,=x,A=1,,"), [("A", "1")]);
        assert_eq!(read("=,=,="), []);
    }
}
