//! The state document: what of a cluster runs and where. Commands and end-to-end tests read it; only `up`,
//! `down` and `node` write it. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, node_address, node_name};
use super::process::Process;

/// `<cache>/cluster/<name>/state.json`; absent while the cluster is down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Version of this document: 1.
    pub(crate) version: u32,
    /// Name of the cluster.
    pub(crate) name: String,
    /// The boot of the machine in which the processes were started.
    pub(crate) boot_id: String,
    /// Environment for kubectl, helm and Kubernetes clients: `KUBECONFIG` (cluster-admin), `HELM_…_HOME`.
    /// The API server answers only inside a node's network namespace.
    pub(crate) environment: BTreeMap<String, String>,
    /// Folders with kubectl, helm and the cluster's other programs, to be put in front of `PATH`.
    pub(crate) programs: Vec<PathBuf>,
    /// Folder behind the PersistentVolume `headend-media`.
    pub(crate) media_volume: PathBuf,
    /// Folder behind the PersistentVolume `headend-redis`.
    pub(crate) redis_volume: PathBuf,
    /// What every process of the cluster said: `<process>.log`, of a node `node-<n>-<process>.log`.
    pub(crate) logs: PathBuf,
    /// The process whose end ends etcd, API server, controller manager, scheduler and CoreDNS.
    pub(crate) control_plane: Option<Process>,
    /// The nodes, by number.
    pub(crate) nodes: Vec<Node>,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// 1 to 3; 1 shares its network namespace with the control plane.
    pub(crate) number: u8,
    /// Name in the API: `node-<n>`.
    pub(crate) name: String,
    /// Address in the cluster's network.
    pub(crate) address: String,
    /// Network namespace, for `nsenter --net=`.
    pub(crate) network_namespace: PathBuf,
    /// Socket of its container runtime, for `ctr --address`.
    pub(crate) containerd_socket: PathBuf,
    /// The process whose end ends the node with all its pods; null while the node is killed.
    pub(crate) process: Option<Process>,
}

impl State {
    /// A cluster of which nothing runs yet.
    pub(crate) fn new(layout: &Layout, programs: Vec<PathBuf>) -> Result<Self> {
        Ok(Self {
            version: 1,
            name: layout.name.clone(),
            boot_id: boot_id()?,
            environment: environment(layout),
            programs,
            media_volume: layout.volume("media"),
            redis_volume: layout.volume("redis"),
            logs: layout.logs(),
            control_plane: None,
            nodes: Vec::new(),
        })
    }

    /// Reads the document; `None` when the cluster is down.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("failed to read {path:?}"))?;
        let state: Self = serde_json::from_slice(&text).with_context(|| {
            format!("failed to understand {path:?}: delete the cluster's folder")
        })?;
        Ok(Some(state.seen_in_boot(&boot_id()?)))
    }

    /// Reads the document of a cluster that must be up.
    pub(crate) fn of_running(layout: &Layout) -> Result<Self> {
        Self::load(layout)?.with_context(|| {
            format!(
                "cluster {:?} is down: run `cargo xtask cluster up`",
                layout.name
            )
        })
    }

    /// Writes the document whole or not at all.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        let path = layout.state();
        let fresh = path.with_extension("json.new");
        fs::write(&fresh, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("failed to write {path:?}"))
    }

    /// Every process that is recorded and still runs.
    pub(crate) fn running(&self) -> Vec<Process> {
        let nodes = self.nodes.iter().filter_map(|node| node.process);
        nodes
            .chain(self.control_plane)
            .filter(|process| process.is_running())
            .collect()
    }

    /// Adds a node, or replaces what is known of it.
    pub(crate) fn put_node(&mut self, node: Node) {
        self.nodes.retain(|known| known.number != node.number);
        self.nodes.push(node);
        self.nodes.sort_by_key(|node| node.number);
    }

    /// The node of that number.
    pub(crate) fn node(&self, number: u8) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .with_context(|| format!("cluster {:?} has no node {number}", self.name))
    }

    /// No process survives the machine's restart, whatever has its id now.
    fn seen_in_boot(mut self, boot_id: &str) -> Self {
        if self.boot_id != boot_id {
            self.boot_id = boot_id.to_owned();
            self.control_plane = None;
            self.nodes.iter_mut().for_each(|node| node.process = None);
        }
        self
    }
}

