//! Reads the encoder's output pipes into memory, whatever happens elsewhere: a pipe that is not read stops the whole process, every
//! rendition of it. At first whatever comes is taken at once; later all pipes are looked at together, in intervals.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout_at};
use upstream::looks;

use super::pipes::{self, Output};
use super::{EncoderEvent, Report};

/// Bytes that are read at once.
const READ_SIZE: usize = 64 << 10;
/// Bytes that are taken from a pipe in one look; what is more is taken by the next one, soon.
const LOOK_MAXIMUM: usize = 1 << 20;
/// What a pipe holds until it is looked at again: a quarter of what it could.
const ROOM: usize = 256 << 10;

/// Reads each pipe to its end; after this hurry in intervals, if the pipes can hold what comes meanwhile.
/// It goes on when nobody listens any more, so that the encoder can end.
pub(super) async fn drain(outputs: Vec<Output>, hurry: Duration, report: Report) {
    let are_wide = outputs.iter().all(pipes::is_wide);
    let until = are_wide.then(|| Instant::now() + hurry);
    let outputs = outputs.into_iter().enumerate();
    let hurried = outputs.map(|(pipe, output)| hurried(pipe, output, until, &report));
    let outputs = join_all(hurried).await;
    unhurried(outputs.into_iter().flatten().collect(), &report).await;
}

/// A pipe that no reactor wakes us for.
struct Looked {
    pipe: usize,
    file: File,
}

/// Takes what comes as it comes, until then; answers the pipe unless it has ended.
async fn hurried(
    pipe: usize,
    mut output: Output,
    until: Option<Instant>,
    report: &Report,
) -> Option<Looked> {
    let to_the_end = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_SIZE);
            match output.read_buf(&mut buffer).await {
                Ok(0) => return,
                Ok(_) => report.tell(EncoderEvent::Media {
                    pipe,
                    bytes: buffer.split().freeze(),
                }),
                Err(error) => return complain(pipe, &error),
            }
        }
    };
    let Some(until) = until else {
        to_the_end.await;
        return None;
    };
    if timeout_at(until, to_the_end).await.is_ok() {
        return None;
    }
    match output.into_nonblocking_fd() {
        Ok(output) => Some(Looked {
            pipe,
            file: File::from(output),
        }),
        Err(error) => {
            complain(pipe, &error);
            None
        }
    }
}

/// Looks at all of them in intervals, until none is left.
async fn unhurried(mut outputs: Vec<Looked>, report: &Report) {
    let mut buffer = vec![0; READ_SIZE];
    let mut most = 0;
    let mut looked = Instant::now();
    while !outputs.is_empty() {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Instant::now();
        let within = now - std::mem::replace(&mut looked, now);
        sleep(looks::pause(
            most,
            within,
            ROOM,
            since_epoch.unwrap_or_default(),
        ))
        .await;
        most = 0;
        outputs.retain_mut(|output| match output.look(&mut buffer, report) {
            Ok(Some(taken)) => {
                most = most.max(taken);
                true
            }
            Ok(None) => false,
            Err(error) => {
                complain(output.pipe, &error);
                false
            }
        });
    }
}

impl Looked {
    /// Takes what is there and tells it; answers how much, and nothing at its end.
    fn look(&mut self, buffer: &mut [u8], report: &Report) -> io::Result<Option<usize>> {
        let mut taken = 0;
        while taken < LOOK_MAXIMUM {
            match self.file.read(buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    report.tell(EncoderEvent::Media {
                        pipe: self.pipe,
                        bytes: Bytes::copy_from_slice(&buffer[..count]),
                    });
                    taken += count;
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(taken))
    }
}

fn complain(pipe: usize, error: &io::Error) {
    tracing::warn!(pipe, %error, "failed to read from the encoder");
}
