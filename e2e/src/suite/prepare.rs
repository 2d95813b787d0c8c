//! What has to be in the cluster before the chart and beside it. Each step may be repeated; none removes anything.

use anyhow::{Context, Result};
use api::StreamClass;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Secret};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{IDLE_SECONDS, NAMESPACE, TOKEN_KEY};

/// The namespace, with restricted pods only.
pub(super) async fn namespace(client: &Client) -> Result<()> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" }
    }});
    Api::<Namespace>::all(client.clone())
        .patch(
            NAMESPACE,
            &PatchParams::apply("e2e").force(),
            &Patch::Apply(&namespace),
        )
        .await
        .context("failed to create the namespace")?;
    Ok(())
}

/// Volumes that an earlier run released are made free again.
pub(super) async fn volumes(client: &Client) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let released = volume
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Released");
        if released && volume.name_any().starts_with("headend-") {
            let free = json!({ "spec": { "claimRef": null } });
            volumes
                .patch(
                    &volume.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(&free),
                )
                .await?;
        }
    }
    Ok(())
}

/// The keys that tokens, sessions and segments are signed with.
pub(super) async fn secrets(client: &Client) -> Result<()> {
    let keys = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "e2e-keys" }, "stringData": {
        "session": "e2e: the key that sessions are signed with", "segment": "e2e: the key that segments are signed with",
        "token": String::from_utf8_lossy(TOKEN_KEY),
    }});
    Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .patch(
            "e2e-keys",
            &PatchParams::apply("e2e").force(),
            &Patch::Apply(&keys),
        )
        .await
        .context("failed to create the keys")?;
    Ok(())
}

/// The classes that the catalog names.
pub(super) async fn classes(client: &Client) -> Result<()> {
    let classes: Api<StreamClass> = Api::namespaced(client.clone(), NAMESPACE);
    let private = json!({ "allowPrivateAddresses": true });
    let quick =
        json!({ "idleTimeoutSeconds": IDLE_SECONDS, "startDeadlineSeconds": 8, "egress": private });
    let ladder = json!({ "idleTimeoutSeconds": 60, "egress": private, "preset": "ultra",
        "ladder": [{ "height": 360, "videoKilobitsPerSecond": 600 }, { "height": 240, "videoKilobitsPerSecond": 300 }] });
    let patient =
        json!({ "idleTimeoutSeconds": 60, "startDeadlineSeconds": 60, "egress": private });
    let copy = json!({ "idleTimeoutSeconds": 60, "egress": private, "mode": "Copy" });
    let local = json!({ "idleTimeoutSeconds": IDLE_SECONDS, "startDeadlineSeconds": 8, "egress": private,
        "output": "PodLocal", "outputLimitMebibytes": 64 });
    let specs = [
        ("quick", quick),
        ("ladder", ladder),
        ("patient", patient),
        ("copy", copy),
        ("local", local),
    ];
    for (name, spec) in specs {
        let class = json!({ "apiVersion": "headend.dev/v1alpha1", "kind": "StreamClass", "metadata": { "name": name }, "spec": spec });
        classes
            .patch(
                name,
                &PatchParams::apply("e2e").force(),
                &Patch::Apply(&class),
            )
            .await
            .with_context(|| format!("failed to create class {name}"))?;
    }
    Ok(())
}
