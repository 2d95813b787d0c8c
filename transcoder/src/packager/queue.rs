//! The way of every number: finished, then on the volume, then published; past a slow volume, published from memory and stored later.
//! Pure: `now` is passed in. Numbers are published in order, each once, whatever the volume does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How long a volume that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// What a job may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of segments that are not on the volume.
    pub(crate) memory: u64,
    /// Bytes of segments on the volume.
    pub(crate) volume: u64,
    /// How long the volume may take before a number is published from memory.
    pub(crate) patience: Duration,
}

/// What became of a finished number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Admission {
    /// There is no room for it: it is listed as a gap.
    pub(crate) dropped: bool,
    /// Numbers that were given up to make room: nobody is told of them any more, and they never reached the volume.
    pub(crate) evicted: Vec<u64>,
}

/// Why segments are served from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Writing takes longer than a segment lasts.
    Slow,
    /// Writing fails.
    Failing,
    /// The job's byte limit is reached.
    Full,
}

/// Every number that is not both published and stored.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    waiting: VecDeque<Waiting>,
    unpublished: VecDeque<Unpublished>,
    writing: Option<Writing>,
    retry_at: Option<Instant>,
    /// Bytes by number, until the files are seen to be gone.
    stored: BTreeMap<u64, u64>,
    /// Bytes of what came late and is not on the volume.
    late: u64,
    stall: Option<Stall>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    bytes: u64,
}

/// What the writer has in its hands: it takes memory until the write has ended, however late that is.
#[derive(Debug)]
struct Writing {
    number: u64,
    bytes: u64,
    /// Nobody may ask for it any more: a failed write is not repeated.
    is_expired: bool,
}

#[derive(Debug)]
struct Unpublished {
    number: u64,
    is_ready: bool,
    deadline: Instant,
}

