//! The chart and the settings agree: what the chart sets is read, and what is read is set or has a default that is named here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use operator::settings::Settings;

/// Read, and left to its default by the chart.
const DEFAULTS: &[&str] = &["HEADEND_ADMIN_LISTEN"];

/// Names of variables in templates of the chart.
fn set_by(templates: &[&str]) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/headend/templates");
    let texts = templates
        .iter()
        .map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let names = |text: String| -> Vec<String> {
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- name: HEADEND_"));
        lines.map(|name| format!("HEADEND_{name}")).collect()
    };
    texts.flat_map(names).collect()
}

/// Names of variables that a subcommand reads.
fn read_by(subcommand: &str) -> BTreeSet<String> {
    let command = Settings::command();
    let command = command.find_subcommand(subcommand).unwrap();
    let names = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_chart_sets_what_the_operator_reads() {
    let mut expected = read_by("run");
    expected.retain(|name| !DEFAULTS.contains(&name.as_str()));
    assert_eq!(set_by(&["operator.yaml", "_helpers.tpl"]), expected);
}

#[test]
fn the_chart_sets_only_what_sweeper_and_uninstall_read() {
    for (template, subcommand) in [("sweeper.yaml", "sweep"), ("uninstall.yaml", "uninstall")] {
        let unknown: Vec<String> = set_by(&[template])
            .difference(&read_by(subcommand))
            .cloned()
            .collect();
        assert_eq!(unknown, Vec::<String>::new(), "{template}");
    }
}
