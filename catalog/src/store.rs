//! The port for writing: typed changes of rows, applied all together or not at all. Every row is checked like one of a file; what a row
//! says of itself is decided here, what it says of others (a name or a token that somebody has already) by the store, in the same step.
//!
//! Each batch makes one version, one more than the one before; a row's revision is the version that wrote it last. Whoever changes what
//! they have read names its revision, and is told when somebody else was faster.

mod replica;
mod rows;

use async_trait::async_trait;

use crate::Catalog;
use crate::check;
use crate::row::{Row, RowKey};

pub use replica::StoreCatalog;
pub(crate) use rows::{Batch, Outcome, Page, PageFrom, Position, RowEdit, Rows, Since, StoredRow};

/// Changes of one batch at most.
pub const BATCH_MAXIMUM: usize = 1_000;

/// Bytes of a row at most, as it is stored.
pub const ROW_BYTES_MAXIMUM: usize = 1024 * 1024;

/// Bytes of the rows of one batch at most.
pub const BATCH_BYTES_MAXIMUM: usize = 8 * 1024 * 1024;

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub edit: Edit,
    /// What must be there before.
    pub expected: Expected,
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is written, in place of the one of its key.
    Put(Row),
    /// It goes, if it is there.
    Remove(RowKey),
}

/// What must be there for a change to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever.
    Any,
    /// No row of that key.
    Absent,
    /// The row as it was written in that version.
    Revision(u64),
}

/// What only one row may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A user's name.
    Name,
    /// A token.
    Token,
}

/// Why a batch was not applied. But for [`StoreError::Unavailable`], for certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There are too many changes, or they are too long.
    #[error(
        "failed to change the catalog: a batch has at most {BATCH_MAXIMUM} changes and {BATCH_BYTES_MAXIMUM} bytes"
    )]
    BatchTooLarge,
    /// A row cannot be part of a catalog.
    #[error("failed to change {row}: {fault}")]
    Refused {
        /// The row.
        row: RowKey,
        /// Where in it, as documents name fields (`sources[0].url`), if it is one of them.
        field: Option<String>,
        /// What is wrong with it, without secrets.
        fault: String,
    },
    /// A row is not what it was expected to be: read it again.
    #[error("failed to change {row}: somebody else has changed it")]
    Conflict {
        /// The row.
        row: RowKey,
        /// Its revision; nothing when it is not there.
        found: Option<u64>,
    },
    /// Another row has what only one may have.
    #[error("failed to change {row}: its {} is that of {by} already", claim.as_str())]
    Taken {
        /// The row.
        row: RowKey,
        /// What it wants.
        claim: Claim,
        /// Which row has it.
        by: RowKey,
    },
    /// The store did not answer, or not as it should. Whether the changes were applied is not known: look before repeating them.
    #[error("failed to {operation} in {store}: {reason}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Which store, without credentials.
        store: String,
        /// The cause.
        reason: String,
    },
}

/// The port: a catalog that can be changed.
#[async_trait]
pub trait CatalogStore: Catalog {
    /// Applies the changes, all or none, and answers with the version they made. Once it has answered they survive the store's death, and
    /// the snapshot of this very catalog has them; those of other processes follow when they are told.
    ///
    /// # Errors
    /// What keeps all of them from being applied.
    async fn apply(&self, changes: Vec<Change>) -> Result<u64, StoreError>;
}

impl Change {
    /// Writes a row, whatever was there.
    #[must_use]
    pub fn put(row: Row) -> Self {
        Self {
            edit: Edit::Put(row),
            expected: Expected::Any,
        }
    }

    /// Takes a row away, whatever was there.
    #[must_use]
    pub fn remove(key: RowKey) -> Self {
        Self {
            edit: Edit::Remove(key),
            expected: Expected::Any,
        }
    }

    /// The same change, if this is what it meets.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// The row that it changes.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match &self.edit {
            Edit::Put(row) => row.key(),
            Edit::Remove(key) => key.clone(),
        }
    }
}

impl Claim {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Token => "token",
        }
    }
}

/// What is wrong with a row, if anything is.
fn refusal(row: &Row) -> Result<(), StoreError> {
    match check::row(row) {
        None => Ok(()),
        Some(fault) => Err(StoreError::Refused {
            row: row.key(),
            field: Some(fault.field),
            fault: fault.what,
        }),
    }
}
