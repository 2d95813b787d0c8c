//! What a program can still do that was started as an encoder is. What the kernel here cannot refuse is printed, not passed over.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Output, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rustix::process::{Signal, getuid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use transcoder::metrics::Metrics;
use transcoder::sandbox::{Launcher, Level};

use crate::attempt::{BOUND, HOST};

/// A user that is not root, as in a cluster.
const USER: u32 = 65532;

/// A program as an encoder.
fn confined(program: &str) -> Command {
    let mut command = Command::new(HOST);
    command.args(["become-encoder", program]);
    command
}

async fn run(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(BOUND, command.output()).await.unwrap().unwrap()
}

/// Whether it succeeded, and what it said about problems.
async fn said(command: &mut Command) -> (bool, String) {
    let output = run(command).await;
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), words)
}

async fn level() -> Level {
    let output = run(Command::new(HOST).arg("become-encoder")).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.trim().parse().unwrap()
}

/// Whether the kernel has this version of Landlock's interface.
async fn has_landlock(version: u8, what: &str) -> bool {
    let level = level().await;
    let has =
        matches!(level, Level::Confined { landlock: Some(reached), .. } if reached >= version);
    if !has {
        eprintln!("NOT TESTED: {what}: this kernel's level is {level}");
    }
    has
}

/// Runs it free, where it must succeed, and confined, where it must be refused with these words.
async fn only_free(program: &str, arguments: &[&str], refusal: &str) {
    let (succeeded, words) = said(Command::new(program).args(arguments)).await;
    assert!(succeeded, "{program} cannot even do it when free: {words}");
    let (succeeded, words) = said(confined(program).args(arguments)).await;
    assert!(!succeeded && words.contains(refusal), "{words}");
}

