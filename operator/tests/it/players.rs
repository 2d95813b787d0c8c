//! Transcoders as far as their control HTTP goes, on loopback addresses of their own: for tests of what pods say and are told.
//! They never play anything. Those without a job wait until they are given one that is signed for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::assignment::{Assignment, Claims, job_path};
use api::condition::Reason;
use api::control::{
    AccountStatus, FinishAnswer, GrantRequest, JobPhase, JobStatus, PublishRequest, SourceStatus,
};
use api::job::{JobSource, ResumeFloor, TranscodeJob};
use api::names::{CONTROL_PORT, JOB_KEY_VARIABLE, JOB_VARIABLE};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::api_server::{ApiServer, Objects};

/// Annotation that a pod gets here when it has answered `finish`: from then on it has no connection to a source.
pub(crate) const CLOSED: &str = "test/closed";

/// Annotation that a pod gets here when it goes on with another account: the Provider of whose connections it has one then.
pub(crate) const ACCOUNT: &str = "test/account";
/// Annotation on a Provider whose channels fail.
pub(crate) const FAILS: &str = "test/fails";

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
    /// Pods that waited, and the attempts that they were given, each time they were.
    pub(crate) given: Vec<(String, String, i32)>,
    /// The next `finish` is not heard, and not answered.
    pub(crate) is_deaf: bool,
    /// Pods that wait take no job.
    pub(crate) refuses: bool,
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
    /// Accounts that it can have a connection of.
    accounts: Vec<String>,
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
    let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = |name: &str| {
        let variable = variables.iter().find(|one| one["name"] == name);
        variable.map(|one| one["value"].as_str().unwrap_or_default().to_owned())
    };
    let name = pod["metadata"]["name"].as_str().unwrap();
    let router = match variable(JOB_VARIABLE) {
        Some(document) => {
            let job = TranscodeJob::from_json(&document).unwrap();
            play(name, &job, api, ledger)
        }
        None => {
            let waiting = Waiting {
                pod: name.to_owned(),
                pod_uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
                key: hex::decode(variable(JOB_KEY_VARIABLE).unwrap()).unwrap(),
                job: Arc::default(),
                ledger: ledger.clone(),
                api: api.clone(),
            };
            Router::new()
                .route(&job_path("{uid}"), post(Waiting::take))
                .fallback(Waiting::ask)
                .with_state(waiting)
        }
    };
    serve(router)
}

