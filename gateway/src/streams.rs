//! The streams that viewers of this gateway ask for: one keeper task each, one status for all who wait. Requests are held here,
//! woken by what the keeper learns, by a timer only where they wait for their turn to start, and always bounded in number and time.

mod following;
mod keeper;
mod status;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use presence::Touch;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

pub(crate) use following::Following;
pub use status::{Need, Status, Unplayable};
use status::{Outlook, outlook};

use crate::directory::{Channel, StreamDirectory};
use crate::keys::Keys;
use crate::metrics::{HoldEnd, Metrics};
use crate::origin::{Demand, Origin};
use crate::remembered::Memory;
use crate::viewers::Viewers;
use crate::window::Window;

/// A request counts as a wish for this long: one flush of the presence store, and the way there and back.
const FRESH: Duration = Duration::from_secs(6);

/// A stream that nobody asks for is followed for this much longer.
const FOLLOW_AFTER: Duration = Duration::from_mins(1);

/// How long a request waits at the least when a stream is refused: the refusal may be of a former run.
const GRACE: Duration = Duration::from_secs(2);

/// How requests are held.
#[derive(Debug, Clone, Copy)]
pub struct HoldLimits {
    /// How long at most.
    pub time: Duration,
    /// How many at once.
    pub count: usize,
}

/// The streams that are asked for.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

/// What the streams of a gateway share.
pub struct Shared {
    /// Which streams there are.
    pub directory: Arc<dyn StreamDirectory>,
    /// Where their playlists come from.
    pub origin: Arc<dyn Origin>,
    /// Sign the URLs in playlists.
    pub keys: Keys,
    /// Who is watching.
    pub viewers: Arc<Viewers>,
    /// What is counted.
    pub metrics: Metrics,
    /// What channels turned out to be.
    pub memory: Memory,
}

struct Inner {
    shared: Shared,
    hold_time: Duration,
    holds: Semaphore,
    /// Apart from the holds: who waits for more must not keep out who waits for a start.
    news: Semaphore,
    active: RwLock<HashMap<String, Arc<Active>>>,
}

/// One stream that is asked for.
struct Active {
    channel: Mutex<Channel>,
    status: watch::Sender<Status>,
    demand: Arc<Demand>,
    /// Wakes the keeper.
    wishes: Notify,
    wished_at: Mutex<Instant>,
    waiting: AtomicUsize,
    fenced: AtomicBool,
    edited: AtomicBool,
}

impl Streams {
    /// No stream yet.
    #[must_use]
    pub fn new(shared: Shared, limits: HoldLimits) -> Self {
        Self(Arc::new(Inner {
            shared,
            hold_time: limits.time,
            holds: Semaphore::new(limits.count),
            news: Semaphore::new(limits.count),
            active: RwLock::default(),
        }))
    }

    /// The channel's window, held until it has what is needed. The request counts as a wish for the stream, and as a touch of it.
    /// `channel` is asked for only when the stream was not asked for lately.
    ///
    /// # Errors
    /// Why the channel cannot be played now.
    pub async fn window(
        &self,
        slug: &str,
        channel: impl FnOnce() -> Option<Channel>,
        need: &Need,
    ) -> Result<Ready, Unplayable> {
        let active = self.wish(slug, channel).ok_or(Unplayable::NoChannel)?;
        if let Some(rendition) = need.rendition() {
            active.ask_for(rendition);
        }
        let now = Instant::now();
        active.touch(&self.0.shared.viewers, now);
        let outlook = outlook(&active.status.borrow(), need, now);
        match outlook {
            Outlook::Ready(ready) => Ok(ready),
            Outlook::Never(why) => Err(why),
            Outlook::Refused(_) | Outlook::Wait(_) => self.hold(&active, need, now).await,
        }
    }

