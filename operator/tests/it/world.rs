//! A release in miniature: an API server in memory, a presence store in memory, a kubelet, and operators that come and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use operator::settings::{RunSettings, Settings};
use presence::memory::MemoryPresence;
use runtime::exit::ProcessError;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, Objects};
use crate::players::{self, Ledger};

/// Everything that is waited for comes within this.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// The Lease by which candidates elect one of them.
pub(crate) const LEASE: &str = "release-operator";
/// An address at which nobody answers: what pods say of themselves is not what these tests are about.
const POD_ADDRESS: &str = "127.255.255.254";

pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) presence: Arc<MemoryPresence>,
    kubelet: JoinHandle<()>,
    /// With which the operators sign jobs.
    key: NamedTempFile,
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

pub(crate) struct Operator {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ProcessError>>,
    /// Where it answers /metrics.
    pub(crate) admin: SocketAddr,
}

/// Where a process of this release answers /metrics.
pub(crate) fn admin() -> (TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListener::from_std(listener).unwrap(), address)
}

/// What it answers there.
pub(crate) async fn metrics(admin: SocketAddr) -> String {
    // A client wants to know whose cryptography it uses, also where it needs none. Somebody else may have told it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{admin}/metrics");
    let answer = timeout(SOON, reqwest::get(url)).await.unwrap().unwrap();
    timeout(SOON, answer.text()).await.unwrap().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let api = ApiServer::new();
        let kubelet = tokio::spawn(kubelet(api.clone()));
        Self {
            api,
            presence: Arc::default(),
            kubelet,
            key: key(),
        }
    }

    /// A world whose pods answer, play on while they are being deleted, and end when they are told to.
    pub(crate) fn with_players() -> (Self, Ledger) {
        let (api, ledger) = (ApiServer::new(), Ledger::default());
        let kubelet = tokio::spawn(kubelet_of_players(api.clone(), ledger.clone()));
        let world = Self {
            api,
            presence: Arc::default(),
            kubelet,
            key: key(),
        };
        (world, ledger)
    }

    /// Changes something as soon as a condition is met.
    pub(crate) fn once(
        &self,
        met: impl Fn(&Objects) -> bool + Send + 'static,
        change: impl FnOnce(&mut Objects) + Send + 'static,
    ) {
        let api = self.api.clone();
        tokio::spawn(async move {
            let mut changes = api.changes();
            while !api.with(|objects| met(objects)) {
                changes.changed().await.unwrap();
            }
            api.with(change);
        });
    }

    /// A release whose operator runs one stream, `news-one`.
    pub(crate) async fn running() -> (Self, Operator) {
        let world = Self::new();
        let operator = world.operator();
        world.create("news-one", &wanted());
        world.until_attempt(1).await;
        (world, operator)
    }

    pub(crate) fn operator(&self) -> Operator {
        self.operator_with(&[])
    }

    /// An operator that stands for election.
    pub(crate) fn candidate(&self, identity: &str) -> Operator {
        self.operator_with(&[
            "--election-lease",
            LEASE,
            "--election-identity",
            identity,
            "--election-lease-seconds",
            "4",
            "--election-renew-seconds",
            "3",
            "--election-retry-seconds",
            "1",
        ])
    }

    pub(crate) fn operator_with(&self, more: &[&str]) -> Operator {
        let shutdown = CancellationToken::new();
        let (client, presence) = (self.api.client(), self.presence.clone());
        let token = shutdown.clone();
        let key = self.key.path().to_str().unwrap();
        let settings = run_settings(&[&["--job-key", key], more].concat());
        let (listener, admin) = admin();
        let task = tokio::spawn(async move {
            operator::run(client, presence, listener, &settings, token).await
        });
        Operator {
            shutdown,
            task,
            admin,
        }
    }

    /// Waits until what there is meets a condition.
    pub(crate) async fn until(&self, what: &str, met: impl Fn(&Objects) -> bool) {
        let mut changes = self.api.changes();
        let wait = async {
            while !self.api.with(|objects| met(objects)) {
                changes.changed().await.unwrap();
            }
        };
        if timeout(SOON, wait).await.is_err() {
            let state = self.api.with(|objects| format!("{:#?}", objects.objects));
            panic!(
                "not in time: {what}\nwrites: {:#?}\n{state}",
                self.api.writes()
            );
        }
    }

    /// Waits until this attempt of `news-one` runs and no other.
    pub(crate) async fn until_attempt(&self, attempt: i32) {
        let met = |objects: &Objects| {
            runs(objects, "news-one") && status(objects, "news-one", "/pod/attempt") == attempt
        };
        self.until(&format!("attempt {attempt} runs"), met).await;
    }

    /// Who leads by the Lease; nobody is the empty string.
    pub(crate) async fn until_leads(&self, identity: &str) {
        let met = |objects: &Objects| {
            let lease = objects.get("leases", LEASE);
            lease.is_some_and(|lease| lease["spec"]["holderIdentity"] == identity)
        };
        self.until(&format!("{identity} leads"), met).await;
    }

    /// A Provider, `panel`, that allows so many connections.
    pub(crate) fn provider(&self, maximum_connections: i32) {
        self.provider_called("panel", maximum_connections);
    }

    pub(crate) fn provider_called(&self, name: &str, maximum_connections: i32) {
        let spec = json!({
            "type": "Xtream", "url": "http://panel.example", "secretName": "headend-source-panel",
            "maximumConnections": maximum_connections,
        });
        let provider = json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
        self.api.with(|objects| objects.put("providers", provider));
    }

    pub(crate) fn create(&self, name: &str, spec: &Value) {
        let spec = merged(
            &json!({"className": "default", "sources": [{"url": "http://source.example/one.ts"}]}),
            spec,
        );
        let stream = json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
        self.api.with(|objects| objects.put("livestreams", stream));
    }
}

