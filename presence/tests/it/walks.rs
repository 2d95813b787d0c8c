//! The races of the fence on real scripts: seeded walks through everything that gateways and collectors ask, in any order, late and twice,
//! on both adapters side by side. After each step both say the same.

use std::time::Duration;

use presence::{CloseStart, Fence, Presence, StoreTime, Touch};

use crate::world::World;

/// One step of time: so long that what passes meanwhile on a real server's clock is none.
const TICK: i64 = 60_000;
const TIMEOUT: Duration = Duration::from_mins(2);
const STREAMS: [&str; 2] = ["uid-0", "uid-1"];
const GATEWAYS: [&str; 2] = ["gateway-0", "gateway-1"];
const WALKS: u64 = 40;
const STEPS: usize = 60;

/// What is asked; moments are ages in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    Flush {
        gateway: usize,
        /// Stream, age and viewers.
        touches: Vec<(usize, i64, u32)>,
        gathered: i64,
    },
    Begin(usize),
    /// The fence that stands, or an earlier one.
    Seal(usize, bool),
    /// The fence as it stands, or as it does not.
    Open(usize, bool),
    Forget(usize),
    Pass(i64),
    Empty,
    Restart,
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn index(&mut self) -> usize {
        usize::from(self.below(2) == 1)
    }

    fn age(&mut self) -> i64 {
        i64::try_from(self.below(4)).unwrap()
    }

    fn ask(&mut self) -> Ask {
        match self.below(100) {
            0..30 => Ask::Flush {
                gateway: self.index(),
                touches: (0..STREAMS.len())
                    .filter(|_| self.below(3) == 0)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .map(|stream| (stream, self.age(), u32::from(self.index() == 1)))
                    .collect(),
                gathered: self.age(),
            },
            30..50 => Ask::Begin(self.index()),
            50..62 => Ask::Seal(self.index(), self.below(4) > 0),
            62..66 => Ask::Open(self.index(), self.below(3) > 0),
            66..67 => Ask::Forget(self.index()),
            67..94 => Ask::Pass(1),
            94..97 => Ask::Pass(10),
            97 => Ask::Pass(24 * 60),
            98 => match self.below(4) {
                0 => Ask::Pass(31 * 24 * 60),
                _ => Ask::Restart,
            },
            _ => Ask::Empty,
        }
    }
}

/// How long before another moment, in ticks begun.
fn age(moment: StoreTime, now: StoreTime) -> i64 {
    let span = now.0.cast_signed() - moment.0.cast_signed();
    span.div_euclid(TICK)
}

fn ago(now: StoreTime, ticks: i64) -> StoreTime {
    StoreTime(now.0 - (ticks * TICK).cast_unsigned())
}

async fn flush(
    store: &dyn Presence,
    gateway: usize,
    touches: &[(usize, i64, u32)],
    gathered: StoreTime,
) -> String {
    let touches = touches.iter().map(|(stream, age, viewers)| Touch {
        stream_uid: STREAMS[*stream].to_owned(),
        age: Duration::from_millis((age * TICK).cast_unsigned()),
        viewers: *viewers,
    });
    let touches: Vec<_> = touches.collect();
    let flush = store.flush(GATEWAYS[gateway], &touches, gathered);
    format!("{:?}", flush.await.unwrap().closed)
}

/// Asks, and tells the answer in ticks.
async fn ask(world: &mut World, ask: &Ask) -> String {
    let store = world.presence.clone();
    let (now, _) = store.flushes().await.unwrap();
    match ask {
        Ask::Flush {
            gateway,
            touches,
            gathered,
        } => {
            let gathered = ago(now, *gathered);
            flush(&*store, *gateway, touches, gathered).await
        }
        Ask::Begin(stream) => {
            let begun = store.begin_close(STREAMS[*stream], TIMEOUT).await.unwrap();
            let (now, _) = store.flushes().await.unwrap();
            match begun {
                CloseStart::Closing { since } => format!("closing {}", age(since, now)),
                CloseStart::InUse { remaining } => {
                    let left = i64::try_from(remaining.as_millis()).unwrap();
                    format!("in use {}", (left + TICK - 1).div_euclid(TICK))
                }
                CloseStart::Adopted => "adopted".to_owned(),
            }
        }
        Ask::Seal(stream, standing) => {
            let since = match store.stream(STREAMS[*stream]).await.unwrap().fence {
                Fence::Closing { since } | Fence::Closed { since } => since,
                Fence::Open => now,
            };
            let since = ago(since, i64::from(!standing));
            let sealed = store.seal(STREAMS[*stream], since).await.unwrap();
            format!("{sealed}")
        }
        Ask::Open(stream, standing) => {
            let uid = STREAMS[*stream];
            let seen = match (store.stream(uid).await.unwrap().fence, standing) {
                (fence, true) => fence,
                (Fence::Closing { since }, false) => Fence::Closed { since },
                (Fence::Closed { since }, false) => Fence::Closing { since },
                (Fence::Open, false) => Fence::Closed { since: now },
            };
            format!("{:?}", store.open(uid, seen).await.is_ok())
        }
        Ask::Forget(stream) => format!("{:?}", store.forget(STREAMS[*stream]).await.is_ok()),
        Ask::Pass(ticks) => {
            world.pass(ticks * TICK).await;
            String::new()
        }
        Ask::Empty => {
            world.empty().await;
            String::new()
        }
        Ask::Restart => {
            world.restart().await;
            String::new()
        }
    }
}

/// All that anybody can read there, in ticks.
async fn says(store: &dyn Presence) -> String {
    let mut said = String::new();
    for uid in STREAMS {
        let stream = store.stream(uid).await.unwrap();
        let fence = match stream.fence {
            Fence::Open => "open".to_owned(),
            Fence::Closing { since } => format!("closing {}", age(since, stream.now)),
            Fence::Closed { since } => format!("closed {}", age(since, stream.now)),
        };
        let last = stream.last.map(|last| age(last, stream.now));
        said.push_str(&format!("{last:?} {fence} {}; ", stream.viewers));
    }
    let (now, flushes) = store.flushes().await.unwrap();
    for (gateway, flushed) in flushes {
        said.push_str(&format!("{gateway} {}; ", age(flushed, now)));
    }
    said
}

#[tokio::test]
async fn on_any_way_through_the_fence_both_adapters_say_the_same() {
    let mut redis = World::redis().await;
    let mut fences = [0, 0];
    for walk in 1..=WALKS {
        let mut dice = Dice(walk.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut memory = World::memory();
        redis.empty().await;
        let mut way = Vec::new();
        for _ in 0..STEPS {
            way.push(dice.ask());
            let step = way.last().unwrap();
            let answers = [ask(&mut memory, step).await, ask(&mut redis, step).await];
            assert_eq!(answers[0], answers[1], "walk {walk}: {way:#?}");
            let said = [says(&*memory.presence).await, says(&*redis.presence).await];
            assert_eq!(said[0], said[1], "walk {walk}: {way:#?}");
            fences[0] += usize::from(said[0].contains("closing"));
            fences[1] += usize::from(said[0].contains("closed"));
        }
    }
    // Walks that never come to a fence would show nothing.
    assert!(fences.iter().all(|often| *often > 100), "{fences:?}");
}
