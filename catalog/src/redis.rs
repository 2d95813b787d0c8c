//! The catalog in Redis (6.2 or newer), shared by all gateways of a release: each step one Lua script, so that a batch is applied as a
//! whole or not at all, whatever dies meanwhile. Never decides what a row may say.
//!
//! Keys, all with one hash tag, like those of presence:
//!
//! | key | type | content |
//! |---|---|---|
//! | `headend:{<prefix>}:catalog:meta` | hash | `version`; `floor`: the oldest version since which all changes are in the log |
//! | `headend:{<prefix>}:catalog:log` | sorted set | row → version that changed it last; the latest [`LOG_ROWS`] |
//! | `headend:{<prefix>}:catalog:batches` | sorted set | stamp of a batch → its version; the latest [`LOG_ROWS`] |
//! | `headend:{<prefix>}:catalog:owners` | hash | what only one row may have → that row |
//! | `headend:{<prefix>}:catalog:claims` | hash | row → what it has of those |
//! | `headend:{<prefix>}:catalog:channel`, `…:group`, `…:user` | hash | id → revision, a space, the row as JSON |
//!
//! Versions are published on the channel `headend:{<prefix>}:catalog`.
//!
//! An acknowledged change is never lost: Redis must run with `appendonly yes` and `appendfsync always`, so that it answers after the disk
//! has; every batch looks (`CONFIG GET`) and is refused where that is not so. Nothing of presence needs it, and its few writes a second bear it.

mod script;

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use redis::aio::PubSubStream;
use redis_support::settings::checked_prefix;
use redis_support::{Connection, Limits, RedisSettings, SettingsError};
use tokio::sync::Mutex;

use crate::row::RowKey;
use crate::store::{
    Batch, Expected, Outcome, Page, PageFrom, Position, RowEdit, Rows, Since, StoreCatalog,
    StoreError, StoredRow,
};
use script::Scripts;

/// Rows whose last change is remembered: whoever missed more reads all of it.
pub const LOG_ROWS: usize = 10_000;

/// Rows of a page, about.
const PAGE_ROWS: usize = 500;

/// Scripts move a thousand rows, and a page has as many bytes as its rows have.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(5),
    operation: Duration::from_secs(12),
};

/// The hashes of rows, in the order they are read.
const KINDS: [&str; 3] = ["group", "channel", "user"];

/// Why there is no catalog of a Redis.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The catalog that all processes with this prefix share; loaded when this returns.
///
/// # Errors
/// When settings or prefix are wrong, or Redis cannot be read: then there is no last good catalog.
pub async fn open(settings: &RedisSettings, prefix: &str) -> Result<StoreCatalog, OpenError> {
    let rows = RedisRows {
        connection: Connection::new(settings, LIMITS)?,
        scripts: Scripts::new(),
        keys: Keys::new(checked_prefix(prefix)?),
        announcements: Mutex::default(),
    };
    Ok(StoreCatalog::open(rows).await?)
}

struct RedisRows {
    connection: Connection,
    scripts: Scripts,
    keys: Keys,
    announcements: Mutex<Option<PubSubStream>>,
}

struct Keys {
    channel: String,
    /// All others, as scripts take them.
    all: [String; 8],
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let channel = format!("headend:{{{prefix}}}:catalog");
        let names = ["meta", "log", "batches", "owners", "claims"];
        let all = [
            names[0], names[1], names[2], names[3], names[4], KINDS[0], KINDS[1], KINDS[2],
        ];
        Self {
            all: all.map(|name| format!("{channel}:{name}")),
            channel,
        }
    }

    fn rows(&self, kind: usize) -> Option<(&'static str, &str)> {
        let name = KINDS.get(kind)?;
        let key = self.all.get(self.all.len() - KINDS.len() + kind)?;
        Some((name, key))
    }
}

impl RedisRows {
    fn call<'a>(&self, script: &'a redis::Script) -> redis::ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for key in &self.keys.all {
            call.key(key);
        }
        call
    }

    /// Whether what Redis answers is on its disk.
    async fn is_durable(&self) -> Result<(), String> {
        let mut questions = redis::pipe();
        for name in ["appendonly", "appendfsync"] {
            questions.cmd("CONFIG").arg("GET").arg(name);
        }
        let answers: Vec<Vec<String>> = self.connection.send(&questions).await?;
        let value = |index: usize| {
            let pair = answers.get(index).map_or(&[][..], Vec::as_slice);
            pair.get(1).map_or("?", String::as_str)
        };
        match (value(0), value(1)) {
            ("yes", "always") => Ok(()),
            (only, fsync) => Err(format!(
                "it would forget changes: appendonly is {only:?} and appendfsync {fsync:?}; set \"yes\" and \"always\""
            )),
        }
    }
}

#[async_trait]
impl Rows for RedisRows {
    fn store(&self) -> String {
        format!("the catalog in Redis at {}", self.connection.address())
    }

