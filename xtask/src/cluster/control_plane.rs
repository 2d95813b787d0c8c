//! The control plane: etcd, API server, controller manager, scheduler and CoreDNS as one group in the network
//! namespace of node 1.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::group::{Group, start, wait_for};
use super::layout::{API_ADDRESS, Layout};
use super::process::Process;

const SCRIPT: &str = include_str!("../../cluster/init/control-plane.sh");
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Starts it and waits until the API server is ready.
pub(crate) fn start_and_wait(layout: &Layout, programs: &[PathBuf]) -> Result<Process> {
    let (cluster, logs) = (layout.cluster(), layout.logs());
    let ready = cluster.join("control-plane.ready");
    fs::write(cluster.join("Corefile"), corefile(layout))
        .context("failed to write the Corefile")?;
    let process = start(Group {
        network: &layout.namespace_file(1),
        script: SCRIPT,
        script_file: &cluster.join("control-plane.sh"),
        variables: vec![
            ("CLUSTER", cluster.clone().into()),
            ("PKI", layout.pki().into()),
            ("LOGS", logs.clone().into()),
            ("READY", ready.clone().into()),
        ],
        programs,
        log: &logs.join("control-plane.log"),
    })?;
    let said =
        ["control-plane", "etcd", "kube-apiserver"].map(|log| logs.join(format!("{log}.log")));
    wait_for(
        process,
        &said,
        "the API server to be ready",
        READY_LIMIT,
        || Ok(ready.exists()),
    )
    .inspect_err(|_| {
        // Not recorded yet, so nobody else can end it.
        process.kill().ok();
    })?;
    Ok(process)
}

fn corefile(layout: &Layout) -> String {
    format!(
        "\
.:53 {{
    bind {API_ADDRESS}
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
    }}
    errors
}}
",
        kubeconfig = layout.kubeconfig("coredns").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coredns_answers_for_services_only() {
        let layout = Layout {
            cache: "/c".into(),
            name: "headend".to_owned(),
        };
        let expected = "\
.:53 {
    bind 198.18.0.1
    kubernetes cluster.local {
        kubeconfig /c/cluster/headend/pki/coredns.kubeconfig
    }
    errors
}
";
        assert_eq!(corefile(&layout), expected);
    }
}
