//! The presence store of the model: the real one in memory, seen through its port. A state of it is put together anew for every step, by
//! the port's own steps, so that states can be compared and kept; what a step does is asked of it once, and remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use presence::memory::MemoryPresence;
use presence::{
    CLOSED_TIME_TO_LIVE, CLOSING_TIME_TO_LIVE, CloseStart, Fence, Presence, PresenceError,
    StoreTime, Touch,
};

use crate::live_stream::collect::PresenceFacts;

/// One step of time. Two of them are as long as everything here that is waited for: the idle timeout, the time that gateways have to flush,
/// and that after which one counts as silent.
pub(super) const TICK: Duration = Duration::from_secs(8);
/// Two ticks, and no longer than one may be.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(16);
/// From here on all ages are alike.
pub(super) const OLD: u8 = 2;
pub(super) const GATEWAYS: [&str; 2] = ["gateway-0", "gateway-1"];

const NOW: u64 = 1_800_000_000_000;
const UID: &str = "uid";

/// All that matters of the store; moments are ages in ticks, [`OLD`] or older. Those of flushes are one older where they are not later
/// than an old fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) last: Option<u8>,
    pub(super) fence: Stand,
    pub(super) flushed: [Option<u8>; 2],
}

/// Where the fence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stand {
    Open,
    Closing(u8),
    Closed,
}

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    /// A gateway tells the age of a touch, if there is one to tell, and when it gathered that.
    Flush {
        gateway: usize,
        touch: Option<u8>,
        gathered: u8,
    },
    Begin,
    /// The fence that stands, or one that did before.
    Seal {
        standing: bool,
    },
    Open,
    /// Time passes.
    Tick,
    /// It loses everything.
    Empty,
    /// The fence outlives its time.
    Expire,
}

/// What it answers, as far as anybody cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Done,
    /// The stream that was touched is closed.
    Closed,
    Sealed(bool),
}

/// Every state of the store that was met, by number, and what follows from each.
#[derive(Default)]
pub(super) struct Stores {
    views: Vec<View>,
    numbers: HashMap<View, u16>,
    mirrored: HashMap<u16, u16>,
    steps: HashMap<(u16, Ask), (u16, Answer)>,
}

impl Stores {
    pub(super) fn number(&mut self, view: View) -> u16 {
        if let Some(number) = self.numbers.get(&view) {
            return *number;
        }
        let number = u16::try_from(self.views.len()).unwrap();
        self.views.push(view);
        self.numbers.insert(view, number);
        number
    }

    pub(super) fn view(&self, number: u16) -> View {
        self.views[usize::from(number)]
    }

    /// The same with the gateways' places changed.
    pub(super) fn mirrored(&mut self, number: u16) -> u16 {
        if let Some(known) = self.mirrored.get(&number) {
            return *known;
        }
        let mut view = self.view(number);
        view.flushed.swap(0, 1);
        let mirrored = self.number(view);
        self.mirrored.insert(number, mirrored);
        mirrored
    }

    pub(super) fn step(&mut self, number: u16, ask: Ask) -> (u16, Answer) {
        if let Some(known) = self.steps.get(&(number, ask)) {
            return *known;
        }
        let (view, answer) = step(self.view(number), ask);
        let after = self.number(view);
        self.steps.insert((number, ask), (after, answer));
        (after, answer)
    }

    /// How many different steps the store was asked for.
    pub(super) fn asked(&self) -> usize {
        self.steps.len()
    }
}

fn step(view: View, ask: Ask) -> (View, Answer) {
    let fence_age = match (ask, view.fence) {
        (Ask::Expire, Stand::Closed) => CLOSED_TIME_TO_LIVE,
        (Ask::Expire, _) => CLOSING_TIME_TO_LIVE,
        (_, Stand::Closing(age)) => TICK * u32::from(age),
        (_, _) => TICK,
    };
    let real = Real::of(view, fence_age);
    assert!(ask == Ask::Expire || real.view() == view, "{view:?}");
    let answer = match ask {
        Ask::Flush {
            gateway,
            touch,
            gathered,
        } => match real.flush(GATEWAYS[gateway], touch, ago(gathered)) {
            true => Answer::Closed,
            false => Answer::Done,
        },
        Ask::Begin => {
            done(real.store.begin_close(UID, IDLE_TIMEOUT));
            Answer::Done
        }
        Ask::Seal { standing } => Answer::Sealed(real.seal(standing)),
        Ask::Open => {
            real.open();
            Answer::Done
        }
        Ask::Tick => {
            real.clock.fetch_add(milliseconds(TICK), Ordering::SeqCst);
            Answer::Done
        }
        Ask::Expire => Answer::Done,
        Ask::Empty => return (Real::empty().view(), Answer::Done),
    };
    (real.view(), answer)
}

