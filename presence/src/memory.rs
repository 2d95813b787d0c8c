//! The presence store of one process: for standalone mode and tests, and the plain statement of what the port means.
//! Nothing survives the process, and nothing outside of it is seen.

mod places;
mod reports;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::notes::{NOTE_MAXIMUM, NOTE_TIME_TO_LIVE, Notes};
use crate::places::{Change, Claimed, Held, Limit, Places, Settled};
use crate::reports::{Heard, Report, Reported, Reports, SessionId, merged};
use crate::{
    CLOSED_TIME_TO_LIVE, CLOSING_TIME_TO_LIVE, CloseStart, Fence, FlushOutcome,
    GATEWAY_STALE_AFTER, Presence, PresenceError, RETENTION, StoreTime, StreamPresence, Touch,
    milliseconds,
};

/// Notes at most; the oldest gives way.
const NOTES: usize = 4096;

type Clock = Box<dyn Fn() -> StoreTime + Send + Sync>;

/// Presence in the memory of this process.
pub struct MemoryPresence {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: HashMap<String, StoreTime>,
    closing: HashMap<String, StoreTime>,
    closed: HashMap<String, StoreTime>,
    gateways: BTreeMap<String, Gateway>,
    notes: HashMap<String, (String, StoreTime)>,
    places: places::Taken,
    reports: reports::Reported,
}

struct Gateway {
    flushed: StoreTime,
    viewers: HashMap<String, u32>,
}

impl MemoryPresence {
    /// An empty store on this process's monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start = Instant::now();
        Self::with_clock(move || StoreTime(milliseconds(epoch + start.elapsed())))
    }

    /// An empty store on a clock of the caller's.
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> StoreTime + Send + Sync + 'static) -> Self {
        Self {
            clock: Box::new(clock),
            state: Mutex::default(),
        }
    }

    fn step<T>(&self, step: impl FnOnce(&mut State, StoreTime) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        state.expire(now);
        step(&mut state, now)
    }
}

impl Default for MemoryPresence {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn expire(&mut self, now: StoreTime) {
        let within = |moment: StoreTime, limit| elapsed(moment, now) < limit;
        self.last.retain(|_, at| within(*at, RETENTION));
        self.closing
            .retain(|_, at| within(*at, CLOSING_TIME_TO_LIVE));
        self.closed.retain(|_, at| within(*at, CLOSED_TIME_TO_LIVE));
        self.gateways
            .retain(|_, gateway| within(gateway.flushed, RETENTION));
        self.notes
            .retain(|_, (_, at)| within(*at, NOTE_TIME_TO_LIVE));
        self.places.expire(now);
        self.reports.expire(now);
    }

    fn flush(
        &mut self,
        gateway: &str,
        touches: &[Touch],
        gathered: StoreTime,
        now: StoreTime,
    ) -> FlushOutcome {
        let mut viewers = HashMap::new();
        let mut closed = Vec::new();
        for touch in touches {
            let uid = &touch.stream_uid;
            let at = StoreTime(now.0.saturating_sub(milliseconds(touch.age)));
            let last = self.last.entry(uid.clone()).or_insert(at);
            *last = at.max(*last);
            self.closing.remove(uid);
            if self.closed.contains_key(uid) {
                closed.push(uid.clone());
            }
            viewers.insert(uid.clone(), touch.viewers);
        }
        let mut flushed = gathered.min(now);
        // One that was overtaken by a later one; a moment to come is of a clock that went back.
        if let Some(before) = self.gateways.get(gateway).map(|before| before.flushed)
            && before <= now
        {
            flushed = flushed.max(before);
        }
        self.gateways
            .insert(gateway.to_owned(), Gateway { flushed, viewers });
        FlushOutcome { now, closed }
    }

