//! `cargo xtask cluster`: a real Kubernetes for tests, made of Debian packages and Go modules, in network namespaces
//! of its own with no route out. Never touches what it has not made itself.

mod apt;
mod build;
mod cgroup;
mod contexts;
mod control_plane;
mod dns;
mod down;
mod group;
mod images;
mod inside;
mod layout;
mod network;
mod node;
mod node_config;
mod pki;
mod process;
mod programs;
mod state;
mod store;
mod up;
mod volumes;

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use layout::{Layout, MOST_NODES};
pub(crate) use programs::ensure_packages;
use state::State;

/// Another command may be building everything from scratch.
const LOCK_LIMIT: Duration = Duration::from_secs(45 * 60);

/// A real Kubernetes for tests (needs root)
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the cluster: several can run beside each other
    #[arg(long, default_value = "headend")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings the cluster up, or what is missing of it
    Up {
        /// Number of nodes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_NODES)))]
        nodes: u8,
    },
    /// Takes the cluster away, with its processes, mounts, namespaces and control groups
    Down,
    /// Runs kubectl as the cluster's administrator
    #[command(disable_help_flag = true)]
    Kubectl(Words),
    /// Runs helm as the cluster's administrator
    #[command(disable_help_flag = true)]
    Helm(Words),
    /// Runs any program in the cluster's network, with KUBECONFIG set
    #[command(disable_help_flag = true)]
    Exec(Words),
    /// Builds the images and gives them to the cluster's nodes
    Images {
        /// Only puts together the folders that the Containerfiles are built in, below this one
        #[arg(long, value_name = "FOLDER")]
        contexts: Option<PathBuf>,
    },
    /// Loses a node, or gets it back
    #[command(subcommand)]
    Node(NodeCommand),
    /// The PersistentVolumes headend-media, headend-redis and headend-one-node
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Asks the cluster's DNS; `up` runs this inside the cluster
    #[command(hide = true)]
    ProbeDns,
}

#[derive(Args)]
struct Words {
    /// Passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

#[derive(Subcommand)]
enum NodeCommand {
    /// Ends a node at once with all its pods, as a power cut does
    Kill { number: u8 },
    /// Starts a killed node again and waits until it is Ready
    Start { number: u8 },
}

#[derive(Subcommand)]
enum VolumeCommand {
    /// Empties the volumes and makes them free for other claims
    Reset,
}

/// Runs one command.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let layout = Layout::new(&arguments.name, |name| std::env::var_os(name))?;
    match arguments.command {
        Command::ProbeDns => dns::probe(),
        Command::Kubectl(arguments) => inside_cluster(&layout, Some("kubectl"), arguments.words),
        Command::Helm(arguments) => inside_cluster(&layout, Some("helm"), arguments.words),
        Command::Exec(arguments) => inside_cluster(&layout, None, arguments.words),
        Command::Images {
            contexts: Some(folder),
        } => contexts::write(&folder),
        Command::Up { nodes } => {
            let _lock = begin(&layout)?;
            up::up(&layout, nodes)
        }
        Command::Down => {
            let _lock = begin(&layout)?;
            down::remove(&layout)
        }
        Command::Images { contexts: None } => {
            let _lock = begin(&layout)?;
            images::update(&layout)
        }
        Command::Node(NodeCommand::Kill { number }) => {
            let _lock = begin(&layout)?;
            node::kill(&layout, &mut State::of_running(&layout)?, number)
        }
        Command::Node(NodeCommand::Start { number }) => {
            let _lock = begin(&layout)?;
            up::start_node(&layout, number)
        }
        Command::Volume(VolumeCommand::Reset) => {
            let _lock = begin(&layout)?;
            volumes::reset(&layout, &State::of_running(&layout)?)
        }
    }
}

/// Where programs are looked for, those of the cluster in front; they are built where they are missing.
pub(crate) fn search_path() -> Result<OsString> {
    let layout = Layout::new("headend", |name| std::env::var_os(name))?;
    let folders = programs::ensure_go_programs(&layout)?;
    inside::search_path(&folders, std::env::var_os("PATH"))
}

/// Says what happens; results go to standard output, this does not.
fn progress(message: &str) {
    eprintln!("cluster: {message}");
}

/// What every command that changes something needs: root, and that no other one runs meanwhile.
fn begin(layout: &Layout) -> Result<File> {
    require_root()?;
    fs::create_dir_all(layout.cluster())
        .with_context(|| format!("failed to create {:?}", layout.cluster()))?;
    let path = layout.cache.join("lock");
    let lock = File::create(&path).with_context(|| format!("failed to create {path:?}"))?;
    if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
        progress("waiting for another cluster command to end");
    }
    process::wait_until(
        "another cluster command to end",
        LOCK_LIMIT,
        || match lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error).context("failed to lock the cache"),
        },
    )?;
    Ok(lock)
}

fn require_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the test cluster makes network namespaces and mounts: run `cargo xtask cluster` as root"
    );
    Ok(())
}

fn inside_cluster(layout: &Layout, program: Option<&str>, words: Vec<OsString>) -> Result<()> {
    require_root()?;
    let words: Vec<OsString> = program
        .map(OsString::from)
        .into_iter()
        .chain(words)
        .collect();
    ensure!(
        !words.is_empty(),
        "say what to run: cargo xtask cluster exec -- PROGRAM …"
    );
    inside::exec(&State::of_running(layout)?, &words)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("cluster").chain(line.split_whitespace());
        CommandLine::try_parse_from(words).map(|parsed| parsed.arguments)
    }

    fn passed_on(line: &str) -> Vec<OsString> {
        match parse(line).unwrap().command {
            Command::Kubectl(arguments) | Command::Helm(arguments) | Command::Exec(arguments) => {
                arguments.words
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn arguments_for_another_program_are_passed_on_as_they_are() {
        let words = [
            "exec", "-n", "t", "pod", "--", "sh", "-c", "true", "--name", "x", "-h",
        ];
        assert_eq!(passed_on(&format!("kubectl {}", words.join(" "))), words);
        assert_eq!(
            passed_on("kubectl -n t get pods"),
            ["-n", "t", "get", "pods"]
        );
        assert_eq!(passed_on("helm --help"), ["--help"]);
        assert_eq!(passed_on("exec -- curl -s url"), ["curl", "-s", "url"]);
        assert_eq!(passed_on("exec curl -s"), ["curl", "-s"]);
    }

    #[test]
    fn a_cluster_has_one_node_unless_told_and_three_at_most() {
        let nodes = |line| match parse(line).unwrap().command {
            Command::Up { nodes } => nodes,
            _ => 0,
        };
        assert_eq!(nodes("up"), 1);
        assert_eq!(nodes("up --nodes 3"), 3);
        assert!(parse("up --nodes 4").is_err());
        assert!(parse("up --nodes 0").is_err());
    }

    #[test]
    fn a_cluster_is_called_headend_unless_told() {
        assert_eq!(parse("down").unwrap().name, "headend");
        assert_eq!(parse("--name other down").unwrap().name, "other");
    }
}
