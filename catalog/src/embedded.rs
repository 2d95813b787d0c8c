//! The catalog of one process in one file (redb): a batch is a transaction that is on the disk when it is acknowledged, so a process that
//! is killed in the middle of one leaves the file as it was before. Never decides what a row may say.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use tokio::sync::{Mutex, watch};

use crate::row::RowKey;
use crate::store::{
    Batch, Expected, Outcome, Page, PageFrom, Position, RowEdit, Rows, Since, StoreCatalog,
    StoreError, StoredRow,
};

/// Rows whose last change is remembered: whoever missed more reads all of it.
pub const LOG_ROWS: u64 = 10_000;

/// Rows of a page.
const PAGE_ROWS: usize = 500;

/// Row → revision and the row as JSON.
const ROWS: TableDefinition<&str, (u64, &str)> = TableDefinition::new("rows");
/// What only one row may have → that row.
const OWNERS: TableDefinition<&str, &str> = TableDefinition::new("owners");
/// Row → what it has of those, one a line.
const CLAIMS: TableDefinition<&str, &str> = TableDefinition::new("claims");
/// Version and row that it changed last; the latest [`LOG_ROWS`].
const LOG: TableDefinition<(u64, &str), ()> = TableDefinition::new("log");
/// Row → its version in the log.
const LOGGED: TableDefinition<&str, u64> = TableDefinition::new("logged");
/// Version → stamp of its batch; the latest [`LOG_ROWS`].
const BATCHES: TableDefinition<u64, &str> = TableDefinition::new("batches");
/// The oldest version since which all changes are in the log.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FLOOR: &str = "floor";

/// A file with a catalog. One process has it open at a time.
#[derive(Clone)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    path: PathBuf,
    versions: watch::Sender<u64>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the catalog {path:?}: {reason}")]
pub struct OpenError {
    /// The file.
    path: PathBuf,
    /// The cause.
    reason: String,
}

impl EmbeddedStore {
    /// Opens the file, or makes it: for its owner only, since sources may hold logins. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be opened, is no catalog, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let database = open(path).map_err(|reason| OpenError {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Self {
            database: Arc::new(database),
            path: path.to_owned(),
            versions: watch::Sender::new(0),
        })
    }

    /// The catalog in the file; loaded when this returns.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn catalog(&self) -> Result<StoreCatalog, StoreError> {
        StoreCatalog::open(EmbeddedRows {
            store: self.clone(),
            announcements: Mutex::new(self.versions.subscribe()),
        })
        .await
    }
}

fn open(path: &Path) -> Result<Database, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = options.open(path).map_err(|error| error.to_string())?;
    let backend = FileBackend::new(file).map_err(words)?;
    let database = Database::builder().create_with_backend(backend);
    let database = database.map_err(words)?;
    let transaction = database.begin_write().map_err(words)?;
    transaction.open_table(ROWS).map_err(words)?;
    transaction.open_table(OWNERS).map_err(words)?;
    transaction.open_table(CLAIMS).map_err(words)?;
    transaction.open_table(LOG).map_err(words)?;
    transaction.open_table(LOGGED).map_err(words)?;
    transaction.open_table(BATCHES).map_err(words)?;
    transaction.open_table(META).map_err(words)?;
    transaction.commit().map_err(words)?;
    Ok(database)
}

fn words(error: impl Into<redb::Error>) -> String {
    error.into().to_string()
}

struct EmbeddedRows {
    store: EmbeddedStore,
    announcements: Mutex<watch::Receiver<u64>>,
}

impl EmbeddedRows {
    /// Does what waits for the disk where it keeps nobody waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, String> {
        let database = self.store.database.clone();
        let done = tokio::task::spawn_blocking(move || step(&database)).await;
        let outcome = done.map_err(|error| error.to_string())?;
        outcome.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Rows for EmbeddedRows {
    fn store(&self) -> String {
        format!("the catalog {:?}", self.store.path)
    }

    async fn commit(&self, batch: &Batch) -> Result<Outcome, String> {
        let batch = batch.clone();
        let outcome = self.blocking(move |database| commit(database, &batch));
        let outcome = outcome.await?;
        if let Outcome::Done(version) = &outcome {
            self.store.versions.send_replace(*version);
        }
        Ok(outcome)
    }

    async fn position(&self) -> Result<Position, String> {
        let read = |database: &Database| {
            let batches = database.begin_read()?.open_table(BATCHES)?;
            newest(&batches)
        };
        self.blocking(read).await
    }

    async fn since(&self, position: &Position) -> Result<Since, String> {
        let position = position.clone();
        self.blocking(move |database| since(database, &position))
            .await
    }

    async fn page(&self, from: &PageFrom) -> Result<Page, String> {
        let from = from.clone();
        self.blocking(move |database| page(database, from)).await
    }

    async fn announced(&self) -> Result<(), String> {
        let changed = self.announcements.lock().await.changed().await;
        changed.map_err(|error| error.to_string())
    }
}

fn commit(database: &Database, batch: &Batch) -> Result<Outcome, redb::Error> {
    let mut transaction = database.begin_write()?;
    // A file that was not closed is usable at once; it costs one more wait for the disk.
    transaction.set_quick_repair(true);
    let version = newest(&transaction.open_table(BATCHES)?)?.version + 1;
    let misfit = {
        let mut rows = transaction.open_table(ROWS)?;
        let mut owners = transaction.open_table(OWNERS)?;
        let mut claims = transaction.open_table(CLAIMS)?;
        let misfit = conflict(&rows, batch)?;
        if misfit.is_none() {
            write(&mut rows, batch, version)?;
            claim(&mut owners, &mut claims, batch)?
        } else {
            misfit
        }
    };
    if let Some(misfit) = misfit {
        transaction.abort()?;
        return Ok(misfit);
    }
    log(&transaction, batch, version)?;
    transaction.commit()?;
    Ok(Outcome::Done(version))
}

fn conflict(
    rows: &impl ReadableTable<&'static str, (u64, &'static str)>,
    batch: &Batch,
) -> Result<Option<Outcome>, redb::Error> {
    for (index, edit) in batch.edits.iter().enumerate() {
        let row = rows.get(edit.key.joined().as_str())?;
        let found = row.map(|row| row.value().0);
        let fits = match edit.expected {
            Expected::Any => true,
            Expected::Absent => found.is_none(),
            Expected::Revision(revision) => found == Some(revision),
        };
        if !fits {
            return Ok(Some(Outcome::Conflict { index, found }));
        }
    }
    Ok(None)
}

