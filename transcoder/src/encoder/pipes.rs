//! The encoder's output pipes: read as soon as there is something, into memory, whatever happens elsewhere.
//! A pipe that is not read stops the whole process, every rendition of it.

use std::io;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::{EncoderEvent, Report};

/// A keyframe exceeds the usual 64 KiB; with this much room a burst of one does not stop the encoder.
const PIPE_SIZE: usize = 1 << 20;
/// Bytes that are read at once.
const READ_SIZE: usize = 64 << 10;

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
pub(super) fn widen(pipe: impl std::os::fd::AsFd) {
    if let Err(error) = fcntl_setpipe_size(pipe, PIPE_SIZE) {
        tracing::debug!(%error, "failed to widen a pipe");
    }
}

/// Reads one pipe to its end. It goes on when nobody listens any more, so that the encoder can end.
pub(super) async fn drain(pipe: usize, mut output: Output, report: Report) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_SIZE);
        match output.read_buf(&mut buffer).await {
            Ok(0) => return,
            Ok(_) => {
                let bytes = buffer.split().freeze();
                report.tell(EncoderEvent::Media { pipe, bytes });
            }
            Err(error) => {
                tracing::warn!(pipe, %error, "failed to read from the encoder");
                return;
            }
        }
    }
}
