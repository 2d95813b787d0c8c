//! What the attempt says of itself: one document that every part changes, and everybody else can wait for.
//! A change is logged here, once, and nowhere else.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use api::condition::Reason;
use api::control::{AccountStatus, JobPhase, JobStatus, SourceStatus, Trouble};
use api::job::{ResumeFloor, TranscodeJob};
use tokio::sync::watch;

/// Now in Unix milliseconds.
pub(crate) fn unix_milliseconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}

/// The attempt's status, shared by the parts that write it.
#[derive(Debug, Clone)]
pub(crate) struct StatusBoard {
    status: Arc<watch::Sender<JobStatus>>,
    journey: Arc<Mutex<Journey>>,
}

/// What became of each source that was tried, in that order; of a long life the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Journey {
    steps: VecDeque<(i32, Reason)>,
}

impl Journey {
    /// Steps that are remembered.
    const MAXIMUM: usize = 32;

    fn step(&mut self, index: i32, reason: Reason) {
        // What is merely on its way says nothing of a source.
        if reason == Reason::Connecting || self.steps.back() == Some(&(index, reason)) {
            return;
        }
        if self.steps.len() == Self::MAXIMUM {
            self.steps.pop_front();
        }
        self.steps.push_back((index, reason));
    }
}

impl fmt::Display for Journey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (index, reason)) in self.steps.iter().enumerate() {
            let gap = if position == 0 { "" } else { " " };
            write!(formatter, "{gap}{index}:{}", reason.as_str())?;
        }
        Ok(())
    }
}

impl StatusBoard {
    /// The status of an attempt that has just begun.
    pub(crate) fn new(job: &TranscodeJob, now_unix_milliseconds: i64) -> Self {
        let index = job.sources.first().map_or(0, |source| source.index);
        let standby = job.standby.as_ref();
        let connects_at_once = standby.is_none_or(|standby| standby.second_connection);
        let status = JobStatus {
            version: u64::try_from(now_unix_milliseconds).unwrap_or(0),
            stream_uid: job.stream.uid.clone(),
            attempt: job.attempt,
            phase: match job.standby {
                Some(_) => JobPhase::Standby,
                None => JobPhase::Starting,
            },
            ready: !connects_at_once,
            source: SourceStatus {
                index,
                since_unix_milliseconds: now_unix_milliseconds,
                healthy: None,
                reason: Reason::Connecting,
                message: match connects_at_once {
                    true => "connecting to the source".to_owned(),
                    false => "connects when it is told to publish".to_owned(),
                },
                connected: false,
            },
            account: account(job),
            media: None,
            first_segment_milliseconds: None,
            start: None,
            next: job.resume,
            troubles: Vec::new(),
        };
        Self {
            status: Arc::new(watch::Sender::new(status)),
            journey: Arc::default(),
        }
    }

    /// The status now and from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<JobStatus> {
        self.status.subscribe()
    }

    /// Changes the status; a change that changes nothing makes no new version.
    pub(crate) fn update(&self, change: impl FnOnce(&mut JobStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            status.version = before.version;
            if *status == before {
                return false;
            }
            status.version += 1;
            let mut journey = self.journey.lock().unwrap_or_else(PoisonError::into_inner);
            journey.step(status.source.index, status.source.reason);
            log_change(&before, status);
            true
        });
    }

    /// What became of the sources so far.
    pub(crate) fn journey(&self) -> Journey {
        let journey = self.journey.lock();
        journey.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says where a next attempt would go on: no new version, it changes with every segment.
    pub(crate) fn set_next(&self, next: ResumeFloor) {
        self.status.send_if_modified(|status| {
            status.next = next;
            false
        });
    }

    /// Says of what is wrong, or has just become so, how it is now.
    pub(crate) fn restate_trouble(&self, reason: Reason, message: &str) {
        self.update(|status| {
            let mut troubles = status.troubles.iter_mut();
            match troubles.find(|trouble| trouble.reason == reason) {
                Some(trouble) => message.clone_into(&mut trouble.message),
                None => status.troubles.push(Trouble {
                    reason,
                    message: message.to_owned(),
                }),
            }
        });
    }

    /// Says that something is wrong, or (with `None`) that it no longer is.
    pub(crate) fn set_trouble(&self, reason: Reason, message: Option<&str>) {
        self.update(|status| {
            let others = |trouble: &Trouble| trouble.reason != reason;
            match message {
                None => status.troubles.retain(others),
                // The first message stands: a trouble that only words itself anew is not news.
                Some(_) if !status.troubles.iter().all(others) => {}
                Some(message) => status.troubles.push(Trouble {
                    reason,
                    message: message.to_owned(),
                }),
            }
        });
    }
}

