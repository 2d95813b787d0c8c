//! One attempt from its job document to its end, as a local task: several may run in one process.
//! Connects to the source at once; everything else is made while the answer is on its way.

use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::control::JobPhase;
use api::job::{JobClass, TranscodeJob};
use api::playlists::Playlists;
use axum::Router;
use media::playlist::numbers::Numbers;
use media::playlist::window::{Window, WindowSettings};
use media::time::Ticks;
use runtime::admin::Readiness;
use runtime::serve::{ServeLimits, serve};
use runtime::trace::TraceContext;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use upstream::egress::EgressPolicy;
use upstream::failure::SourceFailure;
use upstream::source::{Opener, Patience};

use crate::audience::Audience;
use crate::control;
use crate::handle::{Command, JobHandle};
use crate::metrics::{Metrics, StreamMetrics};
use crate::output::memory::SegmentStore;
use crate::output::recovery::{Recovered, recover};
use crate::output::volume::Volume;
use crate::output::writer::Writer;
use crate::packager;
use crate::packager::first;
use crate::packager::queue::{Limits, Queue};
use crate::packager::standby::{Reserve, ReserveLimits};
use crate::pipeline::{self, Pipeline};
use crate::sandbox::Launcher;
use crate::source::{Files, Means, Source, wish};
use crate::status::{StatusBoard, unix_milliseconds};

pub use crate::pipeline::Outcome;

/// Segments on their way to the packager.
const SEGMENTS_UNDER_WAY: usize = 16;
/// Commands that wait.
const COMMANDS: usize = 8;
/// Requests of viewers that wait; one that finds no room is repeated soon.
const REQUESTS: usize = 64;

/// What an attempt needs besides its job document.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// How encoders are started.
    pub launcher: Launcher,
    /// Sources on this machine are allowed.
    pub allow_loopback: bool,
    /// How long the stream goes on after the shutdown began, unless it is told to stop.
    pub grace: Duration,
    /// When every source was tried and nothing came for this long, the attempt gives up.
    pub give_up_after: Duration,
    /// How long an attempt that gave up can still be asked why.
    pub linger: Duration,
    /// Bytes of segments that may wait in memory for the volume.
    pub memory_bytes: u64,
    /// The figures of the process.
    pub metrics: Metrics,
    /// Whose condition `segments` says that there are any.
    pub readiness: Readiness,
    /// What else the listener of [`run`] answers.
    pub routes: Router,
}

/// Runs an attempt to its end, with control HTTP on `listener`.
///
/// # Errors
/// When the listener is broken. What goes wrong with the stream is an [`Outcome`].
pub async fn run(
    job: TranscodeJob,
    listener: TcpListener,
    options: JobOptions,
    shutdown: CancellationToken,
) -> io::Result<Outcome> {
    let routes = options.routes.clone();
    let (handle, attempt) = start(job, options, shutdown);
    let closing = CancellationToken::new();
    let routes = routes.merge(control::router(handle, closing.clone()));
    let serving = serve(listener, routes, ServeLimits::default(), closing.clone());
    let attempt = async {
        let outcome = attempt.await;
        closing.cancel();
        outcome
    };
    let (served, outcome) = tokio::join!(serving, attempt);
    served.map(|()| outcome)
}

/// Starts an attempt. It runs while the returned future is polled, and is reached through the handle.
pub fn start(
    job: TranscodeJob,
    options: JobOptions,
    shutdown: CancellationToken,
) -> (JobHandle, impl Future<Output = Outcome> + Send) {
    let version = unix_milliseconds();
    let started = Instant::now();
    let board = StatusBoard::new(&job, version);
    let (playlists, listed) = watch::channel(Arc::new(nothing_listed(&job, version)));
    let (tell, commands) = mpsc::channel(COMMANDS);
    let (ask, requested) = mpsc::channel(REQUESTS);
    let store = SegmentStore::new(Volume::new(&job.output.directory));
    let handle = JobHandle {
        stream_uid: job.stream.uid.as_str().into(),
        attempt: job.attempt,
        status: board.subscribe(),
        playlists: listed,
        segments: store.clone(),
        commands: tell,
        answered: watch::Sender::default(),
        requested: ask,
        audience: Audience::default(),
    };
    let span = tracing::info_span!(
        "stream",
        stream.name = job.stream.name,
        stream.uid = job.stream.uid,
        attempt = job.attempt,
        trace_id = trace_of(&job).map(|trace| trace.trace_id())
    );
    let attempt = Attempt {
        metrics: options.metrics.stream(&job.stream.name),
        answered: handle.answered.subscribe(),
        audience: handle.audience.clone(),
        job,
        options,
        shutdown,
        version,
        started,
        board,
        playlists,
        commands,
        requested,
        store,
    };
    (handle, attempt.run().instrument(span))
}

