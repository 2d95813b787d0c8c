//! A byte stream whose writes must get on: a reader that takes nothing for too long costs a connection, not memory for ever.
//! Reading is never timed here: how long a request may take to arrive is the HTTP server's business.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Fails a write, flush or shutdown when less than `minimum` bytes get on in `limit` while more are offered.
pub(crate) struct WriteDeadline<S> {
    stream: S,
    limit: Duration,
    minimum: usize,
    // Armed only while a write is blocked, so an idle connection carries no timer.
    deadline: Option<Pin<Box<Sleep>>>,
    // What got on since it was armed.
    taken: usize,
}

impl<S> WriteDeadline<S> {
    pub(crate) fn new(stream: S, limit: Duration, minimum: usize) -> Self {
        Self {
            stream,
            limit,
            minimum,
            deadline: None,
            taken: 0,
        }
    }

    /// Judges a write of which that many bytes were offered.
    fn judge_write(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<Result<usize>>,
        offered: usize,
    ) -> Poll<Result<usize>> {
        if let (Poll::Ready(Ok(written)), true) = (&poll, self.deadline.is_some()) {
            self.taken += written;
            // The rest is still waited for: whoever takes a byte now and then does not get on.
            if *written < offered && self.taken < self.minimum {
                return poll;
            }
        }
        self.judge(context, poll)
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, poll: Poll<Result<T>>) -> Poll<Result<T>> {
        if poll.is_ready() {
            self.deadline = None;
            return poll;
        }
        let limit = self.limit;
        if self.deadline.is_none() {
            self.taken = 0;
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        deadline.as_mut().poll(context).map(|()| {
            let message = "the other end takes too little data";
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
        self.judge_write(context, poll, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        let offered = slices.iter().map(|slice| slice.len()).sum();
        self.judge_write(context, poll, offered)
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
    const MINIMUM: usize = 4;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_fails_the_write_at_the_limit() {
        let (near, _far) = duplex(4);
        let mut stream = WriteDeadline::new(near, LIMIT, MINIMUM);
        let start = Instant::now();
        let error = stream.write_all(b"five!").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), LIMIT);
    }

    /// Writes 40 bytes to a reader that takes one and then rests that long; how that ended, and when.
    async fn written(rest: Duration) -> (Result<()>, Duration) {
        let (near, mut far) = duplex(1);
        let mut stream = WriteDeadline::new(near, LIMIT, MINIMUM);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                sleep(rest).await;
            }
        });
        let start = Instant::now();
        let outcome = stream.write_all(&[b'x'; 40]).await;
        let elapsed = start.elapsed();
        drop(stream);
        reader.await.unwrap();
        (outcome, elapsed)
    }

    #[tokio::test(start_paused = true)]
    async fn enough_progress_starts_the_limit_anew() {
        let (outcome, elapsed) = written(LIMIT / 5).await;
        outcome.unwrap();
        assert!(elapsed > 5 * LIMIT, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drop_now_and_then_does_not() {
        let (outcome, elapsed) = written(LIMIT / 2).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(elapsed < 2 * LIMIT, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_as_a_whole_is_not_held_against_what_comes_later() {
        let (near, mut far) = duplex(2);
        let mut stream = WriteDeadline::new(near, LIMIT, MINIMUM);
        for _ in 0..5 {
            let (written, taken) = tokio::join!(stream.write_all(b"abc"), async {
                sleep(LIMIT / 2).await;
                let mut taken = [0; 3];
                far.read_exact(&mut taken).await.map(|_| taken)
            });
            written.unwrap();
            assert_eq!(&taken.unwrap(), b"abc");
            sleep(LIMIT * 3).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_to_read_is_not_limited() {
        let (near, mut far) = duplex(4);
        let mut stream = WriteDeadline::new(near, LIMIT, MINIMUM);
        let writer = tokio::spawn(async move {
            sleep(LIMIT * 10).await;
            far.write_u8(7).await.unwrap();
        });
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        writer.await.unwrap();
    }
}