fn account(job: &TranscodeJob) -> Option<AccountStatus> {
    let mut grants = job.sources.iter().filter_map(|one| one.grant.as_ref());
    let provider = grants.next().map(|grant| grant.provider.clone());
    let is_of_any = provider.is_some() || !job.reserve.is_empty();
    is_of_any.then(|| AccountStatus {
        provider,
        ..AccountStatus::default()
    })
}

fn log_change(before: &JobStatus, after: &JobStatus) {
    let troubles: Vec<&str> = after
        .troubles
        .iter()
        .map(|trouble| trouble.reason.as_str())
        .collect();
    tracing::info!(
        status.version = after.version,
        phase = ?after.phase,
        phase.before = ?before.phase,
        phase.ready = after.ready,
        source.index = after.source.index,
        source.reason = after.source.reason.as_str(),
        source.message = after.source.message,
        source.connected = after.source.connected,
        account.provider = after.account.as_ref().and_then(|one| one.provider.as_deref()),
        account.wants = after.account.as_ref().map(|one| one.wants.join(",")),
        media.mode = after.media.as_ref().map(|media| <&str>::from(media.mode)),
        media.reason = after.media.as_ref().map(|media| media.reason.as_str()),
        troubles = troubles.join(","),
        first_segment_ms = after.first_segment_milliseconds,
        "stream state changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_way_through_the_sources_is_remembered_in_order_and_bounded() {
        let board = StatusBoard::new(&fixtures::job("/nowhere"), 0);
        for (index, reason) in [
            (0, Reason::HttpError),
            (1, Reason::Connecting),
            (1, Reason::Receiving),
            (1, Reason::Silent),
        ] {
            board.update(|status| (status.source.index, status.source.reason) = (index, reason));
            board.update(|status| status.phase = JobPhase::Live);
            board.update(|status| status.phase = JobPhase::Starting);
        }
        assert_eq!(
            board.journey().to_string(),
            "0:HttpError 1:Receiving 1:Silent"
        );
        let mut journey = Journey::default();
        for index in 0..100 {
            journey.step(index, Reason::Silent);
        }
        assert_eq!(journey.steps.len(), Journey::MAXIMUM);
        assert_eq!(journey.steps.back(), Some(&(99, Reason::Silent)));
    }

    #[tokio::test]
    async fn only_a_change_makes_a_new_version() {
        let board = StatusBoard::new(&fixtures::job("/nowhere"), 1_000);
        let mut status = board.subscribe();
        board.update(|status| status.phase = JobPhase::Starting);
        board.set_next(ResumeFloor {
            media_sequence: 8,
            discontinuity_sequence: 1,
        });
        assert!(!status.has_changed().unwrap());
        assert_eq!(status.borrow_and_update().next.media_sequence, 8);
        board.update(|status| status.phase = JobPhase::Live);
        assert!(status.has_changed().unwrap());
        assert_eq!(status.borrow_and_update().version, 1_001);
    }

    #[test]
    fn a_trouble_stands_once_until_it_is_over() {
        let board = StatusBoard::new(&fixtures::job("/nowhere"), 0);
        board.set_trouble(Reason::OutputStalled, Some("the volume is full"));
        board.set_trouble(Reason::OutputStalled, Some("the volume hangs"));
        board.set_trouble(Reason::EncoderTooSlow, Some("too slow"));
        let troubles = || board.subscribe().borrow().troubles.clone();
        assert_eq!(
            troubles(),
            [
                Trouble {
                    reason: Reason::OutputStalled,
                    message: "the volume is full".to_owned()
                },
                Trouble {
                    reason: Reason::EncoderTooSlow,
                    message: "too slow".to_owned()
                },
            ]
        );
        board.set_trouble(Reason::OutputStalled, None);
        assert_eq!(troubles().len(), 1);
        board.restate_trouble(Reason::EncoderTooSlow, "much too slow");
        assert_eq!(troubles()[0].message, "much too slow");
    }
}
