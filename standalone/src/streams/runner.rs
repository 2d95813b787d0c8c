//! The life of one local stream: attempt after attempt until it is ended, each going on with the numbers of the one before.
//! What the operator does with pods; nothing here decides that a stream is idle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::control::{JobPhase, JobStatus};
use api::job::ResumeFloor;
use gateway::directory::{Entry, Refusal};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use transcoder::handle::JobHandle;
use transcoder::job::{Outcome, start};

use super::{Inner, Stream};
use crate::attempt::Plan;
use crate::narrator::Event;
use crate::restart::Failures;

/// How long an attempt may take to close its upstream and its encoder.
const STOP: Duration = Duration::from_secs(10);

type AttemptTask = AbortOnDropHandle<Outcome>;

/// Runs the stream to its end, and leaves nothing of it.
pub(super) async fn run(inner: Arc<Inner>, stream: Arc<Stream>) {
    let mut runner = Runner {
        entries: stream.entries(),
        inner,
        stream,
        attempt: 0,
        resume: ResumeFloor::default(),
        failures: Failures::default(),
        left: Vec::new(),
    };
    loop {
        match runner.attempt().await {
            End::Ended => break,
            End::Edited => {}
            End::Failed { refusal, published } => {
                if runner.rest(refusal, published).await {
                    break;
                }
            }
        }
    }
    runner.clean().await;
}

struct Runner {
    inner: Arc<Inner>,
    stream: Arc<Stream>,
    entries: watch::Receiver<Arc<Entry>>,
    attempt: i32,
    resume: ResumeFloor,
    failures: Failures,
    left: Vec<Left>,
}

/// What an attempt that is over left behind, for those who still read it.
struct Left {
    attempt: i32,
    directory: PathBuf,
    until: Instant,
}

/// How an attempt ended.
enum End {
    /// The stream is no longer wanted.
    Ended,
    /// Its channel was edited.
    Edited,
    /// It gave up, after it had published segments for this long.
    Failed {
        refusal: Refusal,
        published: Duration,
    },
}

/// How long segments have been published.
#[derive(Default)]
struct Published {
    since: Option<Instant>,
    total: Duration,
}

impl Published {
    fn note(&mut self, phase: JobPhase) {
        let live = phase == JobPhase::Live;
        match self.since {
            None if live => self.since = Some(Instant::now()),
            Some(since) if !live => {
                self.total += since.elapsed();
                self.since = None;
            }
            _ => {}
        }
    }

