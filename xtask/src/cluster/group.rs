//! A group of processes that lives and dies as one: the first process of a pid and a mount namespace, within a
//! network namespace. Killing the recorded process kills all of it and leaves no mount.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::inside::search_path;
use super::process::{Process, start_detached, tail, wait_until};

/// Where Debian's own programs lie.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// nsenter becomes unshare, which therefore has the recorded process id.
const UNSHARE: [&str; 8] = [
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
];

/// What a group is started with.
pub(crate) struct Group<'a> {
    /// Network namespace.
    pub(crate) network: &'a Path,
    /// Shell script that becomes its first process.
    pub(crate) script: &'a str,
    /// Where the script is put.
    pub(crate) script_file: &'a Path,
    /// What the script wants to know.
    pub(crate) variables: Vec<(&'a str, OsString)>,
    /// Folders of the cluster's programs.
    pub(crate) programs: &'a [PathBuf],
    /// What the script itself says.
    pub(crate) log: &'a Path,
}

/// Starts a group.
pub(crate) fn start(group: Group) -> Result<Process> {
    fs::write(group.script_file, group.script)?;
    let mut network = OsString::from("--net=");
    network.push(group.network);
    let mut words = vec![OsString::from("nsenter"), network, OsString::from("--")];
    words.extend(UNSHARE.map(OsString::from));
    words.extend([OsString::from("sh"), group.script_file.into()]);
    let mut environment = group.variables;
    environment.push((
        "PATH",
        search_path(group.programs, Some(SYSTEM_PATH.into()))?,
    ));
    start_detached(&words, &environment, group.log)
}

/// Waits for something a group does; fails at once when the group ends, and says what its logs say.
pub(crate) fn wait_for(
    process: Process,
    logs: &[PathBuf],
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_until(what, limit, || {
        ensure!(process.is_running(), "it ended while waiting for {what}");
        holds()
    })
    .map_err(|error| {
        let tails: Vec<String> = logs.iter().map(|log| tail(log)).collect();
        error.context(tails.join("\n"))
    })
}
