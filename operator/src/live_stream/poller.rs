//! Follows the status of every running pod by long poll, and triggers a reconcile when a pod says something new.
//! Not knowing is not failure: a pod that does not answer is told as unreachable for so long, its last word stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::control::JobStatus;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Triggers;
use super::control::{self, ControlError, Target};
use super::observed::{Polled, UNREACHABLE_AFTER};
use crate::metrics::Metrics;

/// Between polls of a pod that does not answer: short at first, since a pod that starts answers any moment.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// A pod that has been silent for so long counts among those that are.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// Fewer silent pods than this are theirs to answer for.
const SILENT_TOGETHER: usize = 3;

/// The pods that are followed, by uid of their stream: the one that plays it, and while that is being deleted the one that takes over.
pub(crate) struct Polls {
    news: Arc<News>,
    followed: Mutex<HashMap<String, Vec<Followed>>>,
}

/// Whom the tasks of all pods tell.
struct News {
    triggers: Triggers,
    metrics: Metrics,
}

struct Followed {
    pod: Arc<Pod>,
    /// Ends with the entry; `None` once the pod is asked no more.
    task: Option<AbortOnDropHandle<()>>,
}

/// A pod and what it has said, shared between its task and whoever asks.
struct Pod {
    target: Target,
    said: Said,
}

#[derive(Debug, Default)]
struct Said(Mutex<Heard>);

#[derive(Debug, Clone, Default)]
struct Heard {
    status: Option<JobStatus>,
    failing_since: Option<Instant>,
}

impl Polls {
    pub(crate) fn new(triggers: Triggers, metrics: Metrics) -> Self {
        Self {
            news: Arc::new(News { triggers, metrics }),
            followed: Mutex::default(),
        }
    }

    /// Follows this pod; answers what it has said so far.
    pub(crate) fn follow(&self, target: Target) -> Polled {
        let mut followed = self.lock();
        let pods = followed.entry(target.stream_uid.clone()).or_default();
        let same = |entry: &&Followed| entry.pod.target == target && entry.task.is_some();
        if let Some(entry) = pods.iter().find(same) {
            return entry.pod.said.polled();
        }
        pods.retain(|entry| entry.pod.target.attempt != target.attempt);
        let said = Said::default();
        let pod = Arc::new(Pod { target, said });
        let task = tokio::spawn(poll(pod.clone(), self.news.clone()));
        pods.push(Followed {
            pod,
            task: Some(AbortOnDropHandle::new(task)),
        });
        Polled::default()
    }

    /// Follows a pod that says what a test says, and nothing else.
    #[cfg(test)]
    pub(crate) fn follow_told(&self, target: Target, status: JobStatus) {
        let mut followed = self.lock();
        let pods = followed.entry(target.stream_uid.clone()).or_default();
        pods.retain(|entry| entry.pod.target.attempt != target.attempt);
        let said = Said::default();
        said.answered(status);
        pods.push(Followed {
            pod: Arc::new(Pod { target, said }),
            task: Some(AbortOnDropHandle::new(tokio::spawn(std::future::pending()))),
        });
    }

    /// Follows this attempt no more; answers what it said last.
    pub(crate) fn last_word(&self, stream_uid: &str, attempt: i32) -> Polled {
        let mut followed = self.lock();
        let pods = followed.get_mut(stream_uid).into_iter().flatten();
        let Some(entry) = pods
            .into_iter()
            .find(|entry| entry.pod.target.attempt == attempt)
        else {
            return Polled::default();
        };
        entry.task = None;
        Polled {
            status: entry.pod.said.lock().status.clone(),
            unreachable_for: Duration::ZERO,
        }
    }

    /// Follows none but these attempts of the stream any more, and forgets what others said.
    pub(crate) fn keep(&self, stream_uid: &str, attempts: &[i32]) {
        if let Some(pods) = self.lock().get_mut(stream_uid) {
            pods.retain(|entry| attempts.contains(&entry.pod.target.attempt));
        }
    }

    /// Follows no pod of this stream any more, and forgets what they said.
    pub(crate) fn leave(&self, stream_uid: &str) {
        self.lock().remove(stream_uid);
    }

