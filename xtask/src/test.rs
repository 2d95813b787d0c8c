//! `cargo xtask test`: every test there is, in the order in which they fail fastest. What CI runs; never skips anything in silence.

use std::num::NonZero;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::cluster::ensure_packages;
use crate::on_cluster::Place;
use crate::promtool;
use crate::steps::{cargo, run};
use crate::web;

/// Programs that tests of crates run for real.
const PACKAGES: &[&str] = &[
    "ffmpeg",
    "redis-server",
    "ca-certificates",
    // A cache in front of a gateway.
    "nginx",
    // Players that play what the product serves.
    "chromium",
    "mpv",
    "vlc-bin",
    "vlc-plugin-base",
];

/// Tests of the start page's player in a browser.
const BROWSER: &str = "players::browser::";

/// What of the chart is off unless somebody wants it, and is to be sound all the same.
const MONITORING: &str = "monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true";

/// Runs every test: format, lints, crates, chart, and the product on a real cluster
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Runs only the cluster's tests whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs the task.
pub(crate) fn run_all(arguments: &Arguments) -> Result<()> {
    ensure_packages(PACKAGES)?;
    if arguments.only.is_none() {
        promtool::ensure_there()?;
        let has_player = web::build()?;
        crates(has_player)?;
    }
    if !arguments
        .place
        .is_there("the tests on a cluster (chart, e2e)")
    {
        return Ok(());
    }
    run(cargo(&["test", "--package", "e2e", "--no-run"]))?;
    let lint = [
        "helm",
        "lint",
        "--strict",
        "charts/headend",
        "--set",
        MONITORING,
    ];
    arguments.place.run(end_to_end(arguments), Some(&lint))
}

/// Format, lints and the tests of every crate. What needs the start page's player is left out where that could not be built.
fn crates(has_player: bool) -> Result<()> {
    run(cargo(&["fmt", "--all", "--", "--check"]))?;
    run(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))?;
    // Most of them wait for media to be played most of the time.
    let threads = 3 * std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut test = cargo(&["test", "--workspace", "--exclude", "e2e", "--locked", "--"]);
    test.arg(format!("--test-threads={threads}"));
    if !has_player {
        eprintln!("\nLEFT OUT: {BROWSER}, which plays with the start page's player");
        test.args(["--skip", BROWSER]);
    }
    run(test)
}

/// The command that runs the tests of crate `e2e`.
fn end_to_end(arguments: &Arguments) -> Command {
    let mut test = cargo(&[
        "test",
        "--package",
        "e2e",
        "--offline",
        "--",
        "--test-threads=1",
        "--nocapture",
    ]);
    test.args(&arguments.only);
    test
}
