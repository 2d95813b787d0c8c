//! Keeps one stream that viewers ask for: makes the directory want it for as long as they do, follows its playlists, tells those who
//! wait. The only caller of `ensure`, so there is one such call per channel at a time however many viewers ask.

mod memory;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use api::playlists::Playlists;
use futures::future::BoxFuture;
use runtime::trace::{self, Span, TraceContext};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Active, FOLLOW_AFTER, FRESH, Inner, Shared, lock};
use crate::directory::{EnsureError, StreamPhase, StreamView, Urgency};
use crate::metrics::EnsureEnd;
use crate::window::{Verdict, judge};
use memory::Past;

/// After a wish was recorded, the directory gets this long to show it before it is asked again.
const ENSURE_PAUSE: Duration = Duration::from_secs(1);

/// The first pause after a failure; it doubles with each.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause after a failure.
const FAILURE_PAUSE_MAXIMUM: Duration = Duration::from_secs(2);

type Asking = BoxFuture<'static, Result<(), EnsureError>>;
type Documents = watch::Receiver<Option<Arc<Playlists>>>;

/// What the keeper does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the directory for the stream.
    Ensure(Urgency),
    /// Wait for something to change, until then at the longest.
    Rest(Instant),
    /// Nobody asks for the stream any more.
    Retire,
}

/// What decides the next step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// What the stream does.
    pub(super) phase: StreamPhase,
    /// Somebody waits for the stream or asked for it a moment ago.
    pub(super) wanted: bool,
    /// Somebody asked for it within the last minute.
    pub(super) followed: bool,
    /// The presence store said `closed`.
    pub(super) fenced: bool,
    /// The directory was not asked yet, or the channel was edited since.
    pub(super) unasked: bool,
    /// The directory is being asked.
    pub(super) asking: bool,
    /// The directory is not asked before.
    pub(super) not_before: Instant,
}

/// Decides the next step.
pub(super) fn next(situation: Situation, now: Instant) -> Step {
    let due = match situation.phase {
        StreamPhase::Absent | StreamPhase::Stopped => true,
        StreamPhase::Wanted => situation.fenced || situation.unasked,
        // What is ending is waited for: its name is taken until then. What is suspended is not touched.
        StreamPhase::Ending | StreamPhase::Suspended => false,
    };
    if situation.asking {
        return Step::Rest(now + FOLLOW_AFTER);
    }
    if !situation.followed {
        return Step::Retire;
    }
    match (situation.wanted, due) {
        (false, _) => Step::Rest(now + FOLLOW_AFTER),
        (true, false) => Step::Rest(now + FRESH),
        (true, true) if now < situation.not_before => Step::Rest(situation.not_before),
        (true, true) if situation.fenced => Step::Ensure(Urgency::Fenced),
        (true, true) => Step::Ensure(Urgency::Normal),
    }
}

/// Runs until nobody asks for the stream any more.
pub(super) async fn keep(streams: Arc<Inner>, active: Arc<Active>) {
    let slug = lock(&active.channel).slug.clone();
    let mut keeper = Keeper {
        view: streams.shared.directory.follow(&slug),
        streams,
        active,
        stream_uid: None,
        documents: None,
        served: None,
        asking: None,
        unasked: true,
        failures: 0,
        not_before: Instant::now(),
        start: None,
        past: Past::default(),
    };
    keeper.recall(slug);
    keeper.view.mark_changed();
    keeper.look();
    loop {
        let now = Instant::now();
        match next(keeper.situation(now), now) {
            Step::Ensure(urgency) => keeper.ask(urgency, now),
            Step::Rest(until) => keeper.rest(until).await,
            Step::Retire if keeper.streams.retire(&keeper.active, now) => return,
            Step::Retire => {}
        }
    }
}

/// A start that viewers wait for.
#[derive(Debug, Clone, Copy)]
struct Start {
    since: Instant,
    trace: TraceContext,
}

struct Keeper {
    streams: Arc<Inner>,
    active: Arc<Active>,
    view: watch::Receiver<Arc<StreamView>>,
    /// The stream that the view shows.
    stream_uid: Option<String>,
    /// Its playlists.
    documents: Option<Documents>,
    /// What was served of it last.
    served: Option<Arc<Playlists>>,
    /// The call to the directory that is under way: playlists go on being read meanwhile.
    asking: Option<Asking>,
    unasked: bool,
    failures: u32,
    not_before: Instant,
    /// The start of this run, while viewers wait for its first segment.
    start: Option<Start>,
    past: Past,
}

