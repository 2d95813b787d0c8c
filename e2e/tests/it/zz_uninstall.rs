//! The end of a release, and a new beginning. Named to run last: it takes the release away.

use anyhow::Result;
use e2e::helm;
use e2e::suite::values::one_node;
use e2e::suite::{NAMESPACE, RELEASE, Suite};
use e2e::wait::{Seen, until};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{SOON, START, outputs};

#[tokio::test]
async fn helm_test_passes() -> Result<()> {
    let suite = Suite::start().await?;
    let output = helm::helm(NAMESPACE, &["test", RELEASE, "--timeout", "120s"], None).await?;
    assert!(output.contains("Succeeded"), "{output}");
    suite.clean().await
}

#[tokio::test]
async fn uninstall_leaves_only_crds_hand_made_objects_and_the_claim_of_redis_and_the_next_release_plays()
-> Result<()> {
    let suite = Suite::start().await?;
    suite.viewer("plain").start(START).await?;
    let url = suite.source_url("second")?;
    suite
        .apply_stream(
            "by-hand",
            json!({ "className": "quick", "sources": [{ "url": url }] }),
        )
        .await?;
    suite.viewer("by-hand").start(START).await?;
    helm::uninstall(NAMESPACE, RELEASE).await?;

    // Helm does not wait for pods that are still ending.
    until("nothing of the release", SOON, || async {
        let left = leftovers(&suite).await?;
        Ok(Seen::when(left.is_empty(), left))
    })
    .await?;
    let streams = suite.streams().list(&ListParams::default()).await?.items;
    assert_eq!(
        streams
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["by-hand"]
    );
    assert!(streams[0].spec.suspend);
    assert_eq!(suite.transcoders(None).await?.len(), 0);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let claims = claims.list(&ListParams::default()).await?.items;
    assert_eq!(
        claims.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
        [format!("data-{RELEASE}-redis-0")]
    );
    let crds: Api<CustomResourceDefinition> = Api::all(suite.client.clone());
    for name in ["livestreams", "streamclasses", "providers"] {
        crds.get(&format!("{name}.headend.dev")).await?;
    }
    suite.source.shutdown().await;

    // The next one is of another kind, which no upgrade makes of the first.
    let again = Suite::start_as(&one_node()).await?;
    outputs::plays_with_a_volume_of_one_node(&again).await?;
    again.clean().await?;
    helm::uninstall(NAMESPACE, RELEASE).await
}

/// Objects that still belong to the release, whatever their kind.
async fn leftovers(suite: &Suite) -> Result<Vec<String>> {
    let discovery = Discovery::new(suite.client.clone()).run().await?;
    let labels = format!(
        "{}={RELEASE},app.kubernetes.io/managed-by=Helm",
        api::names::LABEL_INSTANCE
    );
    let mut left = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST)
                || resource.kind == "CustomResourceDefinition"
            {
                continue;
            }
            let objects: Api<DynamicObject> = Api::all_with(suite.client.clone(), &resource);
            let found = objects
                .list(&ListParams::default().labels(&labels))
                .await
                .map(|list| list.items)
                .unwrap_or_default();
            left.extend(
                found
                    .iter()
                    .map(|object| format!("{}/{}", resource.kind, object.name_any())),
            );
        }
    }
    Ok(left)
}