    /// Follows no pod any more, and forgets what they said.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many pods are followed, and how many of them do not answer.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let followed = self.lock();
        let pods = followed.values().flatten();
        let tasks = pods.filter(|entry| entry.task.is_some());
        let (mut all, mut failing) = (0, 0);
        for entry in tasks {
            all += 1;
            failing += usize::from(entry.pod.said.lock().failing_since.is_some());
        }
        (all, failing)
    }

    /// Whether so many pods are silent at once that the operator itself is likely cut off: nothing follows from their silence then.
    pub(crate) fn is_blind(&self) -> bool {
        let silent_for = |entry: &Followed| entry.pod.said.polled().unreachable_for;
        let (all, silent) = {
            let followed = self.lock();
            let pods = followed.values().flatten();
            let asked = pods.filter(|entry| entry.task.is_some());
            asked.fold((0, 0), |(all, silent), entry| {
                (
                    all + 1,
                    silent + usize::from(silent_for(entry) >= SILENT_AFTER),
                )
            })
        };
        let is_blind = blinds(silent, all);
        if self.news.metrics.blind(is_blind) {
            tracing::warn!(
                is_blind,
                pods = all,
                pods.silent = silent,
                "sight of the pods changed; while blind, none is replaced for being silent"
            );
        }
        is_blind
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Followed>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More than a fifth of all pods.
fn blinds(silent: usize, all: usize) -> bool {
    silent >= SILENT_TOGETHER && silent * 5 > all
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn polled(&self) -> Polled {
        let heard = self.lock();
        Polled {
            status: heard.status.clone(),
            unreachable_for: heard
                .failing_since
                .map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Takes an answer in; whether it is news to anybody. Numbers that grow with each segment are not.
    fn answered(&self, status: JobStatus) -> bool {
        let mut heard = self.lock();
        let was_away = heard.failing_since.take().is_some();
        let version = heard.status.as_ref().map(|before| before.version);
        let newer = version != Some(status.version);
        heard.status = Some(status);
        was_away || newer
    }

    /// Takes a failure in; answers for how long there have been only failures.
    fn failed(&self) -> Duration {
        let mut heard = self.lock();
        heard
            .failing_since
            .get_or_insert_with(Instant::now)
            .elapsed()
    }

    fn version(&self) -> u64 {
        self.lock()
            .status
            .as_ref()
            .map_or(0, |status| status.version)
    }
}

/// The task of one pod. There are thousands of it, so it keeps nothing while it waits that it can do without.
async fn poll(pod: Arc<Pod>, news: Arc<News>) {
    let mut connection = None;
    let mut retry = Retry::default();
    loop {
        let answer = control::status(&pod.target, pod.said.version(), &mut connection).await;
        let pause = news.take(&pod, answer, &mut retry);
        sleep(pause).await;
    }
}

/// How a pod that does not answer is asked again.
struct Retry {
    pause: Duration,
    told_lost: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            pause: RETRY_FIRST,
            told_lost: false,
        }
    }
}

impl News {
    /// Takes in what came of a poll; answers after which time the next one is due.
    fn take(
        &self,
        pod: &Pod,
        answer: Result<JobStatus, ControlError>,
        retry: &mut Retry,
    ) -> Duration {
        let stream = &pod.target.stream;
        self.metrics.polled(answer.is_ok());
        match answer {
            Ok(status) => {
                *retry = Retry::default();
                if pod.said.answered(status) {
                    self.triggers.send(stream);
                }
                // However fast a pod has news, it is listened to so often.
                RETRY_FIRST
            }
            Err(error) => {
                tracing::debug!(stream.name = stream, %error, "poll failed");
                if pod.said.failed() >= UNREACHABLE_AFTER && !retry.told_lost {
                    retry.told_lost = true;
                    self.triggers.send(stream);
                }
                let pause = retry.pause;
                retry.pause = (pause * 2).min(RETRY_LONGEST);
                pause
            }
        }
    }
}

#[cfg(test)]
mod tests;