/// What the operator reads there.
pub(super) fn facts(view: View) -> PresenceFacts {
    let age = match view.fence {
        Stand::Closing(age) => age,
        Stand::Open | Stand::Closed => 1,
    };
    let real = Real::of(view, TICK * u32::from(age));
    PresenceFacts {
        stream: done(real.store.stream(UID)),
        flushes: done(real.store.flushes()).1,
    }
}

/// The real store, on a clock of ours.
struct Real {
    clock: Arc<AtomicU64>,
    store: MemoryPresence,
}

impl Real {
    fn empty() -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let read = clock.clone();
        let store = MemoryPresence::with_clock(move || StoreTime(read.load(Ordering::SeqCst)));
        Self { clock, store }
    }

    /// A store of which this is the view, whose fence is so old.
    fn of(view: View, fence_age: Duration) -> Self {
        let real = Self::empty();
        match view.fence {
            Stand::Open => {
                if let Some(last) = view.last {
                    real.at(TICK * u32::from(last));
                    real.open();
                }
            }
            Stand::Closing(_) | Stand::Closed => {
                real.at(fence_age + IDLE_TIMEOUT);
                real.open();
                real.at(fence_age);
                let begun = done(real.store.begin_close(UID, IDLE_TIMEOUT));
                assert!(matches!(begun, CloseStart::Closing { .. }), "{begun:?}");
            }
        }
        if view.fence == Stand::Closed {
            assert!(real.seal(true), "{view:?}");
            real.at(Duration::ZERO);
            if let Some(last) = view.last.filter(|last| *last < OLD) {
                // By one that is forgotten at once: it gathered that at the beginning of time.
                real.flush("builder", Some(last), StoreTime(0));
            }
        }
        real.at(Duration::ZERO);
        for (gateway, flushed) in GATEWAYS.iter().zip(view.flushed) {
            if let Some(flushed) = flushed {
                real.flush(gateway, None, ago(flushed));
            }
        }
        real
    }

    /// Lets it be so long ago.
    fn at(&self, age: Duration) {
        self.clock.store(NOW - milliseconds(age), Ordering::SeqCst);
    }

    /// Answers whether the stream is told to be closed.
    fn flush(&self, gateway: &str, touch: Option<u8>, gathered: StoreTime) -> bool {
        let touch = touch.map(|age| Touch {
            stream_uid: UID.to_owned(),
            age: TICK * u32::from(age),
            viewers: 0,
        });
        let touches: Vec<_> = touch.into_iter().collect();
        let flushed = done(self.store.flush(gateway, &touches, gathered));
        !flushed.closed.is_empty()
    }

    fn open(&self) {
        let seen = done(self.store.stream(UID)).fence;
        done(self.store.open(UID, seen));
    }

    fn seal(&self, standing: bool) -> bool {
        let since = match done(self.store.stream(UID)).fence {
            Fence::Closing { since } | Fence::Closed { since } => since,
            Fence::Open => StoreTime(NOW),
        };
        let since = if standing { since.0 } else { since.0 - 1 };
        done(self.store.seal(UID, StoreTime(since)))
    }

    fn view(&self) -> View {
        let stream = done(self.store.stream(UID));
        let flushes = done(self.store.flushes()).1;
        let age = |moment: StoreTime| {
            let ticks = (stream.now.0 - moment.0) / milliseconds(TICK);
            u8::try_from(ticks).unwrap_or(u8::MAX)
        };
        let fence_age = match stream.fence {
            Fence::Closing { since } => Some(age(since)),
            Fence::Open | Fence::Closed { .. } => None,
        };
        let fence = match (stream.fence, fence_age) {
            (Fence::Closed { .. }, _) => Stand::Closed,
            (_, Some(age)) => Stand::Closing(age.min(OLD + 1)),
            (_, None) => Stand::Open,
        };
        let flushed = GATEWAYS.map(|gateway| {
            let flushed = flushes.get(gateway);
            flushed.map(|flushed| clip(age(*flushed), fence_age))
        });
        View {
            last: stream.last.map(|last| age(last).min(OLD)),
            fence,
            flushed,
        }
    }
}

/// The age of what a gateway gathered, beside that of a closing fence: which of them is later is all that matters of old ones.
pub(super) fn clip(age: u8, fence: Option<u8>) -> u8 {
    match fence {
        Some(fence) if age >= fence => age.min(OLD + 1),
        Some(_) | None => age.min(OLD),
    }
}

fn ago(ticks: u8) -> StoreTime {
    StoreTime(NOW - milliseconds(TICK * u32::from(ticks)))
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

/// The store in memory never waits.
fn done<T>(asked: impl Future<Output = Result<T, PresenceError>>) -> T {
    asked.now_or_never().expect("no wait").unwrap()
}
