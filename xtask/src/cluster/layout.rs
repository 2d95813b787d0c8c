//! Where everything of the test cluster lies: cache folders, addresses, names. Only computes; touches no file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Most nodes a cluster can have: each one's credentials exist from the start.
pub(crate) const MOST_NODES: u8 = 3;
/// Address under which nodes and tests reach the API server.
pub(crate) const API_ADDRESS: &str = "198.18.0.1";
/// Addresses of Services.
pub(crate) const SERVICE_RANGE: &str = "198.19.0.0/16";
/// Service `kubernetes`: the first address of the range.
pub(crate) const API_SERVICE: &str = "198.19.0.1";
/// Service `kube-system/kube-dns`.
pub(crate) const DNS_SERVICE: &str = "198.19.0.10";

/// Folders that nodes cover with their own, so that nothing outside them may lie there.
const COVERED_BY_NODES: [&str; 3] = ["/run", "/var/lib", "/var/log"];
/// A socket's path holds 108 bytes at most, containerd's own sockets included.
const LONGEST_CLUSTER_FOLDER: usize = 70;

/// The folders of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// What survives `down` and is shared by all clusters: programs, images.
    pub(crate) cache: PathBuf,
    /// Name of the cluster: prefix of its network namespaces and cgroups.
    pub(crate) name: String,
}

impl Layout {
    /// The layout for a cluster's name and this process's environment.
    pub(crate) fn new(name: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        ensure!(
            is_name(name),
            "a cluster's name is 1 to 15 small letters and digits, not {name:?}"
        );
        let cache = cache_folder(environment)?;
        let layout = Self {
            cache,
            name: name.to_owned(),
        };
        let cluster = layout.cluster();
        ensure!(
            !COVERED_BY_NODES
                .iter()
                .any(|covered| cluster.starts_with(covered)),
            "{cluster:?} is hidden inside nodes, which have their own {COVERED_BY_NODES:?}: \
             set HEADEND_CACHE_DIR to another folder"
        );
        ensure!(
            cluster.as_os_str().len() <= LONGEST_CLUSTER_FOLDER,
            "{cluster:?} is too long a path for sockets in it: set HEADEND_CACHE_DIR to a shorter one"
        );
        Ok(layout)
    }

    /// State folder of this cluster.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.cache.join("cluster").join(&self.name)
    }

    /// The state document.
    pub(crate) fn state(&self) -> PathBuf {
        self.cluster().join("state.json")
    }

    /// Keys, certificates, tokens and kubeconfigs.
    pub(crate) fn pki(&self) -> PathBuf {
        self.cluster().join("pki")
    }

    /// Kubeconfig of a user.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.pki().join(format!("{user}.kubeconfig"))
    }

    /// What every process of the cluster said.
    pub(crate) fn logs(&self) -> PathBuf {
        self.cluster().join("logs")
    }

    /// Everything of one node.
    pub(crate) fn node(&self, number: u8) -> PathBuf {
        self.cluster().join(format!("n{number}"))
    }

    /// A node's container runtime.
    pub(crate) fn containerd_socket(&self, number: u8) -> PathBuf {
        self.node(number).join("containerd.sock")
    }

    /// The folder behind a PersistentVolume.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.cluster().join("volumes").join(name)
    }

    /// Name of a node's network namespace.
    pub(crate) fn namespace(&self, number: u8) -> String {
        format!("{}-{number}", self.name)
    }

    /// A node's network namespace as a file.
    pub(crate) fn namespace_file(&self, number: u8) -> PathBuf {
        Path::new("/run/netns").join(self.namespace(number))
    }

    /// Everything that belongs to images: storage, layout, golden root.
    pub(crate) fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// The containerd root that each node starts from.
    pub(crate) fn golden(&self) -> PathBuf {
        self.images().join("golden")
    }
}

/// Name of a node in the API.
pub(crate) fn node_name(number: u8) -> String {
    format!("node-{number}")
}

/// Address of a node.
pub(crate) fn node_address(number: u8) -> String {
    format!("198.18.0.{number}")
}

/// Addresses of a node's pods.
pub(crate) fn pod_range(number: u8) -> String {
    format!("198.18.{number}.0/24")
}

fn is_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn cache_folder(environment: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let folder = set("HEADEND_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| set("XDG_CACHE_HOME").map(|home| Path::new(&home).join("headend")))
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache/headend")))
        .context("set HEADEND_CACHE_DIR: there is no HOME either to keep the cache in")?;
    ensure!(
        folder.is_absolute(),
        "the cache folder must be an absolute path, not {folder:?}"
    );
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str, variables: &[(&str, &str)]) -> Result<Layout> {
        Layout::new(name, |wanted| {
            variables
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_lies_where_the_nearest_variable_says() {
        let all = [
            ("HEADEND_CACHE_DIR", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        let folder = |variables| layout("x", variables).unwrap().cluster();
        assert_eq!(folder(&all), Path::new("/a/cluster/x"));
        assert_eq!(folder(&all[1..]), Path::new("/b/headend/cluster/x"));
        assert_eq!(folder(&all[2..]), Path::new("/c/.cache/headend/cluster/x"));
        let empty = [("HEADEND_CACHE_DIR", ""), ("HOME", "/c")];
        assert_eq!(folder(&empty), Path::new("/c/.cache/headend/cluster/x"));
    }

    #[test]
    fn a_cache_where_nodes_cannot_see_it_is_refused() {
        for folder in ["/run/x", "/var/lib/headend", "/var/log", "relative"] {
            let error = layout("x", &[("HEADEND_CACHE_DIR", folder)]).unwrap_err();
            assert!(error.to_string().contains(folder), "{error}");
        }
        assert!(layout("x", &[("HEADEND_CACHE_DIR", "/var/library")]).is_ok());
        let long = format!("/{}", "a".repeat(80));
        assert!(layout("x", &[("HEADEND_CACHE_DIR", &long)]).is_err());
        assert!(layout("x", &[]).is_err());
    }

    #[test]
    fn a_name_is_what_a_namespace_and_a_cgroup_can_be_called() {
        for name in ["", "Headend", "a/b", "a-b", "abcdefghijklmnop"] {
            assert!(layout(name, &[("HOME", "/c")]).is_err(), "{name}");
        }
        let headend = layout("headend2", &[("HOME", "/c")]).unwrap();
        assert_eq!(headend.namespace(3), "headend2-3");
        assert_eq!(
            headend.namespace_file(1),
            Path::new("/run/netns/headend2-1")
        );
    }
}
