//! A group of processes that lives and dies as one: the first process of a pid and a mount namespace, within a
//! network namespace. Killing the recorded process kills all of it and leaves no mount.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

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
    fs::write(group.script_file, group.script)
        .with_context(|| format!("failed to write {:?}", group.script_file))?;
    let mut environment = group.variables;
    let path = search_path(group.programs, Some(SYSTEM_PATH.into()))?;
    environment.push(("PATH", path));
    start_detached(
        &words(group.network, group.script_file),
        &environment,
        group.log,
    )
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
        ensure!(process.is_running(), "everything ended before {what}");
        holds()
    })
    .map_err(|error| {
        let tails: String = logs.iter().map(|log| tail(log)).collect();
        anyhow!("{error:#}\n{tails}")
    })
}

fn words(network: &Path, script: &Path) -> Vec<OsString> {
    let mut net = OsString::from("--net=");
    net.push(network);
    let mut words = vec![OsString::from("nsenter"), net, OsString::from("--")];
    words.extend(UNSHARE.map(OsString::from));
    words.extend([OsString::from("sh"), script.into()]);
    words
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cluster::layout::{API_ADDRESS, DNS_SERVICE, SERVICE_RANGE};
    use crate::cluster::process::run;

    const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/init");
    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn nothing_of_a_group_outlives_the_process_that_is_recorded() {
        let line = words(Path::new("/run/netns/t-1"), Path::new("/c/n1/node.sh"))
            .join(std::ffi::OsStr::new(" "));
        assert_eq!(
            line,
            "nsenter --net=/run/netns/t-1 -- unshare --mount --pid --fork --kill-child \
             --mount-proc --propagation private sh /c/n1/node.sh"
        );
    }

    #[test]
    fn the_end_of_a_group_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("etcd.log");
        fs::write(&log, "no space left\n").unwrap();
        let gone = Process {
            pid: i32::MAX,
            start_time: 0,
        };
        let logs = [log.clone(), folder.path().join("absent.log")];
        let error = wait_for(gone, &logs, "the API server", LIMIT, || Ok(false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "everything ended before the API server\n--- end of {}\nno space left\n",
                log.display()
            )
        );
    }

    #[test]
    fn the_scripts_are_shell_and_agree_on_addresses() {
        let read = |name: &str| fs::read_to_string(Path::new(SCRIPTS).join(name)).unwrap();
        for name in ["control-plane.sh", "node.sh"] {
            run(
                Command::new("sh")
                    .arg("-n")
                    .arg(Path::new(SCRIPTS).join(name)),
                LIMIT,
            )
            .unwrap();
        }
        let control_plane = read("control-plane.sh");
        assert!(control_plane.contains(&format!("--advertise-address={API_ADDRESS} ")));
        assert!(control_plane.contains(&format!("--service-cluster-ip-range={SERVICE_RANGE} ")));
        let dns = read("dns.yaml");
        assert!(dns.contains(&format!("clusterIP: {DNS_SERVICE}\n")));
        assert!(dns.contains(&format!("addresses: [{API_ADDRESS}]\n")));
    }
}
