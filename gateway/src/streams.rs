//! The streams that viewers of this gateway ask for: one keeper task each, one status for all who wait. Requests are held here,
//! woken by what the keeper learns, never by a timer of their own, and always bounded in number and time.

mod keeper;
mod status;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

pub use status::{Need, Status, Unplayable};
use status::{Outlook, outlook};

use crate::directory::{Channel, StreamDirectory};
use crate::keys::Keys;
use crate::metrics::{HoldEnd, Metrics};
use crate::origin::{Demand, Origin};
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
}

struct Inner {
    shared: Shared,
    hold_time: Duration,
    holds: Semaphore,
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
        if let Need::Listed(rendition) = need {
            active.demand.ask(rendition);
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
        metrics.holding.inc();
        active.waiting.fetch_add(1, Ordering::Relaxed);
        let _guard = Waiting { active, metrics };
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

/// One held request; leaves when the viewer does.
struct Waiting<'a> {
    active: &'a Active,
    metrics: &'a Metrics,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.active.wish(Instant::now());
        self.active.waiting.fetch_sub(1, Ordering::Relaxed);
        self.metrics.holding.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