fn write(
    rows: &mut redb::Table<'_, &'static str, (u64, &'static str)>,
    batch: &Batch,
    version: u64,
) -> Result<(), redb::Error> {
    for RowEdit { key, text, .. } in &batch.edits {
        let key = key.joined();
        match text {
            Some(text) => rows.insert(key.as_str(), (version, text.as_str()))?,
            None => rows.remove(key.as_str())?,
        };
    }
    Ok(())
}

/// Gives back what the rows of the batch had before they take anew: two of them may swap.
fn claim(
    owners: &mut redb::Table<'_, &'static str, &'static str>,
    claims: &mut redb::Table<'_, &'static str, &'static str>,
    batch: &Batch,
) -> Result<Option<Outcome>, redb::Error> {
    for edit in &batch.edits {
        if let Some(before) = claims.remove(edit.key.joined().as_str())? {
            for claim in before.value().lines() {
                owners.remove(claim)?;
            }
        }
    }
    for (index, edit) in batch.edits.iter().enumerate() {
        let key = edit.key.joined();
        for claim in &edit.claims {
            let before = owners.insert(claim.as_str(), key.as_str())?;
            let owner = before.map(|owner| owner.value().to_owned());
            if let Some(by) = owner.as_deref().and_then(RowKey::from_joined) {
                let claim = claim.clone();
                return Ok(Some(Outcome::Taken { index, claim, by }));
            }
        }
        if !edit.claims.is_empty() {
            claims.insert(key.as_str(), edit.claims.join("\n").as_str())?;
        }
    }
    Ok(None)
}

fn log(
    transaction: &redb::WriteTransaction,
    batch: &Batch,
    version: u64,
) -> Result<(), redb::Error> {
    let mut log = transaction.open_table(LOG)?;
    let mut logged = transaction.open_table(LOGGED)?;
    let mut batches = transaction.open_table(BATCHES)?;
    let mut meta = transaction.open_table(META)?;
    for edit in &batch.edits {
        let key = edit.key.joined();
        let before = logged.insert(key.as_str(), version)?;
        if let Some(before) = before.map(|before| before.value()) {
            log.remove((before, key.as_str()))?;
        }
        log.insert((version, key.as_str()), ())?;
    }
    while log.len()? > LOG_ROWS {
        let Some((oldest, _)) = log.pop_first()? else {
            break;
        };
        let (version, key) = oldest.value();
        logged.remove(key)?;
        meta.insert(FLOOR, version)?;
    }
    batches.insert(version, batch.stamp.as_str())?;
    while batches.len()? > LOG_ROWS {
        batches.pop_first()?;
    }
    Ok(())
}

fn newest(batches: &impl ReadableTable<u64, &'static str>) -> Result<Position, redb::Error> {
    let last = batches.last()?;
    Ok(
        last.map_or_else(Position::default, |(version, stamp)| Position {
            version: version.value(),
            stamp: stamp.value().to_owned(),
        }),
    )
}

fn since(database: &Database, known: &Position) -> Result<Since, redb::Error> {
    let transaction = database.begin_read()?;
    let batches = transaction.open_table(BATCHES)?;
    let stamp = batches.get(known.version)?;
    let stamp = stamp.map_or_else(String::new, |stamp| stamp.value().to_owned());
    let floor = transaction.open_table(META)?.get(FLOOR)?;
    let floor = floor.map_or(0, |floor| floor.value());
    if stamp != known.stamp || known.version < floor {
        return Ok(Since::TooMuch);
    }
    let table = transaction.open_table(ROWS)?;
    let log = transaction.open_table(LOG)?;
    let mut rows = Vec::new();
    for entry in log.range((known.version + 1, "")..)? {
        let (entry, _) = entry?;
        let (_, joined) = entry.value();
        let Some(key) = RowKey::from_joined(joined) else {
            continue;
        };
        let row = table.get(joined)?;
        let row = row.map(|row| stored(key.clone(), row.value()));
        rows.push((key, row));
    }
    Ok(Since::Rows {
        position: newest(&batches)?,
        rows,
    })
}

fn page(database: &Database, from: PageFrom) -> Result<Page, redb::Error> {
    let table = database.begin_read()?.open_table(ROWS)?;
    let from = from.unwrap_or_default();
    let mut rows = Vec::new();
    let mut next = None;
    for entry in table.range(from.as_str()..)?.take(PAGE_ROWS + 1) {
        let (joined, row) = entry?;
        if rows.len() == PAGE_ROWS {
            next = Some(joined.value().to_owned());
        } else if let Some(key) = RowKey::from_joined(joined.value()) {
            rows.push(stored(key, row.value()));
        }
    }
    Ok(Page { rows, next })
}

fn stored(key: RowKey, (revision, text): (u64, &str)) -> StoredRow {
    StoredRow {
        key,
        revision,
        text: text.to_owned(),
    }
}
