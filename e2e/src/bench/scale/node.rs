//! One node for all pods: whatever is created runs at once, at an address of its own on loopback, and one transcoder answers behind all of
//! them that it is live. Nothing is ever played.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use api::condition::Reason;
use api::control::{JobPhase, JobStatus, POLL_SECONDS, SourceStatus};
use api::job::ResumeFloor;
use api::names::CONTROL_PORT;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Pods that are started at once.
const CONCURRENCY: usize = 16;
/// Addresses of pods from here on.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([127, 16, 0, 1]);

/// The node; it is gone when this is.
#[derive(Debug)]
pub(crate) struct Node {
    _tasks: JoinSet<()>,
}

impl Node {
    /// Runs the pods of these namespaces.
    pub(crate) async fn start(client: &Client, namespaces: &[String]) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, CONTROL_PORT));
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("port {CONTROL_PORT} is taken: transcoders answer there, and nothing else can")
        })?;
        let router = Router::new()
            .route("/v1/streams/{uid}/{attempt}/status", get(status))
            .route("/v1/streams/{uid}/{attempt}/stop", post(stop));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the transcoder ended: {error}");
            }
        });
        let addresses = Arc::new(AtomicU32::new(FIRST_ADDRESS));
        for namespace in namespaces {
            let pods = Api::namespaced(client.clone(), namespace);
            tasks.spawn(run_pods(pods, addresses.clone()));
        }
        Ok(Self { _tasks: tasks })
    }
}

async fn run_pods(pods: Api<Pod>, addresses: Arc<AtomicU32>) {
    let events = watcher(pods.clone(), watcher::Config::default()).default_backoff();
    let (pods, addresses) = (&pods, &addresses);
    events
        .applied_objects()
        .for_each_concurrent(CONCURRENCY, |pod| async move {
            let pod = match pod {
                Ok(pod) if !runs(&pod) => pod,
                Ok(_) => return,
                Err(error) => return eprintln!("failed to watch pods: {error}"),
            };
            let address = Ipv4Addr::from(addresses.fetch_add(1, Ordering::Relaxed));
            let patch = Patch::Merge(running(address));
            let name = pod.name_any();
            let parameters = PatchParams::default();
            match pods.patch_status(&name, &parameters, &patch).await {
                // It may be gone by now.
                Ok(_) | Err(kube::Error::Api(_)) => {}
                Err(error) => eprintln!("failed to run the pod {name}: {error}"),
            }
        })
        .await;
}

fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn running(address: Ipv4Addr) -> Value {
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [condition("PodScheduled"), condition("Ready")],
    }})
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

/// Live, and nothing new ever after.
async fn status(
    Path((stream_uid, attempt)): Path<(String, i32)>,
    Query(After { after }): Query<After>,
) -> Json<JobStatus> {
    if after > 0 {
        tokio::time::sleep(Duration::from_secs(POLL_SECONDS)).await;
    }
    Json(JobStatus {
        version: 1,
        stream_uid,
        attempt,
        phase: JobPhase::Live,
        ready: false,
        source: SourceStatus {
            index: 0,
            since_unix_milliseconds: 1_772_359_200_000,
            healthy: Some(true),
            reason: Reason::Receiving,
            message: "receiving from source.example".to_owned(),
            connected: true,
        },
        account: None,
        media: None,
        first_segment_milliseconds: Some(100),
        start: None,
        next: ResumeFloor {
            media_sequence: 1_772_359_200,
            discontinuity_sequence: 1_772_359_200,
        },
        troubles: Vec::new(),
    })
}

async fn stop() -> StatusCode {
    StatusCode::NO_CONTENT
}
