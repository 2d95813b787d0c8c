//! `cargo xtask test`: every test there is, in the order in which they fail fastest. What CI runs; never skips anything in silence.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster::ensure_packages;
use crate::steps::{cargo, root, run};
use crate::web;

/// Programs that tests of crates run for real.
const PACKAGES: &[&str] = &["ffmpeg", "redis-server", "ca-certificates"];

/// Runs every test: format, lints, crates, chart, and the product on a real cluster
#[derive(Args)]
pub(crate) struct Arguments {
    /// Leaves out the tests that need a cluster (and root)
    #[arg(long, conflicts_with = "kubeconfig")]
    no_cluster: bool,
    /// Runs the cluster's tests on this cluster instead of one of its own; its images must be there already
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Leaves the cluster up when its tests are over
    #[arg(long)]
    keep: bool,
    /// Runs only the cluster's tests whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs the task.
pub(crate) fn run_all(arguments: &Arguments) -> Result<()> {
    ensure_packages(PACKAGES)?;
    if arguments.only.is_none() {
        web::build()?;
        crates()?;
    }
    if arguments.no_cluster {
        eprintln!("\nLEFT OUT: the tests on a cluster (chart, e2e), because of --no-cluster");
        return Ok(());
    }
    run(cargo(&["test", "--package", "e2e", "--no-run"]))?;
    match &arguments.kubeconfig {
        Some(file) => run(end_to_end(None, arguments, Some(file))?),
        None => on_own_cluster(arguments),
    }
}

/// Format, lints and the tests of every crate.
fn crates() -> Result<()> {
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
    run(cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "e2e",
        "--locked",
    ]))
}

/// Brings a cluster up, tests on it, and takes it away, also when a test failed.
fn on_own_cluster(arguments: &Arguments) -> Result<()> {
    // By cargo, not by this program's own file: building the tests may have replaced that.
    let cluster = |words: &[&str]| cargo(&[&["xtask", "cluster"], words].concat());
    run(cluster(&["images"]))?;
    run(cluster(&["up", "--nodes", "2"]))?;
    let tested = run(cluster(&["helm", "lint", "--strict", "charts/headend"]))
        .and_then(|()| end_to_end(Some(cluster(&["exec", "--"])), arguments, None))
        .and_then(run);
    if arguments.keep {
        eprintln!("\nThe cluster stays up; take it away with: cargo xtask cluster down");
        return tested;
    }
    let removed = run(cluster(&["down"]));
    tested.and(removed)
}

/// The command that runs the tests of crate `e2e`, inside the cluster's network where there is a way in.
fn end_to_end(
    inside: Option<Command>,
    arguments: &Arguments,
    kubeconfig: Option<&PathBuf>,
) -> Result<Command> {
    let mut test = cargo(&[
        "test",
        "--package",
        "e2e",
        "--offline",
        "--",
        "--test-threads=1",
        "--nocapture",
    ]);
    if let Some(name) = &arguments.only {
        test.arg(name);
    }
    let mut command = match inside {
        Some(mut inside) => {
            inside.arg(test.get_program()).args(test.get_args());
            inside.env("HEADEND_E2E_INSIDE", "1");
            inside
        }
        None => test,
    };
    if let Some(file) = kubeconfig {
        let file = file
            .canonicalize()
            .with_context(|| format!("failed to find {}", file.display()))?;
        command.env("KUBECONFIG", OsString::from(file));
    }
    command.env("HEADEND_E2E", "1").current_dir(root());
    Ok(command)
}