fn key() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [7; 32]).unwrap();
    file
}

/// What makes a stream run.
pub(crate) fn wanted() -> Value {
    json!({"replicas": 1})
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = [one, other]
        .into_iter()
        .flat_map(|value| value.as_object().unwrap());
    Value::Object(
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

impl Operator {
    /// A signal; the process ends in time.
    pub(crate) async fn stop(self) -> Result<(), ProcessError> {
        self.shutdown.cancel();
        timeout(Duration::from_secs(5), self.task)
            .await
            .expect("ends in time")
            .unwrap()
    }

    /// Power off.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The settings of a subcommand in this release.
pub(crate) fn settings(subcommand: &str, more: &[&str]) -> Settings {
    let release = [
        "headend-operator",
        subcommand,
        "--namespace",
        "tv",
        "--instance",
        "release",
    ];
    Settings::try_parse_from(release.iter().chain(more)).unwrap()
}

fn run_settings(more: &[&str]) -> RunSettings {
    let usual = [
        "--transcoder-image",
        "transcoder:1",
        "--output-claim",
        "output",
    ];
    match settings("run", &[&usual[..], more].concat()) {
        Settings::Run(settings) => *settings,
        other => panic!("not the settings of run: {other:?}"),
    }
}

/// Runs what is created and ends what is deleted, like a node would.
async fn kubelet(api: ApiServer) {
    let mut changes = api.changes();
    loop {
        api.with(|objects| {
            let pods: Vec<_> = objects.all("pods").cloned().collect();
            for pod in pods {
                let name = pod["metadata"]["name"].as_str().unwrap();
                if !pod["metadata"]["deletionTimestamp"].is_null() {
                    objects.remove("pods", name);
                } else if pod["status"]["phase"].is_null() {
                    objects.change("pods", name, &running());
                }
            }
        });
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Whether what owns a pod is gone, which the garbage collector then deletes.
fn is_orphan(objects: &Objects, pod: &Value) -> bool {
    let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
    let mut streams = objects.all("livestreams");
    owner.is_string() && streams.all(|stream| stream["metadata"]["uid"] != *owner)
}

/// Runs what is created; what is deleted, or whose owner is, goes once its transcoder has ended.
async fn kubelet_of_players(api: ApiServer, ledger: Ledger) {
    let mut changes = api.changes();
    loop {
        let pods: Vec<_> = api.with(|objects| objects.all("pods").cloned().collect());
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let orphan = api.with(|objects| is_orphan(objects, &pod));
            let deleted = orphan || !pod["metadata"]["deletionTimestamp"].is_null();
            let ended = ledger.with(|told| told.ended.iter().any(|one| one == name));
            if pod["status"]["phase"].is_null() {
                let address = players::start(&pod, &api, &ledger).to_string();
                api.with(|objects| objects.change("pods", name, &running_at(&address)));
            } else if deleted && ended {
                api.with(|objects| objects.remove("pods", name));
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn running() -> Value {
    running_at(POD_ADDRESS)
}

fn running_at(address: &str) -> Value {
    json!({"status": {
        "phase": "Running", "podIP": address,
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"},
        ],
    }})
}

/// The names of the pods there are, those that are ending left out.
pub(crate) fn pods(objects: &Objects) -> Vec<String> {
    let pods = objects
        .all("pods")
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A field of the status of a stream.
pub(crate) fn status<'a>(objects: &'a Objects, stream: &str, path: &str) -> &'a Value {
    let stream = objects.get("livestreams", stream);
    stream
        .and_then(|stream| stream["status"].pointer(path))
        .unwrap_or(&Value::Null)
}

/// Whether the status names a pod that runs, and says where.
pub(crate) fn runs(objects: &Objects, stream: &str) -> bool {
    let named = status(objects, stream, "/pod/name");
    let endpoint = status(objects, stream, "/pod/endpoint");
    let pods = pods(objects);
    endpoint == &json!(format!("{POD_ADDRESS}:8080")) && pods.len() == 1 && *named == json!(pods[0])
}