impl Keeper {
    fn situation(&self, now: Instant) -> Situation {
        Situation {
            phase: self.phase(),
            wanted: self.active.is_wanted(now),
            followed: self.active.is_followed(now),
            fenced: self.active.fenced.load(Ordering::Relaxed),
            unasked: self.unasked || self.active.edited.load(Ordering::Relaxed),
            asking: self.asking.is_some(),
            not_before: self.not_before,
        }
    }

    fn shared(&self) -> &Shared {
        &self.streams.shared
    }

    fn phase(&self) -> StreamPhase {
        self.active.status.borrow().view.phase
    }

    fn ask(&mut self, urgency: Urgency, now: Instant) {
        self.unasked = false;
        self.active.edited.store(false, Ordering::Relaxed);
        self.active.fenced.store(false, Ordering::Relaxed);
        if self.phase() != StreamPhase::Wanted {
            self.start.get_or_insert_with(|| Start {
                since: now,
                trace: TraceContext::begin(),
            });
        }
        let trace = self.start.map(|start| start.trace);
        let channel = lock(&self.active.channel).clone();
        let directory = self.shared().directory.clone();
        self.asking = Some(Box::pin(async move {
            directory.ensure(&channel, urgency, trace).await
        }));
    }

    fn asked(&mut self, outcome: Result<(), EnsureError>) {
        self.asking = None;
        self.not_before = Instant::now() + self.pause(outcome.is_err());
        self.unasked |= outcome.is_err();
        self.shared().metrics.ensured(match outcome {
            Ok(()) => EnsureEnd::Done,
            Err(_) => EnsureEnd::Failed,
        });
        let failure = outcome.err();
        if let Some(error) = &failure {
            let name = &lock(&self.active.channel).slug;
            tracing::warn!(stream.name = name, %error, "failed to start a stream");
        }
        self.active
            .status
            .send_modify(|status| status.failure = failure);
    }

    fn pause(&mut self, failed: bool) -> Duration {
        if !failed {
            self.failures = 0;
            return ENSURE_PAUSE;
        }
        let pause = FAILURE_PAUSE.saturating_mul(1 << self.failures.min(8));
        self.failures += 1;
        pause.min(FAILURE_PAUSE_MAXIMUM)
    }