    fn total(&self) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Runner {
    async fn attempt(&mut self) -> End {
        let entry = self.entries.borrow_and_update().clone();
        let context = &self.inner.context;
        let class = match context.classes.of(&entry.spec) {
            Ok(class) => class,
            Err(refusal) => {
                let published = Duration::ZERO;
                return End::Failed { refusal, published };
            }
        };
        self.attempt += 1;
        let plan = Plan {
            identity: &self.stream.identity,
            spec: &entry.spec,
            class,
            attempt: self.attempt,
            resume: self.resume,
            output: &context.output,
            files: context.files.as_deref(),
            trace: self.stream.trace.filter(|_| self.attempt == 1),
        };
        let seconds = class.playlist_duration_seconds + 2 * class.target_duration_seconds;
        let retention = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let directory = plan.directory();
        let (handle, task) = start(
            plan.job(),
            context.options.clone(),
            CancellationToken::new(),
        );
        let threads = context.threads.clone();
        self.stream.begin(handle.clone());
        self.drop_left().await;
        let task = AbortOnDropHandle::new(threads.spawn(task));
        let end = self.follow(handle, task).await;
        self.left.push(Left {
            attempt: self.attempt,
            directory,
            until: Instant::now() + retention,
        });
        end
    }

    async fn follow(&mut self, handle: JobHandle, mut task: AttemptTask) -> End {
        let (mut status, mut playlists) = (handle.status(), handle.playlists());
        // Nothing is listed yet; that it is on its way is worth knowing.
        let nothing = playlists.borrow_and_update().clone();
        self.stream.publish(&handle, nothing);
        let mut published = Published::default();
        loop {
            tokio::select! {
                () = self.stream.ending.cancelled() => {
                    stop(&handle, task).await;
                    return End::Ended;
                }
                Ok(()) = self.entries.changed() => {
                    self.resume = finish(&handle, &status).await;
                    stop(&handle, task).await;
                    return End::Edited;
                }
                outcome = &mut task => {
                    self.resume = status.borrow().next;
                    published.note(JobPhase::Failed);
                    return failed(outcome, published.total());
                }
                () = self.stream.urged() => self.stream.pass_on(&handle),
                Ok(()) = playlists.changed() => {
                    let playlists = playlists.borrow_and_update().clone();
                    self.stream.publish(&handle, playlists);
                }
                Ok(()) = status.changed() => {
                    let status = status.borrow_and_update().clone();
                    let was_live = published.since.is_some();
                    published.note(status.phase);
                    if !was_live && published.since.is_some() {
                        self.tell(&playable(&status, self.attempt));
                    }
                    self.show(&status);
                }
            }
        }
    }

    /// Shows what the attempt says of its source; nothing known is no news.
    fn show(&self, status: &JobStatus) {
        let source = &status.source;
        let refusal = match source.healthy {
            Some(true) => None,
            Some(false) => Some(Refusal::told(source.reason.as_str(), &source.message)),
            None => return,
        };
        self.refuse(refusal);
    }

    fn refuse(&self, refusal: Option<Refusal>) {
        self.inner.show(&self.stream, |view| {
            let news = refusal
                .as_ref()
                .filter(|now| Some(*now) != view.refusal.as_ref());
            if let Some(refusal) = news {
                self.tell(&Event::Trouble(refusal.message.clone()));
            }
            view.refusal = refusal;
        });
    }

    /// Waits before the next attempt; true when the stream ended meanwhile. An edit ends the wait.
    async fn rest(&mut self, refusal: Refusal, published: Duration) -> bool {
        self.refuse(Some(refusal));
        let (failures, pause) = self.failures.after(published);
        self.failures = failures;
        tokio::select! {
            () = self.stream.ending.cancelled() => true,
            Ok(()) = self.entries.changed() => false,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// Removes what nobody can ask for any more.
    async fn drop_left(&mut self) {
        let now = Instant::now();
        let (over, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition::<Vec<_>, _>(|left| left.until <= now);
        self.left = left;
        for left in over {
            self.stream.retire(left.attempt);
            remove(&left.directory).await;
        }
    }

    async fn clean(self) {
        for left in &self.left {
            self.stream.retire(left.attempt);
            remove(&left.directory).await;
        }
        let uid = &self.stream.identity.uid;
        if let Err(error) = self.inner.context.presence.forget(uid).await {
            tracing::warn!(%error, stream.uid = uid, "failed to forget who watched");
        }
        self.inner.forget(&self.stream);
        self.tell(&Event::Stopped);
    }

    fn tell(&self, event: &Event) {
        let narrator = &self.inner.context.narrator;
        narrator.tell(&self.stream.identity.name, event);
    }
}

fn playable(status: &JobStatus, attempt: i32) -> Event {
    let media = status.media.as_ref();
    let described = media.map(|media| {
        let mode: &str = media.mode.into();
        let tracks = [media.video.as_deref(), media.audio.as_deref()];
        let tracks: Vec<_> = tracks.into_iter().flatten().collect();
        format!(
            "{}; {mode} to {}",
            tracks.join(", "),
            media.renditions.join(", ")
        )
    });
    let milliseconds = status
        .first_segment_milliseconds
        .filter(|_| attempt == 1)
        .and_then(|milliseconds| u64::try_from(milliseconds).ok());
    Event::Playable {
        after: milliseconds.map(Duration::from_millis),
        what: described.unwrap_or_default(),
    }
}

fn failed(outcome: Result<Outcome, JoinError>, published: Duration) -> End {
    let refusal = match outcome {
        Ok(Outcome::Failed { reason, message }) => Refusal::told(reason.as_str(), &message),
        Ok(Outcome::Stopped) => Refusal::told("TranscoderFailed", "the stream ended by itself"),
        Err(error) => {
            tracing::error!(%error, "a stream's task broke");
            Refusal::told("TranscoderFailed", "the stream's task broke")
        }
    };
    End::Failed { refusal, published }
}

/// Where the next attempt goes on. An attempt that does not answer has at least said where it stood.
async fn finish(handle: &JobHandle, status: &watch::Receiver<JobStatus>) -> ResumeFloor {
    match timeout(STOP, handle.finish()).await {
        Ok(Ok(answer)) => answer.next,
        _ => status.borrow().next,
    }
}

/// Ends an attempt: asked first, dropped when it takes too long.
async fn stop(handle: &JobHandle, task: AttemptTask) {
    let ended = async {
        let _ = handle.stop().await;
        let _ = task.await;
    };
    if timeout(STOP, ended).await.is_err() {
        let (uid, attempt) = (handle.stream_uid(), handle.attempt());
        tracing::error!(
            stream.uid = uid,
            attempt,
            "failed to end an attempt in time"
        );
    }
}

async fn remove(directory: &Path) {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let path = directory.display();
            tracing::warn!(%path, %error, "failed to remove an output directory");
        }
        _ => {}
    }
}
