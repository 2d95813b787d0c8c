//! The body one client receives: shared or private timeline, faults applied on the way. Holds a client's place in the count until dropped.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::carousel::Cursor;
use super::channel::{Channel, ClientGuard, TICK};
use super::faults::{Cut, Faults, Malformed};
use super::turn::{Holds, turned};
use crate::ts::packet::PACKET_SIZE;

/// One client's place in a channel.
pub(crate) struct Client {
    channel: Arc<Channel>,
    _counted: ClientGuard,
    feed: Feed,
    /// Faults of this request: what the query overlays on the channel's, at any time.
    query: Faults,
    faults: watch::Receiver<Faults>,
    cuts: watch::Receiver<(u64, Option<Cut>)>,
    /// When this connection is to be closed.
    end: Option<Instant>,
    packets: u64,
    /// What its stream has followed so far.
    holds: Holds,
    ended: bool,
}

enum Feed {
    Shared {
        burst: Bytes,
        live: broadcast::Receiver<Bytes>,
    },
    Private {
        cursor: Cursor,
        late: u64,
        ticks: tokio::time::Interval,
    },
}

impl Client {
    pub(crate) fn new(channel: Arc<Channel>, counted: ClientGuard, query: Faults) -> Self {
        let faults = channel.faults();
        let now = faults.borrow().overlaid(&query);
        let burst = now.burst.unwrap_or(0.0);
        let feed = match now.phase {
            Some(phase) => {
                let (cursor, late) = channel.join_at_phase(phase, burst);
                let mut ticks = tokio::time::interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                Feed::Private {
                    cursor,
                    late,
                    ticks,
                }
            }
            None => {
                let joined = channel.join(burst);
                Feed::Shared {
                    burst: joined.burst,
                    live: joined.live,
                }
            }
        };
        let end = now
            .cut_after
            .map(|seconds| Instant::now() + duration(seconds));
        Self {
            cuts: channel.cuts(),
            channel,
            _counted: counted,
            feed,
            query,
            faults,
            end,
            packets: 0,
            holds: Holds {
                tables: now.tables,
                mute: now.mute,
            },
            ended: false,
        }
    }

    /// The body's chunks until it is cut.
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures::stream::unfold(self, |mut client| async move {
            let item = client.next().await?;
            Some((item, client))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.ended {
            return None;
        }
        loop {
            let chunk = tokio::select! {
                cut = cut(&mut self.cuts, self.end) => {
                    self.ended = true;
                    return match cut {
                        Cut::Clean => None,
                        Cut::Abort => Some(Err(io::ErrorKind::ConnectionReset.into())),
                    };
                }
                chunk = chunk(&self.channel, &mut self.feed) => chunk?,
            };
            let faults = self.faults.borrow().overlaid(&self.query);
            if faults.silence == Some(true) || chunk.is_empty() {
                continue;
            }
            let chunk = turned(chunk, &faults, &mut self.holds);
            if chunk.is_empty() {
                continue;
            }
            let chunk = self.damaged(chunk, &faults);
            self.channel.count_bytes(chunk.len());
            throttle(&chunk, &faults).await;
            return Some(Ok(chunk));
        }
    }

    fn damaged(&mut self, chunk: Bytes, faults: &Faults) -> Bytes {
        let garbage = faults.malformed == Some(Malformed::Garbage);
        let every = match faults.corrupt {
            _ if garbage => 1,
            Some(every @ 1..) => u64::from(every),
            _ => return chunk,
        };
        let mut bytes = BytesMut::from(&chunk[..]);
        for packet in bytes.chunks_mut(PACKET_SIZE) {
            self.packets += 1;
            if self.packets.is_multiple_of(every) {
                scramble(packet, self.packets);
            }
        }
        bytes.freeze()
    }
}

/// Waits for the order to end the connection.
async fn cut(cuts: &mut watch::Receiver<(u64, Option<Cut>)>, end: Option<Instant>) -> Cut {
    let at_end = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = at_end => Cut::Clean,
        changed = cuts.changed() => match changed {
            Ok(()) => cuts.borrow_and_update().1.unwrap_or(Cut::Clean),
            Err(_) => Cut::Abort,
        },
    }
}

/// The next bytes; `None` when the channel is gone.
async fn chunk(channel: &Channel, feed: &mut Feed) -> Option<Bytes> {
    match feed {
        Feed::Shared { burst, .. } if !burst.is_empty() => {
            Some(burst.split_to(burst.len().min(64 * PACKET_SIZE)))
        }
        Feed::Shared { live, .. } => match live.recv().await {
            Ok(chunk) => Some(chunk),
            // A client that is too slow loses what the ring no longer holds, as with any live source.
            Err(RecvError::Lagged(_)) => Some(Bytes::new()),
            Err(RecvError::Closed) => None,
        },
        Feed::Private {
            cursor,
            late,
            ticks,
        } => {
            ticks.tick().await;
            let mut out = BytesMut::new();
            let until = channel.position(Instant::now()) - *late;
            channel.render(cursor, until, &mut out);
            Some(out.freeze())
        }
    }
}

async fn throttle(chunk: &Bytes, faults: &Faults) {
    if let Some(kilobits @ 1..) = faults.slow {
        let seconds = chunk.len() as f64 / (f64::from(kilobits) * 125.0);
        tokio::time::sleep(duration(seconds)).await;
    }
}

/// Seconds as a duration; what is no duration is none.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Overwrites bytes with noise that never looks like a packet.
fn scramble(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = match state as u8 {
            0x47 => 0x48,
            other => other,
        };
    }
}

/// What a panel answers with status 200 when an account has run out.
pub(crate) fn html() -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let page = "<!DOCTYPE html><html><head><title>Account expired</title></head><body>Please renew.</body></html>\n";
    futures::stream::iter([Ok(Bytes::from_static(page.as_bytes()))])
}
