//! `cargo xtask`: the developer tasks. A table from task to commands, printed as they run; never linked into the product.

mod cluster;
mod crds;
mod steps;
mod test;
mod web;

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
    /// Rewrites crds/ from the types in `api`
    Crds,
    /// A real Kubernetes for tests (needs root)
    Cluster(cluster::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Test(arguments) => test::run_all(&arguments),
        Task::Crds => crds::run(),
        Task::Cluster(arguments) => cluster::run(arguments),
    }
}
