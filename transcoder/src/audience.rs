//! How many watch, as gateways say it beside what they ask: for the record of the stream. Decides nothing by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::control::POLL_SECONDS;
use tokio::time::Instant;

/// A gateway that has not asked for so long counts nobody: every one that has viewers asks again within a poll.
const STALE: Duration = Duration::from_secs(POLL_SECONDS + 10);
/// Gateways that are counted.
const GATEWAYS: usize = 256;
/// Bytes of a gateway's name.
const NAME: usize = 64;

/// The viewers of one attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audience(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    gateways: BTreeMap<String, (u32, Instant)>,
    peak: Option<u32>,
}

impl Audience {
    /// So many watch by this gateway now.
    pub(crate) fn told(&self, gateway: &str, viewers: u32, now: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gateways = &mut counts.gateways;
        gateways.retain(|_, (_, at)| now.saturating_duration_since(*at) < STALE);
        if gateway.len() > NAME || gateways.len() >= GATEWAYS && !gateways.contains_key(gateway) {
            return;
        }
        gateways.insert(gateway.to_owned(), (viewers, now));
        let viewers = gateways.values().map(|(viewers, _)| *viewers);
        let all = viewers.fold(0, u32::saturating_add);
        counts.peak = counts.peak.max(Some(all));
    }

    /// The most that there were at once; `None` where no gateway has said.
    pub(crate) fn peak(&self) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_most_of_all_gateways_together_that_still_ask() {
        let start = Instant::now();
        let audience = Audience::default();
        assert_eq!(audience.peak(), None);
        let tell = |gateway: &str, viewers, seconds| {
            audience.told(gateway, viewers, start + Duration::from_secs(seconds));
            audience.peak().unwrap()
        };
        assert_eq!(tell("one", 0, 0), 0);
        assert_eq!(tell("one", 3, 5), 3);
        assert_eq!(tell("two", 2, 20), 5);
        assert_eq!(tell("one", 1, 25), 5);
        // The second one is gone: its viewers went to the first.
        assert_eq!(tell("one", 5, 50), 5);
        assert_eq!(tell("one", 6, 51), 6);
    }

    #[test]
    fn names_without_end_count_for_nothing() {
        let audience = Audience::default();
        let now = Instant::now();
        audience.told(&"x".repeat(NAME + 1), 7, now);
        assert_eq!(audience.peak(), None);
        for number in 0..2 * GATEWAYS {
            audience.told(&number.to_string(), 1, now);
        }
        assert_eq!(audience.peak(), u32::try_from(GATEWAYS).ok());
    }
}
