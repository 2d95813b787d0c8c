//! Two processors: one for whatever serves, one for the load and everything else. Moves threads; measures nothing.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::Command;

/// Numbers of the two processors, as the kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("failed to ask for processors")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(server), Some(load)) = (allowed.next(), allowed.next()) else {
            bail!("two processors are needed: one for servers, one for the load");
        };
        Ok(Self { server, load })
    }

    /// Moves this process to the load's processor, and with it all that it starts from now on.
    pub(crate) fn move_load(self) -> Result<()> {
        let mut load = CpuSet::new();
        load.set(self.load);
        for task in fs::read_dir("/proc/self/task").context("failed to list threads")? {
            let name = task?.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            // A thread that has ended meanwhile needs no processor.
            let _ = sched_setaffinity(id.and_then(Pid::from_raw), &load);
        }
        Ok(())
    }

    /// A program on the servers' processor, with all that it starts.
    pub(crate) fn server(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.server.to_string()]);
        command.arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_started_on_its_processor() {
        let cores = Cores { server: 2, load: 5 };
        let command = cores.server("nginx");
        let words = command.as_std().get_args().collect::<Vec<_>>();
        assert_eq!(words, ["--cpu-list", "2", "nginx"]);
    }
}
