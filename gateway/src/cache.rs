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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use api::playlists::Playlists;
    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::*;
    use crate::origin::Demand;
    use crate::streams::testing::identity;

    /// Gives these answers one after the other, each after a moment.
    struct Answers(Mutex<VecDeque<Result<Bytes, SegmentError>>>);

    #[async_trait]
    impl Origin for Answers {
        fn playlists(
            &self,
            _: &Arc<StreamIdentity>,
            _: &Arc<Demand>,
        ) -> watch::Receiver<Option<Arc<Playlists>>> {
            watch::channel(None).1
        }

        async fn segment(&self, _: &StreamIdentity, _: &SegmentId) -> Result<Bytes, SegmentError> {
            tokio::task::yield_now().await;
            let next = self.0.lock().unwrap().pop_front();
            next.expect("an answer")
        }
    }

    fn cache(bytes: u64, answers: Vec<Result<Bytes, SegmentError>>) -> SegmentCache {
        let origin = Arc::new(Answers(Mutex::new(answers.into())));
        SegmentCache::new(origin, bytes, Metrics::default())
    }

    async fn get(cache: &SegmentCache, number: u64) -> Result<Bytes, SegmentError> {
        let id = SegmentId {
            rendition: "source".to_owned(),
            attempt: 1,
            number,
        };
        cache.get(&identity("uid-1"), &id).await
    }

    fn counted(cache: &SegmentCache) -> (u64, u64) {
        (
            cache.metrics.cache_hits.get(),
            cache.metrics.cache_misses.get(),
        )
    }

    #[tokio::test]
    async fn a_segment_is_read_once_however_many_ask_for_it_at_once() {
        let cache = cache(1_000_000, vec![Ok("bytes".into())]);
        let answers = futures::future::join_all((0..20).map(|_| get(&cache, 1))).await;
        assert!(answers.iter().all(|answer| *answer == Ok("bytes".into())));
        assert_eq!(counted(&cache).1, 1);
        assert_eq!(get(&cache, 1).await, Ok("bytes".into()));
        assert_eq!(counted(&cache), (1, 1));
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_remembered() {
        let missing = Err(SegmentError::NotFound);
        let cache = cache(1_000_000, vec![missing.clone(), Ok("bytes".into())]);
        assert_eq!(get(&cache, 1).await, missing);
        assert_eq!(get(&cache, 1).await, Ok("bytes".into()));
    }

    #[tokio::test]
    async fn memory_is_bounded_in_bytes() {
        let segment = || Ok(Bytes::from(vec![0; 40_000]));
        let cache = cache(100_000, (0..10).map(|_| segment()).collect());
        for number in 0..10 {
            get(&cache, number).await.unwrap();
        }
        cache.tidy().await;
        assert!(cache.segments.weighted_size() <= 100_000);
    }
}
