//! A file system that is really full: said in the status, and viewers go on from memory. Needs a mount of its own, so root.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::condition::Reason;
use api::control::JobStatus;
use api::playlists::Playlists;
use reqwest::Url;
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::attempt::{BOUND, HOST, Setup, job_source};

/// Mounts a small volume where nobody else sees it, then becomes the transcoder.
const MOUNTED: &str = "mount -t tmpfs -o size=200k tmpfs \"$0\" && exec \"$1\"";

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    command.stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

async fn read<T: serde::de::DeserializeOwned>(url: Url) -> Option<T> {
    reqwest::get(url).await.ok()?.json().await.ok()
}

#[tokio::test]
async fn a_file_system_without_room_is_said_and_segments_come_from_memory() {
    if !may_mount() {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    testkit::tls::choose_provider();
    let channel = ChannelSettings::small("no-room");
    let mut job = Setup::copy(channel.clone()).job;
    let source = LiveSource::start(SourceSettings::loopback(vec![channel])).await;
    let source = source.unwrap();
    let directory = tempfile::tempdir().unwrap();
    job.sources = vec![job_source(0, source.url("no-room"))];
    job.output.directory = directory.path().to_string_lossy().into_owned();
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let path = api::control::stream_path(&job.stream.uid, job.attempt);
    let base = Url::parse(&format!("http://{address}{path}/")).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", MOUNTED])
        .arg(directory.path())
        .arg(HOST)
        .env("HEADEND_JOB", serde_json::to_string(&job).unwrap())
        .env("HEADEND_LISTEN", address.to_string())
        .env("HEADEND_ALLOW_LOOPBACK", "true")
        .stderr(Stdio::null());
    let _process = Process(command.spawn().unwrap());
    let stalled = async {
        loop {
            let status: Option<JobStatus> = read(base.join("status").unwrap()).await;
            let troubles = status.map(|status| status.troubles).unwrap_or_default();
            if troubles
                .iter()
                .any(|one| one.reason == Reason::OutputStalled)
            {
                return troubles[0].message.clone();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let message = timeout(BOUND, stalled).await.unwrap();
    assert!(message.contains("refuses"), "{message}");
    let playlists: Playlists = read(base.join("playlists").unwrap()).await.unwrap();
    assert!(!playlists.segments.is_empty());
    for entry in playlists.segments {
        assert!(entry.gaps.is_empty(), "{entry:?}");
        let url = base.join(&format!("hls/source/3-{}.ts", entry.number));
        let answer = reqwest::get(url.unwrap()).await.unwrap();
        assert_eq!(answer.status(), reqwest::StatusCode::OK, "{entry:?}");
    }
}
