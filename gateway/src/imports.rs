//! Imports of channel lists: one at a time, behind the answer that said so, and told to all gateways by a note. A list is read and checked
//! before anything changes, a bad row costs that row only, and what is changed is there whatever becomes of the rest. Nothing is ever removed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::draft::{self, Problems};
use catalog::store::{Change, StoreError};
use catalog::transfer::{additions, apply_telling, read_m3u, read_pipe, write_m3u, write_pipe};
use catalog::{Snapshot, transfer};
use jiff::{SignedDuration, Timestamp};
use presence::notes::NOTE_MAXIMUM;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::Gateway;

/// The note that tells of the last import. No channel has such a name.
const NOTE: &str = "*import";

/// How often an import says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long the store of notes may take.
const NOTE_TIME: Duration = Duration::from_secs(2);

/// An import that has said nothing for so long is none any more: its gateway ended.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Bytes of a note beside what was wrong with a list.
const NOTE_REST: usize = 1024;

/// Random bytes of an id.
const ID_BYTES: usize = 16;

/// The form of a channel list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListFormat {
    /// Extended M3U.
    M3u,
    /// Rows of `id|name|url|logo|category|quality|order|category_order`.
    Pipe,
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// The list is read.
    Reading,
    /// Rows are changed.
    Changing,
    /// It is done: every row that could be.
    Done,
    /// It ended early, `message` says why; what was changed by then is changed.
    Failed,
    /// The gateway ended in the middle of it: what was changed by then is changed. Import the list again.
    Interrupted,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Import {
    /// What names it.
    pub(crate) id: String,
    /// The gateway that does it.
    gateway: String,
    /// What the list is: `m3u` or `pipe`.
    #[schema(value_type = String)]
    format: ListFormat,
    /// Whether it only looks what it would change.
    dry_run: bool,
    /// Where it stands: `reading`, `changing`, `done`, `failed` or `interrupted`.
    #[schema(value_type = String)]
    state: State,
    /// When it began.
    began: Timestamp,
    /// When this was said.
    updated: Timestamp,
    /// Channels and groups in the list that can be had.
    rows: usize,
    /// Those of them that are not in the catalog as they are.
    differing: usize,
    /// Those of these that are changed by now.
    pub(crate) changed: usize,
    /// What of the list was left out, and why: the first ones, by line.
    problems: Vec<Problem>,
    /// How many more there are.
    problems_left_out: usize,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Something of a list that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
struct Problem {
    /// The line of the list, from 1.
    line: usize,
    /// Why.
    reason: String,
}

/// The imports of a gateway.
#[derive(Debug)]
pub(crate) struct Imports {
    turn: Arc<Semaphore>,
    last: Mutex<Option<Import>>,
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            last: Mutex::default(),
        }
    }
}

impl ListFormat {
    fn read(self, list: &[u8]) -> transfer::Import {
        match self {
            Self::M3u => read_m3u("list", list),
            Self::Pipe => read_pipe("list", list),
        }
    }

    /// A catalog's channels in this form, with the addresses of their sources.
    pub(crate) fn write(self, snapshot: &Snapshot) -> String {
        let mut text = String::new();
        // Writing to a text never fails.
        let _ = match self {
            Self::M3u => write_m3u(snapshot, &mut text),
            Self::Pipe => write_pipe(snapshot, &mut text),
        };
        text
    }
}

