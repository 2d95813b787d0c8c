//! Which node the release's pods are on, and moving them, so that a test which loses a node says what is lost with it.

use std::time::Duration;

use anyhow::{Context, Result};
use api::names::{COMPONENT_GATEWAY, LABEL_COMPONENT, LABEL_INSTANCE};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

use super::{RELEASE, Suite};
use crate::nodes::{AWAY, HOME, close};
use crate::wait::{Seen, until};

/// How long a pod may take to be deleted, made again elsewhere, and be ready.
const MOVE: Duration = Duration::from_secs(90);

/// Where a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Name of the pod.
    pub pod: String,
    /// Name of its node; empty before it has one.
    pub node: String,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
}

impl Suite {
    /// The pods of one of the release's components that are not ending.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn placed(&self, component: &str) -> Result<Vec<Placed>> {
        let labels = format!("{LABEL_COMPONENT}={component},{LABEL_INSTANCE}={RELEASE}");
        let pods = self.pods();
        let pods = pods.list(&ListParams::default().labels(&labels)).await?;
        let staying = pods
            .items
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(staying.map(placed).collect())
    }

    /// The address of the gateway on a node, past the Service.
    ///
    /// # Errors
    /// When there is none.
    pub async fn gateway_on(&self, node: &str) -> Result<String> {
        let gateways = self.placed(COMPONENT_GATEWAY).await?;
        let here = gateways.into_iter().find(|gateway| gateway.node == node);
        let address = here.and_then(|gateway| gateway.address);
        let address = address.with_context(|| format!("no gateway on {node}"))?;
        Ok(format!("http://{address}:8080"))
    }

    /// Moves the pods of a component of two so that one of them is on each node.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn one_on_each_node(&self, component: &str) -> Result<()> {
        let placed = self.placed(component).await?;
        for (node, other) in [(HOME, AWAY), (AWAY, HOME)] {
            if placed.iter().all(|pod| pod.node != node) {
                let pod = placed.first().context("a component without pods")?;
                self.move_from(other, component, &pod.pod).await?;
            }
        }
        Ok(())
    }

    /// Deletes a pod that is made again elsewhere than on this node.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn move_from(&self, node: &str, component: &str, pod: &str) -> Result<()> {
        let count = self.placed(component).await?.len();
        close(&self.client, node, true).await?;
        self.pods().delete(pod, &DeleteParams::default()).await?;
        // The pod of a StatefulSet has the same name again.
        let moved = until(&format!("{component} to move"), MOVE, || async {
            let placed = self.placed(component).await?;
            let ready = placed.iter().filter(|one| one.ready).count();
            let left = placed.iter().any(|one| one.pod == pod && one.node == node);
            Ok(Seen::when(ready == count && !left, placed))
        })
        .await;
        close(&self.client, node, false).await?;
        moved.map(drop)
    }

    /// Waits until all pods of a component are ready.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ready(&self, component: &str, count: usize) -> Result<()> {
        until(&format!("{component} to be ready"), MOVE, || async {
            let placed = self.placed(component).await?;
            let ready = placed.iter().filter(|one| one.ready).count();
            Ok(Seen::when(ready == count && placed.len() == count, placed))
        })
        .await
        .map(drop)
    }
}

fn placed(pod: &Pod) -> Placed {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Placed {
        pod: pod.name_any(),
        node: node.unwrap_or_default(),
        address: status.and_then(|status| status.pod_ip.clone()),
        ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
    }
}
