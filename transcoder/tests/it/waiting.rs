//! The process without a job: it waits, takes the one that is signed for its pod, and plays it like any other.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use api::assignment::{Assignment, Claims, job_path};
use api::control::{ErrorBody, JobPhase, JobStatus, stream_path};
use api::job::TranscodeJob;
use reqwest::{Client, StatusCode};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::attempt::{BOUND, Setup, job_source};
use crate::process::transcoder;

const POD: &str = "5d3f";

/// A process that waits; it ends with the test, whatever becomes of it.
struct Waiting {
    process: Child,
    base: String,
    key: Ed25519KeyPair,
    client: Client,
}

impl Waiting {
    async fn start() -> Self {
        testkit::tls::choose_provider();
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut process = Command::from(transcoder())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HEADEND_LISTEN", address.to_string())
            .env("HEADEND_JOB_KEY", hex::encode(key.public_key().as_ref()))
            .env("HEADEND_POD_UID", POD)
            .env("HEADEND_ALLOW_LOOPBACK", "true")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let waits = Arc::new(Notify::new());
        let heard = waits.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("waiting for a stream") {
                    heard.notify_one();
                }
            }
        });
        let waiting = Self {
            process,
            base: format!("http://{address}"),
            key,
            client: Client::new(),
        };
        timeout(BOUND, waits.notified()).await.unwrap();
        assert_eq!(waiting.asked("/readyz").await, Some(StatusCode::OK));
        waiting
    }

    async fn asked(&self, path: &str) -> Option<StatusCode> {
        let answer = self.client.get(format!("{}{path}", self.base)).send();
        Some(answer.await.ok()?.status())
    }

    fn assign(&self, pod_uid: &str, job: &TranscodeJob) -> Assignment {
        let document = serde_json::to_string(job).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let expires_unix_seconds = i64::try_from(now.as_secs()).unwrap() + 60;
        let hash = digest(&SHA256, document.as_bytes());
        let claims = Claims {
            pod_uid,
            stream_uid: &job.stream.uid,
            attempt: job.attempt,
            document_hash: hash.as_ref().try_into().unwrap(),
            expires_unix_seconds,
        };
        let signature = self.key.sign(&claims.signed_bytes());
        Assignment {
            document,
            expires_unix_seconds,
            signature: hex::encode(signature.as_ref()),
        }
    }

    /// Gives it a job at the path of a pod; answers the status, and the code of a refusal.
    async fn give(&self, pod_uid: &str, assignment: &Assignment) -> (StatusCode, String) {
        let url = format!("{}{}", self.base, job_path(pod_uid));
        let answer = self.client.post(url).json(assignment).send();
        let answer = timeout(BOUND, answer).await.unwrap().unwrap();
        let status = answer.status();
        let refusal: Option<ErrorBody> = answer.json().await.ok();
        (status, refusal.map_or(String::new(), |body| body.code))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_plays_the_one_job_that_is_signed_for_it() {
    let channel = ChannelSettings::small("warm");
    let mut job = Setup::copy(channel.clone()).job;
    let source = SourceSettings::loopback(vec![channel]);
    let source = LiveSource::start(source).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    job.sources = vec![job_source(0, source.url("warm"))];
    job.output.directory = directory.path().to_string_lossy().into_owned();
    let waiting = Waiting::start().await;
    let path = stream_path(&job.stream.uid, job.attempt);
    let status = format!("{path}/status");
    assert_eq!(
        waiting.asked(&status).await,
        Some(StatusCode::MISDIRECTED_REQUEST)
    );
    let assignment = waiting.assign(POD, &job);
    let refused = |status, code: &str| (status, code.to_owned());
    let foreign = waiting.assign("another", &job);
    assert_eq!(
        waiting.give("another", &foreign).await,
        refused(StatusCode::MISDIRECTED_REQUEST, "misdirected")
    );
    assert_eq!(
        waiting.give(POD, &foreign).await,
        refused(StatusCode::FORBIDDEN, "unsigned")
    );
    assert_eq!(source.stats("warm").unwrap().clients_total, 0);
    for _ in 0..2 {
        let taken = waiting.give(POD, &assignment).await;
        assert_eq!(taken, (StatusCode::NO_CONTENT, String::new()));
    }
    let next = TranscodeJob {
        attempt: job.attempt + 1,
        ..job.clone()
    };
    assert_eq!(
        waiting.give(POD, &waiting.assign(POD, &next)).await,
        refused(StatusCode::CONFLICT, "busy")
    );
    let live = async {
        let mut after = 0;
        loop {
            let url = format!("{}{status}?after={after}", waiting.base);
            let answer = waiting.client.get(url).send().await.unwrap();
            let said: JobStatus = answer.json().await.unwrap();
            if said.phase == JobPhase::Live {
                return;
            }
            after = said.version;
        }
    };
    timeout(BOUND, live).await.unwrap();
    let listed = waiting.asked(&format!("{path}/hls/master.m3u8")).await;
    assert_eq!(listed, Some(StatusCode::OK));
    assert_eq!(source.stats("warm").unwrap().clients_total, 1);
    let stopped = format!("{}{path}/stop", waiting.base);
    let stopped = waiting.client.post(stopped).send().await.unwrap();
    assert_eq!(stopped.status(), StatusCode::OK);
    ends_well(waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_the_waiting_at_once() {
    let waiting = Waiting::start().await;
    let pid = Pid::from_raw(i32::try_from(waiting.process.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    ends_well(waiting).await;
}

async fn ends_well(mut waiting: Waiting) {
    let ended = timeout(BOUND, waiting.process.wait()).await.unwrap();
    assert!(ended.unwrap().success());
}
