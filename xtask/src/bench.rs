//! `cargo xtask bench`: builds what is measured for release and runs the benchmarks. Measures nothing itself.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};

use crate::cluster::{self, ensure_packages};
use crate::demo::ensure_ffmpeg;
use crate::on_cluster::Place;
use crate::steps::{cargo, root, run};
use crate::web;

/// Debian's packages of the browser that watches, and of the peer GStreamer.
const VIEWER_PACKAGES: [&str; 5] = [
    "chromium",
    "gstreamer1.0-tools",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
];

/// Debian's package of the presence store.
const REDIS_PACKAGES: [&str; 1] = ["redis-server"];

/// Debian's packages of the peer that serves files, and of a client that asks as fast as it goes.
const SERVE_PACKAGES: [&str; 2] = ["nginx", "wrk"];

/// The gateway's program that measures a check alone.
const CHECKS: &str = "checks";

/// The product in one process.
const STANDALONE: &[&str] = &["standalone"];

/// The player as the start page has it.
const HLS_JS: &str = "gateway/web/dist/hls.js";

/// Measures the product beside its peers
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Time to the first segment and to the first picture, beside FFmpeg, GStreamer and a bare pod
    Start(StartArguments),
    /// What running streams cost, copied and encoded, beside FFmpegs that do the same
    Cost(CostArguments),
    /// How long a stream stands still when its source dies, beside FFmpeg's own reconnecting
    Failover(FailoverArguments),
    /// What a stream that runs for long leaves on disk and in its playlist, beside the usual panel flags
    Soak(SoakArguments),
    /// What LiveStreams cost the operator, memory, requests and time, beside kubectl and a controller that polls
    Scale(ScaleArguments),
    /// What viewers cost Redis, beside a SET for each request
    Presence(PresenceArguments),
    /// What serving viewers costs, beside nginx with and without a check of who they are
    Serve(ServeArguments),
}

/// Arguments of `start`.
#[derive(Args)]
struct StartArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each start is measured
    #[arg(long, default_value_t = 5)]
    rounds: u8,
    /// Measures only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<StartPart>,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `cost`.
#[derive(Args)]
struct CostArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: u8,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    window: u64,
    /// Measures only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<CostPart>,
}

/// Arguments of `failover`.
#[derive(Args)]
struct FailoverArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each source dies
    #[arg(long, default_value_t = 5)]
    rounds: u8,
}

/// Arguments of `soak`.
#[derive(Args)]
struct SoakArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// Minutes between the two looks
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Arguments of `scale`.
#[derive(Args)]
struct ScaleArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// LiveStreams at the most; goals are for 10000
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
}

/// Arguments of `presence`.
#[derive(Args)]
struct PresenceArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: u8,
}

/// Arguments of `serve`.
#[derive(Args)]
struct ServeArguments {
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: u8,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    window: u64,
    /// Measures only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<ServePart>,
}

/// What can be measured of a start by itself, under the names that the bench has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StartPart {
    /// Time to the first complete segment, in one process
    FirstSegment,
    /// First picture and standstill as FFmpeg and hls.js in Chromium see them, in one process
    Viewer,
    /// Time to the first segment on a cluster
    Cluster,
}

/// What can be measured of the costs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CostPart {
    /// Processor and memory of many streams that are passed through
    Copy,
    /// Processor time of a ladder of three rungs
    Ladder,
}

/// What can be measured of serving by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServePart {
    /// Processor time of segments
    Segments,
    /// Playlists whose session is checked on every request
    Playlists,
    /// Viewers who keep time
    Paced,
    /// Memory of 10,000 connections
    Idle,
    /// The check of a session and of a segment's key alone
    Check,
}

/// Runs the task.
pub(crate) fn run_bench(arguments: &Arguments) -> Result<()> {
    match &arguments.bench {
        Bench::Scale(_) | Bench::Presence(_) => {}
        Bench::Start(_)
        | Bench::Cost(_)
        | Bench::Failover(_)
        | Bench::Soak(_)
        | Bench::Serve(_) => ensure_ffmpeg()?,
    }
    match &arguments.bench {
        Bench::Start(arguments) => start(arguments),
        Bench::Cost(arguments) => in_process(cost_bench(arguments)),
        Bench::Failover(arguments) => {
            let mut command = bench("failover", arguments.json);
            command.args(["--rounds", &arguments.rounds.to_string()]);
            in_process(command)
        }
        Bench::Soak(arguments) => {
            let mut command = bench("soak", arguments.json);
            command.args(["--minutes", &arguments.minutes.to_string()]);
            in_process(command)
        }
        Bench::Scale(arguments) => scale(arguments),
        Bench::Presence(arguments) => {
            ensure_packages(&REDIS_PACKAGES)?;
            build(&[])?;
            let mut command = program("presence", arguments.json);
            command.args(["--rounds", &arguments.rounds.to_string()]);
            run(command)
        }
        Bench::Serve(arguments) => {
            ensure_packages(&[&SERVE_PACKAGES[..], &REDIS_PACKAGES[..]].concat())?;
            run(cargo(&[
                "build",
                "--release",
                "--locked",
                "--package",
                "gateway",
                "--example",
                CHECKS,
            ]))?;
            in_process(serve_bench(arguments))
        }
    }
}

