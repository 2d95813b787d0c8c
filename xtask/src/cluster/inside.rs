//! Programs run inside the cluster: in the network namespace of node 1, with the administrator's kubeconfig.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::process::{run, run_with_input};
use super::state::State;

const LIMIT: Duration = Duration::from_secs(30);

/// Becomes the program: its input, output and exit code are this process's.
pub(crate) fn exec(state: &State, words: &[OsString]) -> Result<()> {
    let error = command(state, words)?.exec();
    Err(error).context("failed to start `nsenter`")
}

/// Runs kubectl and returns what it printed.
pub(crate) fn kubectl(state: &State, arguments: &[&str]) -> Result<String> {
    run(&mut kubectl_command(state, arguments)?, LIMIT)
}

/// Creates or changes objects so that they are as the manifest says.
pub(crate) fn apply(state: &State, manifest: &str) -> Result<()> {
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let mut command = kubectl_command(state, &arguments)?;
    run_with_input(&mut command, manifest.as_bytes(), LIMIT).map(drop)
}

/// Gets a path of the API; `None` while it cannot be had.
pub(crate) fn get(state: &State, path: &str) -> Result<Option<Value>> {
    Ok(kubectl(state, &["get", "--raw", path])
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok()))
}

/// A command inside the cluster, not yet started.
pub(crate) fn command(state: &State, words: &[OsString]) -> Result<Command> {
    let namespace = &state.node(1)?.network_namespace;
    let mut command = Command::new("nsenter");
    command
        .arg(prefixed("--net=", namespace.as_os_str()))
        .arg("--")
        .args(words)
        .envs(&state.environment)
        .env(
            "PATH",
            search_path(&state.programs, std::env::var_os("PATH"))?,
        );
    Ok(command)
}

/// `PATH` with the cluster's programs first.
pub(crate) fn search_path(programs: &[PathBuf], path: Option<OsString>) -> Result<OsString> {
    let inherited = path.unwrap_or_default();
    let folders = programs
        .iter()
        .cloned()
        .chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders)
        .context("a folder of the cluster's programs has a colon in its name")
}

fn kubectl_command(state: &State, arguments: &[&str]) -> Result<Command> {
    let words: Vec<OsString> = std::iter::once("kubectl")
        .chain(arguments.iter().copied())
        .map(OsString::from)
        .collect();
    command(state, &words)
}

fn prefixed(prefix: &str, value: &OsStr) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(value);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::layout::Layout;
    use crate::cluster::state::Node;

    fn state() -> State {
        let layout = Layout {
            cache: "/c".into(),
            name: "headend".to_owned(),
        };
        let mut state = State::new(&layout, vec!["/p/kubernetes".into()]).unwrap();
        state.put_node(Node::new(&layout, 1, None));
        state
    }

    #[test]
    fn a_program_runs_in_the_namespace_of_node_1_with_its_arguments_untouched() {
        let words = ["kubectl", "get", "--raw", "a b"].map(OsString::from);
        let command = command(&state(), &words).unwrap();
        let arguments: Vec<&OsStr> = command.get_args().collect();
        assert_eq!(command.get_program(), "nsenter");
        assert_eq!(
            arguments,
            [
                "--net=/run/netns/headend-1",
                "--",
                "kubectl",
                "get",
                "--raw",
                "a b"
            ]
        );
    }

    #[test]
    fn it_sees_the_administrators_kubeconfig() {
        let command = command(&state(), &[]).unwrap();
        let kubeconfig = command
            .get_envs()
            .find(|(name, _)| *name == "KUBECONFIG")
            .and_then(|(_, value)| value);
        assert_eq!(
            kubeconfig,
            Some(OsStr::new("/c/cluster/headend/pki/admin.kubeconfig"))
        );
    }

    #[test]
    fn the_clusters_programs_come_before_the_machines() {
        let path = search_path(&["/p/helm".into()], Some("/usr/bin:/bin".into())).unwrap();
        assert_eq!(path, "/p/helm:/usr/bin:/bin");
    }
}
