//! Configuration files of a node: containerd, pod network, kubelet. Only renders text.

use std::path::Path;

use super::layout::{DNS_SERVICE, Layout, node_address, node_name, pod_range};

/// Image of the process that holds a pod's namespaces.
pub(crate) const PAUSE_IMAGE: &str = "localhost/pause:1";

/// How containerd keeps the layers of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshots {
    /// Layers are mounted over each other.
    Overlay,
    /// Layers are copied, where the file system cannot hold an overlay.
    Copies,
}

impl Snapshots {
    /// What containerd calls it.
    pub(crate) fn containerd_name(self) -> &'static str {
        match self {
            Self::Overlay => "overlayfs",
            Self::Copies => "native",
        }
    }
}

/// containerd of a node, inside the node's own `/run` and `/var/lib`.
///
/// `restrict_oom_score_adj` lets pods start where the machine does not grant `CAP_SYS_RESOURCE`. The socket lies
/// outside `/run` so that images can be imported from outside the node.
pub(crate) fn containerd(layout: &Layout, number: u8, snapshots: Snapshots) -> String {
    let folder = layout.node(number);
    format!(
        r#"{}[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#,
        containerd_base(
            Path::new("/var/lib/containerd"),
            &layout.containerd_socket(number)
        ),
        folder = folder.display(),
        snapshotter = snapshots.containerd_name(),
    )
}

/// containerd that only holds images: what fills the golden root.
pub(crate) fn image_store(root: &Path, socket: &Path) -> String {
    format!(
        "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n{}",
        containerd_base(root, socket)
    )
}

fn containerd_base(root: &Path, socket: &Path) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[debug]
  level = "warn"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
"#,
        root = root.display(),
        socket = socket.display(),
    )
}

/// The pod network of a node: a bridge that the network set-up has made.
pub(crate) fn pod_network(number: u8) -> String {
    let conflist = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{
                        "subnet": pod_range(number),
                        "rangeStart": format!("198.18.{number}.10"),
                    }]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/ipam",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    format!("{conflist:#}\n")
}

/// The kubelet of a node. Short lease and status periods let tests see a lost node within seconds.
pub(crate) fn kubelet(layout: &Layout, number: u8) -> String {
    let (name, address, pki) = (node_name(number), node_address(number), layout.pki());
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {pki}/ca.crt}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki}/{name}.crt
tlsPrivateKeyFile: {pki}/{name}.key
cgroupDriver: cgroupfs
cgroupRoot: /{cluster}/n{number}
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://{socket}
clusterDNS: [{DNS_SERVICE}]
clusterDomain: cluster.local
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}}
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
"#,
        pki = pki.display(),
        cluster = layout.name,
        socket = layout.containerd_socket(number).display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            cache: "/c".into(),
            name: "headend".to_owned(),
        }
    }

    #[test]
    fn containerd_of_a_node_knows_the_cri_and_keeps_its_socket_outside_run() {
        let expected = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/c/cluster/headend/n2/containerd.sock"
[debug]
  level = "warn"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/c/cluster/headend/n2/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#;
        assert_eq!(containerd(&layout(), 2, Snapshots::Overlay), expected);
        let copies = containerd(&layout(), 2, Snapshots::Copies);
        assert_eq!(copies, expected.replace("overlayfs", "native"));
    }

    #[test]
    fn containerd_of_the_golden_root_has_no_cri() {
        let expected = r#"disabled_plugins = ["io.containerd.grpc.v1.cri"]
version = 2
root = "/g"
state = "/run/containerd"
[grpc]
  address = "/s"
[debug]
  level = "warn"
[plugins."io.containerd.internal.v1.opt"]
  path = "/g/opt"
"#;
        assert_eq!(image_store(Path::new("/g"), Path::new("/s")), expected);
    }

    #[test]
    fn pods_get_addresses_of_their_node() {
        let network: serde_json::Value = serde_json::from_str(&pod_network(3)).unwrap();
        let bridge = &network["plugins"][0];
        assert_eq!(
            bridge["ipam"]["ranges"][0][0],
            serde_json::json!({"subnet": "198.18.3.0/24", "rangeStart": "198.18.3.10"})
        );
        assert_eq!(bridge["bridge"], "cni0");
        assert_eq!(network["plugins"][1]["type"], "portmap");
    }

    #[test]
    fn the_kubelet_answers_only_those_whom_the_api_server_knows() {
        let expected = r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 198.18.0.2
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /c/cluster/headend/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /c/cluster/headend/pki/node-2.crt
tlsPrivateKeyFile: /c/cluster/headend/pki/node-2.key
cgroupDriver: cgroupfs
cgroupRoot: /headend/n2
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///c/cluster/headend/n2/containerd.sock
clusterDNS: [198.19.0.10]
clusterDomain: cluster.local
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
"#;
        assert_eq!(kubelet(&layout(), 2), expected);
    }
}