/// On an API server alone, which has the test cluster's programs.
fn scale(arguments: &ScaleArguments) -> Result<()> {
    ensure_packages(&[&REDIS_PACKAGES[..], &["openssl"]].concat())?;
    let path = cluster::search_path()?;
    build(&["operator"])?;
    let mut command = program("scale", arguments.json);
    command.env("PATH", path).arg("--operator");
    command.arg(built("headend-operator"));
    command.args(["--objects", &arguments.objects.to_string()]);
    run(command)
}

/// A goal that is missed in one process does not keep the cluster's from being looked at.
fn start(arguments: &StartArguments) -> Result<()> {
    let of_cluster = |part: &StartPart| *part == StartPart::Cluster;
    let wanted = StartPart::value_variants().iter().copied();
    let wanted = wanted.filter(|part| arguments.only.is_none_or(|only| only == *part));
    let (on_cluster, in_process) = wanted.partition::<Vec<_>, _>(of_cluster);
    if in_process.contains(&StartPart::Viewer) {
        prepare_viewer()?;
    }
    build(if in_process.is_empty() {
        &[]
    } else {
        STANDALONE
    })?;
    let mut measured = Ok(());
    if !in_process.is_empty() {
        measured = run(start_bench(arguments, &in_process));
    }
    if !on_cluster.is_empty() && arguments.place.is_there("cold starts on a cluster") {
        let command = start_bench(arguments, &on_cluster);
        let cold = arguments.place.run(command, None);
        measured = measured.and(cold);
    }
    measured
}

/// What watches and what is watched beside the product, installed where it is missing.
fn prepare_viewer() -> Result<()> {
    ensure_packages(&VIEWER_PACKAGES)?;
    web::build()?;
    let file = root().join(HLS_JS);
    ensure!(
        file.exists(),
        "{HLS_JS} is missing: install Node with npm and run this again, or leave `viewer` out"
    );
    Ok(())
}

fn in_process(command: Command) -> Result<()> {
    build(STANDALONE)?;
    run(command)
}

/// The bench, and these packages for it; what runs on the cluster is in its images.
fn build(packages: &[&str]) -> Result<()> {
    let mut command = cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "e2e",
        "--bins",
    ]);
    for package in packages {
        command.args(["--package", package]);
    }
    run(command)
}

fn start_bench(arguments: &StartArguments, parts: &[StartPart]) -> Command {
    let mut command = bench("start", arguments.json);
    command.args(["--rounds", &arguments.rounds.to_string()]);
    if parts.contains(&StartPart::Viewer) {
        command.arg("--hls-js").arg(root().join(HLS_JS));
    }
    only(&mut command, parts);
    command
}

fn cost_bench(arguments: &CostArguments) -> Command {
    let mut command = bench("cost", arguments.json);
    command.args(["--rounds", &arguments.rounds.to_string()]);
    command.args(["--window", &arguments.window.to_string()]);
    only(&mut command, arguments.only.as_slice());
    command
}

fn serve_bench(arguments: &ServeArguments) -> Command {
    let mut command = bench("serve", arguments.json);
    command.args(["--rounds", &arguments.rounds.to_string()]);
    command.args(["--window", &arguments.window.to_string()]);
    command.arg("--checks").arg(built("examples").join(CHECKS));
    only(&mut command, arguments.only.as_slice());
    command
}

fn only<Part: ValueEnum>(command: &mut Command, parts: &[Part]) {
    for name in parts.iter().filter_map(Part::to_possible_value) {
        command.arg("--only").arg(name.get_name());
    }
}

/// The bench of that name on the product in one process.
fn bench(name: &str, json: bool) -> Command {
    let mut command = program(name, json);
    command.arg("--standalone").arg(built("headend-standalone"));
    command
}

/// The bench of that name.
fn program(name: &str, json: bool) -> Command {
    let mut command = Command::new(built("headend-bench"));
    command.arg(name);
    if json {
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

    fn words(command: &Command) -> Vec<String> {
        let words = command.get_args();
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_bench_is_told_what_to_measure_and_how_to_say_it() {
        let arguments = StartArguments {
            json: true,
            rounds: 3,
            only: None,
            place: Place::default(),
        };
        let words = words(&start_bench(&arguments, &[StartPart::FirstSegment]));
        assert_eq!(words[..3], ["start", "--json", "--standalone"]);
        assert!(
            words[3].ends_with("release/headend-standalone"),
            "{words:?}"
        );
        assert_eq!(words[4..], ["--rounds", "3", "--only", "first-segment"]);
    }

    #[test]
    fn without_a_part_all_parts_are_measured() {
        let of = |only| CostArguments {
            json: false,
            rounds: 5,
            window: 20,
            only,
        };
        let all = words(&cost_bench(&of(None)));
        assert_eq!(all[3..], ["--rounds", "5", "--window", "20"]);
        let one = words(&cost_bench(&of(Some(CostPart::Ladder))));
        assert_eq!(one[7..], ["--only", "ladder"]);
    }

    #[test]
    fn serving_is_measured_with_the_program_that_checks() {
        let words = words(&serve_bench(&ServeArguments {
            json: false,
            rounds: 3,
            window: 4,
            only: Some(ServePart::Paced),
        }));
        assert_eq!(words[3..8], ["--rounds", "3", "--window", "4", "--checks"]);
        assert!(words[8].ends_with("release/examples/checks"), "{words:?}");
        assert_eq!(words[9..], ["--only", "paced"]);
    }
}
