//! Lists in pages: of a bounded size, searched by name, going on where the page before ended. A cursor says a place and not a number, so rows
//! that come or go meanwhile shift nothing.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::body::Asked;
use super::refusal::Refusal;

/// Rows of a page, unless it is asked for others.
const PAGE: usize = 100;

/// Rows of a page at most.
const PAGE_MAXIMUM: usize = 500;

/// A page ends before its rows are as many as it is asked for, where those have so many bytes: one may have a megabyte.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of what is searched for, and of a cursor, at most.
const TEXT_MAXIMUM: usize = 2048;

/// What of a list is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Rows at most: 1 to 500, 100 when not given. A page of very long rows has fewer.
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
    /// Only rows with this in their name, or in what names them in URLs; letters small or large.
    pub(super) search: Option<String>,
}

/// The same, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) limit: usize,
    /// Behind which place the page begins: order and name.
    pub(super) after: (u32, String),
    search: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Asked(query) = Asked::from_request_parts(parts, state).await?;
        Self::of(query)
    }
}

impl Listing {
    pub(super) fn of(query: ListQuery) -> Result<Self, Refusal> {
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAXIMUM).contains(&limit) {
            let message = format!("a page has 1 to {PAGE_MAXIMUM} rows");
            return Err(Refusal::unreadable("limit", message));
        }
        let search = query.search.filter(|search| !search.is_empty());
        if search
            .as_ref()
            .is_some_and(|text| text.len() > TEXT_MAXIMUM)
        {
            let message = format!("what is searched for has at most {TEXT_MAXIMUM} bytes");
            return Err(Refusal::unreadable("search", message));
        }
        let after = query
            .cursor
            .as_deref()
            .map_or(Some((0, String::new())), read);
        let after = after.ok_or_else(|| {
            let message = "this is no cursor: take `next` of the page before as it is";
            Refusal::unreadable("cursor", message)
        })?;
        Ok(Self {
            limit,
            after,
            search: search.map(|search| search.to_lowercase()),
        })
    }

    /// Whether one of a row's texts is searched for.
    pub(super) fn finds(&self, texts: &[&str]) -> bool {
        let Some(search) = &self.search else {
            return true;
        };
        let mut texts = texts.iter();
        texts.any(|text| text.to_lowercase().contains(search))
    }

    /// The page of rows that stand behind [`Self::after`], each as `show` makes it and says how many bytes it has, and the cursor of the next one.
    pub(super) fn page<'a, T: 'a, D>(
        &self,
        rows: impl Iterator<Item = &'a Arc<T>>,
        texts: impl Fn(&T) -> [&str; 2],
        place: impl Fn(&T) -> (u32, &str),
        show: impl Fn(&Arc<T>) -> (D, usize),
    ) -> (Vec<D>, Option<String>) {
        let mut page = Vec::new();
        let mut bytes = 0;
        let mut last: Option<&Arc<T>> = None;
        for row in rows.filter(|row| self.finds(&texts(row))) {
            if page.len() == self.limit || bytes >= PAGE_BYTES {
                return (page, last.map(|row| cursor(place(row))));
            }
            let (document, length) = show(row);
            page.push(document);
            bytes += length;
            last = Some(row);
        }
        (page, None)
    }
}

/// A document with its length.
pub(super) fn weighed<D: Serialize>(document: D) -> (D, usize) {
    let length = serde_json::to_vec(&document).map_or(0, |text| text.len());
    (document, length)
}

/// The cursor of what stands behind a place.
pub(super) fn cursor((order, name): (u32, &str)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{order} {name}"))
}

fn read(cursor: &str) -> Option<(u32, String)> {
    if cursor.len() > TEXT_MAXIMUM {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (order, name) = text.split_once(' ')?;
    Some((order.parse().ok()?, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;
    use catalog::Group;

    use super::*;

    fn listing(query: &str) -> Result<Listing, Refusal> {
        let uri = format!("/?{query}").parse().unwrap();
        let Query(query) = Query::<ListQuery>::try_from_uri(&uri).unwrap();
        Listing::of(query)
    }

    fn group(order: u32, id: &str) -> Arc<Group> {
        let name = format!("Gruppe {id}");
        let id = id.to_owned();
        Arc::new(Group { id, name, order })
    }

    /// The ids of a page, and its cursor.
    fn page(query: &str, rows: &[Arc<Group>]) -> (Vec<String>, Option<String>) {
        let listing = listing(query).unwrap();
        let (order, id) = &listing.after;
        let behind = rows
            .iter()
            .filter(|row| (row.order, row.id.as_str()) > (*order, id));
        let (rows, next) = listing.page(
            behind,
            |row| [row.id.as_str(), row.name.as_str()],
            |row| (row.order, row.id.as_str()),
            |row| (row.id.clone(), row.name.len()),
        );
        (rows, next)
    }

    #[test]
    fn pages_follow_each_other_and_the_last_one_says_so() {
        let rows = [group(1, "b"), group(1, "ä c"), group(2, "a"), group(3, "z")];
        let (first, next) = page("limit=2", &rows);
        assert_eq!(first, ["b", "ä c"]);
        let next = format!("limit=2&cursor={}", next.unwrap());
        let (second, next) = page(&next, &rows);
        assert_eq!((second, next), (vec!["a".to_owned(), "z".to_owned()], None));
        assert_eq!(page("", &[]), (vec![], None));
    }

    #[test]
    fn a_page_of_long_rows_ends_early_and_has_one_at_least() {
        let long = |order: u32| {
            let name = "x".repeat(PAGE_BYTES / 2);
            let id = order.to_string();
            Arc::new(Group { id, name, order })
        };
        let rows = [long(1), long(2), long(3)];
        let (first, next) = page("", &rows);
        assert_eq!(first, ["1", "2"]);
        let next = format!("cursor={}", next.unwrap());
        assert_eq!(page(&next, &rows), (vec!["3".to_owned()], None));
        assert_eq!(weighed("four"), ("four", 6));
    }

    #[test]
    fn a_row_is_found_by_any_part_of_its_names_in_large_and_small_letters() {
        let rows = [group(1, "News"), group(2, "Sport")];
        assert_eq!(page("search=EWS", &rows).0, ["News"]);
        assert_eq!(page("search=gruppe%20s", &rows).0, ["Sport"]);
        assert_eq!(page("search=", &rows).0.len(), 2);
        assert_eq!(page("search=kultur", &rows).0.len(), 0);
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_by_name() {
        let long = format!("search={}", "x".repeat(2049));
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=eCB4", "cursor"),
            (&long, "search"),
        ] {
            let refused = listing(query).unwrap_err();
            let Refusal::Unreadable { field: told, .. } = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(told.as_deref(), Some(field), "{query}");
        }
    }
}
