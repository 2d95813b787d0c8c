//! The encoder's input: a queue bounded in bytes before its standard input.
//! A full queue is the encoder's state, never the source's: whoever feeds sees it and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pipes;

/// Bytes that may wait for the encoder: enough for it never to wait for us, and no more, since who feeds it has them too.
const QUEUE_MAXIMUM: usize = 2 << 20;
/// What is handed over when nothing more follows may exceed that: it is no longer held anywhere else.
const LAST_MAXIMUM: usize = 8 << 20;

/// The giving end. Dropping it closes the encoder's standard input after what waits.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Feed {
    /// Whether more should be handed over at the moment.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < QUEUE_MAXIMUM
    }

    /// Hands over media; never waits. What is too much, or given to an encoder that is gone, is lost.
    pub(super) fn push(&self, bytes: Bytes) {
        let length = bytes.len();
        if self.waiting.load(Ordering::Relaxed) + length <= LAST_MAXIMUM {
            self.waiting.fetch_add(length, Ordering::Relaxed);
            drop(self.queue.send(bytes));
        }
    }
}

/// The taking end.
#[derive(Debug)]
pub(super) struct Queue {
    incoming: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends: what is handed over waits until somebody writes it.
pub(super) fn queue() -> (Feed, Queue) {
    let (queue, incoming) = mpsc::unbounded_channel::<Bytes>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let feed = Feed {
        queue,
        waiting: waiting.clone(),
    };
    (feed, Queue { incoming, waiting })
}

impl Queue {
    /// Starts the task that writes; it ends with the feed, with the encoder, or when aborted.
    pub(super) fn write_to(
        mut self,
        mut stdin: ChildStdin,
        abort: &CancellationToken,
    ) -> JoinHandle<()> {
        pipes::widen(&stdin);
        let abort = abort.clone();
        tokio::spawn(async move {
            let writing = async {
                while let Some(bytes) = self.incoming.recv().await {
                    // An encoder that closed its input is about to end, and says so by ending.
                    if stdin.write_all(&bytes).await.is_err() {
                        return;
                    }
                    self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                }
            };
            tokio::select! {
                () = writing => {}
                () = abort.cancelled() => {}
            }
        })
    }
}
