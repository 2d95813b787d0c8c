//! How a process is told to end and how its tasks end with it.
//! No task outlives the process's deadline, and none dies unnoticed.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once with the code a shell expects (128 + signal).
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            let number = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            };
            if second {
                std::process::exit(128 + number);
            }
            tracing::info!(signal = number, "shutting down");
            shutdown.cancel();
        }
    });
    Ok(token)
}

/// Why a process's tasks did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A task ended although nobody asked it to.
    #[error("failed to keep the task {task:?} running: {reason}")]
    EndedEarly {
        /// The task's name.
        task: &'static str,
        /// Its error, or that it just returned.
        reason: String,
    },
    /// A task failed while it was shutting down.
    #[error("failed to shut the task {task:?} down: {reason}")]
    FailedShutdown {
        /// The task's name.
        task: &'static str,
        /// Its error.
        reason: String,
    },
    /// Tasks were still running when the deadline passed, and were aborted.
    #[error("failed to end the tasks {tasks:?} in time")]
    Deadline {
        /// Their names, in order.
        tasks: Vec<&'static str>,
    },
}

/// The essential tasks of a process: they run until one token is cancelled; if one ends before, all end.
pub struct Tasks {
    token: CancellationToken,
    set: JoinSet<TaskResult>,
    names: BTreeMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet; all that follow end when `token` is cancelled.
    #[must_use]
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            set: JoinSet::new(),
            names: BTreeMap::new(),
        }
    }

    /// The token that ends every task.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts an essential task: it must run until the token is cancelled, and then end by itself.
    pub fn spawn<E>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let handle = self
            .set
            .spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Waits until the token is cancelled or a task ends early, then cancels the token and gives the others `deadline` to end.
    ///
    /// # Errors
    /// The first thing that went wrong: a task that ended early, that failed while shutting down, or that did not end in time.
    pub async fn run(mut self, deadline: Duration) -> Result<(), TasksError> {
        let token = self.token.clone();
        let early = tokio::select! {
            () = token.cancelled() => None,
            ended = self.next() => ended,
        };
        // A task may end because of the cancellation and be seen first.
        let asked = token.is_cancelled();
        token.cancel();
        let first = early.and_then(|(task, outcome)| judge(task, outcome, asked));
        let rest = self.drain(deadline).await;
        first.or(rest).map_or(Ok(()), Err)
    }

    async fn drain(&mut self, deadline: Duration) -> Option<TasksError> {
        let mut first = None;
        let all = async {
            while let Some((task, outcome)) = self.next().await {
                first = first.take().or(judge(task, outcome, true));
            }
        };
        if tokio::time::timeout(deadline, all).await.is_err() {
            let mut tasks: Vec<_> = self.names.values().copied().collect();
            tasks.sort_unstable();
            self.set.shutdown().await;
            return first.or(Some(TasksError::Deadline { tasks }));
        }
        first
    }

    async fn next(&mut self) -> Option<(&'static str, Result<TaskResult, JoinError>)> {
        let (id, outcome) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Some((name, outcome))
    }
}

fn judge(
    task: &'static str,
    outcome: Result<TaskResult, JoinError>,
    asked: bool,
) -> Option<TasksError> {
    let reason = match outcome {
        Ok(Ok(())) if asked => return None,
        Ok(Ok(())) => "it returned".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Some(if asked {
        TasksError::FailedShutdown { task, reason }
    } else {
        TasksError::EndedEarly { task, reason }
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn until(token: CancellationToken) -> Result<(), io::Error> {
        token.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_end_together_when_asked() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("one", until(tasks.token()));
        tasks.spawn("two", until(tasks.token()));
        tasks.token().cancel();
        assert!(tasks.run(DEADLINE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_is_named_and_ends_the_others() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        tasks.spawn("listener", until(token.clone()));
        tasks.spawn("watch", async { Err(io::Error::other("forbidden")) });
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to keep the task \"watch\" running: forbidden"
        );
        assert!(token.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_just_returns_or_panics_ended_early_too() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("poller", async { Ok::<_, io::Error>(()) });
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to keep the task \"poller\" running: it returned"
        );

        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("poller", async {
            assert!(std::hint::black_box(false), "bug");
            Ok::<_, io::Error>(())
        });
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert!(matches!(
            error,
            TasksError::EndedEarly { task: "poller", .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_do_not_end_in_time_are_named_and_aborted() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        tasks.spawn("stuck", pending::<Result<(), io::Error>>());
        tasks.spawn("another", pending::<Result<(), io::Error>>());
        tasks.spawn("fine", until(token.clone()));
        token.cancel();
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert!(
            matches!(&error, TasksError::Deadline { tasks } if tasks == &["another", "stuck"]),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_shutting_down_is_told_apart() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        let stop = token.clone();
        tasks.spawn("flusher", async move {
            stop.cancelled().await;
            Err(io::Error::other("store away"))
        });
        token.cancel();
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to shut the task \"flusher\" down: store away"
        );
    }
}
