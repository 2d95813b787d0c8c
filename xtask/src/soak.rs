//! `cargo xtask soak`: streams side by side on this machine while their sources fail at random. What goes wrong is a line each.

use anyhow::Result;
use clap::Args;

use crate::cluster::ensure_packages;
use crate::steps::{cargo, run};

/// The test that does it.
const TEST: &str = "soak::random_faults_leave_nothing_behind";

/// Plays streams side by side while their sources fail at random, and looks at what is left
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long they play
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// How many there are, each of another kind
    #[arg(long, default_value_t = 5)]
    streams: u32,
    /// What happens when: the same seed, the same schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the task.
pub(crate) fn run_soak(arguments: &Arguments) -> Result<()> {
    ensure_packages(&["ffmpeg"])?;
    let mut test = cargo(&[
        "test",
        "--package",
        "transcoder",
        "--test",
        "it",
        "--",
        "--exact",
        "--ignored",
        "--nocapture",
        TEST,
    ]);
    test.env("HEADEND_SOAK_MINUTES", arguments.minutes.to_string())
        .env("HEADEND_SOAK_STREAMS", arguments.streams.to_string())
        .env("HEADEND_SOAK_SEED", arguments.seed.to_string())
        // What it finds is a line each; the streams' own would hide them.
        .env("HEADEND_TEST_LOG", "off");
    run(test)
}
