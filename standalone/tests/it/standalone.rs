//! The binary as a child of the test. Ends with the test, however that ends.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{PATIENCE, until};

pub(crate) struct Standalone {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    pub(crate) address: String,
}

/// Runs it to its end: its code, and what it said last on standard error.
pub(crate) async fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (
        output.status.code(),
        error.lines().last().unwrap_or_default().to_owned(),
    )
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headend-standalone"));
    command
        .args(arguments)
        .env("HEADEND_LISTEN", "127.0.0.1:0")
        .env("HEADEND_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Standalone {
    /// Starts it on a list (an M3U file) and waits until it listens.
    pub(crate) async fn start(list: &Path, arguments: &[&str]) -> Self {
        let list = list.to_str().unwrap();
        let mut command = command(&[&["--playlist", list], arguments].concat());
        // A token of our own, so that nothing has to be read out of text.
        command.env("HEADEND_TOKEN", "token");
        Self::listening(command).await
    }

    /// Starts it with these arguments alone and waits until it listens.
    pub(crate) async fn run(arguments: &[&str]) -> Self {
        Self::listening(command(arguments)).await
    }

    async fn listening(mut command: Command) -> Self {
        command.stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
                heard.lock().unwrap().push(line);
            }
        });
        let mut standalone = Self {
            child,
            said,
            address: String::new(),
        };
        standalone.hear("listens on http://").await;
        let said = standalone.said();
        let line = said
            .iter()
            .find(|line| line.contains("listens on"))
            .unwrap();
        standalone.address = line
            .split("on ")
            .last()
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        standalone
    }

    /// Everything it said on standard output so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something.
    pub(crate) async fn hear(&self, words: &str) {
        until(words, async || {
            self.said().iter().any(|line| line.contains(words))
        })
        .await;
    }

    /// How often it said something.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.said()
            .iter()
            .filter(|line| line.contains(words))
            .count()
    }

    /// Ends it as an administrator would.
    pub(crate) async fn end(mut self) -> ExitStatus {
        let pid = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap()
    }
}
