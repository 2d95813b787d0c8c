//! The cluster's control groups: `<cluster>/n<node>` in every hierarchy, so that a node's pods are apart from all
//! else. Touches nothing outside the cluster's own directories, except switching controllers on (cgroup v2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::wait_until;

const ROOT: &str = "/sys/fs/cgroup";

/// Makes a node's groups in all hierarchies.
pub(crate) fn ensure_node(cluster: &str, number: u8) -> Result<()> {
    for hierarchy in hierarchies(Path::new(ROOT))? {
        let group = hierarchy.join(cluster);
        for level in [group.clone(), group.join(format!("n{number}"))] {
            make(&level).with_context(|| format!("failed to make the control group {level:?}"))?;
        }
    }
    Ok(())
}

/// Removes all groups of the cluster once no process is left in them.
pub(crate) fn remove(cluster: &str) -> Result<()> {
    for hierarchy in hierarchies(Path::new(ROOT))? {
        let group = hierarchy.join(cluster);
        let empty = format!("{group:?} to be empty");
        wait_until(&empty, Duration::from_secs(10), || remove_tree(&group))?;
    }
    Ok(())
}

/// Where groups can be made: the root itself (v2), or each directory in it that has processes (v1).
fn hierarchies(root: &Path) -> Result<Vec<PathBuf>> {
    let holds_processes = |folder: &PathBuf| folder.join("cgroup.procs").exists();
    if holds_processes(&root.to_owned()) {
        return Ok(vec![root.to_owned()]);
    }
    let entries = fs::read_dir(root).with_context(|| format!("failed to list {root:?}"))?;
    let mut folders = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    // Joined hierarchies have aliases (cpu for cpu,cpuacct).
    folders.retain(|folder| !folder.is_symlink() && holds_processes(folder));
    Ok(folders)
}

fn make(group: &Path) -> Result<()> {
    if !group.exists() {
        fs::create_dir(group)?;
    }
    let Some(parent) = group.parent() else {
        return Ok(());
    };
    // cpuset (v1): a group without processors and memory can hold no process.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if parent.join(file).exists() {
            fs::write(group.join(file), fs::read(parent.join(file))?)?;
        }
    }
    // v2: what a group may limit is what its parent hands down.
    if let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            fs::write(
                parent.join("cgroup.subtree_control"),
                format!("+{controller}"),
            )?;
        }
    }
    Ok(())
}

/// Removes a group and those in it; false while one of them is still busy.
fn remove_tree(group: &Path) -> Result<bool> {
    if !group.exists() {
        return Ok(true);
    }
    let entries = fs::read_dir(group).with_context(|| format!("failed to list {group:?}"))?;
    let mut removed = true;
    for entry in entries {
        let path = entry?.path();
        removed &= !path.is_dir() || remove_tree(&path)?;
    }
    Ok(removed && fs::remove_dir(group).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_v1_every_hierarchy_counts_once() {
        let root = tempfile::tempdir().unwrap();
        for name in ["cpu", "cpuset", "other"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        for name in ["cpu", "cpuset"] {
            fs::write(root.path().join(name).join("cgroup.procs"), "").unwrap();
        }
        std::os::unix::fs::symlink("cpu", root.path().join("cpuacct")).unwrap();
        let mut found = hierarchies(root.path()).unwrap();
        found.sort();
        assert_eq!(found, [root.path().join("cpu"), root.path().join("cpuset")]);
    }

    #[test]
    fn with_v2_the_root_is_the_only_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        fs::create_dir(root.path().join("system.slice")).unwrap();
        assert_eq!(hierarchies(root.path()).unwrap(), [root.path()]);
    }

    #[test]
    fn a_cpuset_group_gets_the_processors_of_its_parent() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cpuset.cpus"), "0-1\n").unwrap();
        fs::write(root.path().join("cpuset.mems"), "0\n").unwrap();
        let group = root.path().join("headend");
        make(&group).unwrap();
        assert_eq!(
            fs::read_to_string(group.join("cpuset.cpus")).unwrap(),
            "0-1\n"
        );
        assert_eq!(
            fs::read_to_string(group.join("cpuset.mems")).unwrap(),
            "0\n"
        );
    }

    #[test]
    fn a_tree_is_removed_from_its_leaves_and_twice_is_harmless() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("headend");
        fs::create_dir_all(group.join("n1/kubepods/pod")).unwrap();
        assert!(remove_tree(&group).unwrap());
        assert!(!group.exists());
        assert!(remove_tree(&group).unwrap());
    }
}
