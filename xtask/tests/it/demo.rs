//! The demo as somebody runs it who has just cloned the tree: it plays, and Ctrl-C leaves nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_mins(3);

struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
        let mut command = Command::new(program);
        command.args(["demo", "--listen", "127.0.0.1:0"]);
        let built = ["headend-standalone", "headend-testkit"];
        if built
            .iter()
            .all(|name| program.with_file_name(name).exists())
        {
            command.arg("--no-build");
        }
        command.stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines }
    }

    /// The first line that has these words.
    fn hear(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap();
            eprintln!("{line}");
            if line.contains(words) {
                return line;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Asked, not killed: only it can end what it started. Its patience with them is bounded.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid(), Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn get(url: &str) -> String {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The processes whose command line names this.
fn processes_naming(text: &str) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let names = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    processes.map(|entry| entry.path()).filter(names).collect()
}

#[test]
fn the_demo_plays_a_channel_and_ctrl_c_leaves_nothing() {
    let mut demo = Demo::start();
    let line = demo.hear("/live/test-one/master.m3u8");
    let url = line.split_whitespace().last().unwrap();
    let answer = get(url);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    demo.hear("test-one: playable after");
    let parent = format!(
        "/proc/{}/task/{}/children",
        demo.child.id(),
        demo.child.id()
    );
    let children = std::fs::read_to_string(parent).unwrap();
    let folder = std::fs::read(format!(
        "/proc/{}/cmdline",
        children.split_whitespace().last().unwrap()
    ));
    let folder = String::from_utf8(folder.unwrap()).unwrap();
    let folder = folder
        .split('\0')
        .find(|word| word.contains("headend-demo-"))
        .unwrap();
    let folder = Path::new(folder).parent().unwrap();
    assert!(folder.is_dir());

    kill_process(demo.pid(), Signal::INT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = demo.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
    assert!(!folder.exists());
    assert_eq!(
        processes_naming(folder.to_str().unwrap()),
        Vec::<PathBuf>::new()
    );
    for child in children.split_whitespace() {
        assert!(!Path::new("/proc").join(child).exists(), "{child}");
    }
}
