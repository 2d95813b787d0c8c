//! The chart and the settings agree: what the chart sets is read, and what is read is set or has a default that is named here.

use std::collections::BTreeSet;

use clap::CommandFactory;
use operator::settings::Settings;
use testkit::chart::{variables_read, variables_set};

/// Read, and left to its default by the chart.
const DEFAULTS: &[&str] = &["HEADEND_ADMIN_LISTEN"];

fn read_by(subcommand: &str) -> BTreeSet<String> {
    variables_read(Settings::command().find_subcommand(subcommand).unwrap())
}

#[test]
fn the_chart_sets_what_the_operator_reads() {
    let mut expected = read_by("run");
    expected.retain(|name| !DEFAULTS.contains(&name.as_str()));
    let set = variables_set(&["operator.yaml", "_helpers.tpl"]).unwrap();
    assert_eq!(set, expected);
}

#[test]
fn the_chart_sets_only_what_sweeper_and_uninstall_read() {
    for (template, subcommand) in [("sweeper.yaml", "sweep"), ("uninstall.yaml", "uninstall")] {
        let unknown = &variables_set(&[template]).unwrap() - &read_by(subcommand);
        assert_eq!(unknown, BTreeSet::new(), "{template}");
    }
}