/// What is no context is none: a start is not to fail for it.
fn trace_of(job: &TranscodeJob) -> Option<TraceContext> {
    job.traceparent.as_ref()?.parse().ok()
}

struct Attempt {
    job: TranscodeJob,
    options: JobOptions,
    shutdown: CancellationToken,
    version: i64,
    started: Instant,
    board: StatusBoard,
    playlists: watch::Sender<Arc<Playlists>>,
    commands: mpsc::Receiver<Command>,
    requested: mpsc::Receiver<BTreeSet<String>>,
    store: SegmentStore,
    metrics: StreamMetrics,
    answered: watch::Receiver<u64>,
    audience: Audience,
}

impl Attempt {
    async fn run(mut self) -> Outcome {
        tracing::info!(
            sources = self.job.sources.len(),
            class.mode = ?self.job.class.mode,
            class.preset = ?self.job.class.preset,
            "stream starts"
        );
        let outcome = match self.connect() {
            Ok(source) => self.play(source).await,
            Err(failure) => Outcome::Failed {
                reason: failure.reason(),
                message: failure.to_string(),
            },
        };
        self.record(&outcome);
        if let Outcome::Failed { .. } = outcome {
            self.linger().await;
        }
        outcome
    }

    /// The first source, being connected from now on, unless another attempt has the only connection.
    fn connect(&self) -> Result<Source, SourceFailure> {
        let deadline = u64::try_from(self.job.class.start_deadline_seconds).unwrap_or(0);
        let patience = Patience {
            first_byte: Duration::from_secs(deadline),
            ..Patience::default()
        };
        let policy = EgressPolicy {
            allow_private: self.job.class.egress.allow_private_addresses,
            allow_loopback: self.options.allow_loopback,
        };
        let mut source = Source::new(Means {
            opener: Opener::new(policy, patience)?,
            launcher: self.options.launcher.clone(),
            allow_unpinned: self.job.class.egress.allow_unpinned,
            files: Files::new(self.job.class.files_directory.as_deref()),
            wish: wish(&self.job.class),
            metrics: self.metrics.clone(),
        });
        let standby = self.job.standby.as_ref();
        let is_alone = standby.is_some_and(|standby| !standby.second_connection);
        if let Some(first) = self.job.sources.first().filter(|_| !is_alone) {
            source.connect(first, Duration::ZERO);
        }
        Ok(source)
    }

    async fn play(&mut self, source: Source) -> Outcome {
        let recovered = recover(Volume::new(&self.job.output.directory)).await;
        let (floor, state) = (self.job.resume, recovered.next);
        let numbers = match self.job.standby {
            Some(_) => first::of_standby(floor, state),
            None => first::numbers(floor, state, unix_milliseconds() / 1000),
        };
        let (packager, inputs) = mpsc::channel(SEGMENTS_UNDER_WAY);
        let packaging = packager::run(self.packager(numbers, recovered), inputs);
        let packaging = AbortOnDropHandle::new(tokio::spawn(packaging.in_current_span()));
        let readiness = tokio::spawn(ready(self.board.clone(), self.options.readiness.clone()));
        let readiness = AbortOnDropHandle::new(readiness);
        let commands = std::mem::replace(&mut self.commands, mpsc::channel(1).1);
        let requested = std::mem::replace(&mut self.requested, mpsc::channel(1).1);
        let pipeline = Pipeline::new(pipeline::Parts {
            job: self.job.clone(),
            launcher: self.options.launcher.clone(),
            started: self.started,
            source,
            packager,
            commands,
            requested,
            board: self.board.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            grace: self.options.grace,
            give_up_after: self.options.give_up_after,
        });
        let outcome = Box::pin(pipeline.run()).await;
        let packaged: Result<(), JoinError> = packaging.await;
        if let Err(error) = packaged {
            tracing::error!(%error, "the packager broke");
        }
        drop(readiness);
        outcome
    }