#[tokio::test]
async fn an_encoder_cannot_write_a_file() {
    if !has_landlock(1, "writing").await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let write = format!("echo free > {}/$$", directory.path().display());
    only_free("sh", &["-c", &write], "Permission denied").await;
    let shared = std::env::temp_dir().display().to_string();
    for place in ["/dev/shm", "/usr/lib", &shared] {
        let arguments = ["-c".to_owned(), format!("echo free > {place}/headend-test")];
        let (succeeded, words) = said(confined("sh").args(arguments)).await;
        assert!(!succeeded, "{place}: {words}");
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn an_encoder_reads_no_file_besides_the_systems() {
    if !has_landlock(1, "reading").await {
        return;
    }
    let secret = tempfile::NamedTempFile::new().unwrap();
    let path = secret.path().to_str().unwrap();
    only_free("cat", &[path], "Permission denied").await;
    only_free("ls", &["/tmp"], "Permission denied").await;
    only_free("cat", &["/etc/passwd"], "Permission denied").await;
    only_free("cat", &["/proc/self/environ"], "Permission denied").await;
    let (succeeded, words) = said(confined("cat").arg("/etc/ld.so.cache")).await;
    assert!(succeeded, "{words}");
}

#[tokio::test]
async fn the_way_to_a_source_connects_by_tcp_and_still_writes_and_reads_no_file() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let url = format!("tcp://{}?timeout=5000000", listener.local_addr().unwrap());
    let mut adapter = Command::new(HOST);
    adapter.args([
        "become-adapter",
        "ffmpeg",
        "-nostdin",
        "-f",
        "data",
        "-i",
        &url,
    ]);
    // Ours may be files, and what writes to a file is ended.
    adapter.stdout(Stdio::null()).stderr(Stdio::null());
    let adapter = adapter.stdin(Stdio::null()).kill_on_drop(true).spawn();
    let mut adapter = adapter.unwrap();
    tokio::select! {
        accepted = timeout(BOUND, listener.accept()) => drop(accepted.unwrap().unwrap()),
        ended = adapter.wait() => panic!("it ended without a connection: {ended:?}"),
    }
    adapter.kill().await.unwrap();
    if !has_landlock(1, "writing and reading with the network").await {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let write = format!("echo free > {}/x", place.path().display());
    for arguments in [["sh", "-c", &write], ["cat", "/etc/passwd", "/etc/hosts"]] {
        let mut adapter = Command::new(HOST);
        let adapter = adapter.arg("become-adapter").args(arguments);
        let (succeeded, words) = said(adapter).await;
        assert!(!succeeded && words.contains("Permission denied"), "{words}");
        assert!(!words.contains("/etc/hosts"), "{words}");
    }
}

/// A program as the reader of a file.
fn reader(program: &str, file: &Path) -> Command {
    let mut command = Command::new(HOST);
    let mapping = FdMapping {
        parent_fd: File::open(file).unwrap().into(),
        child_fd: 3,
    };
    command.args(["become-reader", program]);
    command.fd_mappings(vec![mapping]).unwrap();
    command
}

#[tokio::test]
async fn the_reader_of_a_file_opens_that_one_and_no_other_and_has_no_sockets() {
    if !has_landlock(1, "reading one file").await {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| place.path().join(name));
    std::fs::write(&own, "own\n").unwrap();
    std::fs::write(&other, "other\n").unwrap();
    let output = run(reader("cat", &own).arg("/proc/self/fd/3")).await;
    assert_eq!(output.stdout, b"own\n");
    for (program, argument) in [
        ("cat", other.to_str().unwrap()),
        ("ls", place.path().to_str().unwrap()),
        ("cat", "/proc/self/environ"),
    ] {
        let (succeeded, words) = said(reader(program, &own).arg(argument)).await;
        assert!(!succeeded && words.contains("Permission denied"), "{words}");
    }
    let write = ["-c", "echo free > /proc/self/fd/3"];
    let (succeeded, words) = said(reader("sh", &own).args(write)).await;
    assert!(!succeeded && words.contains("Permission denied"), "{words}");
    if !matches!(level().await, Level::Confined { seccomp: true, .. }) {
        eprintln!("NOT TESTED: the sockets of the reader of a file");
        return;
    }
    for (url, _) in SOCKETS {
        let reading = ["-nostdin", "-f", "data", "-i", url];
        let (_, words) = said(reader("ffmpeg", &own).args(reading)).await;
        assert!(words.contains("Permission denied"), "{url}: {words}");
    }
}

#[tokio::test]
async fn an_encoder_cannot_connect_by_tcp() {
    if !has_landlock(4, "TCP").await {
        return;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("tcp://{}?timeout=5000000", listener.local_addr().unwrap());
    let arguments = ["-f", "data", "-t", "0.1", "-i", &url];
    let mut free = Command::new("ffmpeg");
    let mut free = free.args(arguments).kill_on_drop(true).spawn().unwrap();
    let accepted = async {
        while listener.accept().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, accepted).await.unwrap();
    free.kill().await.unwrap();
    let (succeeded, words) = said(confined("ffmpeg").args(arguments)).await;
    assert!(!succeeded && words.contains("Permission denied"), "{words}");
    assert!(listener.accept().is_err(), "it did connect");
}

/// What an FFmpeg opens a socket for, and whether the way to a source may.
const SOCKETS: [(&str, bool); 3] = [
    ("udp://127.0.0.1:9?timeout=1000", true),
    ("udp://[::1]:9?timeout=1000", true),
    ("unix:/nonexistent/socket", false),
];

#[tokio::test]
async fn an_encoder_has_no_sockets_and_the_way_to_a_source_only_those_of_the_network() {
    let level = level().await;
    if !matches!(level, Level::Confined { seccomp: true, .. }) {
        eprintln!("NOT TESTED: sockets: this kernel's level is {level}");
        return;
    }
    for (url, is_of_network) in SOCKETS {
        let is_refused = async |command: &mut Command| {
            let reading = command.args(["-nostdin", "-f", "data", "-i", url]);
            said(reading).await.1.contains("Permission denied")
        };
        assert!(!is_refused(&mut Command::new("ffmpeg")).await, "{url}");
        assert!(is_refused(&mut confined("ffmpeg")).await, "{url}");
        let mut adapter = Command::new(HOST);
        let is_denied = is_refused(adapter.args(["become-adapter", "ffmpeg"])).await;
        assert_eq!(is_denied, !is_of_network, "{url}");
    }
}

#[tokio::test]
async fn an_encoder_cannot_signal_its_supervisor() {
    if !has_landlock(6, "signals").await {
        return;
    }
    let signal = format!("kill -0 {}", std::process::id());
    only_free("sh", &["-c", &signal], "not permitted").await;
}

#[tokio::test]
async fn an_encoder_gains_no_privileges() {
    let mut child = confined("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let echo = async {
        input.write_all(b"x").await.unwrap();
        output.read_u8().await.unwrap()
    };
    assert_eq!(timeout(BOUND, echo).await.unwrap(), b'x');
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let has = |wanted: &str| status.lines().any(|line| line == wanted);
    assert!(has("Name:\tcat") && has("NoNewPrivs:\t1"), "{status}");
}

#[tokio::test]
async fn an_encoder_has_small_limits() {
    let script = "ulimit -c; ulimit -f; ulimit -n; ulimit -s; ulimit -Hn; ulimit -d";
    let output = run(confined("sh").args(["-c", script])).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let (known, data) = printed.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(known, "0\n0\n64\n8192\n64");
    let too_much = (data.parse::<u64>().unwrap() + 1) << 10;
    let copy = |bytes: u64| [format!("bs={bytes}"), "count=1".to_owned()];
    let (succeeded, words) = said(confined("dd").args(copy(1 << 20))).await;
    assert!(succeeded, "{words}");
    let (succeeded, words) = said(confined("dd").args(copy(too_much))).await;
    assert!(!succeeded && words.contains("memory exhausted"), "{words}");
}

#[tokio::test]
async fn an_encoder_that_writes_to_a_file_it_was_given_is_ended_by_a_signal() {
    let file = tempfile::tempfile().unwrap();
    let mut command = confined("sh");
    command.args(["-c", "echo x"]);
    let mut child = command
        .stdout(file.try_clone().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let status = timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.signal(), Some(Signal::XFSZ.as_raw()));
    assert_eq!(file.metadata().unwrap().size(), 0);
}

#[tokio::test]
async fn a_program_may_lie_anywhere_and_one_that_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("encoder");
    std::fs::copy("/bin/cat", &program).unwrap();
    let program = program.to_str().unwrap();
    let (succeeded, words) = said(&mut confined(program)).await;
    assert!(succeeded, "{words}");
    for (missing, told) in [
        (
            "headend-nothing",
            "failed to start headend-nothing: not found\n",
        ),
        (
            "/nonexistent/ffmpeg",
            "failed to start /nonexistent/ffmpeg: No such file or directory (os error 2)\n",
        ),
    ] {
        let output = run(&mut confined(missing)).await;
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), told);
    }
}