    async fn hold(
        &self,
        active: &Active,
        need: &Need,
        since: Instant,
    ) -> Result<Ready, Unplayable> {
        let Shared {
            metrics, viewers, ..
        } = &self.0.shared;
        let Ok(_permit) = self.0.holds.try_acquire() else {
            metrics.held(HoldEnd::Overflow);
            return Err(Unplayable::Overload);
        };
        let _guard = Waiting::new(active, metrics);
        active.wishes.notify_one();
        let outcome = active.wait(need, since, self.0.hold_time).await;
        active.touch(viewers, Instant::now());
        metrics.held(match &outcome {
            Ok(_) => HoldEnd::Ready,
            Err(Unplayable::Starting) => HoldEnd::Timeout,
            Err(_) => HoldEnd::Refused,
        });
        outcome
    }

    /// The channel's window once it lists something else than `known`; `known` again after `limit`, and at once when too many wait already.
    pub async fn news(&self, slug: &str, need: &Need, known: Ready, limit: Duration) -> Ready {
        let (Some(active), Ok(_permit)) = (self.0.find(slug), self.0.news.try_acquire()) else {
            return known;
        };
        let _guard = Waiting::new(&active, &self.0.shared.metrics);
        let news = active.news(need, known.window.next_number());
        let news = tokio::time::timeout(limit.min(self.0.hold_time), news).await;
        news.ok().flatten().unwrap_or(known)
    }

    /// How long a request is held at most.
    pub(crate) fn hold_time(&self) -> Duration {
        self.0.hold_time
    }

    /// Whether somebody asked for the channel here lately.
    pub(crate) fn is_asked_for(&self, slug: &str) -> bool {
        self.0.find(slug).is_some()
    }

    /// Holds a request that waits for its turn.
    ///
    /// # Errors
    /// When too many requests are held already.
    pub(crate) async fn hold_until(&self, turn: Instant) -> Result<(), Unplayable> {
        let metrics = &self.0.shared.metrics;
        let Ok(_permit) = self.0.holds.try_acquire() else {
            metrics.held(HoldEnd::Overflow);
            return Err(Unplayable::Overload);
        };
        let _holding = Holding::new(metrics);
        tokio::time::sleep_until(turn).await;
        Ok(())
    }

    /// The presence store says that the stream's collection is under way: it is woken, if somebody still asks for it.
    pub fn fenced(&self, stream_uid: &str) {
        let Some(identity) = self.0.shared.directory.stream(stream_uid) else {
            return;
        };
        if let Some(active) = self.0.find(&identity.name) {
            active.fenced.store(true, Ordering::Relaxed);
            active.wishes.notify_one();
        }
    }

    /// Who was counted just now: each stream that is followed is told how many of them are its own.
    pub fn watched(&self, counted: &[Touch]) {
        let viewers: HashMap<&str, u32> = counted
            .iter()
            .map(|touch| (touch.stream_uid.as_str(), touch.viewers))
            .collect();
        for active in self.0.all() {
            let identity = active.status.borrow().view.identity.clone();
            let own = identity.and_then(|identity| viewers.get(&*identity.uid).copied());
            active.demand.watched(own.unwrap_or(0));
        }
    }

    /// The catalog was changed: every stream that is asked for follows its channel. `resolve` finds a channel by its slug.
    pub fn catalog_changed(&self, resolve: impl Fn(&str) -> Option<Channel>) {
        for active in self.0.all() {
            let slug = lock(&active.channel).slug.clone();
            if let Some(channel) = resolve(&slug) {
                active.replace_channel(&channel);
            }
        }
    }

    /// Records that the channel is wanted now, and starts its keeper when it has none.
    fn wish(&self, slug: &str, channel: impl FnOnce() -> Option<Channel>) -> Option<Arc<Active>> {
        let now = Instant::now();
        if let Some(active) = self.0.wish_again(slug, now) {
            return Some(active);
        }
        let channel = channel()?;
        let mut table = self
            .0
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let active = table.entry(slug.to_owned()).or_insert_with(|| {
            let active = Arc::new(Active::new(channel, now));
            self.0.shared.metrics.streams.inc();
            tokio::spawn(keeper::keep(self.0.clone(), active.clone()));
            active
        });
        active.wish(now);
        Some(active.clone())
    }
}

