//! Recent segments in memory, bounded in bytes: each is read from the origin once, however many viewers ask for it at once.
//! Failures are never remembered.

use std::sync::Arc;
use std::time::Duration;

use api::job::StreamIdentity;
use api::names;
use bytes::Bytes;
use moka::future::Cache;

use crate::metrics::Metrics;
use crate::origin::{Origin, SegmentError, SegmentId};

/// Memory of an entry besides its bytes.
const OVERHEAD: usize = 512;

/// A segment that nobody has asked for that long is given back.
const IDLE: Duration = Duration::from_mins(1);

/// The cache in front of an origin.
pub struct SegmentCache {
    segments: Cache<String, Bytes>,
    origin: Arc<dyn Origin>,
    metrics: Metrics,
}

impl SegmentCache {
    /// A cache of at most that many bytes.
    #[must_use]
    pub fn new(origin: Arc<dyn Origin>, bytes: u64, metrics: Metrics) -> Self {
        let segments = Cache::builder()
            .max_capacity(bytes)
            .weigher(|key: &String, segment: &Bytes| {
                u32::try_from(key.len() + segment.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .time_to_idle(IDLE)
            .build();
        Self {
            segments,
            origin,
            metrics,
        }
    }

    /// The bytes of a segment.
    ///
    /// # Errors
    /// When neither the cache nor the origin has them.
    pub async fn get(
        &self,
        stream: &StreamIdentity,
        segment: &SegmentId,
    ) -> Result<Bytes, SegmentError> {
        let name = names::segment_name(segment.attempt, segment.number);
        let key = format!("{}/{}/{name}", stream.uid, segment.rendition);
        if let Some(bytes) = self.segments.get(&key).await {
            self.metrics.cache_hits.inc();
            return Ok(bytes);
        }
        let read = async {
            self.metrics.cache_misses.inc();
            self.origin.segment(stream, segment).await
        };
        let outcome = self.segments.try_get_with(key, read).await;
        outcome.map_err(|error| SegmentError::clone(&error))
    }

    /// Gives back what nobody asks for; called now and then, because an idle cache does nothing by itself.
    pub async fn tidy(&self) {
        self.segments.run_pending_tasks().await;
    }
}
