//! One test, every adapter: a store and the means to let its time pass without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use presence::memory::MemoryPresence;
use presence::notes::Notes;
use presence::places::Places;
use presence::redis::RedisPresence;
use presence::reports::Reports;
use presence::{Fence, FlushOutcome, Presence, StoreTime, Touch};

use redis_support::testing::RedisServer;

/// Noon of some day, so that a clock can go back as well.
const START: u64 = 1_800_000_000_000;

/// What time passing means to Redis: everything it remembers is that much older.
const AGE: &str = r"
local prefix, span = ARGV[1], ARGV[2]
for _, name in ipairs({'last', 'closing', 'closed', 'flushed', 'ended', 'over'}) do
  local key = prefix .. name
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    redis.call('ZINCRBY', key, -span, member)
  end
end
for _, key in ipairs(redis.call('KEYS', prefix .. 'places:*')) do
  local flat = redis.call('HGETALL', key)
  for index = 1, #flat, 2 do
    local issued, at = string.match(flat[index + 1], '^(%d+)|(%d+)$')
    redis.call('HSET', key, flat[index], issued .. '|' .. string.format('%.0f', at - span))
  end
end
for _, name in ipairs({'viewers:*', 'note:*', 'places:*', 'sessions:*', 'status:*'}) do
  for _, key in ipairs(redis.call('KEYS', prefix .. name)) do
    local left = redis.call('PTTL', key) - span
    if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
  end
end
";

pub(crate) struct World {
    pub(crate) adapter: &'static str,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) notes: Arc<dyn Notes>,
    pub(crate) places: Arc<dyn Places>,
    pub(crate) reports: Arc<dyn Reports>,
    clock: Clock,
}

enum Clock {
    Memory(Arc<AtomicU64>),
    Redis(RedisServer),
}

impl World {
    pub(crate) fn memory() -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let clock = now.clone();
        let read = move || StoreTime(clock.load(Ordering::SeqCst));
        let store = Arc::new(MemoryPresence::with_clock(read));
        Self {
            adapter: "memory",
            presence: store.clone(),
            notes: store.clone(),
            places: store.clone(),
            reports: store,
            clock: Clock::Memory(now),
        }
    }

    pub(crate) async fn redis() -> Self {
        let server = RedisServer::start().await;
        let store = Arc::new(RedisPresence::new(&server.settings(), "test").unwrap());
        Self {
            adapter: "redis",
            presence: store.clone(),
            notes: store.clone(),
            places: store.clone(),
            reports: store,
            clock: Clock::Redis(server),
        }
    }

    /// Lets the store's time go on by `span` milliseconds, or back.
    pub(crate) async fn pass(&self, span: i64) {
        match &self.clock {
            Clock::Memory(now) => {
                now.fetch_add(span.cast_unsigned(), Ordering::SeqCst);
            }
            Clock::Redis(server) => {
                let mut connection = server.connect().await;
                let mut call = redis::cmd("EVAL");
                call.arg(AGE).arg(0).arg("headend:{test}:").arg(span);
                call.exec_async(&mut connection).await.unwrap();
            }
        }
    }

    /// The store ends at once and starts again.
    pub(crate) async fn restart(&mut self) {
        match &mut self.clock {
            // It keeps nothing that outlives its process.
            Clock::Memory(_) => {}
            Clock::Redis(server) => {
                server.kill();
                server.restart().await;
            }
        }
    }

    /// The store loses everything, its script cache included.
    pub(crate) async fn empty(&mut self) {
        match &self.clock {
            Clock::Memory(_) => *self = Self::memory(),
            Clock::Redis(server) => {
                let mut connection = server.connect().await;
                for flush in [["FLUSHALL", "SYNC"], ["SCRIPT", "FLUSH"]] {
                    let mut command = redis::cmd(flush[0]);
                    command.arg(flush[1]);
                    command.exec_async(&mut connection).await.unwrap();
                }
            }
        }
    }

    /// Tells what was gathered this very moment.
    pub(crate) async fn flush(&self, gateway: &str, touches: &[Touch]) -> FlushOutcome {
        let now = StoreTime(u64::MAX);
        self.presence.flush(gateway, touches, now).await.unwrap()
    }

    /// Opens whatever fence stands.
    pub(crate) async fn open(&self, uid: &str) {
        let seen = self.presence.stream(uid).await.unwrap().fence;
        self.presence.open(uid, seen).await.unwrap();
    }

    /// Seals whatever fence stands.
    pub(crate) async fn seal(&self, uid: &str) -> bool {
        let since = match self.presence.stream(uid).await.unwrap().fence {
            Fence::Closing { since } | Fence::Closed { since } => since,
            Fence::Open => StoreTime(0),
        };
        self.presence.seal(uid, since).await.unwrap()
    }

    pub(crate) async fn touch(&self, gateway: &str, uid: &str, age: u64) -> Vec<String> {
        self.watch(gateway, uid, age, 1).await
    }

    pub(crate) async fn watch(
        &self,
        gateway: &str,
        uid: &str,
        age: u64,
        viewers: u32,
    ) -> Vec<String> {
        let touch = Touch {
            stream_uid: uid.to_owned(),
            age: Duration::from_millis(age),
            viewers,
        };
        self.flush(gateway, &[touch]).await.closed
    }
}

/// Runs a test once per adapter, naming the adapter when it fails.
pub(crate) async fn each(test: impl AsyncFn(&mut World)) {
    for mut world in [World::memory(), World::redis().await] {
        eprintln!("adapter: {}", world.adapter);
        test(&mut world).await;
    }
}
