//! Where the part of a task runs that needs a cluster: on one brought up for it and taken away again, or on one of the developer's.
//! Never leaves its own cluster up unasked, also when the task failed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::{cargo, run};

/// Where the cluster's part of a task runs.
#[derive(Args, Default)]
pub(crate) struct Place {
    /// Leaves out what needs a cluster (and root)
    #[arg(long, conflicts_with = "kubeconfig")]
    no_cluster: bool,
    /// Uses this cluster instead of one of its own; CONTRIBUTING.md says what it must have
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Leaves the cluster up when all is over
    #[arg(long)]
    keep: bool,
}

impl Place {
    /// Whether there is a cluster at all; when not, says what is left out.
    pub(crate) fn is_there(&self, left_out: &str) -> bool {
        if self.no_cluster {
            eprintln!("\nLEFT OUT: {left_out}, because of --no-cluster");
        }
        !self.no_cluster
    }

    /// Runs a command on the cluster, in its network where it is our own. `before` are words for `cargo xtask cluster`, run first on a
    /// cluster of our own only.
    pub(crate) fn run(&self, mut command: Command, before: Option<&[&str]>) -> Result<()> {
        if let Some(file) = &self.kubeconfig {
            let file = file
                .canonicalize()
                .with_context(|| format!("failed to find {}", file.display()))?;
            command.env("KUBECONFIG", file);
            return run(command);
        }
        run(cluster(&["images"]))?;
        run(cluster(&["up", "--nodes", "2"]))?;
        let done = before
            .map_or(Ok(()), |words| run(cluster(words)))
            .and_then(|()| run(inside(&command)));
        if self.keep {
            eprintln!("\nThe cluster stays up; take it away with: cargo xtask cluster down");
            return done;
        }
        let removed = run(cluster(&["down"]));
        done.and(removed)
    }
}

/// Tells what runs inside that the cluster is our own, whose nodes may be lost.
const OWN_CLUSTER: &str = "HEADEND_E2E_OWN_CLUSTER";

/// By cargo, not by this program's own file: building what is run there may have replaced that.
fn cluster(words: &[&str]) -> Command {
    cargo(&[&["xtask", "cluster"], words].concat())
}

/// The command in the network of our own cluster.
fn inside(command: &Command) -> Command {
    let mut inside = cluster(&["exec", "--"]);
    inside.arg(command.get_program()).args(command.get_args());
    let variables = command.get_envs();
    inside.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    inside.env(OWN_CLUSTER, "true");
    inside
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_command_keeps_its_arguments_and_variables_inside() {
        let mut command = Command::new("bench");
        command.args(["start", "--json"]).env("HEADEND_LOG", "warn");
        let inside = inside(&command);
        assert_eq!(
            inside.get_args().collect::<Vec<_>>(),
            ["xtask", "cluster", "exec", "--", "bench", "start", "--json"]
        );
        let variable = |name: &'static str, value: &'static str| -> (&OsStr, Option<&OsStr>) {
            (name.as_ref(), Some(value.as_ref()))
        };
        let expected = [
            variable(OWN_CLUSTER, "true"),
            variable("HEADEND_LOG", "warn"),
        ];
        assert_eq!(inside.get_envs().collect::<Vec<_>>(), expected);
    }
}
