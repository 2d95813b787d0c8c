//! The chart and the settings agree: what the chart sets is read, and what is read is set or has a default that is named here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use gateway::settings::Settings;

/// Read, and left to its default by the chart.
const DEFAULTS: &[&str] = &[
    "HEADEND_ADMIN_LISTEN",
    "HEADEND_LISTEN",
    "HEADEND_WEB_DIRECTORY",
];

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

#[test]
fn the_chart_sets_what_the_gateway_reads() {
    let command = Settings::command();
    let names = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    let mut expected: BTreeSet<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    expected.retain(|name| !DEFAULTS.contains(&name.as_str()));
    assert_eq!(set_by(&["gateway.yaml", "_helpers.tpl"]), expected);
}
