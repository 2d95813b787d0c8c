//! The product on a real cluster, through the chart, with real FFmpeg. Run by `cargo xtask test`, one test after the other.

mod admission;
mod idle;
mod races;
mod refusals;
mod replacement;
mod sources;
mod start;
mod zz_uninstall;

use std::time::Duration;

/// A cold start on a noisy machine.
const START: Duration = Duration::from_secs(60);
/// What follows without a start.
const SOON: Duration = Duration::from_secs(30);
