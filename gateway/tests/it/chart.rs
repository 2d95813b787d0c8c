//! The chart and the settings agree: what the chart sets is read, and what is read is set or has a default that is named here.

use clap::CommandFactory;
use gateway::settings::Settings;
use testkit::chart::{variables_read, variables_set};

/// Read, and left to its default by the chart.
const DEFAULTS: &[&str] = &[
    "HEADEND_ADMIN_LISTEN",
    "HEADEND_LISTEN",
    "HEADEND_WEB_DIRECTORY",
];

#[test]
fn the_chart_sets_what_the_gateway_reads() {
    let mut expected = variables_read(&Settings::command());
    expected.retain(|name| !DEFAULTS.contains(&name.as_str()));
    let set = variables_set(&["gateway.yaml", "_helpers.tpl"]).unwrap();
    assert_eq!(set, expected);
}
