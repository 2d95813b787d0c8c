//! Runs other programs: each one bounded in time, each failure with the end of what the program said.
//! Never signals a process that is not recorded with its start time, since process ids are reused.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// Between two looks at a condition that nothing announces: doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// How much of a program's output an error carries.
const TAIL_BYTES: u64 = 4 * 1024;

/// One process of this machine, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: i32,
    /// Start of the process in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub(crate) start_time: u64,
}

impl Process {
    /// The process that has this id now.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let stat = read_stat(pid).with_context(|| format!("process {pid} ended at once"))?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
        })
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_running(self) -> bool {
        read_stat(self.pid)
            .is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended)
    }

    /// Sends a signal if it still runs.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_running()) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("failed to signal process {pid:?}")),
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(self) -> Result<()> {
        self.signal(Signal::KILL)?;
        wait_until(
            &format!("process {} to end", self.pid),
            Duration::from_secs(10),
            || Ok(!self.is_running()),
        )
    }
}

/// The parent of a process, if that runs.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    read_stat(pid).map(|stat| stat.parent)
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<String> {
    run_with_input(command, b"", limit)
}

/// Like [`run`], with text for the program's standard input.
pub(crate) fn run_with_input(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
) -> Result<String> {
    let line = describe(command);
    let mut stdin = tempfile::tempfile()?;
    stdin.write_all(input)?;
    stdin.rewind()?;
    let (mut stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(stdin)
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let status = wait(command, &line, limit)?;
    ensure!(
        status.success(),
        "`{line}` failed ({status})\n{}{}",
        tail_of(&stdout)?,
        tail_of(&stderr)?
    );
    let mut text = String::new();
    stdout.rewind()?;
    stdout
        .read_to_string(&mut text)
        .with_context(|| format!("`{line}` printed something that is not text"))?;
    Ok(text)
}

/// Runs a program whose messages the user sees as they come.
pub(crate) fn run_visibly(command: &mut Command, limit: Duration) -> Result<()> {
    let line = describe(command);
    let status = wait(command.stdin(Stdio::null()), &line, limit)?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Starts a program that outlives this one: a session of its own, nothing of this process's environment, its
/// output in a log file.
pub(crate) fn start_detached(
    words: &[OsString],
    environment: &[(&str, OsString)],
    log: &Path,
) -> Result<Process> {
    let output = File::create(log).with_context(|| format!("failed to create {log:?}"))?;
    let child = Command::new("setsid")
        .args(words)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("failed to start `setsid`")?;
    Process::of(i32::try_from(child.id())?)
}

/// Looks at a condition until it holds, at most for `limit`.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    while !holds()? {
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
    Ok(())
}

/// The end of a log file, for an error message; empty when there is none.
pub(crate) fn tail(path: &Path) -> String {
    File::open(path)
        .map_err(anyhow::Error::from)
        .and_then(|file| tail_of(&file))
        .map(|text| format!("--- end of {}\n{text}", path.display()))
        .unwrap_or_default()
}

fn wait(command: &mut Command, line: &str, limit: Duration) -> Result<ExitStatus> {
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start `{line}`"))?;
    let mut status = None;
    let in_time = wait_until(&format!("`{line}` to end"), limit, || {
        status = child.try_wait()?;
        Ok(status.is_some())
    });
    if let Err(error) = in_time {
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    status.with_context(|| format!("`{line}` has no exit status"))
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn tail_of(mut file: &File) -> Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Debug, PartialEq)]
struct Stat {
    has_ended: bool,
    parent: i32,
    start_time: u64,
}

fn read_stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command's name stands in parentheses and may itself hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    Some(Stat {
        has_ended: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stat_line_is_read_past_a_name_with_spaces_and_parentheses() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 2\n";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                has_ended: false,
                parent: 7,
                start_time: 123_456
            })
        );
        assert_eq!(parse_stat("42 (x) S 1"), None);
    }

    #[test]
    fn a_process_with_another_start_time_is_not_the_recorded_one() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_running());
        let other = Process {
            start_time: own.start_time + 1,
            ..own
        };
        assert!(!other.is_running());
        other.kill().unwrap();
    }

    #[test]
    fn output_and_input_are_passed_through() {
        let echoed = run_with_input(&mut Command::new("cat"), b"abc", 10 * SECOND).unwrap();
        assert_eq!(echoed, "abc");
    }

    #[test]
    fn a_failure_carries_the_command_line_and_what_the_program_said() {
        let error = run(
            Command::new("sh").args(["-c", "echo broken >&2; exit 3"]),
            10 * SECOND,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c echo broken >&2; exit 3` failed (exit status: 3)\nbroken\n"
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_at_its_limit() {
        let error = run(Command::new("sleep").arg("600"), Duration::ZERO).unwrap_err();
        assert_eq!(
            error.to_string(),
            "waited 0 s in vain for `sleep 600` to end"
        );
    }

    #[test]
    fn a_detached_program_has_a_session_of_its_own_and_nothing_of_our_environment() {
        let folder = tempfile::tempdir().unwrap();
        let (log, done) = (folder.path().join("log"), folder.path().join("done"));
        let script = "env | sort; touch \"$DONE\"; exec sleep 60";
        let words = ["sh", "-c", script].map(OsString::from);
        let environment = [
            ("PATH", OsString::from("/usr/bin:/bin")),
            ("DONE", done.clone().into()),
        ];
        let process = start_detached(&words, &environment, &log).unwrap();
        wait_until("the script to speak", 30 * SECOND, || Ok(done.exists())).unwrap();
        let session = rustix::process::getsid(Pid::from_raw(process.pid)).unwrap();
        assert_eq!(session.as_raw_pid(), process.pid);
        process.kill().unwrap();
        assert!(!process.is_running());
        let said = fs::read_to_string(&log).unwrap();
        let names: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split('=').next())
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        assert_eq!(names, ["DONE", "PATH"]);
    }

    #[test]
    fn the_tail_of_a_long_log_is_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        fs::write(&log, format!("{}end\n", "a".repeat(10_000))).unwrap();
        let text = tail(&log);
        assert!(text.starts_with(&format!("--- end of {}\naaa", log.display())));
        assert!(text.ends_with("aend\n"));
        assert!(text.len() < 5_000);
        assert_eq!(tail(&folder.path().join("absent")), "");
    }
}
