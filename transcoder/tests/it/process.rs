//! The process itself: what it says to people when its job is no good, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn transcoder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headend-transcoder"));
    command.env_clear().env("HEADEND_LISTEN", "127.0.0.1:0");
    command
}

#[test]
fn a_bad_job_is_one_clear_message_and_code_2() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = transcoder()
        .env("HEADEND_JOB", "{\"version\":9}")
        .env("HEADEND_TERMINATION_LOG", log.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = "failed to read the job document: version 9 is unknown, this transcoder reads version 1; upgrade the transcoder image";
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, format!("headend-transcoder: {expected}\n"));
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), expected);
}

#[test]
fn a_missing_job_is_named_with_its_variable() {
    let output = transcoder().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--job"), "{told}");
}

/// A job whose source nobody answers.
pub(crate) fn job(directory: &Path) -> serde_json::Value {
    serde_json::json!({
        "version": 1,
        "stream": { "namespace": "tv", "name": "news-one", "uid": "uid-1" },
        "attempt": 1,
        "sources": [{ "index": 0, "address": { "url": "http://127.0.0.1:1/one.ts" } }],
        "class": {
            "mode": "Auto", "preset": "source", "segmentDurationSeconds": 2, "targetDurationSeconds": 4,
            "playlistDurationSeconds": 12, "startDeadlineSeconds": 20
        },
        "output": { "directory": directory, "byteLimit": 1_000_000 }
    })
}

#[test]
fn a_signal_ends_the_process_well_and_its_record_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let job = job(directory.path());
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut child = transcoder()
        .env("HEADEND_LISTEN", address.to_string())
        .env("HEADEND_JOB", job.to_string())
        .env("HEADEND_GRACE_SECONDS", "5")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line = |wanted: &str| -> serde_json::Value {
        let mut parsed = lines
            .by_ref()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        parsed
            .find(|line: &serde_json::Value| line["message"] == wanted)
            .unwrap()
    };
    let changed = line("stream state changed");
    assert_eq!(changed["source.reason"], "EgressRefused");
    let mut gateway = TcpStream::connect(address).unwrap();
    let path = "/v1/streams/uid-1/1/playlists?gateway=one&viewers=7";
    write!(
        gateway,
        "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    gateway.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let record = line("stream ended");
    assert_eq!(
        (&record["outcome"], &record["segments"]),
        (&"stopped".into(), &0.into())
    );
    assert_eq!(record["viewers.peak"], 7);
    assert!(child.wait().unwrap().success());
}