/// A window, and the stream it is of.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The window.
    pub window: Arc<Window>,
    /// When the last one came.
    pub came_at: Instant,
    /// The stream's uid.
    pub stream_uid: String,
}

impl Inner {
    fn find(&self, slug: &str) -> Option<Arc<Active>> {
        let table = self.active.read().unwrap_or_else(PoisonError::into_inner);
        table.get(slug).cloned()
    }

    /// A wish is recorded under the lock, so that no keeper ends between finding it and asking it.
    fn wish_again(&self, slug: &str, now: Instant) -> Option<Arc<Active>> {
        let table = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let active = table.get(slug)?;
        active.wish(now);
        Some(active.clone())
    }

    fn all(&self) -> Vec<Arc<Active>> {
        let table = self.active.read().unwrap_or_else(PoisonError::into_inner);
        table.values().cloned().collect()
    }

    /// Forgets a stream that nobody asks for; false when somebody does again.
    fn retire(&self, active: &Active, now: Instant) -> bool {
        let mut table = self.active.write().unwrap_or_else(PoisonError::into_inner);
        if active.is_followed(now) {
            return false;
        }
        table.remove(&lock(&active.channel).slug);
        self.shared.metrics.streams.dec();
        true
    }
}

impl Active {
    fn new(channel: Channel, now: Instant) -> Self {
        Self {
            channel: Mutex::new(channel),
            status: watch::Sender::new(Status::unknown(now)),
            demand: Arc::default(),
            wishes: Notify::new(),
            wished_at: Mutex::new(now),
            waiting: AtomicUsize::new(0),
            fenced: AtomicBool::new(false),
            edited: AtomicBool::new(false),
        }
    }

    fn wish(&self, now: Instant) {
        {
            let mut wished_at = lock(&self.wished_at);
            *wished_at = now.max(*wished_at);
        }
        if self.fenced.load(Ordering::Relaxed) {
            self.wishes.notify_one();
        }
    }

    /// A rendition that does not run is started by being asked for: that is told at once.
    fn ask_for(&self, rendition: &str) {
        let status = self.status.borrow();
        let window = status.window.as_ref();
        let played = window.map_or(rendition, |window| window.played(rendition));
        self.demand.ask(played);
        if window.is_none_or(|window| window.is_behind(rendition)) {
            self.demand.urge();
        }
    }

    fn touch(&self, viewers: &Viewers, now: Instant) {
        let status = self.status.borrow();
        if let Some(identity) = &status.view.identity {
            viewers.touch(&identity.uid, now);
        }
    }

    fn replace_channel(&self, channel: &Channel) {
        let mut current = lock(&self.channel);
        if *current != *channel {
            *current = channel.clone();
            self.edited.store(true, Ordering::Relaxed);
            self.wishes.notify_one();
        }
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || now < *lock(&self.wished_at) + FRESH
    }

    fn is_followed(&self, now: Instant) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || now < *lock(&self.wished_at) + FOLLOW_AFTER
    }

    /// What is listed once it is something else; `None` when nothing is any more.
    async fn news(&self, need: &Need, next_number: u64) -> Option<Ready> {
        let mut status = self.status.subscribe();
        loop {
            let outlook = outlook(&status.borrow_and_update(), need, Instant::now());
            let Outlook::Ready(ready) = outlook else {
                return None;
            };
            if ready.window.next_number() != next_number {
                return Some(ready);
            }
            status.changed().await.ok()?;
        }
    }

    async fn wait(
        &self,
        need: &Need,
        since: Instant,
        limit: Duration,
    ) -> Result<Ready, Unplayable> {
        let mut status = self.status.subscribe();
        let deadline = since + limit;
        loop {
            let now = Instant::now();
            let outlook = outlook(&status.borrow_and_update(), need, now);
            let until = match outlook {
                Outlook::Ready(ready) => return Ok(ready),
                Outlook::Never(why) => return Err(why),
                Outlook::Refused(why) if now >= since + GRACE => return Err(why),
                Outlook::Refused(why) | Outlook::Wait(why) if now >= deadline => return Err(why),
                Outlook::Refused(_) => deadline.min(since + GRACE),
                Outlook::Wait(_) => deadline,
            };
            // The keeper outlives its waiters, so the sender is there.
            let _ = tokio::time::timeout_at(until, status.changed()).await;
        }
    }
}

