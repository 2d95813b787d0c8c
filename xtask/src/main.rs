//! `cargo xtask`: the developer tasks. A table from task to commands, printed as they run; never linked into the product.

mod bench;
mod cluster;
mod crds;
mod demo;
mod on_cluster;
mod promtool;
mod soak;
mod steps;
mod test;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks of Headend")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every test: format, lints, crates, chart, and the product on a real cluster
    Test(test::Arguments),
    /// Plays two synthetic channels, or a channel list of yours, on this machine
    Demo(demo::Arguments),
    /// Measures the product beside its peers
    Bench(bench::Arguments),
    /// Plays streams side by side while their sources fail at random, and looks at what is left
    Soak(soak::Arguments),
    /// Rewrites crds/ from the types in `api`
    Crds,
    /// A real Kubernetes for tests (needs root)
    Cluster(cluster::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Test(arguments) => test::run_all(&arguments),
        Task::Demo(arguments) => demo::run_demo(&arguments),
        Task::Bench(arguments) => bench::run_bench(&arguments),
        Task::Soak(arguments) => soak::run_soak(&arguments),
        Task::Crds => crds::run(),
        Task::Cluster(arguments) => cluster::run(arguments),
    }
}
