//! Child processes that end with the task: asked first, killed when they do not listen, always waited for.
//! They have process groups of their own, so that a Ctrl-C reaches them through here and only once.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long children may take to end after they were asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why waiting is over.
pub(crate) enum End {
    /// The user wants it to end.
    Signal,
    /// A child ended by itself.
    Child {
        /// Which.
        name: &'static str,
        /// How.
        status: ExitStatus,
    },
}

/// Running children and what is heard of them.
pub(crate) struct Children {
    running: Vec<(&'static str, Pid)>,
    sender: Sender<End>,
    ends: Receiver<End>,
}

impl Children {
    /// None yet; from now on signals are heard here.
    pub(crate) fn new() -> Result<Self> {
        let (sender, ends) = channel();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("failed to listen for signals")?;
        let heard = sender.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if heard.send(End::Signal).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            running: Vec::new(),
            sender,
            ends,
        })
    }

    /// Starts a child; its standard output, where the command pipes it.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Option<ChildStdout>> {
        command.process_group(0);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("failed to start {name}"))?;
        let output = child.stdout.take();
        self.running.push((name, Pid::from_child(&child)));
        let ended = self.sender.clone();
        std::thread::spawn(move || watch(name, child, &ended));
        Ok(output)
    }

    /// Waits for a signal or for the end of any child.
    pub(crate) fn wait(&mut self) -> Result<End> {
        let end = self.ends.recv()?;
        self.note(&end);
        Ok(end)
    }

    /// Asks every child to end and waits for them all; a further signal asks again, and patience ends in a kill.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.tell(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        let mut killed = Vec::new();
        while !self.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ends.recv_timeout(left.max(Duration::from_secs(1))) {
                Ok(End::Signal) => self.tell(Signal::TERM),
                Ok(end) => self.note(&end),
                Err(RecvTimeoutError::Timeout) => {
                    killed.extend(self.running.iter().map(|(name, _)| *name));
                    self.tell(Signal::KILL);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if killed.is_empty() {
            return Ok(());
        }
        bail!("had to kill {}", killed.join(" and "));
    }

    fn note(&mut self, end: &End) {
        if let End::Child { name, .. } = end {
            self.running.retain(|(running, _)| running != name);
        }
    }

    /// Children that have just ended are no error: their end is about to be heard.
    fn tell(&self, signal: Signal) {
        for (_, process) in &self.running {
            let _ = kill_process(*process, signal);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.tell(Signal::KILL);
    }
}

fn watch(name: &'static str, mut child: Child, ended: &Sender<End>) {
    if let Ok(status) = child.wait() {
        let _ = ended.send(End::Child { name, status });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    // One test for both: a signal reaches every listener of the process.
    #[test]
    fn a_signal_and_the_end_of_a_child_are_heard_and_no_child_is_left() {
        let mut children = Children::new().unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert!(matches!(children.wait().unwrap(), End::Signal));
        children
            .start("long", &mut shell("exec sleep 600 > /dev/null 2>&1"))
            .unwrap();
        children.start("short", &mut shell("exit 7")).unwrap();
        let End::Child { name, status } = children.wait().unwrap() else {
            panic!("nobody sent a signal");
        };
        assert_eq!((name, status.code()), ("short", Some(7)));
        let long = children.running[0].1;
        children.end().unwrap();
        assert!(
            rustix::process::test_kill_process(long).is_err(),
            "it is gone and waited for"
        );
    }
}
