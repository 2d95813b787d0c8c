//! How long starts took, for machines and for people: what is counted twice is counted in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

/// How long starts took: for machines by how many took how long, for people how many there were and how long they took together.
#[derive(Debug, Clone)]
pub struct Starts {
    histogram: Histogram,
    count: Arc<AtomicU64>,
    milliseconds: Arc<AtomicU64>,
}

impl Starts {
    pub(super) fn new(buckets: impl IntoIterator<Item = f64>) -> Self {
        Self {
            histogram: Histogram::new(buckets),
            count: Arc::default(),
            milliseconds: Arc::default(),
        }
    }

    pub(super) fn histogram(&self) -> Histogram {
        self.histogram.clone()
    }

    /// A start took so long.
    pub fn observe(&self, took: Duration) {
        self.histogram.observe(took.as_secs_f64());
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.fetch_add(milliseconds, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// How many there were, and how many milliseconds they took together.
    #[must_use]
    pub fn sum(&self) -> (u64, u64) {
        let count = self.count.load(Relaxed);
        (count, self.milliseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_with_the_time_that_they_took() {
        let starts = Starts::new([1.0]);
        assert_eq!(starts.sum(), (0, 0));
        for milliseconds in [1200, 300] {
            starts.observe(Duration::from_millis(milliseconds));
        }
        assert_eq!(starts.sum(), (2, 1500));
    }
}
