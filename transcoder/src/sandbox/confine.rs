//! Gives up, in this process and for good, what the policy does not leave an encoder. Only for a process that has one thread:
//! Landlock and no_new_privs bind the thread that asks.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{sched_getaffinity, set_no_new_privs};

use super::{FILE_PATH, Level, Reach, calls, policy};

/// The newest version of Landlock's interface that is asked for: of those that follow, none was tested.
const NEWEST: ABI = ABI::V6;
/// Where a container finds its limit of memory.
const MEMORY_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// What could not be given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// The way to more privileges.
    #[error("failed to give up gaining privileges: {0}")]
    Privileges(#[source] rustix::io::Errno),
    /// Life beyond whoever started it.
    #[error("failed to tie its life to ours: {0}")]
    Lifetime(#[source] rustix::io::Errno),
    /// Resources.
    #[error("failed to limit {0:?}: {1}")]
    Limit(Resource, #[source] rustix::io::Errno),
    /// Files and network.
    #[error("failed to apply Landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// Sockets.
    #[error("failed to refuse sockets: {0}")]
    Sockets(#[from] seccompiler::Error),
}

/// Confines this process so that it can still become `program`; answers what was reached.
///
/// # Errors
/// When something that the kernel has could not be applied.
pub(super) fn confine(program: Option<&Path>, reach: Reach) -> Result<Level, ConfineError> {
    if reach == Reach::Network {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(ConfineError::Lifetime)?;
    }
    set_no_new_privs(true).map_err(ConfineError::Privileges)?;
    let memory = std::fs::read_to_string(MEMORY_LIMIT).ok();
    let memory = memory.as_deref().and_then(policy::memory_limit);
    // As FFmpeg counts them: without what a control group allows of their time.
    let processors = sched_getaffinity(None).map_or(1, |processors| processors.count().into());
    let landlock = landlock(program, reach)?;
    for (resource, wanted) in policy::limits(memory, processors) {
        limit(resource, wanted).map_err(|error| ConfineError::Limit(resource, error))?;
    }
    Ok(Level::Confined {
        landlock,
        seccomp: calls::refuse_sockets(reach)?,
    })
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, wanted: u64) -> Result<(), rustix::io::Errno> {
    let present = getrlimit(resource);
    let lower = |value: Option<u64>| Some(value.map_or(wanted, |value| value.min(wanted)));
    let new = Rlimit {
        current: lower(present.current),
        maximum: lower(present.maximum),
    };
    setrlimit(resource, new)
}

/// Nothing is written, nothing but system files and a file that it was given is read, no TCP unless it reaches the network, no signals
/// and abstract sockets to the outside. Answers which version of Landlock's interface sees to it, if any does.
fn landlock(program: Option<&Path>, reach: Reach) -> Result<Option<u8>, RulesetError> {
    let run: BitFlags<AccessFs> = AccessFs::from_read(NEWEST);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?;
    let ruleset = match reach {
        Reach::Nowhere | Reach::File => ruleset.handle_access(AccessNet::from_all(NEWEST))?,
        Reach::Network => ruleset,
    };
    let besides: &[&str] = match reach {
        Reach::Nowhere => &[],
        Reach::Network => &policy::NAMES,
        Reach::File => &[FILE_PATH],
    };
    let status = ruleset
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(policy::SYSTEM, run))?
        .add_rules(path_beneath_rules(program, run))?
        .add_rules(path_beneath_rules(policy::FACTS, read))?
        .add_rules(path_beneath_rules(besides, read))?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            u8::try_from(effective_abi.min(NEWEST) as u32).ok()
        }
        _ => None,
    })
}

/// Becomes the program; returns only the error.
pub(super) fn replace(program: &Path, arguments: impl Iterator<Item = OsString>) -> io::Error {
    Command::new(program).args(arguments).exec()
}