impl Queue {
    /// An empty queue over a volume that has these bytes by number.
    pub(crate) fn new(limits: Limits, stored: BTreeMap<u64, u64>) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            unpublished: VecDeque::new(),
            writing: None,
            retry_at: None,
            stored,
            late: 0,
            stall: None,
        }
    }

    /// Takes a finished number. Room is made by giving up what `listed_from` (the oldest number in the playlist) has left behind.
    pub(crate) fn finished(
        &mut self,
        number: u64,
        bytes: u64,
        listed_from: u64,
        now: Instant,
    ) -> Admission {
        let mut admission = Admission::default();
        while self.memory() + bytes > self.limits.memory {
            let Some(index) = self.expendable(listed_from) else {
                admission.dropped = true;
                break;
            };
            let gone = self.waiting.remove(index);
            admission.evicted.extend(gone.map(|gone| gone.number));
        }
        if !admission.dropped {
            self.waiting.push_back(Waiting { number, bytes });
        }
        self.unpublished.push_back(Unpublished {
            number,
            is_ready: admission.dropped,
            deadline: now + self.limits.patience,
        });
        admission
    }

    /// Takes a rendition that came after its number; `false` when there is no room for it.
    pub(crate) fn late(&mut self, bytes: u64) -> bool {
        let has_room = self.memory() + bytes <= self.limits.memory;
        self.late += if has_room { bytes } else { 0 };
        has_room
    }

    /// Whether the volume has room for a rendition that came after its number.
    pub(crate) fn may_store_late(&self, bytes: u64) -> bool {
        self.on_volume() + bytes <= self.limits.volume
    }

    /// A rendition that came after its number lies on the volume, or is not wanted any more.
    pub(crate) fn late_left(&mut self, number: u64, bytes: u64, is_stored: bool) {
        self.late = self.late.saturating_sub(bytes);
        if is_stored {
            *self.stored.entry(number).or_default() += bytes;
        }
    }

    /// The number to write now, if any; it is under way until [`Self::written`].
    pub(crate) fn next_write(&mut self, now: Instant) -> Option<u64> {
        if self.writing.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        let first = self.waiting.front()?;
        if self.on_volume() + first.bytes > self.limits.volume {
            self.stall = Some(Stall::Full);
            self.retry_at = Some(now + RETRY);
            return None;
        }
        self.retry_at = None;
        let Waiting { number, bytes } = self.waiting.pop_front()?;
        self.writing = Some(Writing {
            number,
            bytes,
            is_expired: false,
        });
        Some(number)
    }

    /// The write under way has ended. Answers the number that lies on the volume now.
    pub(crate) fn written(&mut self, succeeded: bool, now: Instant) -> Option<u64> {
        let Writing {
            number,
            bytes,
            is_expired,
        } = self.writing.take()?;
        if !succeeded {
            self.stall = Some(Stall::Failing);
            self.retry_at = Some(now + RETRY);
            if !is_expired {
                self.waiting.push_front(Waiting { number, bytes });
            }
            return None;
        }
        *self.stored.entry(number).or_default() += bytes;
        let mut unpublished = self.unpublished.iter_mut();
        if let Some(entry) = unpublished.find(|entry| entry.number == number) {
            entry.is_ready = true;
        }
        if self.waiting.is_empty() {
            self.stall = None;
        }
        Some(number)
    }

    /// Takes the numbers that are to be published now, in order.
    pub(crate) fn publishable(&mut self, now: Instant) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(first) = self.unpublished.front() {
            if !first.is_ready {
                if now < first.deadline {
                    break;
                }
                self.stall.get_or_insert(Stall::Slow);
            }
            numbers.extend(self.unpublished.pop_front().map(|first| first.number));
        }
        numbers
    }

    /// Takes every number that is not published yet: nothing is waited for any more.
    pub(crate) fn publish_all(&mut self) -> Vec<u64> {
        let numbers = self.unpublished.drain(..);
        numbers.map(|entry| entry.number).collect()
    }

    /// Nobody may ask for a number any more: it is not worth a write. What lies on the volume counts until it is [`Self::removed`].
    pub(crate) fn expired(&mut self, number: u64) {
        self.waiting.retain(|waiting| waiting.number != number);
        if let Some(writing) = self.writing.as_mut().filter(|one| one.number == number) {
            writing.is_expired = true;
        }
    }

    /// A number's files are gone from the volume.
    pub(crate) fn removed(&mut self, number: u64) {
        self.stored.remove(&number);
    }

    /// Whether segments are served from memory, and why.
    pub(crate) fn stall(&self) -> Option<Stall> {
        self.stall
    }

    /// Whether everything finished is published and stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.unpublished.is_empty() && self.waiting.is_empty() && self.writing.is_none()
    }

    /// When something is to be done although nothing has happened.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let publish = self.unpublished.front().map(|first| first.deadline);
        let retry = self.retry_at.filter(|_| !self.waiting.is_empty());
        publish.into_iter().chain(retry).min()
    }

    fn memory(&self) -> u64 {
        let waiting: u64 = self.waiting.iter().map(|waiting| waiting.bytes).sum();
        waiting + self.late + self.writing.as_ref().map_or(0, |writing| writing.bytes)
    }

    fn on_volume(&self) -> u64 {
        self.stored.values().sum()
    }

    fn expendable(&self, listed_from: u64) -> Option<usize> {
        let mut waiting = self.waiting.iter();
        waiting.position(|waiting| waiting.number < listed_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn queue(memory: u64, volume: u64) -> Queue {
        let limits = Limits {
            memory,
            volume,
            patience: PATIENCE,
        };
        Queue::new(limits, BTreeMap::new())
    }

    fn kept() -> Admission {
        Admission::default()
    }

    #[test]
    fn a_number_is_published_as_soon_as_it_is_stored_and_not_before() {
        let now = Instant::now();
        let mut queue = queue(100, 100);
        assert_eq!(queue.finished(7, 10, 0, now), kept());
        assert_eq!(queue.next_write(now), Some(7));
        assert_eq!(queue.next_write(now), None);
        assert!(queue.publishable(now).is_empty());
        assert_eq!(queue.written(true, now), Some(7));
        assert_eq!(queue.publishable(now), [7]);
        assert_eq!(
            (queue.stall(), queue.is_empty(), queue.wake_at()),
            (None, true, None)
        );
    }

    #[test]
    fn a_slow_volume_delays_a_number_by_its_patience_at_most() {
        let now = Instant::now();
        let mut queue = queue(100, 100);
        queue.finished(7, 10, 0, now);
        queue.next_write(now);
        queue.finished(8, 10, 0, now + PATIENCE / 2);
        assert_eq!(queue.wake_at(), Some(now + PATIENCE));
        assert_eq!(queue.publishable(now + PATIENCE), [7]);
        assert_eq!(queue.stall(), Some(Stall::Slow));
        assert_eq!(queue.written(true, now + PATIENCE), Some(7));
        assert_eq!(queue.next_write(now + PATIENCE), Some(8));
        assert!(queue.publishable(now + PATIENCE).is_empty());
        queue.written(true, now + PATIENCE);
        assert_eq!(queue.publishable(now + PATIENCE), [8]);
        assert_eq!(queue.stall(), None);
    }

    #[test]
    fn numbers_are_published_in_order_although_a_later_one_is_ready() {
        let now = Instant::now();
        let mut queue = queue(15, 100);
        queue.finished(7, 10, 0, now);
        let dropped = Admission {
            dropped: true,
            evicted: vec![],
        };
        assert_eq!(queue.finished(8, 10, 7, now), dropped);
        assert!(queue.publishable(now).is_empty());
        queue.next_write(now);
        queue.written(true, now);
        assert_eq!(queue.publishable(now), [7, 8]);
    }

    #[test]
    fn a_hanging_volume_costs_old_numbers_and_not_the_stream() {
        let now = Instant::now();
        let mut queue = queue(30, 100);
        for number in 0..3 {
            assert_eq!(queue.finished(number, 10, 0, now), kept());
        }
        assert_eq!(queue.next_write(now), Some(0));
        let later = now + PATIENCE;
        assert_eq!(queue.publishable(later), [0, 1, 2]);
        // Number 0 hangs in the writer, so 1 is the oldest that can be given up.
        let evicting = Admission {
            dropped: false,
            evicted: vec![1],
        };
        assert_eq!(queue.finished(3, 10, 2, later), evicting);
        let dropped = Admission {
            dropped: true,
            evicted: vec![],
        };
        assert_eq!(queue.finished(4, 10, 2, later), dropped);
    }

    #[test]
    fn what_comes_late_counts_in_memory_and_on_the_volume_until_it_is_gone() {
        let now = Instant::now();
        let mut queue = queue(30, 45);
        queue.finished(7, 20, 0, now);
        assert!(!queue.late(11));
        assert!(queue.late(10));
        assert!(!queue.late(1));
        queue.next_write(now);
        queue.written(true, now);
        assert!(queue.may_store_late(25) && !queue.may_store_late(26));
        queue.late_left(7, 10, true);
        assert!(queue.may_store_late(15) && !queue.may_store_late(16));
        assert!(queue.late(30));
        queue.late_left(8, 30, false);
        queue.removed(7);
        assert!(queue.late(30) && queue.may_store_late(45));
    }

    #[test]
    fn a_failed_write_is_repeated_after_a_while() {
        let now = Instant::now();
        let mut queue = queue(100, 100);
        queue.finished(7, 10, 0, now);
        queue.next_write(now);
        assert_eq!(queue.written(false, now), None);
        assert_eq!(
            (queue.stall(), queue.next_write(now)),
            (Some(Stall::Failing), None)
        );
        assert_eq!(queue.wake_at(), Some(now + RETRY));
        assert_eq!(queue.next_write(now + RETRY), Some(7));
    }

    #[test]
    fn the_byte_limit_holds_until_something_is_removed() {
        let now = Instant::now();
        let mut queue = queue(100, 15);
        for number in [7, 8] {
            queue.finished(number, 10, 0, now);
        }
        queue.next_write(now);
        queue.written(true, now);
        assert_eq!(queue.next_write(now), None);
        assert_eq!(queue.stall(), Some(Stall::Full));
        queue.expired(7);
        assert_eq!(
            queue.next_write(now + RETRY),
            None,
            "its file is still there"
        );
        queue.removed(7);
        let later = now + 2 * RETRY;
        assert_eq!(queue.next_write(later), Some(8));
        queue.written(true, later);
        assert_eq!(queue.stall(), None);
    }

    #[test]
    fn what_a_former_run_left_counts_until_it_is_removed() {
        let now = Instant::now();
        let limits = Limits {
            memory: 100,
            volume: 15,
            patience: PATIENCE,
        };
        let mut queue = Queue::new(limits, BTreeMap::from([(3, 10)]));
        queue.finished(7, 10, 0, now);
        assert_eq!(queue.next_write(now), None);
        queue.removed(3);
        assert_eq!(queue.next_write(now + RETRY), Some(7));
    }

    #[test]
    fn a_write_that_hangs_until_nobody_asks_any_more_holds_up_nothing_when_it_fails() {
        let now = Instant::now();
        let mut queue = queue(30, 100);
        queue.finished(7, 10, 0, now);
        assert_eq!(queue.next_write(now), Some(7));
        queue.finished(8, 10, 0, now);
        queue.expired(7);
        let dropped = Admission {
            dropped: true,
            evicted: vec![],
        };
        assert_eq!(
            queue.finished(9, 20, 0, now),
            dropped,
            "the writer still has its bytes"
        );
        assert_eq!(queue.written(false, now), None);
        assert_eq!(queue.next_write(now + RETRY), Some(8));
    }

    #[test]
    fn a_write_that_ends_after_its_time_counts_until_its_file_is_removed() {
        let now = Instant::now();
        let mut queue = queue(100, 15);
        queue.finished(7, 10, 0, now);
        queue.next_write(now);
        queue.expired(7);
        assert_eq!(queue.written(true, now), Some(7));
        queue.finished(8, 10, 0, now);
        assert_eq!(queue.next_write(now), None);
        queue.removed(7);
        assert_eq!(queue.next_write(now + RETRY), Some(8));
    }
}
