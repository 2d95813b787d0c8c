//! The controller that the product is compared with: it looks at every LiveStream again each ten seconds, as most controllers do, and does
//! less: a pod for each that is wanted, none for others, and no status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::LiveStream;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::task::AbortOnDropHandle;

/// Between two looks at an object.
pub(crate) const REQUEUE: Duration = Duration::from_secs(10);
/// As many reconciles at once as the product does in each of its processes.
const CONCURRENCY: u16 = 32;

/// Runs until it is dropped.
pub(crate) fn start(client: Client) -> AbortOnDropHandle<()> {
    let streams = Api::<LiveStream>::all(client.clone());
    let running = Controller::new(streams, watcher::Config::default())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .run(reconcile, error_policy, Arc::new(client))
        .for_each(|outcome| async {
            if let Err(error) = outcome {
                eprintln!("the peer failed: {error}");
            }
        });
    AbortOnDropHandle::new(tokio::spawn(running))
}

/// Label of its pods.
pub(crate) const LABEL: &str = "bench-peer";

async fn reconcile(stream: Arc<LiveStream>, client: Arc<Client>) -> kube::Result<Action> {
    let namespace = stream.namespace().unwrap_or_default();
    let pods = Api::<Pod>::namespaced(Client::clone(&client), &namespace);
    let name = format!("{}-peer", stream.name_any());
    let there = pods.get_opt(&name).await?;
    match (stream.spec.replicas, there) {
        (1, None) => {
            let pod = pod(&stream, name);
            pods.create(&PostParams::default(), &pod).await?;
        }
        (0, Some(_)) => {
            pods.delete(&name, &DeleteParams::default()).await?;
        }
        _ => {}
    }
    Ok(Action::requeue(REQUEUE))
}

fn error_policy(_: Arc<LiveStream>, _: &kube::Error, _: Arc<Client>) -> Action {
    Action::requeue(REQUEUE)
}

fn pod(stream: &LiveStream, name: String) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(BTreeMap::from([(LABEL.to_owned(), "true".to_owned())])),
            owner_references: stream.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "transcoder".to_owned(),
                image: Some("localhost/transcoder:bench".to_owned()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// Removes everything it has made.
pub(crate) async fn clear(client: &Client, namespaces: &[String]) -> Result<()> {
    for namespace in namespaces {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let of_peer = kube::api::ListParams::default().labels(LABEL);
        pods.delete_collection(&DeleteParams::default(), &of_peer)
            .await
            .context("failed to remove the peer's pods")?;
    }
    Ok(())
}