impl Import {
    pub(crate) fn new(
        gateway: &str,
        format: ListFormat,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<Self, getrandom::Error> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id)?;
        Ok(Self {
            id: hex::encode(id),
            gateway: gateway.to_owned(),
            format,
            dry_run,
            state: State::Reading,
            began: now,
            updated: now,
            rows: 0,
            differing: 0,
            changed: 0,
            problems: Vec::new(),
            problems_left_out: 0,
            message: None,
        })
    }

    const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Reading | State::Changing)
    }

    /// The same as another gateway sees it, which may wait for its end in vain.
    fn seen(mut self, now: Timestamp) -> Self {
        if self.is_under_way() && now.duration_since(self.updated) > LOST_AFTER {
            self.state = State::Interrupted;
        }
        self
    }

    /// Takes in what was wrong, as much as a note can hold.
    fn found(&mut self, problems: Problems) {
        let problem = |one: draft::Problem| Problem {
            line: one.place.line,
            reason: one.fault,
        };
        self.problems_left_out = problems.left_out;
        self.problems = problems.kept.into_iter().map(problem).collect();
        let most = NOTE_MAXIMUM - NOTE_REST;
        while self.text().len() > most && self.problems.pop().is_some() {
            self.problems_left_out += 1;
        }
    }

    fn failed(&mut self, message: impl Into<String>) {
        self.state = State::Failed;
        self.message = Some(message.into());
    }

    /// Why it failed, if it did.
    pub(crate) fn outcome(&self) -> Result<(), String> {
        self.message.clone().map_or(Ok(()), Err)
    }

    /// The same as a note.
    fn text(&self) -> String {
        // A document of plain values always becomes text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Gateway {
    /// The right to import, as long as it is held.
    ///
    /// # Errors
    /// The id of the import that is under way, here or at another gateway; nothing where it is just beginning. (Two that begin at two gateways at
    /// the very same moment both run, and each of their batches is applied as a whole.)
    pub(crate) async fn turn_to_import(&self) -> Result<OwnedSemaphorePermit, Option<String>> {
        let turn = self.imports.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| {
            let under_way = self.imports.last().filter(Import::is_under_way);
            under_way.map(|import| import.id)
        })?;
        let noted = self.noted_import().await;
        match noted.filter(Import::is_under_way) {
            // One of this gateway's own is over when nobody has the turn.
            Some(import) if import.gateway != self.name => Err(Some(import.id)),
            _ => Ok(turn),
        }
    }

    /// What is known of an import.
    pub(crate) async fn known_import(&self, id: &str) -> Option<Import> {
        let is_it = |import: &Import| import.id == id;
        if let Some(own) = self.imports.last().filter(is_it) {
            return Some(own);
        }
        self.noted_import().await.filter(is_it)
    }

    async fn noted_import(&self) -> Option<Import> {
        let noted = timeout(NOTE_TIME, self.notes.recall(NOTE)).await;
        let text = noted.ok()?.ok()??;
        let import: Import = serde_json::from_str(&text).ok()?;
        let (now, _) = self.now();
        Some(import.seen(now))
    }

    /// Tells everybody how far an import is. Where that does not arrive, this gateway knows.
    pub(crate) async fn tell_import(&self, import: &mut Import) {
        (import.updated, _) = self.now();
        self.imports.keep(import);
        let text = import.text();
        let noted = timeout(NOTE_TIME, self.notes.note(NOTE, &text)).await;
        if !matches!(noted, Ok(Ok(()))) {
            tracing::debug!(import.id, "failed to tell other gateways of an import");
        }
    }

    /// Imports a list to the end, and answers how that went.
    pub(crate) async fn import(
        &self,
        mut import: Import,
        list: Vec<u8>,
        turn: OwnedSemaphorePermit,
    ) -> Import {
        if let Some(changes) = self.changes_of(&mut import, list).await {
            self.tell_import(&mut import).await;
            match self.apply_import(&mut import, changes).await {
                Ok(()) => import.state = State::Done,
                Err(error) => {
                    tracing::error!(import.id, %error, "failed to import a channel list");
                    import.failed(match error {
                        StoreError::Unavailable { .. } => {
                            "the catalog could not be changed any more; import the list again"
                                .to_owned()
                        }
                        other => other.to_string(),
                    });
                }
            }
        }
        self.tell_import(&mut import).await;
        drop(turn);
        import
    }

    /// What a list changes; nothing where it is none.
    async fn changes_of(&self, import: &mut Import, list: Vec<u8>) -> Option<Vec<Change>> {
        let (format, snapshot) = (import.format, self.access.snapshot());
        let reading = tokio::task::spawn_blocking(move || {
            let transfer::Import { rows, problems } = format.read(&list);
            let count = rows.len();
            (count, additions(&snapshot, rows), problems)
        });
        let Ok((rows, changes, problems)) = reading.await else {
            import.failed("the list could not be read");
            return None;
        };
        import.rows = rows;
        import.differing = changes.len();
        import.found(problems);
        if rows == 0 {
            import.failed("the list has no row that could be a channel");
            return None;
        }
        import.state = State::Changing;
        Some(changes)
    }

    async fn apply_import(
        &self,
        import: &mut Import,
        changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        let Some(store) = self.store.as_ref().filter(|_| !import.dry_run) else {
            return Ok(());
        };
        let (progress, so_far) = watch::channel(0);
        let applying = apply_telling(&**store, changes, |count| {
            progress.send_replace(count);
        });
        let mut applying = std::pin::pin!(applying);
        let outcome = loop {
            match timeout(TELL_EVERY, &mut applying).await {
                Ok(outcome) => break outcome,
                Err(_) => {
                    import.changed = *so_far.borrow();
                    self.tell_import(import).await;
                }
            }
        };
        import.changed = *so_far.borrow();
        outcome.map(|_| ())
    }
}

impl Imports {
    fn last(&self) -> Option<Import> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    fn keep(&self, import: &Import) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(import.clone());
    }
}

#[cfg(test)]
mod tests {
    use catalog::draft::Place;

    use super::*;

    fn import() -> Import {
        Import::new("gateway-0", ListFormat::M3u, false, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn what_was_wrong_fits_into_a_note_and_the_rest_is_counted() {
        let problem = |line| draft::Problem {
            place: Place {
                file: "list".to_owned(),
                line,
            },
            fault: "x".repeat(400),
        };
        let mut import = import();
        import.found(Problems {
            kept: (1..=50).map(problem).collect(),
            left_out: 7,
        });
        assert!(import.text().len() <= NOTE_MAXIMUM);
        assert!(!import.problems.is_empty());
        assert_eq!(import.problems.len() + import.problems_left_out, 57);
        assert_eq!(import.problems[0].line, 1);
    }

    #[test]
    fn an_import_that_says_nothing_any_more_was_interrupted() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (state, seconds, expected) in [
            (State::Reading, 30, State::Reading),
            (State::Changing, 31, State::Interrupted),
            (State::Changing, -60, State::Changing),
            (State::Done, 3600, State::Done),
            (State::Failed, 3600, State::Failed),
        ] {
            let import = Import { state, ..import() };
            assert_eq!(import.seen(at(seconds)).state, expected, "{state:?}");
        }
    }
}
