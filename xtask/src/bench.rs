//! `cargo xtask bench`: builds what is measured for release and runs the benchmarks. Measures nothing itself.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::demo::ensure_ffmpeg;
use crate::steps::{cargo, root, run};

/// Measures the product beside its peers
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Time to the first segment, and what running streams cost, beside FFmpeg's own HLS
    Start {
        /// One JSON object per figure instead of a table
        #[arg(long)]
        json: bool,
        /// How often each start is measured
        #[arg(long, default_value_t = 3)]
        rounds: u8,
        /// Measures only this part: `standalone` or `cost`
        #[arg(long, value_name = "PART")]
        only: Option<String>,
    },
}

/// Runs the task.
pub(crate) fn run_bench(arguments: &Arguments) -> Result<()> {
    ensure_ffmpeg()?;
    let packages = ["--package", "standalone", "--package", "e2e", "--bins"];
    run(cargo(
        &[&["build", "--release", "--locked"], packages.as_slice()].concat(),
    ))?;
    run(bench(&arguments.bench))
}

fn bench(bench: &Bench) -> Command {
    let Bench::Start { json, rounds, only } = bench;
    let mut command = Command::new(built("headend-bench"));
    command
        .arg("start")
        .arg("--standalone")
        .arg(built("headend-standalone"));
    command.arg("--rounds").arg(rounds.to_string());
    if let Some(part) = only {
        command.arg("--only").arg(part);
    }
    if *json {
        command.arg("--json");
    }
    command
}

/// Where cargo puts a program that is built for release.
fn built(program: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_is_told_what_to_measure_and_how_to_say_it() {
        let command = bench(&Bench::Start {
            json: true,
            rounds: 5,
            only: Some("cost".to_owned()),
        });
        let words = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned());
        let words = words.collect::<Vec<_>>();
        assert_eq!(words[..2], ["start", "--standalone"]);
        assert!(
            words[2].ends_with("release/headend-standalone"),
            "{words:?}"
        );
        assert_eq!(words[3..], ["--rounds", "5", "--only", "cost", "--json"]);
    }
}
