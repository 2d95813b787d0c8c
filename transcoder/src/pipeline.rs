//! The life of one attempt: reads the source, follows its failures, hands media on, hears commands, ends.
//! One task; nothing in it waits for the volume, for the encoder, or for whoever watches.

mod encoding;
mod end;
mod flow;
mod grants;
mod plan;
mod processes;
mod slate;
mod sources;
mod standby;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase, StartTimes};
use api::job::TranscodeJob;
use bytes::Bytes;
use media::segmenter::io::RenditionId;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::handle::Command;
use crate::metrics::StreamMetrics;
use crate::packager;
use crate::sandbox::Launcher;
use crate::source::{Source, SourceEvent};
use crate::status::{StatusBoard, unix_milliseconds};
use flow::Flow;
use flow::effect::{Effect, Now, Role};
use plan::{MediaPlan, Unusable};
use processes::{Processes, Recovery};
use slate::Slate;
use sources::{Next, Sources};

/// The segmenter hears of the time this often, whatever else happens.
const TICK: Duration = Duration::from_millis(250);

/// A cut without a key is forgotten after this long without another.
const LONG_GOP: Duration = Duration::from_secs(60);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop.
    Stopped,
    /// It gave up.
    Failed {
        /// Why.
        reason: Reason,
        /// In one sentence, without secrets.
        message: String,
    },
}

/// What a pipeline is made of.
pub(crate) struct Parts {
    /// What is to be done.
    pub(crate) job: TranscodeJob,
    /// The FFmpeg to run.
    pub(crate) launcher: Launcher,
    /// When the attempt began.
    pub(crate) started: Instant,
    /// The connection, on its way already unless it is not its turn.
    pub(crate) source: Source,
    /// Where segments go.
    pub(crate) packager: mpsc::Sender<packager::Input>,
    /// What it is told.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// What viewers ask for.
    pub(crate) requested: mpsc::Receiver<BTreeSet<String>>,
    /// The status.
    pub(crate) board: StatusBoard,
    /// The stream's figures.
    pub(crate) metrics: StreamMetrics,
    /// Cancelled when the process is to end.
    pub(crate) shutdown: CancellationToken,
    /// How long it goes on after that, unless it is told to stop.
    pub(crate) grace: Duration,
    /// How long nothing may come before it gives up.
    pub(crate) give_up_after: Duration,
}

/// The attempt as it runs.
pub(crate) struct Pipeline {
    parts: Parts,
    flow: Flow,
    sources: Sources,
    processes: Processes,
    /// The encoders that failed of late, by what they are for.
    recoveries: BTreeMap<Role, Recovery>,
    ticks: Interval,
    /// Something is passed through, which an encoder's failure leaves alone.
    passes_through: bool,
    /// Until when it is said that keys do not come.
    long_gop_until: Option<Instant>,
    /// The encoder is far behind, and it was said.
    encoder_lags: bool,
    /// Encoded renditions that it goes without, the costliest first.
    left_out: Vec<RenditionId>,
    /// When media must have come over the present connection.
    deadline: Option<Instant>,
    /// When it ends although nobody said stop.
    ends_at: Option<Instant>,
    finished: Option<FinishAnswer>,
    /// It waits for its turn.
    standby: bool,
    slate: Slate,
}

