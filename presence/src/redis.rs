//! Presence in Redis (6.2 or newer): each step one Lua script on the server's own clock, so steps are atomic and gateways' clocks do not matter.
//! No step is ever assembled from several commands, and the password never reaches a log, an error or the command line.
//!
//! Keys, all with one hash tag (one slot of a Redis Cluster); the prefix is one per release, so that releases can share a Redis:
//!
//! | key | type | content |
//! |---|---|---|
//! | `headend:{<prefix>}:last` | sorted set | stream uid → millisecond of its last touch |
//! | `headend:{<prefix>}:closing` | sorted set | stream uid → millisecond it was fenced |
//! | `headend:{<prefix>}:closed` | sorted set | stream uid → millisecond it was fenced, where that was sealed |
//! | `headend:{<prefix>}:flushed` | sorted set | gateway → millisecond before which it gathered nothing of what it told last |
//! | `headend:{<prefix>}:viewers:<gateway>` | hash, expires | stream uid → viewers in this gateway's last flush |
//! | `headend:{<prefix>}:note:<name>` | string, expires | what gateways leave each other ([`crate::notes`]) |
//! | `headend:{<prefix>}:places:<user>` | hash, expires | places in use, and taken ([`crate::places`]) |
//! | `headend:{<prefix>}:ended` | sorted set | place → millisecond it was taken |
//! | `headend:{<prefix>}:sessions:<gateway>` | sorted set, expires | sessions in use there, each its id and a text ([`crate::reports`]) |
//! | `headend:{<prefix>}:status:<gateway>` | string, expires | how it is |
//! | `headend:{<prefix>}:traffic` | hash | day, and month → bytes sent |
//! | `headend:{<prefix>}:over` | sorted set, expires | session that somebody ended → millisecond |
//!
//! A flush drops what has outlived its time from the sorted sets, so nothing stays for ever but some two months of days and their like of `traffic`.

mod places;
mod reports;
mod script;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
pub use redis_support::RedisSettings;
use redis_support::settings::checked_prefix;
use redis_support::{Connection, Limits, SettingsError};

use crate::notes::{NOTE_MAXIMUM, NOTE_TIME_TO_LIVE, Notes};
use crate::{
    CloseStart, Fence, FlushOutcome, Presence, PresenceError, StoreTime, StreamPresence, Touch,
    milliseconds,
};
use places::PlaceScripts;
use reports::ReportScripts;
use script::Scripts;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(1),
    response: Duration::from_secs(1),
    operation: Duration::from_secs(3),
};

/// Presence in a Redis that all gateways and the operator of a release share.
pub struct RedisPresence {
    connection: Connection,
    scripts: Scripts,
    place_scripts: PlaceScripts,
    report_scripts: ReportScripts,
    keys: Keys,
}

struct Keys {
    last: String,
    closing: String,
    closed: String,
    flushed: String,
    viewers: String,
    note: String,
    places: String,
    ended: String,
    sessions: String,
    over: String,
    status: String,
    traffic: String,
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("headend:{{{prefix}}}:{name}");
        Self {
            last: key("last"),
            closing: key("closing"),
            closed: key("closed"),
            flushed: key("flushed"),
            viewers: key("viewers:"),
            note: key("note:"),
            places: key("places:"),
            ended: key("ended"),
            sessions: key("sessions:"),
            over: key("over"),
            status: key("status:"),
            traffic: key("traffic"),
        }
    }
}

impl RedisPresence {
    /// Prepares the store; the connection is made when it is first needed, and again whenever it breaks.
    /// `prefix` tells a release's keys from others in the same Redis: all its processes give the same, `<namespace>/<release>`.
    ///
    /// # Errors
    /// When the settings or the prefix are wrong, or the password file cannot be read. An unreachable Redis is no error here.
    pub fn new(settings: &RedisSettings, prefix: &str) -> Result<Self, SettingsError> {
        Ok(Self {
            connection: Connection::new(settings, LIMITS)?,
            scripts: Scripts::new(),
            place_scripts: PlaceScripts::new(),
            report_scripts: ReportScripts::new(),
            keys: Keys::new(checked_prefix(prefix)?),
        })
    }