    fn packager(&self, numbers: Numbers, recovered: Recovered) -> packager::Parts {
        let class = &self.job.class;
        let seconds = |seconds: i32| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let retention =
            seconds(class.playlist_duration_seconds) + 2 * seconds(class.target_duration_seconds);
        let limits = Limits {
            memory: self.options.memory_bytes,
            volume: self.job.output.byte_limit,
            patience: seconds(class.segment_duration_seconds),
        };
        packager::Parts {
            attempt: self.job.attempt,
            started: self.started,
            trace: trace_of(&self.job),
            window: Window::new(WindowSettings {
                stream_uid: self.job.stream.uid.clone(),
                attempt: self.job.attempt,
                class: class_hash(class),
                version: u64::try_from(self.version).unwrap_or(0),
                segment_duration_seconds: class.segment_duration_seconds,
                target_duration_seconds: class.target_duration_seconds,
                playlist_duration_seconds: class.playlist_duration_seconds,
                start: numbers.next(),
            }),
            reserve: self.job.standby.as_ref().map(|_| self.reserve()),
            numbers,
            queue: Queue::new(limits, recovered.bytes()),
            writer: Writer::start(Volume::new(&self.job.output.directory)),
            store: self.store.clone(),
            adopted: (recovered.files, Instant::now() + retention),
            playlists: self.playlists.clone(),
            board: self.board.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn reserve(&self) -> Reserve {
        let class = &self.job.class;
        let seconds = |seconds: i32| Ticks::from_seconds(i64::from(seconds));
        Reserve::new(ReserveLimits {
            duration: seconds(class.playlist_duration_seconds),
            bytes: self.options.memory_bytes,
            skew: seconds(class.target_duration_seconds),
        })
    }

    /// The one line that says how the stream went.
    fn record(&self, outcome: &Outcome) {
        let status = self.board.subscribe().borrow().clone();
        let totals = self.metrics.totals();
        let start = status.start.unwrap_or_default();
        let (ended, reason) = match outcome {
            Outcome::Stopped => ("stopped", None),
            Outcome::Failed { reason, .. } => ("failed", Some(reason.as_str())),
        };
        tracing::info!(
            outcome = ended,
            reason,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            start.resolved_ms = start.resolved_milliseconds,
            start.connected_ms = start.connected_milliseconds,
            start.first_byte_ms = start.first_byte_milliseconds,
            start.first_keyframe_ms = start.first_keyframe_milliseconds,
            first_segment_ms = status.first_segment_milliseconds,
            sources = %self.board.journey(),
            source.index = status.source.index,
            source.bytes = totals.source_bytes,
            source.connections = totals.source_connections,
            media.mode = status.media.as_ref().map(|media| <&str>::from(media.mode)),
            viewers.peak = self.audience.peak(),
            segments = totals.segments,
            segment_gaps = totals.segment_gaps,
            encoder_starts = totals.encoder_starts,
            next.media_sequence = status.next.media_sequence,
            "stream ended"
        );
    }

    /// Stays until somebody has been told of the failure, for a bounded time.
    async fn linger(&self) {
        let version = self.board.subscribe().borrow().version;
        let mut answered = self.answered.clone();
        let told = answered.wait_for(|answered| *answered >= version);
        tokio::select! {
            _ = timeout(self.options.linger, told) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

async fn ready(board: StatusBoard, readiness: Readiness) {
    let mut status = board.subscribe();
    let is_live = |phase| matches!(phase, JobPhase::Live | JobPhase::Interrupted);
    while status
        .wait_for(|status| is_live(status.phase))
        .await
        .is_ok()
    {
        readiness.set("segments", true);
        if status
            .wait_for(|status| !is_live(status.phase))
            .await
            .is_err()
        {
            return;
        }
        readiness.set("segments", false);
    }
}

/// Equal for equal classes. Another build may well hash otherwise: then what was learnt before is learnt again.
fn class_hash(class: &JobClass) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(class)
        .unwrap_or_default()
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn nothing_listed(job: &TranscodeJob, version: i64) -> Playlists {
    Playlists {
        version: u64::try_from(version).unwrap_or(0),
        stream_uid: job.stream.uid.clone(),
        attempt: job.attempt,
        updated_unix_milliseconds: version,
        segment_duration_seconds: job.class.segment_duration_seconds,
        target_duration_seconds: job.class.target_duration_seconds,
        discontinuity_sequence: 0,
        renditions: Vec::new(),
        segments: Vec::new(),
        next: job.resume,
        behind: Vec::new(),
        on_request: Vec::new(),
        class: class_hash(&job.class),
    }
}