impl Node {
    /// What is known of a node from its number.
    pub(crate) fn new(layout: &Layout, number: u8, process: Option<Process>) -> Self {
        Self {
            number,
            name: node_name(number),
            address: node_address(number),
            network_namespace: layout.namespace_file(number),
            containerd_socket: layout.containerd_socket(number),
            process,
        }
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some_and(Process::is_running)
    }
}

fn environment(layout: &Layout) -> BTreeMap<String, String> {
    let path = |path: PathBuf| path.display().to_string();
    let helm = layout.cluster().join("helm");
    BTreeMap::from([
        ("KUBECONFIG".to_owned(), path(layout.kubeconfig("admin"))),
        ("HELM_CACHE_HOME".to_owned(), path(helm.join("cache"))),
        ("HELM_CONFIG_HOME".to_owned(), path(helm.join("config"))),
        ("HELM_DATA_HOME".to_owned(), path(helm.join("data"))),
    ])
}

fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {path:?}"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(cache: &Path) -> Layout {
        Layout {
            cache: cache.to_owned(),
            name: "headend".to_owned(),
        }
    }

    fn own_process() -> Process {
        Process::of(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        fs::create_dir_all(layout.cluster()).unwrap();
        assert_eq!(State::load(&layout).unwrap(), None);
        let mut state = State::new(&layout, vec!["/programs".into()]).unwrap();
        state.put_node(Node::new(&layout, 2, None));
        state.put_node(Node::new(&layout, 1, Some(own_process())));
        state.save(&layout).unwrap();
        assert_eq!(State::load(&layout).unwrap(), Some(state.clone()));
        assert_eq!(state.node(2).unwrap().number, 2);
        assert!(state.node(3).is_err());
    }

    #[test]
    fn the_field_names_that_tests_rely_on_stay() {
        let layout = layout(Path::new("/cache"));
        let mut state = State::new(&layout, vec!["/programs".into()]).unwrap();
        state.boot_id = "boot".to_owned();
        let process = Process {
            pid: 7,
            start_time: 11,
        };
        state.put_node(Node::new(&layout, 1, Some(process)));
        let expected = serde_json::json!({
            "version": 1,
            "name": "headend",
            "boot_id": "boot",
            "environment": {
                "HELM_CACHE_HOME": "/cache/cluster/headend/helm/cache",
                "HELM_CONFIG_HOME": "/cache/cluster/headend/helm/config",
                "HELM_DATA_HOME": "/cache/cluster/headend/helm/data",
                "KUBECONFIG": "/cache/cluster/headend/pki/admin.kubeconfig",
            },
            "programs": ["/programs"],
            "media_volume": "/cache/cluster/headend/volumes/media",
            "redis_volume": "/cache/cluster/headend/volumes/redis",
            "logs": "/cache/cluster/headend/logs",
            "control_plane": null,
            "nodes": [{
                "number": 1,
                "name": "node-1",
                "address": "198.18.0.1",
                "network_namespace": "/run/netns/headend-1",
                "containerd_socket": "/cache/cluster/headend/n1/containerd.sock",
                "process": {"pid": 7, "start_time": 11},
            }],
        });
        assert_eq!(serde_json::to_value(&state).unwrap(), expected);
    }

    #[test]
    fn processes_of_an_earlier_boot_do_not_run() {
        let layout = layout(Path::new("/cache"));
        let mut state = State::new(&layout, Vec::new()).unwrap();
        state.boot_id = "this".to_owned();
        state.control_plane = Some(own_process());
        state.put_node(Node::new(&layout, 1, Some(own_process())));
        let same = state.clone().seen_in_boot("this");
        assert_eq!(same.running(), vec![own_process(), own_process()]);
        assert!(same.node(1).unwrap().is_running());
        let later = state.seen_in_boot("next");
        assert_eq!(later.running(), Vec::new());
        assert!(!later.node(1).unwrap().is_running());
    }
}
