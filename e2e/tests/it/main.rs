//! The product on a real cluster, through the chart, with real FFmpeg. Run by `cargo xtask test`, one test after the other.

mod admission;
mod chart;
mod idle;
mod nodes;
mod outputs;
mod providers;
mod races;
mod refusals;
mod replacement;
mod sources;
mod start;
mod upgrade;
mod warm;
mod zz_uninstall;

use std::time::Duration;

use api::LiveStream;
use api::live_stream::Phase;

/// A cold start on a noisy machine.
const START: Duration = Duration::from_secs(60);
/// What follows without a start.
const SOON: Duration = Duration::from_secs(30);

/// The phase of a stream, once it has one.
fn phase(stream: &LiveStream) -> Option<Phase> {
    stream.status.as_ref()?.phase
}
