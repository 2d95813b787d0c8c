//! The process is killed at random moments and started again with the same attempt, as the kubelet does it; a viewer follows throughout.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use reqwest::{StatusCode, Url, header};
use testkit::checker::{CheckSettings, Rule, check};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::attempt::{BOUND, HOST, Setup, client, job_source};

const RESTARTS: u64 = 3;

/// Ends the process with the test, whatever becomes of it.
struct Process(Child);

impl Process {
    fn start(job: &str, port: u16) -> Self {
        let mut command = Command::new(HOST);
        command
            .env("HEADEND_JOB", job)
            .env("HEADEND_LISTEN", format!("127.0.0.1:{port}"))
            .env("HEADEND_ALLOW_LOOPBACK", "true")
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    /// SIGKILL.
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a gateway does around a transcoder that goes and comes: repeats the last playlist, and has segments from the volume.
#[derive(Clone)]
struct Gateway {
    base: Url,
    directory: PathBuf,
    client: reqwest::Client,
    last: Arc<Mutex<BTreeMap<String, String>>>,
}

type Answer = Result<([(header::HeaderName, &'static str); 2], Vec<u8>), StatusCode>;

impl Gateway {
    async fn ask(&self, path: &str) -> Option<Vec<u8>> {
        let url = self.base.join(path).unwrap();
        let answer = self.client.get(url).send().await.ok()?;
        let answer = answer.error_for_status().ok()?;
        Some(answer.bytes().await.ok()?.to_vec())
    }

    async fn playlist(&self, path: String) -> Answer {
        let fresh = self.ask(&path).await;
        let mut last = self.last.lock().unwrap();
        if let Some(fresh) = fresh {
            last.insert(path.clone(), String::from_utf8(fresh).unwrap());
        }
        let text = last.get(&path).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let headers = [
            (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        Ok((headers, text.clone().into_bytes()))
    }

    async fn segment(&self, path: String) -> Answer {
        let bytes = match std::fs::read(self.directory.join(&path)) {
            Ok(bytes) => bytes,
            Err(_) => self.ask(&path).await.ok_or(StatusCode::NOT_FOUND)?,
        };
        let headers = [
            (header::CONTENT_TYPE, "video/mp2t"),
            (header::CACHE_CONTROL, "max-age=3600, immutable"),
        ];
        Ok((headers, bytes))
    }

    /// Waits until a run that did not list `before` has listed its third segment.
    async fn lists_anew(&self, before: Option<u64>) -> u64 {
        let listed = async {
            loop {
                let text = self.ask("source/index.m3u8").await.unwrap_or_default();
                let text = String::from_utf8(text).unwrap();
                let uris = text.lines().filter(|line| !line.starts_with('#'));
                let numbers = uris.filter_map(api::names::parse_segment_name);
                let numbers: Vec<u64> = numbers.map(|(_, number)| number).collect();
                if let [first, _, .., last] = numbers[..]
                    && before.is_none_or(|before| first > before)
                {
                    return last;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(BOUND, listed).await.unwrap()
    }
}

async fn playlist_of(State(gateway): State<Gateway>, Path(path): Path<String>) -> Answer {
    match path.ends_with(".m3u8") {
        true => gateway.playlist(path).await,
        false => gateway.segment(path).await,
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_goes_on_behind_one_discontinuity_each() {
    testkit::tls::choose_provider();
    let channel = ChannelSettings::small("killed");
    let mut job = Setup::copy(channel.clone()).job;
    let source = SourceSettings::loopback(vec![channel]);
    let source = LiveSource::start(source).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    job.sources = vec![job_source(0, source.url("killed"))];
    job.output.directory = directory.path().to_string_lossy().into_owned();
    let port = free_port().await;
    let path = api::control::stream_path(&job.stream.uid, job.attempt);
    let gateway = Gateway {
        base: Url::parse(&format!("http://127.0.0.1:{port}{path}/hls/")).unwrap(),
        directory: directory.path().to_owned(),
        client: client(),
        last: Arc::default(),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/{*path}", get(playlist_of));
    let routes = routes.with_state(gateway.clone());
    tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    let job = serde_json::to_string(&job).unwrap();
    let mut process = Process::start(&job, port);
    let settings = CheckSettings {
        duration: Duration::from_secs(40),
        stale: Some(BOUND),
        discontinuities: None,
        ..CheckSettings::new(Url::parse(&format!("http://{address}/master.m3u8")).unwrap())
    };
    let following = tokio::spawn(check(settings));
    let mut last = gateway.lists_anew(None).await;
    for _ in 0..RESTARTS {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        sleep(Duration::from_millis(u64::from(now.subsec_nanos()) % 2000)).await;
        drop(process);
        process = Process::start(&job, port);
        last = gateway.lists_anew(Some(last)).await;
    }
    let report = timeout(2 * BOUND, following).await.unwrap();
    let report = report.unwrap().unwrap();
    // A run that has just begun lists little.
    let broken = report.violations.iter();
    let broken = broken.filter(|violation| violation.rule != Rule::WindowTooShort);
    let broken: Vec<String> = broken.map(ToString::to_string).collect();
    assert_eq!(broken.join("\n"), "");
    assert_eq!(report.renditions[0].discontinuities, RESTARTS);
    drop(process);
}
