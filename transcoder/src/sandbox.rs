//! The way into FFmpeg, the part that meets hostile bytes: our own program is started again, gives up what an encoder does not need,
//! and becomes FFmpeg. Nothing runs before that, and FFmpeg never runs when giving up failed.

mod calls;
mod confine;
mod policy;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::process::{Child, Command};

use crate::metrics::Metrics;

/// First argument of a program that is to become an encoder. With nothing behind it, the level is printed instead.
const ENTRY: &str = "become-encoder";
/// First argument of a program that is to become the way to a source: as an encoder, with the network.
const NETWORK_ENTRY: &str = "become-adapter";
/// First argument of a program that is to become the reader of a file: as an encoder, with one file besides.
const FILE_ENTRY: &str = "become-reader";
/// The descriptor of that file in it, and the path by which it opens it for itself, to be read from its start again.
pub(crate) const FILE_DESCRIPTOR: i32 = 3;
pub(crate) const FILE_PATH: &str = "/proc/self/fd/3";
/// The exit code when FFmpeg was not reached, as `env` and container runtimes have it.
const NOT_REACHED: u8 = 125;
/// This very program, also after its file was replaced.
const SELF: &str = "/proc/self/exe";
/// How long the level may take to be found out; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far encoders are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It is not known to work.
    None,
    /// No new privileges, and limits on resources.
    Confined {
        /// Landlock by this version of its interface, if the kernel has one: 1 files, 2 and 3 their moving and truncating, 4 TCP,
        /// 5 devices, 6 signals and abstract sockets.
        landlock: Option<u8>,
        /// No sockets, by seccomp.
        seccomp: bool,
    },
}

/// What stands behind a level with seccomp.
const SECCOMP: &str = "+seccomp";

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Confined { landlock, seccomp } = self else {
            return formatter.write_str("none");
        };
        match landlock {
            None => formatter.write_str("limits")?,
            Some(version) => write!(formatter, "landlock-{version}")?,
        }
        formatter.write_str(if *seccomp { SECCOMP } else { "" })
    }
}

/// What is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to understand the level {0:?}")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let (means, seccomp) = match text.strip_suffix(SECCOMP) {
            Some(means) => (means, true),
            None => (text, false),
        };
        let version = |means: &str| means.strip_prefix("landlock-")?.parse().ok();
        let landlock = match means {
            "none" if !seccomp => return Ok(Self::None),
            "limits" => None,
            _ => Some(version(means).ok_or_else(|| UnknownLevel(text.to_owned()))?),
        };
        Ok(Self::Confined { landlock, seccomp })
    }
}

/// What a program may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Its pipes.
    Nowhere,
    /// The network, and the files that say how names are looked up and whose certificates are trusted. It does not outlive us: no pipe
    /// that ends would tell it.
    Network,
    /// Its pipes, and the file that it was given open.
    File,
}

/// The `main` of every program that runs attempts: becomes an encoder when started as one, else hides its memory from others of
/// the same user and goes on with `program`.
pub fn main(program: impl FnOnce() -> ExitCode) -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    let entries = [
        (ENTRY, Reach::Nowhere),
        (NETWORK_ENTRY, Reach::Network),
        (FILE_ENTRY, Reach::File),
    ];
    let entered = entries
        .into_iter()
        .find(|(entry, _)| first.as_ref().is_some_and(|first| first == entry));
    let outcome = match entered {
        Some((_, reach)) => become_ffmpeg(arguments, reach),
        None => match set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            Ok(()) => return program(),
            Err(error) => Err(format!("failed to hide the process's memory: {error}")),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(NOT_REACHED)
        }
    }
}

/// Does not return when all goes well, unless there is no program to become.
fn become_ffmpeg(
    mut arguments: impl Iterator<Item = OsString>,
    reach: Reach,
) -> Result<(), String> {
    let Some(name) = arguments.next() else {
        let level = confine::confine(None, reach).map_err(|error| error.to_string())?;
        let printed = writeln!(io::stdout(), "{level}");
        return printed.map_err(|error| format!("failed to print the level: {error}"));
    };
    let path = std::env::var_os("PATH");
    let program = policy::find(Path::new(&name), path.as_deref())
        .ok_or_else(|| format!("failed to start {}: not found", name.display()))?;
    confine::confine(Some(&program), reach).map_err(|error| error.to_string())?;
    let error = confine::replace(&program, arguments);
    Err(format!("failed to start {}: {error}", program.display()))
}

/// Starts what [`Launcher`] says to run: pipes for its standard streams and those besides, no variable but PATH, a process group of its
/// own; killed when nobody holds it any more.
///
/// # Errors
/// When a pipe cannot be handed on or the program cannot be run.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[OsString],
    pipes: Vec<FdMapping>,
) -> io::Result<Child> {
    let began = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .fd_mappings(pipes)
        .map_err(io::Error::other)?
        .spawn();
    let took = began.elapsed();
    if took > SLOW {
        tracing::warn!(
            took_ms = took.as_millis(),
            "starting FFmpeg took long: disk or memory of this node are slow"
        );
    }
    child
}

