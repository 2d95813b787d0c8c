//! `cargo xtask bench`: builds what is measured for release and runs the benchmarks. Measures nothing itself.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::demo::ensure_ffmpeg;
use crate::on_cluster::Place;
use crate::steps::{cargo, root, run};

/// Measures the product beside its peers
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Time to the first segment, and what running streams cost, beside FFmpeg's own HLS and a bare pod
    Start(StartArguments),
}

/// Arguments of `start`.
#[derive(Args)]
struct StartArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each start is measured
    #[arg(long, default_value_t = 3)]
    rounds: u8,
    /// Measures only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    #[command(flatten)]
    place: Place,
}

/// What can be measured by itself, under the names that the bench has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time to the first segment, in one process
    Standalone,
    /// Processor and memory of running streams, in one process
    Cost,
    /// Time to the first segment on a cluster
    Cluster,
}

/// Runs the task. A goal that is missed in one process does not keep the cluster's from being looked at.
pub(crate) fn run_bench(arguments: &Arguments) -> Result<()> {
    let Bench::Start(arguments) = &arguments.bench;
    ensure_ffmpeg()?;
    let of_cluster = |part: &Part| *part == Part::Cluster;
    let wanted = Part::value_variants().iter().copied();
    let wanted = wanted.filter(|part| arguments.only.is_none_or(|only| only == *part));
    let (on_cluster, in_process) = wanted.partition::<Vec<_>, _>(of_cluster);
    build(&in_process)?;
    let mut measured = Ok(());
    if !in_process.is_empty() {
        measured = run(bench(arguments, &in_process));
    }
    if !on_cluster.is_empty() && arguments.place.is_there("cold starts on a cluster") {
        let cold = arguments.place.run(bench(arguments, &on_cluster), None);
        measured = measured.and(cold);
    }
    measured
}

/// What runs on the cluster is in its images.
fn build(in_process: &[Part]) -> Result<()> {
    let mut command = cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "e2e",
        "--bins",
    ]);
    if !in_process.is_empty() {
        command.args(["--package", "standalone"]);
    }
    run(command)
}

fn bench(arguments: &StartArguments, parts: &[Part]) -> Command {
    let mut command = Command::new(built("headend-bench"));
    command
        .arg("start")
        .arg("--standalone")
        .arg(built("headend-standalone"));
    command.arg("--rounds").arg(arguments.rounds.to_string());
    for name in parts.iter().filter_map(Part::to_possible_value) {
        command.arg("--only").arg(name.get_name());
    }
    if arguments.json {
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
        let arguments = StartArguments {
            json: true,
            rounds: 5,
            only: None,
            place: Place::default(),
        };
        let command = bench(&arguments, &[Part::Standalone, Part::Cost]);
        let words = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned());
        let words = words.collect::<Vec<_>>();
        assert_eq!(words[..2], ["start", "--standalone"]);
        assert!(
            words[2].ends_with("release/headend-standalone"),
            "{words:?}"
        );
        let rest = [
            "--rounds",
            "5",
            "--only",
            "standalone",
            "--only",
            "cost",
            "--json",
        ];
        assert_eq!(words[3..], rest);
    }
}