    /// Waits until something changes, and takes it in.
    async fn rest(&mut self, until: Instant) {
        let asked = async {
            match &mut self.asking {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        };
        let recalled = async {
            match &mut self.past.recalling {
                Some(recalling) => recalling.await,
                None => std::future::pending().await,
            }
        };
        let document = async {
            match &mut self.documents {
                Some(documents) => documents.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.active.wishes.notified() => {}
            outcome = asked => self.asked(outcome),
            remembered = recalled => self.recalled(remembered),
            Ok(()) = self.view.changed() => self.view.mark_changed(),
            alive = document => match alive {
                Ok(()) => self.read(),
                Err(_) => self.documents = None,
            },
            () = tokio::time::sleep_until(until) => {}
        }
        self.look();
    }

    /// Takes in what the directory shows.
    fn look(&mut self) {
        if !self.view.has_changed().unwrap_or(false) {
            return;
        }
        let view = self.view.borrow_and_update().clone();
        let stream_uid = view.identity.as_ref().map(|identity| identity.uid.clone());
        if self.stream_uid != stream_uid {
            self.stream_uid = stream_uid;
            self.documents = None;
            self.served = None;
        }
        if let (None, Some(identity)) = (&self.documents, &view.identity) {
            let origin = &self.shared().origin;
            let documents = origin.playlists(identity, &self.active.demand);
            self.documents = Some(documents);
        }
        self.show(view);
        self.read();
    }

    fn show(&self, view: Arc<StreamView>) {
        let obsolete = view.phase != StreamPhase::Wanted || self.served.is_none();
        self.active.status.send_modify(|status| {
            if obsolete {
                status.window = None;
                status.promised = None;
            }
            if status.view.phase != view.phase {
                status.failure = None;
            }
            status.view = view;
        });
    }

    /// Takes in what the origin has.
    fn read(&mut self) {
        let Some(documents) = &mut self.documents else {
            return;
        };
        let Some(offered) = documents.borrow_and_update().clone() else {
            return;
        };
        if self.phase() != StreamPhase::Wanted {
            return;
        }
        self.tell_promised();
        match judge(self.served.as_deref(), &offered) {
            Verdict::Take => self.serve(&offered),
            Verdict::Keep => {}
            Verdict::Refuse { what } => {
                self.shared().metrics.refused_playlists.inc();
                let attempt = offered.attempt;
                tracing::warn!(
                    stream.uid = offered.stream_uid,
                    attempt,
                    what,
                    "refused playlists whose numbers go back"
                );
            }
        }
    }

    /// Who waited gets a first segment.
    fn started(&self, document: &Playlists, start: Start, took: Duration) {
        self.shared().metrics.start.observe(took);
        let name = lock(&self.active.channel).slug.clone();
        let trace_id = start.trace.trace_id();
        tracing::info!(
            stream.name = name,
            stream.uid = document.stream_uid,
            trace_id,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "a stream has started"
        );
        trace::tell(Span {
            name: "start stream",
            context: start.trace,
            parent: None,
            start: SystemTime::now() - took,
            took,
            attributes: vec![
                ("stream.name", name),
                ("stream.uid", document.stream_uid.clone()),
            ],
        });
    }

    fn serve(&mut self, document: &Arc<Playlists>) {
        let now = Instant::now();
        if !document.segments.is_empty()
            && let Some(start) = self.start.take()
        {
            self.started(document, start, now - start.since);
        }
        self.served = Some(document.clone());
        let window = Arc::new(self.window(document));
        let is_filling = window.is_filling();
        self.active.status.send_modify(|status| {
            status.window = Some(window);
            status.window_at = now;
        });
        if !is_filling {
            self.remember(document);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A stream that runs and is watched.
    fn running(now: Instant) -> Situation {
        Situation {
            phase: StreamPhase::Wanted,
            wanted: true,
            followed: true,
            fenced: false,
            unasked: false,
            asking: false,
            not_before: now,
        }
    }

    #[test]
    fn a_stream_that_viewers_miss_is_asked_for_and_one_that_runs_is_not() {
        let now = Instant::now();
        let step = |phase| {
            next(
                Situation {
                    phase,
                    ..running(now)
                },
                now,
            )
        };
        assert_eq!(step(StreamPhase::Absent), Step::Ensure(Urgency::Normal));
        assert_eq!(step(StreamPhase::Stopped), Step::Ensure(Urgency::Normal));
        for phase in [
            StreamPhase::Wanted,
            StreamPhase::Ending,
            StreamPhase::Suspended,
        ] {
            assert_eq!(step(phase), Step::Rest(now + FRESH), "{phase:?}");
        }
    }

    #[test]
    fn a_fence_or_an_edit_is_a_reason_to_ask_for_a_stream_that_runs() {
        let now = Instant::now();
        let fenced = Situation {
            fenced: true,
            unasked: true,
            ..running(now)
        };
        assert_eq!(next(fenced, now), Step::Ensure(Urgency::Fenced));
        let edited = Situation {
            unasked: true,
            ..running(now)
        };
        assert_eq!(next(edited, now), Step::Ensure(Urgency::Normal));
        let ending = Situation {
            phase: StreamPhase::Ending,
            ..fenced
        };
        assert_eq!(next(ending, now), Step::Rest(now + FRESH));
    }

    #[test]
    fn nothing_is_asked_for_twice_at_once_too_soon_or_for_nobody() {
        let now = Instant::now();
        let missing = Situation {
            phase: StreamPhase::Absent,
            ..running(now)
        };
        let asking = Situation {
            asking: true,
            followed: false,
            ..missing
        };
        assert_eq!(next(asking, now), Step::Rest(now + FOLLOW_AFTER));
        let soon = Situation {
            not_before: now + SECOND,
            ..missing
        };
        assert_eq!(next(soon, now), Step::Rest(now + SECOND));
        let unwanted = Situation {
            wanted: false,
            ..missing
        };
        assert_eq!(next(unwanted, now), Step::Rest(now + FOLLOW_AFTER));
        let forgotten = Situation {
            wanted: false,
            followed: false,
            ..missing
        };
        assert_eq!(next(forgotten, now), Step::Retire);
    }
}