    fn stream(&self, uid: &str, now: StoreTime) -> StreamPresence {
        let fresh = |gateway: &&Gateway| elapsed(gateway.flushed, now) < GATEWAY_STALE_AFTER;
        let viewers = self.gateways.values().filter(fresh);
        StreamPresence {
            now,
            last: self.last.get(uid).copied(),
            fence: self.fence(uid),
            viewers: viewers.filter_map(|gateway| gateway.viewers.get(uid)).sum(),
        }
    }

    fn fence(&self, uid: &str) -> Fence {
        match (self.closed.get(uid), self.closing.get(uid)) {
            (Some(since), _) => Fence::Closed { since: *since },
            (None, Some(since)) => Fence::Closing { since: *since },
            (None, None) => Fence::Open,
        }
    }

    fn begin_close(&mut self, uid: &str, idle_timeout: Duration, now: StoreTime) -> CloseStart {
        let Some(last) = self.last.get_mut(uid) else {
            self.last.insert(uid.to_owned(), now);
            return CloseStart::Adopted;
        };
        // A clock that went back must not keep a stream for as long as it went.
        *last = now.min(*last);
        let idle = elapsed(*last, now);
        if idle < idle_timeout {
            let remaining = idle_timeout.saturating_sub(idle);
            return CloseStart::InUse { remaining };
        }
        if let Some(since) = self.closed.get(uid) {
            return CloseStart::Closing { since: *since };
        }
        let since = *self.closing.entry(uid.to_owned()).or_insert(now);
        CloseStart::Closing { since }
    }

    fn seal(&mut self, uid: &str, since: StoreTime) -> bool {
        if !self.closed.contains_key(uid) && self.closing.get(uid) == Some(&since) {
            self.closing.remove(uid);
            self.closed.insert(uid.to_owned(), since);
        }
        self.closed.get(uid) == Some(&since)
    }

    fn open(&mut self, uid: &str, seen: Fence, now: StoreTime) {
        if self.fence(uid) != seen {
            return;
        }
        self.closing.remove(uid);
        self.closed.remove(uid);
        self.last.insert(uid.to_owned(), now);
    }

    /// Whether the gateway still says who is watching.
    fn is_here(&self, gateway: &str, now: StoreTime) -> bool {
        let gateway = self.gateways.get(gateway);
        gateway.is_some_and(|gateway| elapsed(gateway.flushed, now) < GATEWAY_STALE_AFTER)
    }

    fn reported(
        &self,
        bounds: (Bound<SessionId>, Bound<SessionId>),
        most: usize,
        now: StoreTime,
    ) -> Vec<Reported> {
        let is_here = |name: &str| self.is_here(name, now);
        merged(self.reports.said(bounds, most, is_here), most)
    }

    fn forget(&mut self, uid: &str) {
        self.closing.remove(uid);
        self.closed.remove(uid);
        self.last.remove(uid);
        for gateway in self.gateways.values_mut() {
            gateway.viewers.remove(uid);
        }
    }
}

fn elapsed(moment: StoreTime, now: StoreTime) -> Duration {
    Duration::from_millis(now.0.saturating_sub(moment.0))
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn flush(
        &self,
        gateway: &str,
        touches: &[Touch],
        gathered: StoreTime,
    ) -> Result<FlushOutcome, PresenceError> {
        Ok(self.step(|state, now| state.flush(gateway, touches, gathered, now)))
    }

    async fn stream(&self, stream_uid: &str) -> Result<StreamPresence, PresenceError> {
        Ok(self.step(|state, now| state.stream(stream_uid, now)))
    }

    async fn begin_close(
        &self,
        stream_uid: &str,
        idle_timeout: Duration,
    ) -> Result<CloseStart, PresenceError> {
        Ok(self.step(|state, now| state.begin_close(stream_uid, idle_timeout, now)))
    }

    async fn flushes(&self) -> Result<(StoreTime, BTreeMap<String, StoreTime>), PresenceError> {
        Ok(self.step(|state, now| {
            let flushed = |(name, gateway): (&String, &Gateway)| (name.clone(), gateway.flushed);
            (now, state.gateways.iter().map(flushed).collect())
        }))
    }

    async fn seal(&self, stream_uid: &str, since: StoreTime) -> Result<bool, PresenceError> {
        Ok(self.step(|state, _| state.seal(stream_uid, since)))
    }

    async fn open(&self, stream_uid: &str, seen: Fence) -> Result<(), PresenceError> {
        self.step(|state, now| state.open(stream_uid, seen, now));
        Ok(())
    }

    async fn forget(&self, stream_uid: &str) -> Result<(), PresenceError> {
        self.step(|state, _| state.forget(stream_uid));
        Ok(())
    }
}

