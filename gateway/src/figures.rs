//! Figures of this gateway for people to look at: told with each flush to the store that all gateways share, and what was sent is added up there,
//! day by day and month by month. What machines watch are the metrics, and nothing is decided by these.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Gateway;

/// Flushes over which the bandwidth is an average: half a minute, since players fetch segments in bursts.
const SAMPLES: usize = 7;

/// How often what was sent is added up.
const ADD_EVERY: Duration = Duration::from_mins(1);

/// How a gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) version: String,
    /// Sessions in use.
    pub(crate) sessions: u64,
    /// What it sends.
    pub(crate) bits_per_second: u64,
    /// Segments answered from memory since it started.
    pub(crate) cache_hits: u64,
    /// Segments read from volume or pod since it started.
    pub(crate) cache_misses: u64,
    /// Streams that started for its viewers since it started.
    pub(crate) starts: u64,
    /// How long all of these took together.
    pub(crate) start_milliseconds: u64,
}

impl Figures {
    pub(crate) fn of(gateway: &Gateway, bits_per_second: u64) -> Self {
        let metrics = &gateway.metrics;
        let (starts, start_milliseconds) = metrics.start.sum();
        Self {
            version: runtime::build::version().to_owned(),
            sessions: u64::try_from(metrics.sessions.get()).unwrap_or(0),
            bits_per_second,
            cache_hits: metrics.cache_hits.get(),
            cache_misses: metrics.cache_misses.get(),
            starts,
            start_milliseconds,
        }
    }

    /// The same as it is told.
    pub(crate) fn text(&self) -> String {
        // A document of plain values always becomes text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What was sent, as this gateway tells it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes sent since the start, at these moments.
    samples: VecDeque<(Instant, u64)>,
    /// Bytes that are added up.
    added: u64,
    /// When that was.
    added_at: Option<Instant>,
}

impl Traffic {
    /// So many bytes were sent by now.
    pub(crate) fn sample(&mut self, bytes: u64, now: Instant) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
        self.added_at.get_or_insert(now);
    }

    /// What is sent now, on an average.
    pub(crate) fn bits_per_second(&self) -> u64 {
        let ends = self.samples.front().zip(self.samples.back());
        let Some(((began, before), (now, bytes))) = ends else {
            return 0;
        };
        let milliseconds = now.saturating_duration_since(*began).as_millis();
        let bits = 8000 * u128::from(bytes.saturating_sub(*before));
        let rate = bits.checked_div(milliseconds).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// What is to be added up now, if it is time; when the gateway ends it is.
    fn due(&self, now: Instant, is_last: bool) -> Option<u64> {
        let (_, bytes) = self.samples.back()?;
        let more = bytes.saturating_sub(self.added);
        let age = now.saturating_duration_since(self.added_at?);
        (more > 0 && (is_last || age >= ADD_EVERY)).then_some(more)
    }

    /// Adds up what was sent, if it is time. Where the store does not answer it is tried with what comes then: a minute may count twice, and none is
    /// lost.
    ///
    /// # Errors
    /// When the store does not take it, with its words.
    pub(crate) async fn add(&mut self, gateway: &Gateway, is_last: bool) -> Result<(), String> {
        let now = Instant::now();
        let Some(bytes) = self.due(now, is_last) else {
            return Ok(());
        };
        let (time, _) = gateway.now();
        let added = gateway.reports.add_traffic(&periods(time), bytes).await;
        added.map_err(|error| error.to_string())?;
        self.added += bytes;
        self.added_at = Some(now);
        Ok(())
    }
}

/// Day and month, in UTC.
pub(crate) fn periods(now: Timestamp) -> [String; 2] {
    let date = now.to_zoned(TimeZone::UTC).date();
    let month = format!("{:04}-{:02}", date.year(), date.month());
    [date.to_string(), month]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_secs(5);

    #[test]
    fn bandwidth_is_an_average_of_half_a_minute() {
        let (mut traffic, start) = (Traffic::default(), Instant::now());
        assert_eq!(traffic.bits_per_second(), 0);
        traffic.sample(1_000_000, start);
        assert_eq!(traffic.bits_per_second(), 0);
        for (flush, bytes) in [(1, 2_000_000), (2, 3_000_000)] {
            traffic.sample(bytes, start + flush * FLUSH);
        }
        assert_eq!(traffic.bits_per_second(), 1_600_000);
        for flush in 3..10 {
            traffic.sample(3_000_000, start + flush * FLUSH);
        }
        assert_eq!(traffic.bits_per_second(), 0);
    }

    #[test]
    fn what_was_sent_is_added_up_once_a_minute_and_at_the_end() {
        let (mut traffic, start) = (Traffic::default(), Instant::now());
        traffic.sample(0, start);
        traffic.sample(700, start + FLUSH);
        assert_eq!(traffic.due(start + FLUSH, false), None);
        assert_eq!(traffic.due(start + FLUSH, true), Some(700));
        assert_eq!(traffic.due(start + ADD_EVERY, false), Some(700));
        traffic.added = 700;
        assert_eq!(traffic.due(start + ADD_EVERY, true), None);
    }

    #[test]
    fn a_day_and_its_month_are_those_of_utc() {
        let now = "2026-11-01T00:30:00+02:00".parse().unwrap();
        assert_eq!(periods(now), ["2026-10-31", "2026-10"]);
    }
}