    async fn commit(&self, batch: &Batch) -> Result<Outcome, String> {
        self.is_durable().await?;
        let mut call = self.call(&self.scripts.commit);
        call.arg(&batch.stamp).arg(&self.keys.channel);
        for edit in &batch.edits {
            let RowEdit {
                key,
                expected,
                text,
                claims,
            } = edit;
            let (kind, id) = key.parts();
            call.arg(kind).arg(id).arg(written(*expected));
            call.arg(text.as_deref().unwrap_or_default());
            call.arg(claims.join("\n"));
        }
        let answer: Vec<String> = self.connection.run(&call).await?;
        outcome(&answer).ok_or_else(unexpected)
    }

    async fn position(&self) -> Result<Position, String> {
        let call = self.call(&self.scripts.position);
        let (version, stamp) = self.connection.run(&call).await?;
        Ok(Position { version, stamp })
    }

    async fn since(&self, position: &Position) -> Result<Since, String> {
        let mut call = self.call(&self.scripts.since);
        call.arg(position.version).arg(&position.stamp);
        let answer: Vec<String> = self.connection.run(&call).await?;
        since(answer).ok_or_else(unexpected)
    }

    async fn page(&self, from: &PageFrom) -> Result<Page, String> {
        let (kind, cursor) = page_from(from).ok_or_else(unexpected)?;
        let (name, key) = self.keys.rows(kind).ok_or_else(unexpected)?;
        let mut question = redis::pipe();
        question.cmd("HSCAN").arg(key).arg(cursor);
        question.arg("COUNT").arg(PAGE_ROWS);
        let ((next, pairs),): ((String, Vec<(String, String)>),) =
            self.connection.send(&question).await?;
        let rows: Option<Vec<StoredRow>> = pairs
            .into_iter()
            .map(|(id, row)| stored(RowKey::from_parts(name, &id)?, &row))
            .collect();
        let next = match next.as_str() {
            "0" if kind + 1 < KINDS.len() => Some(format!("{} 0", kind + 1)),
            "0" => None,
            cursor => Some(format!("{kind} {cursor}")),
        };
        Ok(Page {
            rows: rows.ok_or_else(unexpected)?,
            next,
        })
    }

    async fn announced(&self) -> Result<(), String> {
        let mut announcements = self.announcements.lock().await;
        if let Some(stream) = announcements.as_mut() {
            if stream.next().await.is_none() {
                *announcements = None;
            }
            return Ok(());
        }
        // What was published before is not heard: something may have changed.
        *announcements = Some(self.connection.subscribe(&self.keys.channel).await?);
        Ok(())
    }
}

/// Which of the hashes, and the cursor in it.
fn page_from(from: &PageFrom) -> Option<(usize, &str)> {
    let Some(from) = from else {
        return Some((0, "0"));
    };
    let (kind, cursor) = from.split_once(' ')?;
    Some((kind.parse().ok()?, cursor))
}

fn unexpected() -> String {
    "it has what this program has not written".to_owned()
}

fn written(expected: Expected) -> String {
    match expected {
        Expected::Any => "any".to_owned(),
        Expected::Absent => "0".to_owned(),
        Expected::Revision(revision) => revision.to_string(),
    }
}

fn outcome(answer: &[String]) -> Option<Outcome> {
    let (word, rest) = answer.split_first()?;
    match (word.as_str(), rest) {
        ("done", [version]) => Some(Outcome::Done(version.parse().ok()?)),
        ("conflict", [index, found]) => {
            let found: u64 = found.parse().ok()?;
            Some(Outcome::Conflict {
                index: index.parse().ok()?,
                found: (found > 0).then_some(found),
            })
        }
        ("taken", [index, claim, by]) => Some(Outcome::Taken {
            index: index.parse().ok()?,
            claim: claim.clone(),
            by: RowKey::from_joined(by)?,
        }),
        _ => None,
    }
}

fn since(answer: Vec<String>) -> Option<Since> {
    let mut answer = answer.into_iter();
    if answer.next()? == "too much" {
        return Some(Since::TooMuch);
    }
    let position = Position {
        version: answer.next()?.parse().ok()?,
        stamp: answer.next()?,
    };
    let mut rows = Vec::new();
    while let Some(key) = answer.next() {
        let key = RowKey::from_joined(&key)?;
        let row = answer.next()?;
        let row = if row.is_empty() {
            None
        } else {
            Some(stored(key.clone(), &row)?)
        };
        rows.push((key, row));
    }
    Some(Since::Rows { position, rows })
}

fn stored(key: RowKey, text: &str) -> Option<StoredRow> {
    let (revision, text) = text.split_once(' ')?;
    Some(StoredRow {
        key,
        revision: revision.parse().ok()?,
        text: text.to_owned(),
    })
}
