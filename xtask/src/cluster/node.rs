//! One node: its files, and containerd, kubelet and kube-proxy as one group. Each node has its own `/run`, `/var/lib`
//! and `/var/log`, so that nodes do not meet and the machine gets none of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::group::{Group, start};
use super::layout::{Layout, node_address, node_name};
use super::node_config::{self, Snapshots};
use super::process::{Process, run};
use super::state::{Node, State};
use super::{cgroup, network};

const SCRIPT: &str = include_str!("../../cluster/init/node.sh");
const COPY_LIMIT: Duration = Duration::from_secs(120);
/// Databases of the image store: the only files of the golden root that a running containerd changes in place.
const DATABASES: [&str; 3] = [
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
    "io.containerd.snapshotter.v1.native/metadata.db",
];

/// Makes what a node needs outside its processes: network, control groups, files.
pub(crate) fn prepare(
    layout: &Layout,
    number: u8,
    others: &[u8],
    snapshots: Snapshots,
) -> Result<()> {
    network::ensure_node(layout, number, others)?;
    cgroup::ensure_node(&layout.name, number)?;
    let folder = layout.node(number);
    for name in ["lib", "log", "cni"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {path:?}"))?;
    }
    let files = [
        (
            "containerd.toml",
            node_config::containerd(layout, number, snapshots),
        ),
        ("kubelet.yaml", node_config::kubelet(layout, number)),
        ("cni/10-pods.conflist", node_config::pod_network(number)),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).with_context(|| format!("failed to write {name}"))?;
    }
    copy_images(&layout.golden(), &folder.join("lib/containerd"))
}

/// Starts a prepared node; it is Ready some seconds later.
pub(crate) fn start_processes(layout: &Layout, state: &mut State, number: u8) -> Result<()> {
    let (folder, name) = (layout.node(number), node_name(number));
    let process = start(Group {
        network: &layout.namespace_file(number),
        script: SCRIPT,
        script_file: &folder.join("node.sh"),
        variables: vec![
            ("NODE_NAME", name.clone().into()),
            ("NODE_ADDRESS", node_address(number).into()),
            ("NODE_FOLDER", folder.clone().into()),
            ("PKI", layout.pki().into()),
            ("LOGS", state.logs.clone().into()),
        ],
        programs: &state.programs,
        log: &state.logs.join(format!("{name}.log")),
    })?;
    state.put_node(Node::new(layout, number, Some(process)));
    state.save(layout)
}

/// Ends a node at once, as a power cut does: its pods die with it.
pub(crate) fn kill(layout: &Layout, state: &mut State, number: u8) -> Result<()> {
    state.node(number)?.process.map_or(Ok(()), Process::kill)?;
    state.put_node(Node::new(layout, number, None));
    state.save(layout)
}

/// When a Ready node last said so; `None` while it is not Ready.
pub(crate) fn ready_heartbeat(node: &Value) -> Option<&str> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        .and_then(|condition| condition["lastHeartbeatTime"].as_str())
}

/// Gives a node its image store: hard links to the golden root, whose layers nobody changes, and real copies of the
/// databases.
fn copy_images(golden: &Path, target: &Path) -> Result<()> {
    if target.exists() || !golden.exists() {
        return Ok(());
    }
    let copy = |option: &str, from: &Path, to: &Path| {
        run(Command::new("cp").arg(option).args([from, to]), COPY_LIMIT).map(drop)
    };
    copy("-al", golden, target).with_context(|| {
        format!("failed to link {golden:?} to {target:?}: both must be on one file system")
    })?;
    for database in DATABASES {
        if golden.join(database).exists() {
            copy(
                "--remove-destination",
                &golden.join(database),
                &target.join(database),
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "io.containerd.content.v1.content/blob";

    #[test]
    fn a_node_counts_only_with_the_condition_ready_true() {
        let node = |status: &str| {
            serde_json::json!({"status": {"conditions": [
                {"type": "MemoryPressure", "status": "True", "lastHeartbeatTime": "1"},
                {"type": "Ready", "status": status, "lastHeartbeatTime": "2"},
            ]}})
        };
        assert_eq!(ready_heartbeat(&node("True")), Some("2"));
        assert_eq!(ready_heartbeat(&node("Unknown")), None);
        assert_eq!(ready_heartbeat(&Value::Null), None);
    }

    #[test]
    fn a_node_shares_layers_with_the_golden_root_but_not_its_databases() {
        let folder = tempfile::tempdir().unwrap();
        let (golden, node) = (folder.path().join("golden"), folder.path().join("node"));
        for file in DATABASES.into_iter().chain([LAYER]) {
            fs::create_dir_all(golden.join(file).parent().unwrap()).unwrap();
            fs::write(golden.join(file), "before").unwrap();
        }
        copy_images(&golden, &node).unwrap();
        for database in DATABASES {
            fs::write(node.join(database), "after").unwrap();
            assert_eq!(fs::read_to_string(golden.join(database)).unwrap(), "before");
        }
        let inode = |root: &Path| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(root.join(LAYER)).unwrap().ino()
        };
        assert_eq!(inode(&golden), inode(&node));
    }

    #[test]
    fn a_killed_node_is_recorded_as_such_and_can_be_killed_again() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout {
            cache: folder.path().to_owned(),
            name: "headend".to_owned(),
        };
        fs::create_dir_all(layout.cluster()).unwrap();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let mut state = State::new(&layout, Vec::new()).unwrap();
        state.put_node(Node::new(&layout, 1, Some(process)));
        for _ in 0..2 {
            kill(&layout, &mut state, 1).unwrap();
            let saved = State::load(&layout).unwrap().unwrap();
            assert_eq!(saved.nodes, [Node::new(&layout, 1, None)]);
        }
        assert!(!process.is_running());
        child.wait().unwrap();
        assert!(kill(&layout, &mut state, 2).is_err());
    }
}
