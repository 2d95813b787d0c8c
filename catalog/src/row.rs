//! A row of a catalog, whatever it is of, and what names it. Says nothing about where rows are kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Channel, Group, User};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Row {
    /// A channel.
    Channel(Channel),
    /// A group.
    Group(Group),
    /// A user.
    User(User),
}

/// What names a row for life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A channel, by slug.
    Channel(String),
    /// A group, by id.
    Group(String),
    /// A user, by id.
    User(String),
}

impl Row {
    /// What names it.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Channel(channel) => RowKey::Channel(channel.slug.clone()),
            Self::Group(group) => RowKey::Group(group.id.clone()),
            Self::User(user) => RowKey::User(user.id.clone()),
        }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(slug) => write!(formatter, "the channel {slug:?}"),
            Self::Group(id) => write!(formatter, "the group {id:?}"),
            Self::User(id) => write!(formatter, "the user {id:?}"),
        }
    }
}