impl Pipeline {
    /// A pipeline whose first source is being connected.
    pub(crate) fn new(parts: Parts) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            flow: Flow::new(parts.job.class.clone()),
            sources: Sources::new(&parts.job, parts.give_up_after),
            processes: Processes::new(parts.launcher.clone()),
            recoveries: BTreeMap::new(),
            passes_through: false,
            long_gop_until: None,
            encoder_lags: false,
            left_out: Vec::new(),
            deadline: None,
            ends_at: None,
            finished: None,
            standby: parts.job.standby.is_some(),
            slate: Slate::new(parts.started),
            parts,
        }
    }

    /// Runs until it is stopped or gives up.
    pub(crate) async fn run(mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.step().await {
                return outcome;
            }
            self.feed_encoders().await;
        }
    }

    async fn step(&mut self) -> Option<Outcome> {
        let held_until = self.flow.held_until().map(|at| self.parts.started + at);
        let is_told = self.ends_at.is_some();
        let restart_at = self.restart_at();
        tokio::select! {
            command = self.parts.commands.recv() => self.obey(command?).await,
            Some((id, event)) = self.processes.next() => self.hear(id, event).await,
            event = self.parts.source.next(), if held_until.is_none() => self.follow(event).await,
            () = until(held_until) => self.advance().await,
            _ = self.ticks.tick() => self.advance().await,
            Some(renditions) = self.parts.requested.recv() => {
                let now = self.now();
                let effects = self.flow.requested(renditions, now);
                self.settle(effects).await
            }
            () = until(restart_at) => self.restart_encoders().await,
            () = until(self.deadline) => self.overdue().await,
            () = self.parts.shutdown.cancelled(), if !is_told => self.shut_down().await,
            () = until(self.ends_at) => Some(self.end().await),
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.parts.started.elapsed(),
            unix_milliseconds: unix_milliseconds(),
        }
    }

    /// Time has passed: what was held back may be due.
    async fn advance(&mut self) -> Option<Outcome> {
        let now = self.now();
        self.look_at_encoder(now);
        if self.long_gop_until.is_some_and(|at| at <= Instant::now()) {
            self.long_gop_until = None;
            let board = &self.parts.board;
            board.set_trouble(Reason::LongGop, None);
        }
        let effects = self.flow.advance(now);
        match self.settle(effects).await {
            None => self.look_at_slate(now).await,
            outcome => outcome,
        }
    }

    async fn follow(&mut self, event: SourceEvent) -> Option<Outcome> {
        match event {
            SourceEvent::Opened => {
                self.opened();
                None
            }
            SourceEvent::OwnTimes => {
                self.flow.expect_own_times();
                None
            }
            SourceEvent::AtWill => {
                self.flow.pace_at_will();
                None
            }
            SourceEvent::Paced(pace) => {
                self.flow.pace(pace);
                None
            }
            SourceEvent::Bytes(bytes) => self.read(&bytes).await,
            SourceEvent::Failed(failure) => self.lost(sources::named(&failure)).await,
        }
    }

    fn opened(&mut self) {
        self.parts.metrics.source_connected();
        let patience = self.parts.job.class.start_deadline_seconds;
        let patience = Duration::from_secs(u64::try_from(patience).unwrap_or(0));
        self.deadline = Some(Instant::now() + patience);
        let board = &self.parts.board;
        board.update(|status| status.source.connected = true);
    }

    async fn read(&mut self, bytes: &Bytes) -> Option<Outcome> {
        self.parts.metrics.source_bytes(bytes.len());
        let now = self.now();
        let effects = self.flow.push(bytes, now);
        self.settle(effects).await
    }

    /// Does what follows from the media, and gives the source up when it is of no use.
    async fn settle(&mut self, effects: Vec<Effect>) -> Option<Outcome> {
        match self.carry_out(effects).await {
            Some(unusable) => self.lost(sources::rejected(unusable)).await,
            None => None,
        }
    }

    /// Does what follows from the media; answers why the source is of no use, if it is not.
    async fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Unusable> {
        let mut useless = None;
        for effect in effects {
            match effect {
                Effect::Delivering => self.delivers(),
                Effect::Unusable(unusable) => useless = Some(unusable),
                Effect::Planned(plan) => self.planned(*plan),
                Effect::Renditions(facts) => self.pack(packager::Input::Renditions(facts)).await,
                Effect::Segment(segment) => self.pack(packager::Input::Segment(segment)).await,
                Effect::Late(late) => self.pack(packager::Input::Late(late)).await,
                Effect::Off(off) => self.pack(packager::Input::Off(off)).await,
                Effect::Slate(segment) => self.pack(packager::Input::Slate(segment)).await,
                Effect::ForcedCut => self.forced_cut(),
                Effect::StartEncoder { id, encode } => {
                    self.parts.metrics.encoder_started();
                    self.processes.start(id, &encode);
                }
                Effect::LeftOut(renditions) => self.leave_out(renditions),
                Effect::EndEncoder { id } => self.processes.end(id),
                Effect::CloseEncoder { id, rest } => {
                    rest.into_iter()
                        .for_each(|bytes| self.processes.feed(id, bytes));
                    self.processes.close(id);
                }
            }
        }
        useless
    }

    async fn pack(&self, input: packager::Input) {
        // The packager waits for nothing slow, and ends after this task.
        drop(self.parts.packager.send(input).await);
    }

    fn delivers(&mut self) {
        self.deadline = None;
        self.slate.is_not_needed();
        self.sources.delivers(self.parts.started.elapsed());
        let start = self.start_times();
        self.parts.board.update(|status| {
            status.start.get_or_insert(start);
            status.source.healthy = Some(true);
            status.source.reason = Reason::Receiving;
            "media arrive".clone_into(&mut status.source.message);
            grants::ask(status, Vec::new());
        });
    }

    /// How far the connection had come when; the first keyframe has come now.
    fn start_times(&self) -> StartTimes {
        let reached = self.parts.source.reached();
        let milliseconds = |at: Instant| {
            let since = at.saturating_duration_since(self.parts.started);
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        StartTimes {
            resolved_milliseconds: reached.resolved.map(milliseconds),
            connected_milliseconds: reached.connected.map(milliseconds),
            first_byte_milliseconds: reached.first_byte.map(milliseconds),
            first_keyframe_milliseconds: Some(milliseconds(Instant::now())),
        }
    }

    fn planned(&mut self, plan: MediaPlan) {
        self.passes_through = plan.passes_video_through();
        let board = &self.parts.board;
        if plan.lacks_keyframes {
            board.set_trouble(Reason::LongGop, None);
        }
        board.update(|status| status.media = Some(plan.status));
    }

    fn forced_cut(&mut self) {
        self.parts.metrics.forced_cut();
        self.long_gop_until = Some(Instant::now() + LONG_GOP);
        let message = "no keyframe came within the target duration; segments are cut without";
        self.parts.board.set_trouble(Reason::LongGop, Some(message));
    }

    async fn overdue(&mut self) -> Option<Outcome> {
        let seconds = self.parts.job.class.start_deadline_seconds;
        let unusable = sources::overdue(self.flow.stage(), seconds);
        self.lost(sources::rejected(unusable)).await
    }

    /// The source is lost: decides what follows.
    async fn lost(&mut self, lost: sources::Lost) -> Option<Outcome> {
        self.parts.source.close();
        self.deadline = None;
        self.slate.is_needed(Instant::now());
        self.parts.metrics.source_failed(lost.reason);
        let before = self.sources.index();
        let next = self.sources.lost(&lost, self.parts.started.elapsed());
        // A standby is none that viewers wait for.
        let wants = match self.standby {
            true => Vec::new(),
            false => self.sources.wants(),
        };
        self.parts.board.update(|status| {
            grants::ask(status, wants);
            status.source.healthy = Some(false);
            status.source.connected = false;
            status.ready = false;
            status.source.reason = lost.reason;
            status.source.message.clone_from(&lost.message);
            if status.phase == JobPhase::Live {
                status.phase = JobPhase::Interrupted;
            }
        });
        match next {
            Next::GiveUp if self.standby => {
                self.begin_round(standby::NEXT_ROUND).await;
                None
            }
            Next::GiveUp => Some(self.give_up(lost.reason, lost.message).await),
            Next::Connect { after } => {
                self.connect(before, after).await;
                None
            }
        }
    }

    async fn connect(&mut self, before: i32, after: Duration) {
        let index = self.sources.index();
        let now = self.now();
        let effects = if index == before {
            self.flow.reconnected(now)
        } else {
            self.parts.metrics.source_switched();
            self.parts.board.update(|status| {
                status.source.index = index;
                status.source.since_unix_milliseconds = now.unix_milliseconds;
            });
            self.flow.switched(now)
        };
        drop(self.carry_out(effects).await);
        if let Some(source) = self.sources.current() {
            self.parts.source.connect(source, after);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
