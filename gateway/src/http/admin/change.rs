//! Changes of one row: what must be there before, and what the store made of it. Decides nothing about what a row says.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use catalog::store::{CatalogStore, Change, Claim, Expected, StoreError};
use catalog::{Row, RowKey};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use super::refusal::Refusal;
use crate::Gateway;

/// What must be there before (RFC 9110 section 13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// Whatever.
    None,
    /// No such row: `If-None-Match: *`.
    Absent,
    /// Such a row: `If-Match: *`.
    Present,
    /// The row as it was written in that version: `If-Match: "7"`.
    Revision(u64),
    /// What no row of this catalog is.
    Never,
}

impl<S: Send + Sync> FromRequestParts<S> for Precondition {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::read(&parts.headers)
    }
}

impl Precondition {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().trim().to_owned();
        let matches = headers.get(IF_MATCH).map(text);
        let matches_not = headers.get(IF_NONE_MATCH).map(text);
        match (matches.as_deref(), matches_not.as_deref()) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (None, Some(_)) => Err(Refusal::unreadable(
                "If-None-Match",
                "a change may only be bound to there being no such row: If-None-Match: *",
            )),
            (Some("*"), None) => Ok(Self::Present),
            (Some(tag), None) => Ok(revision(tag).map_or(Self::Never, Self::Revision)),
            (Some(_), Some(_)) => Err(Refusal::unreadable(
                "If-None-Match",
                "a change is bound by If-Match or by If-None-Match, not by both",
            )),
        }
    }

    /// What the store has to find, the row being of that revision here now.
    pub(super) fn expected(self, found: Option<u64>) -> Result<Expected, Refusal> {
        match (self, found) {
            (Self::None, _) => Ok(Expected::Any),
            (Self::Absent, _) => Ok(Expected::Absent),
            (Self::Present, Some(revision)) | (Self::Revision(revision), _) => {
                Ok(Expected::Revision(revision))
            }
            (Self::Present, None) | (Self::Never, _) => Err(Refusal::Changed),
        }
    }
}

fn revision(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// A row as it is now, with its revision.
pub(super) fn revised(revision: u64, document: impl Serialize) -> Response {
    ([(ETAG, tag(revision))], Json(document)).into_response()
}

/// The tag of a row's revision.
fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

impl Gateway {
    /// Where the catalog can be changed.
    pub(super) fn catalog_store(&self) -> Result<&Arc<dyn CatalogStore>, Refusal> {
        self.store.as_ref().ok_or(Refusal::ReadOnly)
    }

    /// Writes a row that must not be there yet; answers its revision.
    pub(super) async fn make(&self, what: &'static str, row: Row) -> Result<u64, Refusal> {
        let name = match &row {
            Row::Channel(channel) => channel.slug.clone(),
            Row::Group(group) => group.id.clone(),
            Row::User(user) => user.name.clone(),
        };
        let change = Change::put(row).expecting(Expected::Absent);
        let made = self.catalog_store()?.apply(vec![change]).await;
        made.map_err(|error| match error {
            StoreError::Conflict { .. }
            | StoreError::Taken {
                claim: Claim::Name, ..
            } => Refusal::Exists { what, name },
            other => Refusal::of_store(&other),
        })
    }

    /// Applies a change under a precondition; answers the version it made.
    pub(super) async fn change(
        &self,
        change: Change,
        precondition: Precondition,
    ) -> Result<u64, Refusal> {
        let store = self.catalog_store()?;
        let found = store.snapshot().revision(&change.key());
        let change = change.expecting(precondition.expected(found)?);
        let changed = store.apply(vec![change]).await;
        changed.map_err(|error| Refusal::of_store(&error))
    }

    /// Takes a row away that has to be there.
    pub(super) async fn remove(
        &self,
        what: &'static str,
        name: &str,
        key: RowKey,
        precondition: Precondition,
    ) -> Result<(), Refusal> {
        let store = self.catalog_store()?;
        if store.snapshot().revision(&key).is_none() {
            return Err(Refusal::missing(what, name));
        }
        self.change(Change::remove(key), precondition).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(http::HeaderName, &'static str)]) -> Result<Precondition, Refusal> {
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Precondition::read(&headers.collect())
    }

    #[test]
    fn headers_say_what_must_be_there() {
        use Precondition::{Absent, Never, Present, Revision};
        for (headers, expected) in [
            (&[][..], Precondition::None),
            (&[(IF_MATCH, "\"17\"")], Revision(17)),
            (&[(IF_MATCH, " * ")], Present),
            (&[(IF_NONE_MATCH, "*")], Absent),
            (&[(IF_MATCH, "W/\"17\"")], Never),
            (&[(IF_MATCH, "17")], Never),
            (&[(IF_MATCH, "\"+17\"")], Never),
            (&[(IF_MATCH, "\"17\", \"18\"")], Never),
            (&[(IF_MATCH, "")], Never),
        ] {
            assert_eq!(read(headers), Ok(expected), "{headers:?}");
        }
        assert!(read(&[(IF_NONE_MATCH, "\"17\"")]).is_err());
        assert!(read(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
        assert_eq!(
            read(&[(IF_MATCH, Box::leak(tag(17).into_boxed_str()))]),
            Ok(Revision(17))
        );
    }

    #[test]
    fn the_store_is_asked_for_what_must_be_there() {
        use Precondition::{Absent, Never, Present, Revision};
        let changed = || Err(Refusal::Changed);
        for (precondition, found, expected) in [
            (Precondition::None, None, Ok(Expected::Any)),
            (Precondition::None, Some(7), Ok(Expected::Any)),
            (Absent, Some(7), Ok(Expected::Absent)),
            (Present, Some(7), Ok(Expected::Revision(7))),
            (Present, None, changed()),
            // This gateway may not have heard of it yet: the store knows.
            (Revision(8), Some(7), Ok(Expected::Revision(8))),
            (Revision(8), None, Ok(Expected::Revision(8))),
            (Never, Some(7), changed()),
        ] {
            assert_eq!(
                precondition.expected(found),
                expected,
                "{precondition:?} {found:?}"
            );
        }
    }
}