#[tokio::test]
async fn the_level_is_a_figure() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    Launcher::through(HOST.into(), "ffmpeg".into())
        .announce(metrics)
        .await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let level = level().await;
    eprintln!("this kernel's level is {level}");
    let expected = format!("headend_transcoder_encoder_sandbox{{level=\"{level}\"}} 1");
    assert!(text.lines().any(|line| line == expected), "{text}");
}

/// The supervisor as another user, since root may look into everything.
#[tokio::test]
async fn the_supervisor_says_how_encoders_are_confined_and_hides_its_memory() {
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybody).unwrap();
    let job = crate::process::job(directory.path());
    let mut command = Command::new(HOST);
    if getuid().is_root() {
        command.uid(USER).gid(USER);
    }
    let mut child = command
        .env_clear()
        .env("HEADEND_LISTEN", "127.0.0.1:0")
        .env("HEADEND_JOB", job.to_string())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let confined = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("encoders are confined") {
                return line;
            }
        }
        panic!("it ended");
    };
    let line = timeout(BOUND, confined).await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["encoder.sandbox"], level().await.to_string());
    // Linux gives such files of a process to root when it is not dumpable.
    let memory = format!("/proc/{}/mem", child.id().unwrap());
    assert_eq!(Path::new(&memory).metadata().unwrap().uid(), 0);
    child.kill().await.unwrap();
}
