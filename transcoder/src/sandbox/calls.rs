//! The system calls that a confined program is refused: those that make sockets, of which Landlock refuses TCP alone. Only for a
//! process that has one thread: it binds the thread that asks.

use std::collections::BTreeMap;
use std::io;

use libc::{AF_INET, AF_INET6, AF_NETLINK, EACCES, SYS_io_uring_setup, SYS_socket};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Reach;

/// What reaches the network connects by these; by the last one it asks the kernel which addresses it has, before a name is looked up.
const FAMILIES: [i32; 3] = [AF_INET, AF_INET6, AF_NETLINK];

/// Refuses sockets, as `EACCES`; answers whether the kernel does that.
///
/// # Errors
/// When the kernel could and does not.
pub(super) fn refuse_sockets(reach: Reach) -> Result<bool, Error> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(false);
    };
    match apply_filter(&filter(reach, arch)?) {
        Ok(()) => Ok(true),
        Err(Error::Seccomp(error)) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The kernel has none of this, or not for this container.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)
    )
}

fn filter(reach: Reach, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let sockets = match reach {
        // Any.
        Reach::Nowhere | Reach::File => Vec::new(),
        Reach::Network => vec![other_than(&FAMILIES)?],
    };
    // By the queues of io_uring calls are made that no filter sees.
    let rules = BTreeMap::from([(SYS_socket, sockets), (SYS_io_uring_setup, Vec::new())]);
    let refused = SeccompAction::Errno(EACCES.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()
}

/// A call whose first argument is none of these.
fn other_than(values: &[i32]) -> Result<SeccompRule, BackendError> {
    let is_not = |value: &i32| {
        let (length, is_not) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne);
        SeccompCondition::new(0, length, is_not, u64::from(value.cast_unsigned()))
    };
    SeccompRule::new(values.iter().map(is_not).collect::<Result<_, _>>()?)
}
