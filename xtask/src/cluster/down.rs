//! Takes a cluster away: processes, network, control groups, files. Kills recorded processes, then whatever is left
//! in the cluster's own network namespaces; running it again is harmless.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::layout::{Layout, MOST_NODES};
use super::process::{Process, parent_of, wait_until};
use super::state::State;
use super::{cgroup, network};

/// What stays in the cluster's folder: credentials for the next run, and what this one said.
const KEPT: [&str; 2] = ["pki", "logs"];
const END_LIMIT: Duration = Duration::from_secs(10);

/// Takes the cluster away; fine when it is not there.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    if let Some(state) = State::load(layout)? {
        for process in state.running() {
            process.kill()?;
        }
    }
    for number in 1..=MOST_NODES {
        end_processes(layout, number)?;
    }
    for number in 1..=MOST_NODES {
        network::remove_node(layout, number)?;
    }
    network::remove_empty_folder()?;
    cgroup::remove(&layout.name)?;
    remove_files(&layout.cluster())
}

/// What joined the namespace from outside, or was started by a command that was itself killed before it could
/// record it, does not end with the groups. Whoever waits for this command is spared.
fn end_processes(layout: &Layout, number: u8) -> Result<()> {
    let own = ancestors(i32::try_from(std::process::id())?, parent_of);
    let what = format!("the processes of node {number} to end");
    let mut left = Vec::new();
    let ended = wait_until(&what, END_LIMIT, || {
        left = network::processes(layout, number)?;
        left.retain(|pid| !own.contains(pid));
        for process in left.iter().filter_map(|&pid| Process::of(pid).ok()) {
            process.signal(Signal::KILL)?;
        }
        Ok(left.is_empty())
    });
    ended.with_context(|| format!("still there: {left:?}"))
}

/// A process and all those it descends from.
fn ancestors(pid: i32, parent: impl Fn(i32) -> Option<i32>) -> Vec<i32> {
    std::iter::successors(Some(pid), |&pid| parent(pid).filter(|&parent| parent > 1)).collect()
}

fn remove_files(cluster: &Path) -> Result<()> {
    if !cluster.exists() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    if let Some(mount) = mount_below(&mounts, cluster) {
        bail!("{mount:?} is mounted within the cluster's folder: unmount it first");
    }
    let entries = fs::read_dir(cluster).with_context(|| format!("failed to list {cluster:?}"))?;
    for entry in entries {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("failed to remove {path:?}"))?;
    }
    Ok(())
}

/// A mount point within a folder: deleting through it would delete somebody else's files.
fn mount_below<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .find(|point| Path::new(point).starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_logs_stay_and_a_second_run_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pki", "logs", "etcd/member", "n1"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("state.json"), "{}").unwrap();
        for _ in 0..2 {
            remove_files(folder.path()).unwrap();
            let mut left: Vec<_> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            left.sort();
            assert_eq!(left, ["logs", "pki"]);
        }
        remove_files(&folder.path().join("absent")).unwrap();
    }

    #[test]
    fn a_mount_within_the_folder_is_seen() {
        let mounts = "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /c/n1/lib rw - tmpfs t rw\n";
        assert_eq!(mount_below(mounts, Path::new("/c")), Some("/c/n1/lib"));
        assert_eq!(mount_below(mounts, Path::new("/c/n2")), None);
    }

    #[test]
    fn whoever_waits_for_the_command_is_an_ancestor() {
        let parent = |pid| {
            [(9, 5), (5, 2), (2, 1)]
                .iter()
                .find(|p| p.0 == pid)
                .map(|p| p.1)
        };
        assert_eq!(ancestors(9, parent), [9, 5, 2]);
        assert_eq!(ancestors(7, parent), [7]);
    }
}
