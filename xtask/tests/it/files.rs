//! Every file says what it does and stays short enough to be read at one sitting.

use std::fs;
use std::process::Command;

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

/// Of whatever kind: in a document no compiler would object.
#[test]
fn no_file_has_marks_of_a_merge_that_was_not_finished() {
    let mut list = Command::new("git");
    let listed = list.args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut files = listed.split_terminator('\0').peekable();
    assert!(files.peek().is_some(), "git knows no file");
    let marks = ["<", "|", ">"].map(|mark| format!("{} ", mark.repeat(7)));
    for name in files {
        // What is no text, and links to folders, have no lines.
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        let is_mark = |line: &str| marks.iter().any(|mark| line.starts_with(mark));
        let marked = text.lines().position(is_mark);
        assert_eq!(marked, None, "{name}, line (from 0)");
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