fn serve(router: Router) -> Ipv4Addr {
    let [high, low] = ADDRESSES.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    // Another run of these tests beside this one has others, most likely.
    let run = u8::try_from(64 + std::process::id() % 128).unwrap();
    let address = Ipv4Addr::new(127, run, high, low);
    let listener = std::net::TcpListener::bind(SocketAddr::from((address, CONTROL_PORT))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Control HTTP of an attempt that plays from now on.
fn play(name: &str, job: &TranscodeJob, api: &ApiServer, ledger: &Ledger) -> Router {
    let name = name.to_owned();
    let phase = match job.standby {
        Some(_) => JobPhase::Standby,
        None => JobPhase::Live,
    };
    ledger.publishes(&name, phase == JobPhase::Live);
    let player = Player {
        pod: name,
        accounts: accounts(job.sources.iter().chain(&job.reserve)),
        says: watch::Sender::new(status(job, phase)),
        ledger: ledger.clone(),
        api: api.clone(),
    };
    let path = |what: &str| format!("/v1/streams/{}/{}/{what}", job.stream.uid, job.attempt);
    let router = Router::new()
        .route(&path("status"), get(Player::status))
        .route(&path("finish"), post(Player::finish))
        .route(&path("publish"), post(Player::publish))
        .route(&path("grant"), post(Player::grant))
        .route(&path("stop"), post(Player::stop))
        .with_state(player.clone());
    tokio::spawn(player.clone().ask_for_accounts());
    tokio::spawn(player.end_by_grace());
    router
}

/// The accounts of sources, each once.
fn accounts<'a>(sources: impl Iterator<Item = &'a JobSource>) -> Vec<String> {
    let mut accounts: Vec<String> = Vec::new();
    for grant in sources.filter_map(|source| source.grant.as_ref()) {
        if !accounts.contains(&grant.provider) {
            accounts.push(grant.provider.clone());
        }
    }
    accounts
}

/// A transcoder without a job.
#[derive(Clone)]
struct Waiting {
    pod: String,
    pod_uid: String,
    key: Vec<u8>,
    /// The attempt that it was given, and its control HTTP.
    job: Arc<Mutex<Option<(String, i32, Router)>>>,
    ledger: Ledger,
    api: ApiServer,
}

impl Waiting {
    async fn take(
        State(waiting): State<Self>,
        Path(pod_uid): Path<String>,
        Json(assignment): Json<Assignment>,
    ) -> StatusCode {
        let given = TranscodeJob::from_json(&assignment.document).unwrap();
        let (uid, attempt) = (given.stream.uid.clone(), given.attempt);
        let claims = Claims {
            pod_uid: &waiting.pod_uid,
            stream_uid: &uid,
            attempt,
            document_hash: Sha256::digest(&assignment.document).into(),
            expires_unix_seconds: assignment.expires_unix_seconds,
        };
        let signature = hex::decode(&assignment.signature).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, &waiting.key);
        assert_eq!(pod_uid, waiting.pod_uid);
        key.verify(&claims.signed_bytes(), &signature).unwrap();
        if waiting.ledger.with(|told| told.refuses) {
            return StatusCode::FORBIDDEN;
        }
        let mut job = waiting.job.lock().unwrap();
        match &*job {
            Some((of, number, _)) if (of, *number) != (&uid, attempt) => StatusCode::CONFLICT,
            Some(_) => StatusCode::NO_CONTENT,
            None => {
                let router = play(&waiting.pod, &given, &waiting.api, &waiting.ledger);
                let given = (waiting.pod.clone(), uid.clone(), attempt);
                waiting.ledger.with(|told| told.given.push(given));
                *job = Some((uid, attempt, router));
                StatusCode::NO_CONTENT
            }
        }
    }

    async fn ask(State(waiting): State<Self>, request: Request) -> Response {
        let job = waiting.job.lock().unwrap().clone();
        match job {
            Some((.., router)) => router.oneshot(request).await.into_response(),
            None => StatusCode::MISDIRECTED_REQUEST.into_response(),
        }
    }
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
        account: accounts(job.sources.iter())
            .pop()
            .map(|provider| AccountStatus {
                provider: Some(provider),
                ..AccountStatus::default()
            }),
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
        if player.ledger.with(|told| std::mem::take(&mut told.is_deaf)) {
            std::future::pending::<()>().await;
        }
        if player.says.borrow().phase != JobPhase::Finished {
            player.turns(JobPhase::Finished);
            player.api.with(|objects| {
                let mark = json!({"metadata": {"annotations": {CLOSED: "true"}}});
                if objects.get("pods", &player.pod).is_some() {
                    objects.change("pods", &player.pod, &mark);
                }
            });
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

    /// Takes the connection that it asks for, and says so where everybody looks.
    async fn grant(State(player): State<Self>, Json(grant): Json<GrantRequest>) -> StatusCode {
        let account = player.says.borrow().account.clone().unwrap();
        let is_this = account.request == grant.request;
        let is_asking = player.says.borrow().phase == JobPhase::Interrupted;
        if is_asking && is_this && account.wants.contains(&grant.provider) {
            let mark = json!({"metadata": {"annotations": {ACCOUNT: grant.provider}}});
            player
                .api
                .with(|objects| objects.change("pods", &player.pod, &mark));
            player.says.send_modify(|status| {
                status.source.index = account.request;
                status.source.healthy = Some(true);
                status.source.connected = true;
                status.account = Some(AccountStatus {
                    provider: Some(grant.provider),
                    request: account.request,
                    wants: Vec::new(),
                });
            });
            player.turns(JobPhase::Live);
            return StatusCode::NO_CONTENT;
        }
        match is_this && account.provider == Some(grant.provider) {
            true => StatusCode::NO_CONTENT,
            false => StatusCode::CONFLICT,
        }
    }

    /// Asks for a connection of another account while the channels of its own fail.
    async fn ask_for_accounts(self) {
        let mut changes = self.api.changes();
        loop {
            let status = self.says.borrow().clone();
            let account = status.account.unwrap_or_default();
            let fails = account.provider.as_ref().is_some_and(|provider| {
                let fails = |objects: &mut Objects| {
                    let provider = objects.get("providers", provider);
                    let annotations = provider.map(|one| &one["metadata"]["annotations"]);
                    annotations.is_some_and(|annotations| !annotations[FAILS].is_null())
                };
                self.api.with(fails)
            });
            if fails && status.phase == JobPhase::Live {
                let others = self.accounts.iter();
                let others = others.filter(|name| Some(*name) != account.provider.as_ref());
                let wants = others.cloned().collect();
                self.says.send_modify(|status| {
                    status.source.healthy = Some(false);
                    status.source.connected = false;
                    status.account = Some(AccountStatus {
                        provider: account.provider.clone(),
                        request: account.request + 1,
                        wants,
                    });
                });
                self.turns(JobPhase::Interrupted);
            }
            if changes.changed().await.is_err() {
                return;
            }
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
