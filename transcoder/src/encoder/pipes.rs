//! The pipes between us and children: made here, wide, and mapped into nobody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use tokio::net::unix::pipe::{Receiver, Sender};

/// A keyframe exceeds the usual 64 KiB; with this much room a burst of one does not stop the encoder.
const PIPE_SIZE: usize = 1 << 20;

/// Our end of one pipe.
pub(super) type Output = Receiver;

/// Our end and the child's end of a new pipe. Only the mapping into the child survives its start.
pub(super) fn pair() -> io::Result<(Output, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    widen(&read);
    Ok((Receiver::from_owned_fd(read)?, write))
}

/// The same the other way: our end for writing, the child's for reading.
pub(crate) fn input_pair() -> io::Result<(Sender, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    widen(&read);
    Ok((Sender::from_owned_fd(write)?, read))
}

/// Gives a pipe more room; one that the system keeps small works too, just less smoothly.
pub(super) fn widen(pipe: impl AsFd) {
    if let Err(error) = fcntl_setpipe_size(pipe, PIPE_SIZE) {
        tracing::debug!(%error, "failed to widen a pipe");
    }
}

/// Whether it has that room.
pub(super) fn is_wide(pipe: impl AsFd) -> bool {
    fcntl_getpipe_size(pipe).is_ok_and(|size| size >= PIPE_SIZE)
}
