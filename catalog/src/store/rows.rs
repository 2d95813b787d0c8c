//! Between the port and its adapters: rows as text with what names them and what they claim, batches, versions. An adapter keeps them and
//! compares; it never reads what a row says.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;

use super::{
    BATCH_BYTES_MAXIMUM, BATCH_MAXIMUM, Change, Claim, Edit, Expected, ROW_BYTES_MAXIMUM,
    StoreError, refusal,
};
use crate::row::{Row, RowKey};

/// Random bytes of a batch's stamp.
const STAMP_BYTES: usize = 16;

/// A state of a store: its version, and the stamp of the batch that made it. Another stamp of the same version is another history, as
/// after a restored backup. The state before all batches has version 0 and an empty stamp.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) version: u64,
    pub(crate) stamp: String,
}

/// Changes that are checked and in writing.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Tells it from every other one: a batch that comes twice is applied once.
    pub(crate) stamp: String,
    pub(crate) edits: Vec<RowEdit>,
}

/// One change, in writing.
#[derive(Clone)]
pub(crate) struct RowEdit {
    pub(crate) key: RowKey,
    pub(crate) expected: Expected,
    /// Absent when the row goes.
    pub(crate) text: Option<String>,
    /// What no other row may claim. No line break is in them.
    pub(crate) claims: Vec<String>,
}

/// What became of a batch. `index` is the place of the change that did not fit.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(u64),
    Conflict {
        index: usize,
        found: Option<u64>,
    },
    Taken {
        index: usize,
        claim: String,
        by: RowKey,
    },
}

/// A row as it is stored.
pub(crate) struct StoredRow {
    pub(crate) key: RowKey,
    pub(crate) revision: u64,
    pub(crate) text: String,
}

/// What is different since a position.
#[derive(Debug)]
pub(crate) enum Since {
    /// These rows, as they are at this position; without text those that went.
    Rows {
        position: Position,
        rows: Vec<(RowKey, Option<StoredRow>)>,
    },
    /// More than the store remembers, or of another history: all must be read anew.
    TooMuch,
}

/// Where a page begins: nothing for the first one, else what the page before says.
pub(crate) type PageFrom = Option<String>;

/// Some of all rows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<StoredRow>,
    /// Where the next one begins; nothing after the last one.
    pub(crate) next: PageFrom,
}

/// What an adapter does. Every method may be repeated, is bounded in time where there is a network, and says why it failed without credentials.
#[async_trait]
pub(crate) trait Rows: Send + Sync {
    /// What it is and where, without credentials.
    fn store(&self) -> String;

    /// Applies a batch in one step, or none of it.
    async fn commit(&self, batch: &Batch) -> Result<Outcome, String>;

    /// Where the store stands.
    async fn position(&self) -> Result<Position, String>;

    /// What changed since then, in one step.
    async fn since(&self, position: &Position) -> Result<Since, String>;

    /// Some of the rows. One that is there before the first page and after the last is on one of them at least.
    async fn page(&self, from: &PageFrom) -> Result<Page, String>;

    /// Waits until something may have changed; dropping it loses nothing that [`Rows::since`] does not tell.
    async fn announced(&self) -> Result<(), String>;
}

impl fmt::Debug for RowEdit {
    /// Without the row: it may hold logins.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RowEdit")
            .field("key", &self.key)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredRow {
    /// Without the row: it may hold logins.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StoredRow")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl RowKey {
    /// What it is of, as adapters write it, and what names it there.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Channel(slug) => ("channel", slug),
            Self::Group(id) => ("group", id),
            Self::User(id) => ("user", id),
        }
    }

    pub(crate) fn from_parts(kind: &str, id: &str) -> Option<Self> {
        let id = id.to_owned();
        match kind {
            "channel" => Some(Self::Channel(id)),
            "group" => Some(Self::Group(id)),
            "user" => Some(Self::User(id)),
            _ => None,
        }
    }

    /// Both in one, as adapters write it.
    pub(crate) fn joined(&self) -> String {
        let (kind, id) = self.parts();
        format!("{kind} {id}")
    }

    pub(crate) fn from_joined(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(' ')?;
        Self::from_parts(kind, id)
    }
}

impl Claim {
    /// What a claim in writing is one of.
    pub(crate) fn of(text: &str) -> Self {
        if text.starts_with("name ") {
            Self::Name
        } else {
            Self::Token
        }
    }
}

impl Batch {
    /// Checks changes and writes them down.
    pub(crate) fn new(changes: Vec<Change>) -> Result<Self, StoreError> {
        if changes.len() > BATCH_MAXIMUM {
            return Err(StoreError::BatchTooLarge);
        }
        let mut seen = HashSet::new();
        let mut edits = Vec::with_capacity(changes.len());
        for change in changes {
            let edit = RowEdit::new(change)?;
            if !seen.insert(edit.key.clone()) {
                let fault = "a batch changes it twice".to_owned();
                let row = edit.key;
                let field = None;
                return Err(StoreError::Refused { row, field, fault });
            }
            edits.push(edit);
        }
        let bytes: usize = edits.iter().map(RowEdit::length).sum();
        if bytes > BATCH_BYTES_MAXIMUM {
            return Err(StoreError::BatchTooLarge);
        }
        Ok(Self {
            stamp: stamp()?,
            edits,
        })
    }
}

