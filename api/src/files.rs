//! Addresses of files: `file:///loops/barker.ts` is a path beneath the directory that a class offers. Pure: knows no directory, opens
//! nothing, and is no guard against links, which only whoever opens the file can be.

use percent_encoding::percent_decode_str;

/// The scheme of such addresses.
pub const FILE_SCHEME: &str = "file";

/// Bytes of a path at most.
const PATH_MAXIMUM: usize = 1024;

/// What is wrong with the address of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFile {
    /// It names a machine, or no path that begins at the top.
    #[error("is not file:/// and a path")]
    NoPath,
    /// Such marks end a path.
    #[error("has a query or a fragment (write %3F for ?, %23 for #)")]
    Suffix,
    /// Between two slashes, before the first or after the last, there is nothing.
    #[error("names a directory, or has two slashes in a row")]
    Empty,
    /// `.` or `..`.
    #[error("has dots for directories")]
    Dots,
    /// A zero, a line break, a slash that is no separator.
    #[error("has a character that no name of a file should have")]
    Character,
    /// It is no text.
    #[error("is not UTF-8")]
    NotText,
    /// It is too long.
    #[error("has more than {PATH_MAXIMUM} bytes")]
    TooLong,
}

/// The path that an address of a file names: relative, of names alone, never empty. `None` for an address that is none of a file.
///
/// # Errors
/// What is wrong with the address.
pub fn path_of(address: &str) -> Option<Result<String, InvalidFile>> {
    let (scheme, rest) = address.split_once(':')?;
    let is_file = scheme.eq_ignore_ascii_case(FILE_SCHEME);
    is_file.then(|| path(rest))
}

fn path(rest: &str) -> Result<String, InvalidFile> {
    let path = rest.strip_prefix("///").ok_or(InvalidFile::NoPath)?;
    if path.contains(['?', '#']) {
        return Err(InvalidFile::Suffix);
    }
    // Decoded after it is taken apart, so that a slash that was encoded stays within its name, where it is refused.
    let names: Result<Vec<String>, _> = path.split('/').map(name).collect();
    let path = names?.join("/");
    if path.len() > PATH_MAXIMUM {
        return Err(InvalidFile::TooLong);
    }
    Ok(path)
}

fn name(encoded: &str) -> Result<String, InvalidFile> {
    let name = percent_decode_str(encoded).decode_utf8();
    let name = name.map_err(|_| InvalidFile::NotText)?;
    match &*name {
        "" => Err(InvalidFile::Empty),
        "." | ".." => Err(InvalidFile::Dots),
        name if name.contains(|letter: char| letter == '/' || letter.is_control()) => {
            Err(InvalidFile::Character)
        }
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_file_is_a_path_of_names_or_refused() {
        let long = format!("file:///{}", "a/".repeat(PATH_MAXIMUM / 2) + "b");
        for (address, expected) in [
            ("file:///one.ts", Ok("one.ts")),
            ("FILE:///loops/barker.ts", Ok("loops/barker.ts")),
            ("file:///a%20b/%C3%A9%3F%23.mp4", Ok("a b/é?#.mp4")),
            ("file:///..a/b../...", Ok("..a/b../...")),
            ("file:///C:/one.ts", Ok("C:/one.ts")),
            ("file:///a%2525", Ok("a%25")),
            ("file:///100%", Ok("100%")),
            ("file:", Err(InvalidFile::NoPath)),
            ("file:one.ts", Err(InvalidFile::NoPath)),
            ("file:/one.ts", Err(InvalidFile::NoPath)),
            ("file://host/one.ts", Err(InvalidFile::NoPath)),
            ("file://localhost/one.ts", Err(InvalidFile::NoPath)),
            ("file:///one.ts?a", Err(InvalidFile::Suffix)),
            ("file:///one.ts#a", Err(InvalidFile::Suffix)),
            ("file:///", Err(InvalidFile::Empty)),
            ("file:////etc/passwd", Err(InvalidFile::Empty)),
            ("file:///loops/", Err(InvalidFile::Empty)),
            ("file:///../etc/passwd", Err(InvalidFile::Dots)),
            ("file:///a/./b", Err(InvalidFile::Dots)),
            ("file:///a/%2e%2E/b", Err(InvalidFile::Dots)),
            ("file:///a/.%2e", Err(InvalidFile::Dots)),
            ("file:///a%2fb", Err(InvalidFile::Character)),
            (
                "file:///..%2f..%2fetc%2fpasswd",
                Err(InvalidFile::Character),
            ),
            ("file:///one.ts%00.mp4", Err(InvalidFile::Character)),
            ("file:///one%0a.ts", Err(InvalidFile::Character)),
            ("file:///one\n.ts", Err(InvalidFile::Character)),
            ("file:///%ff.ts", Err(InvalidFile::NotText)),
            (&long, Err(InvalidFile::TooLong)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(path_of(address), Some(expected), "{address}");
        }
        for address in ["http://a.example/file:///x", "files:///x", "", "/one.ts"] {
            assert_eq!(path_of(address), None, "{address}");
        }
    }
}
