//! A byte stream whose writes must get on: a reader that takes nothing for too long costs a connection, not memory for ever.
//! Reading is never timed here: how long a request may take to arrive is the HTTP server's business.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Fails a write, flush or shutdown that makes no progress for `limit`.
pub(crate) struct WriteDeadline<S> {
    stream: S,
    limit: Duration,
    // Armed only while a write is blocked, so an idle connection carries no timer.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            deadline: None,
        }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, poll: Poll<Result<T>>) -> Poll<Result<T>> {
        if poll.is_ready() {
            self.deadline = None;
            return poll;
        }
        let limit = self.limit;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        deadline.as_mut().poll(context).map(|()| {
            let message = "the other end takes no data";
            Err(Error::new(ErrorKind::TimedOut, message))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_fails_the_write_at_the_limit() {
        let (near, _far) = duplex(4);
        let mut stream = WriteDeadline::new(near, LIMIT);
        let start = Instant::now();
        let error = stream.write_all(b"five!").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn every_bit_of_progress_starts_the_limit_anew() {
        let (near, mut far) = duplex(1);
        let mut stream = WriteDeadline::new(near, LIMIT);
        let reader = tokio::spawn(async move {
            let mut taken = Vec::new();
            while taken.len() < 5 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                taken.push(far.read_u8().await.unwrap());
            }
            taken
        });
        stream.write_all(b"five!").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"five!");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_to_read_is_not_limited() {
        let (near, mut far) = duplex(4);
        let mut stream = WriteDeadline::new(near, LIMIT);
        let writer = tokio::spawn(async move {
            sleep(LIMIT * 10).await;
            far.write_u8(7).await.unwrap();
        });
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        writer.await.unwrap();
    }
}
