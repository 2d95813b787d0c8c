//! A store's catalog in memory: loaded once, then kept up to date row by row. Readers never meet the store; while it is away they have the
//! last good snapshot, and so they do when it comes back empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::{
    Batch, CatalogStore, Change, Claim, Outcome, Position, RowEdit, Rows, Since, StoreError,
    StoredRow,
};
use crate::row::{Row, RowKey};
use crate::{Catalog, Snapshot};

/// An announcement that is lost is made good for after this long: one small question.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);
/// Between two tries of a store that is away.
const RETRY: Duration = Duration::from_secs(1);
/// Loads of a store that is written to so fast that it forgets meanwhile what changed.
const LOADS: usize = 5;

/// The catalog of a store.
pub struct StoreCatalog {
    rows: Box<dyn Rows>,
    current: ArcSwap<Current>,
    versions: watch::Sender<u64>,
    /// Who changes `current`; one at a time.
    turn: Mutex<()>,
    rows_read: AtomicU64,
}

#[derive(Default)]
struct Current {
    snapshot: Arc<Snapshot>,
    position: Position,
}

impl StoreCatalog {
    /// Loads all of it.
    pub(crate) async fn open(rows: impl Rows + 'static) -> Result<Self, StoreError> {
        let catalog = Self {
            rows: Box::new(rows),
            current: ArcSwap::default(),
            versions: watch::Sender::new(0),
            turn: Mutex::new(()),
            rows_read: AtomicU64::new(0),
        };
        let loaded = catalog.load().await?;
        let snapshot = &loaded.snapshot;
        let (channels, users) = (snapshot.channel_count(), snapshot.user_count());
        let version = loaded.position.version;
        tracing::info!(channels, users, version, "catalog loaded");
        catalog.current.store(Arc::new(loaded));
        Ok(catalog)
    }

    /// Takes in what others change, until `shutdown` resolves. A store that is away is said once and changes nothing.
    pub async fn follow(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.keep_up() => {}
        }
    }

    /// How many rows were read from the store so far.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.rows_read.load(Ordering::Relaxed)
    }

    async fn keep_up(&self) {
        let mut away = false;
        loop {
            let announced = tokio::time::timeout(LOOK_ANYWAY, self.rows.announced()).await;
            if let Ok(Err(_)) = announced {
                // What is wrong is said by the question that follows.
                tokio::time::sleep(RETRY).await;
            }
            match self.catch_up().await {
                Ok(()) if away => tracing::info!("the catalog is up to date again"),
                Err(error) if !away => tracing::error!(%error, "keeping the last good catalog"),
                outcome => {
                    away = outcome.is_err();
                    continue;
                }
            }
            away = !away;
        }
    }

    /// Brings the snapshot to where the store is now.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let current = self.current.load_full();
        let next = match self.newer(&current).await? {
            Some(next) => next,
            None if current.position.version == 0 => self.load().await?,
            None => self.reload(&current.position).await?,
        };
        if next.position != current.position {
            self.current.store(Arc::new(next));
            self.versions.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    /// What the store has become since, from the rows that changed; nothing when it does not remember them.
    async fn newer(&self, before: &Current) -> Result<Option<Current>, StoreError> {
        let since = self.rows.since(&before.position).await;
        match since.map_err(|reason| self.unavailable("read what changed", reason))? {
            Since::TooMuch => Ok(None),
            Since::Rows { position, rows } => {
                self.count(rows.len());
                let mut snapshot = Snapshot::clone(&before.snapshot);
                for (key, stored) in rows {
                    self.take_in(&mut snapshot, &key, stored.as_ref());
                }
                Ok(Some(Current {
                    snapshot: Arc::new(snapshot),
                    position,
                }))
            }
        }
    }

    async fn reload(&self, before: &Position) -> Result<Current, StoreError> {
        let loaded = self.load().await?;
        if loaded.position.version == 0 {
            let reason = format!(
                "it is empty, and it had version {}: restore it, or start anew if that is meant",
                before.version
            );
            return Err(self.unavailable("read the catalog", reason));
        }
        let (version, rows) = (loaded.position.version, self.rows_read());
        tracing::info!(version, rows, "catalog loaded anew");
        Ok(loaded)
    }

    /// Everything: page by page, and then what changed meanwhile.
    async fn load(&self) -> Result<Current, StoreError> {
        for _ in 0..LOADS {
            let position = self.rows.position().await;
            let position = position.map_err(|reason| self.unavailable("find", reason))?;
            let snapshot = Arc::new(self.pages().await?);
            let loaded = Current { snapshot, position };
            if let Some(newer) = self.newer(&loaded).await? {
                return Ok(newer);
            }
        }
        let reason = "it changes faster than it can be read".to_owned();
        Err(self.unavailable("read the catalog", reason))
    }

    async fn pages(&self) -> Result<Snapshot, StoreError> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.rows.page(&from).await;
            let page = page.map_err(|reason| self.unavailable("read the catalog", reason))?;
            self.count(page.rows.len());
            for stored in page.rows {
                rows.extend(
                    self.read(&stored)
                        .map(|row| (stored.key, stored.revision, row)),
                );
            }
            if page.next.is_none() {
                break;
            }
            from = page.next;
        }
        // Neighbours are put in one after the other, where memory is warm: a large catalog is loaded twice as fast.
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut snapshot = Snapshot::default();
        for (_, revision, row) in rows {
            snapshot.put(row, revision);
        }
        Ok(snapshot)
    }

    /// A row that cannot be read leaves what was there before.
    fn take_in(&self, snapshot: &mut Snapshot, key: &RowKey, stored: Option<&StoredRow>) {
        match stored {
            None => snapshot.remove(key),
            Some(stored) => {
                if let Some(row) = self.read(stored) {
                    snapshot.put(row, stored.revision);
                }
            }
        }
    }

    fn read(&self, stored: &StoredRow) -> Option<Row> {
        let row = stored.read();
        row.inspect_err(|fault| {
            let store = self.rows.store();
            tracing::error!(row = %stored.key, fault, "a row of {store} is left out");
        })
        .ok()
    }

    fn count(&self, rows: usize) {
        self.rows_read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn unavailable(&self, operation: &'static str, reason: String) -> StoreError {
        StoreError::Unavailable {
            operation,
            store: self.rows.store(),
            reason,
        }
    }
}

impl Catalog for StoreCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load().snapshot.clone()
    }

    fn versions(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }
}

#[async_trait]
impl CatalogStore for StoreCatalog {
    async fn apply(&self, changes: Vec<Change>) -> Result<u64, StoreError> {
        let batch = Batch::new(changes)?;
        let outcome = self.rows.commit(&batch).await;
        let outcome = outcome.map_err(|reason| self.unavailable("change the catalog", reason))?;
        let version = version(outcome, &batch)?;
        if let Err(error) = self.catch_up().await {
            // The change is made; it will be seen when the store can be read again.
            tracing::warn!(%error, version, "a change is not seen here yet");
        }
        Ok(version)
    }
}

/// The version, or which change did not fit.
fn version(outcome: Outcome, batch: &Batch) -> Result<u64, StoreError> {
    let key = |index: usize| {
        let edit: Option<&RowEdit> = batch.edits.get(index);
        edit.map_or_else(|| RowKey::User(String::new()), |edit| edit.key.clone())
    };
    match outcome {
        Outcome::Done(version) => Ok(version),
        Outcome::Conflict { index, found } => Err(StoreError::Conflict {
            row: key(index),
            found,
        }),
        Outcome::Taken { index, claim, by } => Err(StoreError::Taken {
            row: key(index),
            claim: Claim::of(&claim),
            by,
        }),
    }
}
