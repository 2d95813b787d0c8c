//! Every file says what it does and stays short enough to be read at one sitting.

use std::fs;

use crate::{root, rust_files};

/// Lines before the tests of a file at most.
const LONGEST: usize = 400;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, usize, &str)] = &[];

#[test]
fn every_file_opens_with_what_it_does() {
    for path in rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} does not open with //!",
            path.display()
        );
    }
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let root = root();
    for path in rust_files() {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if name.contains("/tests/") || name.ends_with("/tests.rs") {
            continue;
        }
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        let limit = LONGER
            .iter()
            .find(|(file, ..)| *file == name)
            .map_or(LONGEST, |(_, limit, _)| *limit);
        assert!(
            lines <= limit,
            "{name} has {lines} lines before its tests, at most {limit}"
        );
    }
}

#[test]
fn an_exception_that_is_no_longer_needed_is_removed() {
    for (file, _, reason) in LONGER {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        assert!(lines > LONGEST, "{file} is short enough now");
        assert!(!reason.is_empty());
    }
}