/// Counts a held request until the viewer leaves.
struct Holding<'a>(&'a Metrics);

impl<'a> Holding<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.holding.inc();
        Self(metrics)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.holding.dec();
    }
}

/// One held request that waits for a stream; leaves when the viewer does.
struct Waiting<'a> {
    active: &'a Active,
    _holding: Holding<'a>,
}

impl<'a> Waiting<'a> {
    fn new(active: &'a Active, metrics: &'a Metrics) -> Self {
        active.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            active,
            _holding: Holding::new(metrics),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.active.wish(Instant::now());
        self.active.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::testing::{identity, keys, playlists};
    use super::*;
    use crate::directory::{
        EnsureError, OwnChannel, Refusal, SteerError, Steering, StreamPhase, StreamSummary,
        StreamView, Urgency,
    };
    use crate::origin::{SegmentError, SegmentId};
    use crate::window::Video;
    use api::condition::Reason;
    use api::job::StreamIdentity;
    use api::playlists::Playlists;
    use presence::memory::MemoryPresence;
    use runtime::trace::TraceContext;

    const SECOND: Duration = Duration::from_secs(1);

    /// A directory whose streams do what the test says, and which notes what it is asked.
    #[derive(Default)]
    struct Stage {
        view: watch::Sender<Arc<StreamView>>,
        documents: watch::Sender<Option<Arc<Playlists>>>,
        asked: Mutex<Vec<Urgency>>,
        traces: Mutex<Vec<TraceContext>>,
        answers: Mutex<VecDeque<EnsureError>>,
        notes: Arc<MemoryPresence>,
    }

    impl Stage {
        fn show(&self, phase: StreamPhase, refusal: Option<Refusal>) {
            let identity = (phase != StreamPhase::Absent).then(|| identity("uid-1"));
            self.view.send_replace(Arc::new(StreamView {
                phase,
                identity,
                pod: None,
                warm_attempts: Vec::new(),
                refusal,
            }));
        }

        fn publish(&self, attempt: i32, version: u64, numbers: std::ops::Range<u64>) {
            let document = playlists("uid-1", attempt, version, numbers);
            self.documents.send_replace(Some(Arc::new(document)));
        }

        fn asked(&self) -> Vec<Urgency> {
            lock(&self.asked).clone()
        }
    }

    #[async_trait]
    impl StreamDirectory for Stage {
        async fn ensure(
            &self,
            _: &Channel,
            urgency: Urgency,
            trace: Option<TraceContext>,
        ) -> Result<(), EnsureError> {
            lock(&self.asked).push(urgency);
            lock(&self.traces).extend(trace);
            lock(&self.answers).pop_front().map_or(Ok(()), Err)
        }

        fn follow(&self, _: &str) -> watch::Receiver<Arc<StreamView>> {
            self.view.subscribe()
        }

        fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>> {
            self.view
                .borrow()
                .identity
                .clone()
                .filter(|known| known.uid == uid)
        }

        fn own_channel(&self, _: &str) -> Option<OwnChannel> {
            None
        }

        fn own_channels(&self) -> Vec<OwnChannel> {
            Vec::new()
        }

        fn streams(&self) -> Vec<StreamSummary> {
            Vec::new()
        }

        async fn steer(&self, _: &str, _: Steering) -> Result<(), SteerError> {
            Err(SteerError::Unknown)
        }
    }

    #[async_trait]
    impl Origin for Stage {
        fn playlists(
            &self,
            _: &Arc<StreamIdentity>,
            _: &Arc<Demand>,
        ) -> watch::Receiver<Option<Arc<Playlists>>> {
            self.documents.subscribe()
        }

        async fn segment(&self, _: &StreamIdentity, _: &SegmentId) -> Result<Bytes, SegmentError> {
            Err(SegmentError::NotFound)
        }
    }

    fn streams(stage: &Arc<Stage>, holds: usize) -> Streams {
        let shared = Shared {
            directory: stage.clone(),
            origin: stage.clone(),
            keys: keys(),
            viewers: Arc::new(Viewers::new(Instant::now())),
            metrics: Metrics::default(),
            memory: Memory::new(stage.notes.clone()),
        };
        Streams::new(
            shared,
            HoldLimits {
                time: 8 * SECOND,
                count: holds,
            },
        )
    }

    fn channel() -> Option<Channel> {
        Some(Channel {
            slug: "news-one".to_owned(),
            entry: None,
        })
    }

    async fn ask(streams: &Streams) -> Result<Ready, Unplayable> {
        streams
            .window("news-one", channel, &Need::Listed("source".to_owned()))
            .await
    }

    /// Lets every task run until it waits for something.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_what_is_listed_gets_more_when_it_is_there_and_the_same_after_a_while() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 1);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..11);
        let known = ask(&streams).await.unwrap();
        let wait = |known: Ready| {
            let streams = streams.clone();
            let need = Need::Listed("source".to_owned());
            tokio::spawn(async move { streams.news("news-one", &need, known, 4 * SECOND).await })
        };
        let (one, too_many) = (wait(known.clone()), wait(known));
        settle().await;
        assert_eq!(streams.0.shared.metrics.holding.get(), 1);
        assert_eq!(too_many.await.unwrap().window.next_number(), 11);
        stage.publish(1, 2, 10..12);
        let news = one.await.unwrap();
        assert_eq!(news.window.next_number(), 12);
        let begun = Instant::now();
        assert_eq!(wait(news).await.unwrap().window.next_number(), 12);
        assert_eq!(begun.elapsed(), 4 * SECOND);
        assert_eq!(streams.0.shared.metrics.holding.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_somebody_stays_with_is_wanted_until_that_one_leaves() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 1);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        let mut following = streams.follow("news-one", Video::Usual).unwrap();
        assert!(streams.follow("another", Video::Usual).is_none());
        let ready = following.look(Instant::now()).unwrap().unwrap();
        assert_eq!(ready.window.next_number(), 13);
        stage.publish(1, 2, 10..14);
        following.changed().await;
        tokio::time::advance(10 * FOLLOW_AFTER).await;
        settle().await;
        assert!(following.look(Instant::now()).unwrap().is_none());
        let asked = stage.asked().len();
        stage.show(StreamPhase::Stopped, None);
        settle().await;
        assert_eq!(stage.asked().len(), asked + 1);
        drop(following);
        tokio::time::advance(2 * FOLLOW_AFTER).await;
        settle().await;
        assert!(streams.follow("news-one", Video::Usual).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_viewers_of_a_cold_channel_ask_the_directory_once_and_are_woken_by_the_first_segment()
     {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        let viewers: Vec<_> = (0..50)
            .map(|_| {
                let streams = streams.clone();
                tokio::spawn(async move { ask(&streams).await })
            })
            .collect();
        settle().await;
        assert_eq!(stage.asked(), [Urgency::Normal]);
        assert_eq!(streams.0.shared.metrics.holding.get(), 50);
        stage.show(StreamPhase::Wanted, None);
        tokio::time::advance(3 * SECOND).await;
        stage.publish(1, 1, 10..11);
        for viewer in viewers {
            assert_eq!(viewer.await.unwrap().unwrap().stream_uid, "uid-1");
        }
        assert_eq!(stage.asked(), [Urgency::Normal]);
        assert_eq!(lock(&stage.traces).len(), 1, "the start is traced");
        assert_eq!(streams.0.shared.metrics.holding.get(), 0);
    }

    async fn master(streams: &Streams) -> Result<Ready, Unplayable> {
        streams
            .window("news-one", channel, &Need::Renditions(Video::Usual))
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_is_remembered_has_a_master_as_soon_as_its_attempt_answers() {
        let stage = Arc::new(Stage::default());
        stage.show(StreamPhase::Wanted, None);
        let document = |ids: &[&str], numbers: u64| {
            let mut document = playlists("uid-1", 1, 1 + numbers, 10..10 + numbers);
            document.class = "class".to_owned();
            document.renditions.retain(|one| ids.contains(&&*one.id));
            Some(Arc::new(document))
        };
        let cold = || stage.documents.send_replace(document(&[], 0));
        cold();
        let first = streams(&stage, 100);
        assert_eq!(master(&first).await.unwrap_err(), Unplayable::Starting);
        let both = ["source", "480p"];
        stage.documents.send_replace(document(&both, 6));
        let known = master(&first).await.unwrap();
        settle().await;
        // Another replica, and the channel starts anew.
        cold();
        let second = streams(&stage, 100);
        let begun = Instant::now();
        let promised = master(&second).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let text = |ready: &Ready| ready.window.master("S", Video::Usual);
        assert_eq!(text(&promised), text(&known));
        assert_eq!(ask(&second).await.unwrap_err(), Unplayable::Starting);
        // It is no longer what it was: who was promised more plays what there is.
        stage.documents.send_replace(document(&["480p"], 7));
        assert!(ask(&second).await.unwrap().window.media("source").is_some());
        assert!(!text(&master(&second).await.unwrap()).contains("source"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_brings_nothing_is_given_up_at_the_limit() {
        let stage = Arc::new(Stage::default());
        stage.show(StreamPhase::Wanted, None);
        let start = Instant::now();
        assert_eq!(
            ask(&streams(&stage, 100)).await.unwrap_err(),
            Unplayable::Starting
        );
        assert_eq!(start.elapsed(), 8 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_refusal_is_told_after_a_grace_and_a_passing_one_at_the_limit() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        let refusal = Refusal::lasting(Reason::HttpError, "the source answered 404");
        stage.show(StreamPhase::Wanted, Some(refusal.clone()));
        let start = Instant::now();
        assert_eq!(
            ask(&streams).await.unwrap_err(),
            Unplayable::Refused(refusal)
        );
        assert_eq!(start.elapsed(), GRACE);
        let refusal = Refusal::passing(Reason::ConnectFailed, "connection refused");
        stage.show(StreamPhase::Wanted, Some(refusal.clone()));
        let start = Instant::now();
        assert_eq!(
            ask(&streams).await.unwrap_err(),
            Unplayable::Refused(refusal)
        );
        assert_eq!(start.elapsed(), 8 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_a_former_run_does_not_end_the_wait_for_this_one() {
        let stage = Arc::new(Stage::default());
        let refusal = Refusal::lasting(Reason::HttpError, "the source answered 404");
        stage.show(StreamPhase::Stopped, Some(refusal));
        let streams = streams(&stage, 100);
        let asking = streams.clone();
        let viewer = tokio::spawn(async move { ask(&asking).await });
        settle().await;
        tokio::time::advance(SECOND).await;
        stage.show(StreamPhase::Wanted, None);
        tokio::time::advance(2 * SECOND).await;
        stage.publish(2, 1, 10..11);
        assert!(viewer.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_who_wait_are_turned_away_at_once() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 1);
        let asking = streams.clone();
        let first = tokio::spawn(async move { ask(&asking).await });
        settle().await;
        let start = Instant::now();
        assert_eq!(ask(&streams).await.unwrap_err(), Unplayable::Overload);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(first.await.unwrap().unwrap_err(), Unplayable::Starting);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_taken_away_under_its_viewers_is_asked_for_again() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        assert_eq!(stage.asked(), [Urgency::Normal]);
        // Its name is taken until it is gone: asking before would be in vain.
        tokio::time::advance(2 * SECOND).await;
        stage.show(StreamPhase::Ending, None);
        settle().await;
        assert_eq!(stage.asked(), [Urgency::Normal]);
        stage.show(StreamPhase::Absent, None);
        settle().await;
        assert_eq!(stage.asked(), [Urgency::Normal, Urgency::Normal]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_watches_is_left_to_go() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        tokio::time::sleep(FRESH).await;
        stage.show(StreamPhase::Stopped, None);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(stage.asked(), [Urgency::Normal]);
        tokio::time::sleep(FOLLOW_AFTER).await;
        assert!(streams.0.all().is_empty());
        assert_eq!(stage.documents.receiver_count(), 0);
        assert_eq!(streams.0.shared.metrics.streams.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_who_comes_back_after_the_stream_was_stopped_gets_it_started() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        stage.show(StreamPhase::Stopped, None);
        tokio::time::sleep(20 * SECOND).await;
        let asked = stage.asked().len();
        let asking = streams.clone();
        let viewer = tokio::spawn(async move { ask(&asking).await });
        settle().await;
        assert_eq!(stage.asked().len(), asked + 1);
        stage.show(StreamPhase::Wanted, None);
        settle().await;
        assert!(
            !viewer.is_finished(),
            "the playlists of the former run are not played again"
        );
        stage.publish(2, 1, 30..31);
        assert!(viewer.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_fence_wakes_a_stream_that_is_watched() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        tokio::time::advance(2 * SECOND).await;
        streams.fenced("another uid");
        streams.fenced("uid-1");
        settle().await;
        assert_eq!(stage.asked(), [Urgency::Normal, Urgency::Fenced]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_fails_is_asked_again_with_growing_pauses_while_somebody_waits() {
        let stage = Arc::new(Stage::default());
        let away = || EnsureError::Unavailable {
            slug: "news-one".to_owned(),
            reason: "away".to_owned(),
        };
        lock(&stage.answers).extend((0..5).map(|_| away()));
        let streams = streams(&stage, 100);
        let outcome = ask(&streams).await.unwrap_err();
        assert!(matches!(outcome, Unplayable::Starting), "{outcome:?}");
        // After 0, 0.25, 0.75, 1.75, 3.75 and 5.75 seconds; then it works, and each second without a trace of it is asked again.
        assert_eq!(stage.asked().len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn playlists_whose_numbers_go_back_are_not_shown() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(2, 1, 10..13);
        let before = ask(&streams).await.unwrap().window.media("source").cloned();
        stage.publish(3, 1, 5..9);
        settle().await;
        assert_eq!(
            ask(&streams).await.unwrap().window.media("source").cloned(),
            before
        );
        assert_eq!(streams.0.shared.metrics.refused_playlists.get(), 1);
        stage.publish(3, 2, 11..14);
        settle().await;
        assert_ne!(
            ask(&streams).await.unwrap().window.media("source").cloned(),
            before
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_edited_channel_is_told_to_the_directory() {
        let stage = Arc::new(Stage::default());
        let streams = streams(&stage, 100);
        stage.show(StreamPhase::Wanted, None);
        stage.publish(1, 1, 10..13);
        ask(&streams).await.unwrap();
        tokio::time::advance(2 * SECOND).await;
        streams.catalog_changed(|_| channel());
        settle().await;
        assert_eq!(stage.asked().len(), 1);
        let entry = crate::directory::Entry {
            spec: api::LiveStreamSpec::default(),
            revision: "2".to_owned(),
        };
        streams.catalog_changed(|slug| {
            Some(Channel {
                slug: slug.to_owned(),
                entry: Some(Arc::new(entry.clone())),
            })
        });
        settle().await;
        assert_eq!(stage.asked().len(), 2);
    }
}
