//! Tells the presence store every few seconds who is watching here, also when nobody is: a gateway that says nothing pauses every
//! collection. What did not arrive is told again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::Gateway;

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
        flusher.flush(&gateway).await;
        if last {
            return;
        }
    }
}

#[derive(Default)]
struct Flusher {
    /// The moment up to which everything has arrived.
    arrived: Option<Instant>,
    failing: bool,
}

impl Flusher {
    async fn flush(&mut self, gateway: &Gateway) {
        let now = Instant::now();
        let count = gateway.viewers.count(self.arrived, now);
        let sessions = i64::try_from(count.sessions).unwrap_or(i64::MAX);
        gateway.metrics.sessions.set(sessions);
        gateway.streams.watched(&count.touches);
        gateway.cache.tidy().await;
        let flush = gateway.presence.flush(&gateway.name, &count.touches);
        let failure = match timeout(FLUSH_TIME, flush).await {
            Ok(Ok(outcome)) => {
                self.arrived = Some(now);
                for stream_uid in &outcome.closed {
                    gateway.streams.fenced(stream_uid);
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the presence store did not answer in time".to_owned()),
        };
        self.report(gateway, failure);
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