/// A program is started within milliseconds, unless it must be read from a disk that is slow.
const SLOW: Duration = Duration::from_secs(1);

/// How encoders are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    host: PathBuf,
    ffmpeg: PathBuf,
}

/// Why it is not known how far encoders are confined.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("failed to start {0}: {1}")]
    Start(PathBuf, #[source] io::Error),
    #[error("no answer in {PATIENCE:?}")]
    Silent,
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Unknown(#[from] UnknownLevel),
}

impl Launcher {
    /// Starts this FFmpeg through the running program, whose `main` is [`main`].
    #[must_use]
    pub fn new(ffmpeg: PathBuf) -> Self {
        Self::through(PathBuf::from(SELF), ffmpeg)
    }

    /// Starts this FFmpeg through another program whose `main` is [`main`].
    #[must_use]
    pub fn through(host: PathBuf, ffmpeg: PathBuf) -> Self {
        Self { host, ffmpeg }
    }

    /// What to run for FFmpeg with these arguments.
    pub(crate) fn command(&self, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
        self.through_entry(ENTRY, arguments)
    }

    /// What to run for an FFmpeg with these arguments that opens a source by itself.
    pub(crate) fn network_command(&self, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
        self.through_entry(NETWORK_ENTRY, arguments)
    }

    /// What to run for an FFmpeg with these arguments that reads the file that it is given as [`FILE_DESCRIPTOR`], at [`FILE_PATH`].
    pub(crate) fn file_command(&self, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
        self.through_entry(FILE_ENTRY, arguments)
    }

    fn through_entry(&self, entry: &str, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
        let entry = [entry.into(), self.ffmpeg.clone().into_os_string()];
        (
            self.host.clone(),
            entry.into_iter().chain(arguments).collect(),
        )
    }

    /// Finds out how far encoders are confined, and says so in the log and in the figures.
    pub async fn announce(self, metrics: Metrics) {
        let level = match self.probe().await {
            Ok(
                level @ Level::Confined {
                    landlock: Some(_),
                    seccomp: true,
                },
            ) => {
                tracing::info!(encoder.sandbox = %level, "encoders are confined");
                level
            }
            Ok(level) => {
                tracing::warn!(
                    encoder.sandbox = %level,
                    "encoders are confined in part: Landlock or seccomp is not in this kernel, or not for this container"
                );
                level
            }
            Err(error) => {
                tracing::error!(%error, "failed to confine encoders: none will start");
                Level::None
            }
        };
        metrics.encoder_sandbox(level);
    }

    async fn probe(&self) -> Result<Level, ProbeError> {
        let output = Command::new(&self.host)
            .arg(ENTRY)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .map_err(|_| ProbeError::Silent)?
            .map_err(|error| ProbeError::Start(self.host.clone(), error))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ProbeError::Failed(words));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_as_it_is_written() {
        let confined = |landlock, seccomp| Level::Confined { landlock, seccomp };
        for (level, text) in [
            (Level::None, "none"),
            (confined(None, false), "limits"),
            (confined(None, true), "limits+seccomp"),
            (confined(Some(4), false), "landlock-4"),
            (confined(Some(6), true), "landlock-6+seccomp"),
        ] {
            assert_eq!(level.to_string(), text);
            assert_eq!(text.parse(), Ok(level));
        }
        for text in [
            "",
            "landlock",
            "landlock-",
            "landlock-x",
            "Limits",
            "none+seccomp",
        ] {
            assert!(text.parse::<Level>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_encoder_is_started_through_the_host() {
        let launcher = Launcher::new(PathBuf::from("ffmpeg"));
        let (program, arguments) = launcher.command(vec!["-i".into(), "pipe:0".into()]);
        assert_eq!(program, PathBuf::from("/proc/self/exe"));
        assert_eq!(arguments, ["become-encoder", "ffmpeg", "-i", "pipe:0"]);
        let (_, arguments) = launcher.network_command(Vec::new());
        assert_eq!(arguments, ["become-adapter", "ffmpeg"]);
        let (_, arguments) = launcher.file_command(Vec::new());
        assert_eq!(arguments, ["become-reader", "ffmpeg"]);
    }

    #[tokio::test]
    async fn a_host_that_cannot_confine_is_no_level() {
        for (host, told) in [
            ("/nonexistent", "failed to start /nonexistent"),
            ("/bin/false", ""),
            ("/bin/true", "failed to understand the level \"\""),
        ] {
            let launcher = Launcher::through(PathBuf::from(host), PathBuf::new());
            let error = launcher.probe().await.unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