    /// Host and port of the server, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// A script call with the keys every script gets.
    fn call<'a>(&self, script: &'a redis::Script) -> redis::ScriptInvocation<'a> {
        let Keys {
            last,
            closing,
            closed,
            flushed,
            ..
        } = &self.keys;
        let mut call = script.prepare_invoke();
        call.key(last).key(closing).key(closed).key(flushed);
        call
    }

    async fn run<T: redis::FromRedisValue + Send>(
        &self,
        operation: &'static str,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, PresenceError> {
        let outcome = self.connection.run(call).await;
        outcome.map_err(|reason| PresenceError::Store {
            operation,
            address: self.address().to_owned(),
            reason,
        })
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn flush(
        &self,
        gateway: &str,
        touches: &[Touch],
        gathered: StoreTime,
    ) -> Result<FlushOutcome, PresenceError> {
        let mut call = self.call(&self.scripts.flush);
        call.key(format!("{}{gateway}", self.keys.viewers));
        call.arg(gateway).arg(gathered.0);
        for touch in touches {
            call.arg(&touch.stream_uid)
                .arg(milliseconds(touch.age))
                .arg(touch.viewers);
        }
        let (now, closed) = self.run("flush touches", &call).await?;
        let now = StoreTime(now);
        Ok(FlushOutcome { now, closed })
    }

    async fn stream(&self, stream_uid: &str) -> Result<StreamPresence, PresenceError> {
        let mut call = self.call(&self.scripts.stream);
        call.arg(stream_uid).arg(&self.keys.viewers);
        type Answer = (u64, Option<u64>, Option<u64>, Option<u64>, u32);
        let (now, last, closing, closed, viewers): Answer =
            self.run("read a stream", &call).await?;
        let fence = match (closed.map(StoreTime), closing.map(StoreTime)) {
            (Some(since), _) => Fence::Closed { since },
            (None, Some(since)) => Fence::Closing { since },
            (None, None) => Fence::Open,
        };
        Ok(StreamPresence {
            now: StoreTime(now),
            last: last.map(StoreTime),
            fence,
            viewers,
        })
    }

    async fn begin_close(
        &self,
        stream_uid: &str,
        idle_timeout: Duration,
    ) -> Result<CloseStart, PresenceError> {
        let mut call = self.call(&self.scripts.begin_close);
        call.arg(stream_uid).arg(milliseconds(idle_timeout));
        let (answer, moment): (String, u64) = self.run("fence a stream", &call).await?;
        Ok(match answer.as_str() {
            "closing" => CloseStart::Closing {
                since: StoreTime(moment),
            },
            "in use" => CloseStart::InUse {
                remaining: Duration::from_millis(moment),
            },
            _ => CloseStart::Adopted,
        })
    }

    async fn flushes(&self) -> Result<(StoreTime, BTreeMap<String, StoreTime>), PresenceError> {
        let call = self.call(&self.scripts.flushes);
        let (now, flushed): (u64, Vec<(String, u64)>) =
            self.run("read the gateways' flushes", &call).await?;
        let named = |(name, moment)| (name, StoreTime(moment));
        Ok((StoreTime(now), flushed.into_iter().map(named).collect()))
    }

    async fn seal(&self, stream_uid: &str, since: StoreTime) -> Result<bool, PresenceError> {
        let mut call = self.call(&self.scripts.seal);
        call.arg(stream_uid).arg(since.0);
        self.run("seal a stream", &call).await
    }

    async fn open(&self, stream_uid: &str, seen: Fence) -> Result<(), PresenceError> {
        let mut call = self.call(&self.scripts.open);
        // Moments, or 0 where there is none.
        let (closing, closed) = match seen {
            Fence::Open => (0, 0),
            Fence::Closing { since } => (since.0, 0),
            Fence::Closed { since } => (0, since.0),
        };
        call.arg(stream_uid).arg(closing).arg(closed);
        self.run("open a stream", &call).await
    }

    async fn forget(&self, stream_uid: &str) -> Result<(), PresenceError> {
        let mut call = self.call(&self.scripts.forget);
        call.arg(stream_uid).arg(&self.keys.viewers);
        self.run("forget a stream", &call).await
    }
}

#[async_trait]
impl Notes for RedisPresence {
    async fn note(&self, name: &str, text: &str) -> Result<(), PresenceError> {
        if text.len() > NOTE_MAXIMUM {
            return Ok(());
        }
        let mut call = self.scripts.note.key(format!("{}{name}", self.keys.note));
        call.arg(text).arg(milliseconds(NOTE_TIME_TO_LIVE));
        self.run("keep a note", &call).await
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, PresenceError> {
        let key = format!("{}{name}", self.keys.note);
        self.run("read a note", &self.scripts.recall.key(key)).await
    }
}