fn stamp() -> Result<String, StoreError> {
    let mut bytes = [0; STAMP_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable {
        operation: "name a batch",
        store: "this process".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(hex::encode(bytes))
}

impl RowEdit {
    fn new(change: Change) -> Result<Self, StoreError> {
        let Change { edit, expected } = change;
        let row = match edit {
            Edit::Put(row) => row,
            Edit::Remove(key) => {
                return Ok(Self {
                    key,
                    expected,
                    text: None,
                    claims: Vec::new(),
                });
            }
        };
        refusal(&row)?;
        let key = row.key();
        let text = serde_json::to_string(&row).map_err(|error| error.to_string());
        let text = text.and_then(|text| {
            let fits = text.len() <= ROW_BYTES_MAXIMUM;
            fits.then_some(text)
                .ok_or_else(|| format!("it has more than {ROW_BYTES_MAXIMUM} bytes"))
        });
        match text {
            Ok(text) => Ok(Self {
                key,
                expected,
                text: Some(text),
                claims: claims(&row),
            }),
            Err(fault) => Err(StoreError::Refused {
                row: key,
                field: None,
                fault,
            }),
        }
    }

    fn length(&self) -> usize {
        self.text.as_ref().map_or(0, String::len)
    }
}

fn claims(row: &Row) -> Vec<String> {
    let Row::User(user) = row else {
        return Vec::new();
    };
    let name = format!("name {}", user.name);
    let tokens = user.tokens.iter();
    let tokens = tokens.map(|token| format!("token {}", token.hash));
    std::iter::once(name).chain(tokens).collect()
}

impl StoredRow {
    /// The row, if it can be part of a catalog: what a store has may be of another version of this program, or of somebody's hand.
    pub(crate) fn read(&self) -> Result<Row, String> {
        let row: Row = serde_json::from_str(&self.text).map_err(|error| {
            // The parser's words may repeat a value.
            format!("it cannot be read (column {})", error.column())
        })?;
        if row.key() != self.key {
            return Err("it has the key of another row".to_owned());
        }
        refusal(&row).map_err(|error| error.to_string())?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, ChannelSource, Group, User, UserToken};
    use crate::token::TokenHash;

    fn group(id: &str) -> Row {
        Row::Group(Group {
            id: id.to_owned(),
            name: "News".to_owned(),
            order: 0,
        })
    }

    #[test]
    fn a_batch_is_bounded_and_changes_each_row_once() {
        let many = |count: usize| (0..count).map(|number| Change::put(group(&number.to_string())));
        assert_eq!(Batch::new(many(1000).collect()).unwrap().edits.len(), 1000);
        let error = Batch::new(many(1001).collect()).unwrap_err();
        assert_eq!(error, StoreError::BatchTooLarge);
        let twice = vec![
            Change::put(group("one")),
            Change::remove(RowKey::Group("one".to_owned())),
        ];
        let error = Batch::new(twice).unwrap_err().to_string();
        assert_eq!(
            error,
            "failed to change the group \"one\": a batch changes it twice"
        );
    }

    #[test]
    fn a_bad_row_is_named_and_a_login_in_it_is_not_repeated() {
        let channel = Row::Channel(Channel {
            slug: "one".to_owned(),
            name: "One".to_owned(),
            sources: vec![ChannelSource::at("ftp://hunter2@x/")],
            ..Channel::default()
        });
        let error = Batch::new(vec![Change::put(channel)]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("failed to change the channel \"one\": a source is an address"),
            "{text}"
        );
        assert!(!format!("{text}{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_user_claims_its_name_and_its_tokens() {
        let token = UserToken::of_hash(TokenHash::from_bytes([1; 32]));
        let hash = token.hash.to_string();
        let user = User {
            id: "1".to_owned(),
            name: "alice in town".to_owned(),
            tokens: vec![token],
            ..User::default()
        };
        let batch = Batch::new(vec![Change::put(Row::User(user.clone()))]).unwrap();
        let edit = &batch.edits[0];
        let claims = ["name alice in town".to_owned(), format!("token {hash}")];
        assert_eq!(edit.claims, claims);
        assert_eq!(
            claims.map(|claim| Claim::of(&claim)),
            [Claim::Name, Claim::Token]
        );
        let stored = StoredRow {
            key: edit.key.clone(),
            revision: 1,
            text: edit.text.clone().unwrap(),
        };
        assert!(!format!("{stored:?}{batch:?}").contains("alice"));
        assert_eq!(stored.read(), Ok(Row::User(user)));
    }

    #[test]
    fn a_stored_row_that_is_none_is_refused_without_being_repeated() {
        let read = |text: &str| {
            let stored = StoredRow {
                key: RowKey::Group("one".to_owned()),
                revision: 1,
                text: text.to_owned(),
            };
            stored.read()
        };
        let newer = r#"{"group":{"id":"one","name":"One","colour":"red"}}"#;
        assert!(read(newer).is_ok());
        for text in [
            "",
            "hunter2",
            r#"{"group":{"id":"one","name":"One","order":"hunter2"}}"#,
            r#"{"group":{"id":"two","name":"hunter2"}}"#,
            r#"{"group":{"id":"one","name":""}}"#,
            r#"{"hunter2":{}}"#,
        ] {
            let fault = read(text).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn keys_come_back_from_writing() {
        for key in [
            RowKey::Channel("one".to_owned()),
            RowKey::Group("News and more\n".to_owned()),
            RowKey::User("a user".to_owned()),
        ] {
            assert_eq!(RowKey::from_joined(&key.joined()), Some(key));
        }
        assert_eq!(RowKey::from_joined("film 1"), None);
    }
}
