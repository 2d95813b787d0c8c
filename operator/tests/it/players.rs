//! Transcoders as far as their control HTTP goes, on loopback addresses of their own: for tests of what pods say and are told.
//! They never play anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase, JobStatus, PublishRequest, SourceStatus};
use api::job::{ResumeFloor, TranscodeJob};
use api::names::{CONTROL_PORT, JOB_VARIABLE};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api_server::{ApiServer, Objects};

/// Addresses that were given out, so that no two pods of any test share one.
static ADDRESSES: AtomicU16 = AtomicU16::new(1);

/// What was told to the transcoders of one world, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Names of pods that publish.
    pub(crate) publishing: Vec<String>,
    /// The most that ever did at once.
    pub(crate) most: usize,
    /// Names of pods that are over.
    pub(crate) ended: Vec<String>,
}

impl Ledger {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Told) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn publishes(&self, pod: &str, now: bool) {
        self.with(|told| {
            told.publishing.retain(|one| one != pod);
            if now {
                told.publishing.push(pod.to_owned());
            }
            told.most = told.most.max(told.publishing.len());
        });
    }
}

#[derive(Clone)]
struct Player {
    pod: String,
    says: watch::Sender<JobStatus>,
    ledger: Ledger,
    api: ApiServer,
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

/// How long a transcoder whose pod is being deleted plays on, if nobody tells it to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the transcoder of a pod; answers its address.
pub(crate) fn start(pod: &Value, api: &ApiServer, ledger: &Ledger) -> Ipv4Addr {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let document = variables.iter().find(|one| one["name"] == JOB_VARIABLE);
    let document = document.unwrap()["value"].as_str().unwrap();
    let job = TranscodeJob::from_json(document).unwrap();
    let phase = match job.standby {
        Some(_) => JobPhase::Standby,
        None => JobPhase::Live,
    };
    ledger.publishes(&name, phase == JobPhase::Live);
    let player = Player {
        pod: name,
        says: watch::Sender::new(status(&job, phase)),
        ledger: ledger.clone(),
        api: api.clone(),
    };
    let [high, low] = ADDRESSES.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    let address = Ipv4Addr::new(127, 77, high, low);
    let listener = std::net::TcpListener::bind(SocketAddr::from((address, CONTROL_PORT))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let path = |what: &str| format!("/v1/streams/{}/{}/{what}", job.stream.uid, job.attempt);
    let router = Router::new()
        .route(&path("status"), get(Player::status))
        .route(&path("finish"), post(Player::finish))
        .route(&path("publish"), post(Player::publish))
        .route(&path("stop"), post(Player::stop))
        .with_state(player.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn(player.end_by_grace());
    address
}

fn status(job: &TranscodeJob, phase: JobPhase) -> JobStatus {
    JobStatus {
        version: 1,
        stream_uid: job.stream.uid.clone(),
        attempt: job.attempt,
        phase,
        ready: phase == JobPhase::Standby,
        source: SourceStatus {
            index: 0,
            since_unix_milliseconds: 1_772_359_200_000,
            healthy: Some(true),
            reason: Reason::Receiving,
            message: "receiving from source.example".to_owned(),
            connected: true,
        },
        media: None,
        first_segment_milliseconds: None,
        start: None,
        next: ResumeFloor {
            media_sequence: 100 * i64::from(job.attempt),
            discontinuity_sequence: i64::from(job.attempt),
        },
        troubles: Vec::new(),
    }
}

impl Player {
    fn turns(&self, phase: JobPhase) {
        self.ledger.publishes(&self.pod, phase == JobPhase::Live);
        self.says.send_modify(|status| {
            status.version += 1;
            status.phase = phase;
        });
    }

    async fn status(
        State(player): State<Self>,
        Query(After { after }): Query<After>,
    ) -> Json<JobStatus> {
        let mut says = player.says.subscribe();
        let status = says.wait_for(|status| status.version > after).await;
        Json(status.unwrap().clone())
    }

    async fn finish(State(player): State<Self>) -> Json<FinishAnswer> {
        if player.says.borrow().phase != JobPhase::Finished {
            player.turns(JobPhase::Finished);
        }
        let next = player.says.borrow().next;
        Json(FinishAnswer { next, listed: None })
    }

    async fn publish(
        State(player): State<Self>,
        Json(request): Json<PublishRequest>,
    ) -> StatusCode {
        let phase = player.says.borrow().phase;
        match phase {
            JobPhase::Standby => {
                player
                    .says
                    .send_modify(|status| status.next = request.floor);
                player.turns(JobPhase::Live);
                StatusCode::NO_CONTENT
            }
            JobPhase::Finished => StatusCode::GONE,
            _ => StatusCode::NO_CONTENT,
        }
    }

    /// The pod is over, and gone if it was being deleted.
    async fn stop(State(player): State<Self>) -> StatusCode {
        player.end();
        StatusCode::NO_CONTENT
    }

    async fn end_by_grace(self) {
        let mut changes = self.api.changes();
        let deleted = |objects: &mut Objects| {
            let pod = objects.get("pods", &self.pod);
            pod.is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        };
        while !self.api.with(deleted) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        tokio::time::sleep(GRACE).await;
        self.end();
    }

    fn end(&self) {
        self.turns(JobPhase::Finished);
        self.ledger.with(|told| told.ended.push(self.pod.clone()));
        // Whoever watches pods looks again.
        self.api.with(|objects| {
            if objects.get("pods", &self.pod).is_some() {
                let nothing = serde_json::json!({"metadata": {"annotations": {"told": "stop"}}});
                objects.change("pods", &self.pod, &nothing);
            }
        });
    }
}
