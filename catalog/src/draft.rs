//! A catalog in the making: rows come in with the place they stand at, and are checked before they count.
//! What is wrong is collected and named by place; a draft with errors never becomes a snapshot.

use std::collections::HashMap;
use std::fmt;

use crate::check;
use crate::model::{Allowed, Channel, Group, User};
use crate::row::Row;
use crate::snapshot::Snapshot;
use crate::token::TokenHash;
use crate::transfer::Import;

/// Problems that are kept; more are counted only.
const KEPT: usize = 50;
/// Problems that a message shows.
const SHOWN: usize = 5;

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: String,
}

/// What is wrong with a catalog, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The first ones.
    pub kept: Vec<Problem>,
    /// How many more there are.
    pub left_out: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, place: &Place, fault: String) {
        if self.kept.len() < KEPT {
            let place = place.clone();
            self.kept.push(Problem { place, fault });
        } else {
            self.left_out += 1;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.kept.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{problem}")?;
        }
        match self.kept.len().saturating_sub(SHOWN) + self.left_out {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

/// What a user is allowed, by name.
#[derive(Debug)]
enum Mention {
    Channel(String),
    Group(String),
}

/// A catalog in the making.
#[derive(Debug, Default)]
pub struct Draft {
    channels: Vec<Channel>,
    users: Vec<User>,
    slugs: HashMap<String, Place>,
    names: HashMap<String, Place>,
    tokens: HashMap<TokenHash, Place>,
    groups: Vec<Group>,
    /// Where in `groups` the group of that id is.
    group_ids: HashMap<String, usize>,
    mentions: Vec<(Place, Mention)>,
    errors: Problems,
    warnings: Problems,
}

impl Draft {
    /// Takes a channel; it stands behind those before it, and so does a group that it is the first of.
    pub fn add_channel(&mut self, mut channel: Channel, place: &Place) {
        channel.order = ordinal(self.channels.len());
        self.add_channel_in_place(channel, place);
    }

    /// Takes a channel that says itself where it stands.
    pub(crate) fn add_channel_in_place(&mut self, channel: Channel, place: &Place) {
        if let Some(fault) = check::channel(&channel) {
            return self.error(place, fault.what);
        }
        if let Some(first) = self.slugs.get(&channel.slug) {
            let fault = format!("the slug {:?} is that of {first} already", channel.slug);
            return self.error(place, fault);
        }
        if let Some(id) = &channel.group
            && !self.group_ids.contains_key(id)
        {
            self.group_ids.insert(id.clone(), self.groups.len());
            self.groups.push(Group {
                id: id.clone(),
                name: id.clone(),
                order: ordinal(self.groups.len()),
            });
        }
        self.slugs.insert(channel.slug.clone(), place.clone());
        self.channels.push(channel);
    }

    /// Takes a user.
    pub fn add_user(&mut self, user: User, place: &Place) {
        if let Some(fault) = check::user(&user) {
            return self.error(place, fault.what);
        }
        // Users of files have their name for an id.
        if let Some(first) = self.names.get(&user.name) {
            let fault = format!("the user {:?} is at {first} already", user.name);
            return self.error(place, fault);
        }
        for token in &user.tokens {
            if let Some(first) = self.tokens.get(&token.hash) {
                let fault = format!("the token of {:?} is that of {first} already", user.name);
                return self.error(place, fault);
            }
        }
        if let Allowed::Only { channels, groups } = &user.channels {
            let channels = channels.iter().cloned().map(Mention::Channel);
            let mentions = channels.chain(groups.iter().cloned().map(Mention::Group));
            self.mentions
                .extend(mentions.map(|mention| (place.clone(), mention)));
        }
        self.names.insert(user.name.clone(), place.clone());
        let tokens = user.tokens.iter().map(|token| (token.hash, place.clone()));
        self.tokens.extend(tokens);
        self.users.push(user);
    }

    /// Notes what makes the catalog unusable.
    pub fn error(&mut self, place: &Place, fault: String) {
        self.errors.push(place, fault);
    }

    /// Notes a row that is left out, or a doubt.
    pub fn warning(&mut self, place: &Place, fault: String) {
        self.warnings.push(place, fault);
    }

    /// Notes that there were so many more warnings, of which nothing is known.
    pub(crate) fn leave_out_warnings(&mut self, count: usize) {
        self.warnings.left_out += count;
    }

    /// Says where a group stands that a channel before is of.
    pub(crate) fn order_group(&mut self, id: &str, order: u32) {
        let index = self.group_ids.get(id);
        if let Some(group) = index.and_then(|index| self.groups.get_mut(*index)) {
            group.order = order;
        }
    }

    /// The rows that can be part of a catalog, and all that is wrong with others.
    pub(crate) fn into_import(mut self) -> Import {
        let Problems { kept, left_out } = std::mem::take(&mut self.warnings);
        for problem in kept {
            self.errors.push(&problem.place, problem.fault);
        }
        self.errors.left_out += left_out;
        self.errors.kept.sort_by_key(|problem| problem.place.line);
        let problems = std::mem::take(&mut self.errors);
        let rows = self.into_rows().collect();
        Import { rows, problems }
    }

    fn into_rows(self) -> impl Iterator<Item = Row> {
        let groups = self.groups.into_iter().map(Row::Group);
        let channels = self.channels.into_iter().map(Row::Channel);
        let users = self.users.into_iter().map(Row::User);
        groups.chain(channels).chain(users)
    }

    /// The finished catalog and what is doubtful about it.
    ///
    /// # Errors
    /// What makes it unusable.
    pub fn finish(mut self) -> Result<(Snapshot, Problems), Problems> {
        for (place, mention) in std::mem::take(&mut self.mentions) {
            match mention {
                Mention::Channel(slug) if !self.slugs.contains_key(&slug) => {
                    self.warning(&place, format!("there is no channel {slug:?}"));
                }
                Mention::Group(id) if !self.group_ids.contains_key(&id) => {
                    self.warning(&place, format!("there is no channel of a group {id:?}"));
                }
                Mention::Channel(_) | Mention::Group(_) => {}
            }
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let warnings = std::mem::take(&mut self.warnings);
        Ok((self.into_rows().collect(), warnings))
    }
}

fn ordinal(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelSource, UserToken};

    fn place(line: usize) -> Place {
        let file = "catalog.yaml".to_owned();
        Place { file, line }
    }

    fn channel(slug: &str) -> Channel {
        Channel {
            slug: slug.to_owned(),
            name: "One".to_owned(),
            sources: vec![ChannelSource::at("http://source.example/1")],
            ..Channel::default()
        }
    }

    fn user(name: &str, token: u8) -> User {
        User {
            id: name.to_owned(),
            name: name.to_owned(),
            tokens: vec![UserToken::of_hash(TokenHash::from_bytes([token; 32]))],
            channels: Allowed::All,
            ..User::default()
        }
    }

    #[test]
    fn duplicates_name_both_places() {
        let mut draft = Draft::default();
        draft.add_channel(channel("one"), &place(1));
        draft.add_channel(channel("one"), &place(9));
        draft.add_user(user("alice", 1), &place(20));
        draft.add_user(user("alice", 2), &place(21));
        draft.add_user(user("bob", 1), &place(22));
        assert_eq!(
            draft.finish().unwrap_err().to_string(),
            "catalog.yaml:9: the slug \"one\" is that of catalog.yaml:1 already; \
             catalog.yaml:21: the user \"alice\" is at catalog.yaml:20 already; \
             catalog.yaml:22: the token of \"bob\" is that of catalog.yaml:20 already"
        );
    }

    #[test]
    fn channels_and_their_groups_stand_in_the_order_they_came_in() {
        let mut draft = Draft::default();
        for (line, (slug, group)) in [("two", "Sport"), ("one", "News"), ("three", "Sport")]
            .into_iter()
            .enumerate()
        {
            let group = Some(group.to_owned());
            let one = Channel {
                group,
                ..channel(slug)
            };
            draft.add_channel(one, &place(line));
        }
        let (snapshot, _) = draft.finish().unwrap();
        let slugs: Vec<_> = snapshot.channels().map(|one| one.slug.as_str()).collect();
        let groups: Vec<_> = snapshot.groups().map(|one| one.name.as_str()).collect();
        assert_eq!(slugs, ["two", "one", "three"]);
        assert_eq!(groups, ["Sport", "News"]);
    }

    #[test]
    fn a_user_of_a_channel_that_is_not_there_is_a_doubt_and_no_error() {
        let mut draft = Draft::default();
        let channels = Allowed::Only {
            channels: ["one", "gone"].map(str::to_owned).into(),
            groups: ["Gone".to_owned()].into(),
        };
        let user = User {
            channels,
            ..user("alice", 1)
        };
        draft.add_user(user, &place(2));
        draft.add_channel(channel("one"), &place(3));
        let (snapshot, warnings) = draft.finish().unwrap();
        assert_eq!(snapshot.user_count(), 1);
        assert_eq!(
            warnings.to_string(),
            "catalog.yaml:2: there is no channel \"gone\"; catalog.yaml:2: there is no channel of a group \"Gone\""
        );
    }

    #[test]
    fn a_message_shows_the_first_problems_and_counts_the_rest() {
        let mut draft = Draft::default();
        for line in 1..=70 {
            draft.add_channel(channel("bad slug"), &place(line));
        }
        let problems = draft.finish().unwrap_err();
        assert_eq!((problems.kept.len(), problems.left_out), (50, 20));
        let message = problems.to_string();
        assert!(message.ends_with("; and 65 more"), "{message}");
    }
}
