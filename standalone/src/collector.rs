//! Stops streams that nobody watches, by the same fence as the operator: only after the gateway has spoken since it was set.
//! Decides by the presence store's clock alone.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use presence::{CloseStart, Presence, PresenceError, StoreTime};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::narrator::{Event, Narrator};
use crate::streams::{LocalStreams, Running};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the fence says of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Somebody watches, or did a moment ago.
    Watched,
    /// Nobody does, as far as was told; the gateway has yet to speak.
    Waiting,
    /// Nobody does: it may be stopped.
    Idle,
}

/// Collects idle streams.
pub(crate) struct Collector {
    pub(crate) streams: LocalStreams,
    pub(crate) presence: Arc<dyn Presence>,
    /// The one gateway of this process.
    pub(crate) gateway: String,
    pub(crate) narrator: Narrator,
}

impl Collector {
    /// Looks at every stream until `shutdown` is cancelled.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut viewers = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let running = self.streams.running();
            viewers.retain(|uid, _| running.iter().any(|stream| stream.identity.uid == *uid));
            for stream in running {
                if let Err(error) = self.look(&stream, &mut viewers).await {
                    tracing::warn!(%error, "failed to learn who watches");
                }
            }
        }
    }

    async fn look(
        &self,
        stream: &Running,
        viewers: &mut HashMap<String, u32>,
    ) -> Result<(), PresenceError> {
        let identity = &stream.identity;
        let now = self.presence.stream(&identity.uid).await?.viewers;
        let before = viewers.insert(identity.uid.clone(), now).unwrap_or(0);
        if before != now {
            self.narrator.tell(&identity.name, &Event::Viewers(now));
        }
        let verdict = verdict(
            &*self.presence,
            &self.gateway,
            &identity.uid,
            stream.idle_timeout,
        );
        if verdict.await? == Verdict::Idle {
            let event = Event::Idle(stream.idle_timeout);
            self.narrator.tell(&identity.name, &event);
            self.streams.stop(identity);
        }
        Ok(())
    }
}

/// One look at a stream through the fence. Repeated until it is idle or watched.
pub(crate) async fn verdict(
    presence: &dyn Presence,
    gateway: &str,
    uid: &str,
    idle_timeout: Duration,
) -> Result<Verdict, PresenceError> {
    let since: StoreTime = match presence.begin_close(uid, idle_timeout).await? {
        CloseStart::InUse { .. } | CloseStart::Adopted => return Ok(Verdict::Watched),
        CloseStart::Closing { since } => since,
    };
    let (_, flushes) = presence.flushes().await?;
    let spoken = flushes.get(gateway).is_some_and(|flushed| *flushed > since);
    if !spoken {
        return Ok(Verdict::Waiting);
    }
    let sealed = presence.seal(uid, since).await?;
    Ok(if sealed {
        Verdict::Idle
    } else {
        Verdict::Watched
    })
}

#[cfg(test)]
mod tests {
    use presence::Touch;
    use presence::memory::MemoryPresence;
    use tokio::time::advance;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn look(presence: &MemoryPresence) -> Verdict {
        verdict(presence, "standalone", "uid", TIMEOUT)
            .await
            .unwrap()
    }

    async fn flush(presence: &MemoryPresence, touched: bool) {
        let touch = Touch {
            stream_uid: "uid".to_owned(),
            age: Duration::ZERO,
            viewers: 1,
        };
        let touches = if touched { vec![touch] } else { vec![] };
        let now = presence.flushes().await.unwrap().0;
        let flush = presence.flush("standalone", &touches, now);
        flush.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_idle_only_after_the_gateway_has_spoken_since_the_fence() {
        let presence = MemoryPresence::new();
        flush(&presence, true).await;
        assert_eq!(look(&presence).await, Verdict::Watched);
        advance(TIMEOUT).await;
        assert_eq!(look(&presence).await, Verdict::Waiting);
        advance(Duration::from_secs(4)).await;
        assert_eq!(look(&presence).await, Verdict::Waiting);
        flush(&presence, false).await;
        assert_eq!(look(&presence).await, Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_comes_back_behind_the_fence_keeps_the_stream() {
        let presence = MemoryPresence::new();
        flush(&presence, true).await;
        advance(TIMEOUT).await;
        assert_eq!(look(&presence).await, Verdict::Waiting);
        advance(Duration::from_secs(1)).await;
        flush(&presence, true).await;
        assert_eq!(look(&presence).await, Verdict::Watched);
        advance(TIMEOUT - Duration::from_millis(1)).await;
        assert_eq!(look(&presence).await, Verdict::Watched);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_ever_watched_gets_the_whole_timeout() {
        let presence = MemoryPresence::new();
        flush(&presence, false).await;
        assert_eq!(look(&presence).await, Verdict::Watched);
        advance(TIMEOUT).await;
        assert_eq!(look(&presence).await, Verdict::Waiting);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_says_nothing_pauses_every_collection() {
        let presence = MemoryPresence::new();
        flush(&presence, true).await;
        advance(Duration::from_hours(1)).await;
        for _ in 0..100 {
            assert_eq!(look(&presence).await, Verdict::Waiting);
            advance(Duration::from_secs(1)).await;
        }
    }
}
