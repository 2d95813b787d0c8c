//! Tells the presence store every few seconds who is watching here, also when nobody is: a gateway that says nothing pauses every
//! collection. What did not arrive is told again.

use std::sync::Arc;
use std::time::Duration;

use presence::StoreTime;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::audience::Reporting;
use crate::figures::{Figures, Traffic};
use crate::places::Settling;

/// The time between two flushes. Collectors and idle timeouts count on it.
pub const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// How long a flush may take.
const FLUSH_TIME: Duration = Duration::from_secs(4);

/// Flushes until `ended` is cancelled, which is when no request can come any more, and then once more.
pub async fn keep_flushing(gateway: Arc<Gateway>, ended: CancellationToken) {
    let mut ticks = interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut flusher = Flusher::default();
    loop {
        let last = tokio::select! {
            () = ended.cancelled() => true,
            _ = ticks.tick() => false,
        };
        flusher.flush(&gateway, last).await;
        if last {
            return;
        }
    }
}

#[derive(Default)]
struct Flusher {
    /// The moment up to which everything has arrived.
    arrived: Option<Instant>,
    /// The store's clock at its last answer, and when that came: by it the store can tell what was gathered before a fence was set, and
    /// arrived late, from what was gathered since.
    heard: Option<(StoreTime, Instant)>,
    settling: Settling,
    reporting: Reporting,
    traffic: Traffic,
    failing: bool,
}

impl Flusher {
    async fn flush(&mut self, gateway: &Gateway, is_last: bool) {
        if self.heard.is_none() {
            self.listen(gateway).await;
        }
        let now = Instant::now();
        let count = gateway.viewers.count(self.arrived, now);
        let sessions = i64::try_from(count.sessions).unwrap_or(i64::MAX);
        gateway.metrics.sessions.set(sessions);
        gateway.streams.watched(&count.touches);
        gateway.cache.tidy().await;
        let gathered = self.store_time(now);
        let flush = gateway
            .presence
            .flush(&gateway.name, &count.touches, gathered);
        let failure = match timeout(FLUSH_TIME, flush).await {
            Ok(Ok(outcome)) => {
                self.arrived = Some(now);
                self.heard = Some((outcome.now, Instant::now()));
                for stream_uid in &outcome.closed {
                    gateway.streams.fenced(stream_uid);
                }
                let settled = self.settling.settle(gateway).await;
                settled.and(self.tell(gateway, is_last).await).err()
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the presence store did not answer in time".to_owned()),
        };
        if failure.is_some() {
            self.settling.is_away();
        }
        self.report(gateway, failure);
    }

    /// Tells what people look at.
    async fn tell(&mut self, gateway: &Gateway, is_last: bool) -> Result<(), String> {
        let sent = gateway.metrics.segment_bytes.get();
        self.traffic.sample(sent, Instant::now());
        let figures = Figures::of(gateway, self.traffic.bits_per_second());
        let reported = self.reporting.report(gateway, &figures.text()).await;
        reported.and(self.traffic.add(gateway, is_last).await)
    }

    /// Asks for the store's clock. A store that does not answer will hardly answer the flush that follows, which says so.
    async fn listen(&mut self, gateway: &Gateway) {
        if let Ok(Ok((store, _))) = timeout(FLUSH_TIME, gateway.presence.flushes()).await {
            self.heard = Some((store, Instant::now()));
        }
    }

    /// A moment on the store's clock that was not later than this one here; the earliest one while nothing is known of that clock.
    fn store_time(&self, now: Instant) -> StoreTime {
        let heard = self.heard;
        heard.map_or(StoreTime(0), |(store, at)| {
            store.after(now.saturating_duration_since(at))
        })
    }

    /// Once when it begins and once when it ends: in between the metric says enough.
    fn report(&mut self, gateway: &Gateway, failure: Option<String>) {
        match failure {
            Some(reason) => {
                gateway.metrics.failed_flushes.inc();
                if !self.failing {
                    tracing::warn!(
                        reason,
                        "failed to say who is watching; nothing is collected meanwhile"
                    );
                }
                self.failing = true;
            }
            None if self.failing => {
                tracing::info!("the presence store is told again who is watching");
                self.failing = false;
            }
            None => {}
        }
    }
}
