//! What is told now and then only: whoever is refused a thousand times a second would write the log else. Decides about nothing but that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Something that is due at most once in a while.
#[derive(Debug)]
pub(crate) struct Seldom {
    epoch: Instant,
    every: Duration,
    /// Milliseconds since the epoch.
    due_at: AtomicU64,
}

impl Seldom {
    /// Due now.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            epoch: now,
            every,
            due_at: AtomicU64::new(0),
        }
    }

    /// Whether it is due; to one caller only.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let now = milliseconds(now.saturating_duration_since(self.epoch));
        let next = now.saturating_add(milliseconds(self.every));
        let due = |at| (at <= now).then_some(next);
        self.due_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due)
            .is_ok()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_once_and_then_after_a_while() {
        let now = Instant::now();
        let seldom = Seldom::new(Duration::from_mins(1), now);
        let due = |seconds| seldom.is_due(now + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 59, 60, 61, 500].map(due),
            [true, false, false, true, false, true]
        );
    }
}
