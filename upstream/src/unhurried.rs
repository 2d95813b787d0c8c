//! A TCP connection that, once it has delivered for a while, is looked at in intervals instead of whenever something arrives: a live
//! source sends hundreds of small packets a second, and waking for each costs more than all the work on them. Never delays a start.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::looks::{HURRY, pause};
use crate::sockets::Place;

/// What a socket holds until it is looked at again: well below what a receive window starts with.
const ROOM: usize = 40 << 10;

/// The connection.
#[derive(Debug)]
pub(crate) struct Unhurried {
    /// Absent where it stays so.
    hurried_until: Option<Instant>,
    /// At its other end is a proxy that forwards requests.
    is_forwarded: bool,
    state: State,
    /// Behind the connection: it is dropped after it.
    place: Place,
}

#[derive(Debug)]
enum State {
    /// Woken by the kernel.
    Hurried(TcpStream),
    /// Known to no reactor, looked at in intervals.
    Unhurried(Looked),
    /// Between the two; stays so only when the change failed.
    Lost,
}

#[derive(Debug)]
struct Looked {
    stream: std::net::TcpStream,
    next: Pin<Box<Sleep>>,
    /// Nothing is left to read until the next look.
    is_drained: bool,
    read_since_look: usize,
    looked: Instant,
}

impl Unhurried {
    /// The connection, which is in a hurry for now.
    pub(crate) fn new(stream: TcpStream, place: Place) -> Self {
        Self {
            hurried_until: Some(Instant::now() + HURRY),
            is_forwarded: false,
            state: State::Hurried(stream),
            place,
        }
    }

    /// A connection that stays in a hurry.
    pub(crate) fn hurried(stream: TcpStream, place: Place) -> Self {
        Self {
            hurried_until: None,
            ..Self::new(stream, place)
        }
    }

    /// With a proxy at its other end that forwards requests, or none.
    pub(crate) fn forwarded(self, is_forwarded: bool) -> Self {
        Self {
            is_forwarded,
            ..self
        }
    }

    /// Takes the connection from the reactor when its time has come.
    fn calm_down(&mut self) -> io::Result<()> {
        let is_over = self
            .hurried_until
            .is_some_and(|until| until <= Instant::now());
        if !matches!(self.state, State::Hurried(_)) || !is_over {
            return Ok(());
        }
        if let State::Hurried(stream) = std::mem::replace(&mut self.state, State::Lost) {
            self.state = State::Unhurried(Looked {
                stream: stream.into_std()?,
                next: Box::pin(sleep_until(Instant::now())),
                is_drained: false,
                read_since_look: 0,
                looked: Instant::now(),
            });
        }
        Ok(())
    }
}

impl Looked {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.is_drained {
                ready!(self.next.as_mut().poll(context));
                self.is_drained = false;
                self.read_since_look = 0;
            }
            let free = buffer.initialize_unfilled();
            let capacity = free.len();
            match self.stream.read(free) {
                Ok(count) => {
                    buffer.advance(count);
                    self.read_since_look += count;
                    if count < capacity {
                        self.look_later();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.look_later(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match (&self.stream).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.next.is_elapsed() {
                        self.look_later();
                    }
                    ready!(self.next.as_mut().poll(context));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn look_later(&mut self) {
        self.is_drained = true;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let since_epoch = since_epoch.unwrap_or_default();
        let now = Instant::now();
        let within = now - std::mem::replace(&mut self.looked, now);
        let pause = pause(self.read_since_look, within, ROOM, since_epoch);
        self.next.as_mut().reset(now + pause);
    }
}

fn lost() -> io::Error {
    io::Error::other("the connection was lost by this process")
}

impl Connection for Unhurried {
    fn connected(&self) -> Connected {
        match &self.state {
            State::Hurried(stream) => stream.connected().proxy(self.is_forwarded),
            // Asked for as soon as it is connected, when it is in a hurry still.
            State::Unhurried(_) | State::Lost => Connected::new(),
        }
    }
}

impl AsyncRead for Unhurried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.place.is_ended(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.calm_down()?;
        match &mut self.state {
            State::Hurried(stream) => Pin::new(stream).poll_read(context, buffer),
            State::Unhurried(looked) => looked.poll_read(context, buffer),
            State::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Unhurried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Hurried(stream) => Pin::new(stream).poll_write(context, bytes),
            State::Unhurried(looked) => looked.poll_write(context, bytes),
            State::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Hurried(stream) => Pin::new(stream).poll_shutdown(context),
            State::Unhurried(looked) => Poll::Ready(looked.stream.shutdown(Shutdown::Write)),
            State::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::sockets::Sockets;

    async fn pair() -> (Unhurried, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(ours, listener.accept());
        let mut ours = Unhurried::new(ours.unwrap(), Sockets::default().enter().unwrap());
        ours.hurried_until = Some(Instant::now());
        (ours, theirs.unwrap().0)
    }

    #[tokio::test]
    async fn everything_arrives_in_its_order_in_large_and_small_pieces() {
        let (mut ours, mut theirs) = pair().await;
        let sent: Vec<u8> = (0..3_000_000_u32)
            .map(|index| index.to_le_bytes()[0])
            .collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            for piece in sent.chunks(70_001) {
                theirs.write_all(piece).await.unwrap();
            }
            // The end is an end here, too.
            drop(theirs);
        });
        let mut got = Vec::new();
        timeout(Duration::from_secs(60), ours.read_to_end(&mut got))
            .await
            .unwrap()
            .unwrap();
        assert!(got == expected, "{} bytes", got.len());
        assert!(matches!(ours.state, State::Unhurried(_)));
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_can_still_be_written() {
        let (mut ours, mut theirs) = pair().await;
        theirs.write_all(b"ask").await.unwrap();
        let mut three = [0; 3];
        ours.read_exact(&mut three).await.unwrap();
        let sent = vec![7; 5_000_000];
        let writing = async {
            ours.write_all(&sent).await.unwrap();
            ours.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, count) = tokio::join!(writing, theirs.read_to_end(&mut got));
        assert_eq!(count.unwrap(), 5_000_000);
    }

    #[tokio::test]
    async fn it_is_in_a_hurry_at_first() {
        let (mut ours, mut theirs) = pair().await;
        ours.hurried_until = Some(Instant::now() + HURRY);
        theirs.write_all(b"now").await.unwrap();
        let mut three = [0; 3];
        ours.read_exact(&mut three).await.unwrap();
        assert!(matches!(ours.state, State::Hurried(_)));
    }
}