#[async_trait]
impl Places for MemoryPresence {
    async fn claim(
        &self,
        gateway: &str,
        session: &Held,
        limit: Limit,
    ) -> Result<Claimed, PresenceError> {
        Ok(self.step(|state, now| {
            let gateways = &state.gateways;
            let is_here = |name: &str| {
                gateways
                    .get(name)
                    .is_some_and(|gateway| elapsed(gateway.flushed, now) < GATEWAY_STALE_AFTER)
            };
            state.places.claim(gateway, session, limit, now, is_here)
        }))
    }

    async fn settle(
        &self,
        gateway: &str,
        since: StoreTime,
        changes: &[Change],
    ) -> Result<Settled, PresenceError> {
        Ok(self.step(|state, now| Settled {
            now,
            ended: state.places.settle(gateway, since, changes, now),
        }))
    }
}

#[async_trait]
impl Reports for MemoryPresence {
    async fn report(&self, gateway: &str, report: Report<'_>) -> Result<Heard, PresenceError> {
        Ok(self.step(|state, now| state.reports.report(gateway, report, now)))
    }

    async fn sessions(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Reported>, PresenceError> {
        let least = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.step(|state, now| state.reported((least, Bound::Unbounded), most, now)))
    }

    async fn session(&self, id: SessionId) -> Result<Option<Reported>, PresenceError> {
        let bounds = (Bound::Included(id), Bound::Included(id));
        Ok(self.step(|state, now| state.reported(bounds, 1, now).pop()))
    }

    async fn statuses(&self) -> Result<BTreeMap<String, String>, PresenceError> {
        Ok(self.step(|state, now| state.reports.statuses(|name| state.is_here(name, now))))
    }

    async fn add_traffic(&self, periods: &[String], bytes: u64) -> Result<(), PresenceError> {
        self.step(|state, _| state.reports.add_traffic(periods, bytes));
        Ok(())
    }

    async fn traffic(&self) -> Result<BTreeMap<String, u64>, PresenceError> {
        Ok(self.step(|state, _| state.reports.traffic()))
    }

    async fn end(&self, id: SessionId) -> Result<(), PresenceError> {
        self.step(|state, now| state.reports.end(id, now));
        Ok(())
    }
}

#[async_trait]
impl Notes for MemoryPresence {
    async fn note(&self, name: &str, text: &str) -> Result<(), PresenceError> {
        if text.len() > NOTE_MAXIMUM {
            return Ok(());
        }
        self.step(|state, now| {
            let is_new = !state.notes.contains_key(name);
            if is_new && state.notes.len() >= NOTES {
                let oldest = state.notes.iter().min_by_key(|(_, (_, at))| *at);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    state.notes.remove(&oldest);
                }
            }
            state.notes.insert(name.to_owned(), (text.to_owned(), now));
        });
        Ok(())
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, PresenceError> {
        Ok(self.step(|state, _| state.notes.get(name).map(|(text, _)| text.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_the_monotonic_one_of_the_process() {
        let presence = MemoryPresence::new();
        let before = presence.stream("uid").await.unwrap().now;
        tokio::time::advance(Duration::from_secs(7)).await;
        let after = presence.stream("uid").await.unwrap().now;
        assert_eq!(after.0 - before.0, 7000);
    }
}
