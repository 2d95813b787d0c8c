//! `cargo xtask`: the developer tasks. A table from task to commands, printed as they run; never linked into the product.

mod cluster;
mod crds;
mod steps;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks of Headend")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Rewrites crds/ from the types in `api`
    Crds,
    /// A real Kubernetes for tests (needs root)
    Cluster(cluster::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Crds => crds::run(),
        Task::Cluster(arguments) => cluster::run(arguments),
    }
}
