//! The sockets of an opener: how many there are, and the way to end all of them whatever whoever reads them is doing. A provider counts
//! connections, so "closed" means the socket, not that nobody reads it any more. Opens none.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The sockets of one opener, those being connected included. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: watch::Sender<usize>,
    /// Cancelled: what belongs to it ends.
    end: Mutex<CancellationToken>,
}

impl Sockets {
    /// Ends every socket; none is made until [`Sockets::allow`].
    pub fn end(&self) {
        self.token(|end| end.cancel());
    }

    /// Sockets may be made again.
    pub fn allow(&self) {
        self.token(|end| {
            if end.is_cancelled() {
                *end = CancellationToken::new();
            }
        });
    }

    /// Waits until there is none.
    pub async fn none_left(&self) {
        let mut count = self.0.count.subscribe();
        // The sender is ours: it is not gone.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// One more, from before it is connected until it is closed.
    ///
    /// # Errors
    /// When none may be made.
    pub(crate) fn enter(&self) -> io::Result<Place> {
        let end = self.token(|end| end.clone());
        if end.is_cancelled() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.0.count.send_modify(|count| *count += 1);
        Ok(Place {
            ended: Box::pin(end.cancelled_owned()),
            sockets: self.clone(),
        })
    }

    fn token<T>(&self, with: impl FnOnce(&mut CancellationToken) -> T) -> T {
        let end = self.0.end.lock();
        with(&mut end.unwrap_or_else(PoisonError::into_inner))
    }
}

/// The place of one socket, given back when this is dropped: after the socket.
#[derive(Debug)]
pub(crate) struct Place {
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    sockets: Sockets,
}

impl Place {
    /// Whether the socket is to end; if not, the task is woken when it is.
    pub(crate) fn is_ended(&mut self, context: &mut Context<'_>) -> bool {
        matches!(self.ended.as_mut().poll(context), Poll::Ready(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.0.count.send_modify(|count| *count -= 1);
    }
}
