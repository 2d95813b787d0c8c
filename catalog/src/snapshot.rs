//! What a catalog says at one moment: immutable, indexed, shared by every request. The next one shares all rows and nearly all of the
//! indexes with the one before: what a change costs does not depend on how many rows there are. Never asks a store.

mod ordered;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rpds::HashTrieMapSync;

use crate::model::{Channel, Group, User, UserToken};
use crate::row::{Row, RowKey};
use crate::token::{TOKEN_MAXIMUM, TokenHash, TokenKey};
use ordered::{Ordered, Placed};

/// Channels, groups and users, each found by what names it and listed in order.
#[derive(Clone, Default)]
pub struct Snapshot {
    channels: HashTrieMapSync<String, Entry<Channel>>,
    channel_list: Ordered<Channel>,
    groups: HashTrieMapSync<String, Entry<Group>>,
    group_list: Ordered<Group>,
    users: HashTrieMapSync<String, Entry<User>>,
    user_list: Ordered<User>,
    tokens: HashTrieMapSync<TokenHash, Arc<User>>,
}

/// A row, and the version of the store that it is of; 0 where there are none.
#[derive(Clone)]
struct Entry<T> {
    row: Arc<T>,
    revision: u64,
}

impl Snapshot {
    /// Every channel, switched off or not, in the catalog's order.
    pub fn channels(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.channel_list.iter()
    }

    /// The channels that stand behind that place in the catalog's order, whether one stands there or not; behind `(0, "")` stand all.
    pub fn channels_after<'a>(
        &'a self,
        order: u32,
        slug: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Channel>> {
        self.channel_list.after((order, slug))
    }

    /// How many channels there are.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.size()
    }

    /// The channel of that slug, switched off or not.
    #[must_use]
    pub fn channel(&self, slug: &str) -> Option<&Arc<Channel>> {
        self.channels.get(slug).map(|entry| &entry.row)
    }

    /// Every group that has a row, in the catalog's order.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.group_list.iter()
    }

    /// The groups that stand behind that place, like [`Snapshot::channels_after`].
    pub fn groups_after<'a>(
        &'a self,
        order: u32,
        id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Group>> {
        self.group_list.after((order, id))
    }

    /// The group of that id.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Arc<Group>> {
        self.groups.get(id).map(|entry| &entry.row)
    }

    /// Every user, active or not, by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.user_list.iter()
    }

    /// The users whose names stand behind that one; behind an empty one stand all.
    pub fn users_after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<User>> {
        self.user_list.after((0, name))
    }

    /// The user of that name, active or not.
    #[must_use]
    pub fn user_named(&self, name: &str) -> Option<&Arc<User>> {
        self.user_list.get((0, name))
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.size()
    }

    /// The user of that id, active or not: for those who proved it before.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&Arc<User>> {
        self.users.get(id).map(|entry| &entry.row)
    }

    /// The user whose token this is, active or not, and what is known of the token, if that is still valid. What it takes tells nothing about tokens that exist:
    /// they are looked up by keyed hash, and the hash is compared as a whole.
    #[must_use]
    pub fn authenticate(
        &self,
        key: &TokenKey,
        token: &str,
        now: Timestamp,
    ) -> Option<(&Arc<User>, &UserToken)> {
        if token.is_empty() || token.len() > TOKEN_MAXIMUM {
            return None;
        }
        let hash = key.hash(token.as_bytes());
        let user = self.tokens.get(&hash)?;
        let mut tokens = user.tokens.iter();
        let token = tokens.find(|token| token.hash.matches(&hash))?;
        token.is_valid(now).then_some((user, token))
    }

    /// The user of that name, active or not, if this is the password. A name that nobody has takes as long as a wrong password.
    #[must_use]
    pub fn login(&self, key: &TokenKey, name: &str, password: &str) -> Option<&Arc<User>> {
        if password.is_empty() || password.len() > TOKEN_MAXIMUM {
            return None;
        }
        let user = self.user_named(name);
        let id = user.map_or(name, |user| &user.id);
        let hash = key.hash_password(id, password.as_bytes());
        user.filter(|user| user.password.is_some_and(|known| known.matches(&hash)))
    }

    /// Every row: groups and channels in the catalog's order, users by name.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let groups = self.groups().map(|row| Row::Group(row.as_ref().clone()));
        let channels = self
            .channels()
            .map(|row| Row::Channel(row.as_ref().clone()));
        let users = self.users().map(|row| Row::User(row.as_ref().clone()));
        groups.chain(channels).chain(users)
    }

    /// The row of that key.
    #[must_use]
    pub fn row(&self, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Channel(slug) => Some(Row::Channel(self.channel(slug)?.as_ref().clone())),
            RowKey::Group(id) => Some(Row::Group(self.group(id)?.as_ref().clone())),
            RowKey::User(id) => Some(Row::User(self.user(id)?.as_ref().clone())),
        }
    }

    /// The version of the store in which the row was written last; 0 in a catalog that has no versions, nothing where there is no such row.
    #[must_use]
    pub fn revision(&self, key: &RowKey) -> Option<u64> {
        match key {
            RowKey::Channel(slug) => self.channels.get(slug).map(|entry| entry.revision),
            RowKey::Group(id) => self.groups.get(id).map(|entry| entry.revision),
            RowKey::User(id) => self.users.get(id).map(|entry| entry.revision),
        }
    }

    /// Takes a row in, in place of the one of that key. Only rows that were checked come here.
    pub(crate) fn put(&mut self, row: Row, revision: u64) {
        self.remove(&row.key());
        match row {
            Row::Channel(channel) => self.put_channel(Arc::new(channel), revision),
            Row::Group(group) => self.put_group(Arc::new(group), revision),
            Row::User(user) => self.put_user(Arc::new(user), revision),
        }
    }

    fn put_channel(&mut self, row: Arc<Channel>, revision: u64) {
        self.channel_list.insert(row.clone());
        let slug = row.slug.clone();
        self.channels.insert_mut(slug, Entry { row, revision });
    }

    fn put_group(&mut self, row: Arc<Group>, revision: u64) {
        self.group_list.insert(row.clone());
        let id = row.id.clone();
        self.groups.insert_mut(id, Entry { row, revision });
    }

    fn put_user(&mut self, row: Arc<User>, revision: u64) {
        for token in &row.tokens {
            self.tokens.insert_mut(token.hash, row.clone());
        }
        self.user_list.insert(row.clone());
        let id = row.id.clone();
        self.users.insert_mut(id, Entry { row, revision });
    }

    /// Takes a row out, if it is there.
    pub(crate) fn remove(&mut self, key: &RowKey) {
        match key {
            RowKey::Channel(slug) => self.remove_channel(slug),
            RowKey::Group(id) => self.remove_group(id),
            RowKey::User(id) => self.remove_user(id),
        }
    }

    fn remove_channel(&mut self, slug: &str) {
        if let Some(channel) = self.channel(slug).cloned() {
            self.channel_list.remove(channel.place());
            self.channels.remove_mut(slug);
        }
    }

    fn remove_group(&mut self, id: &str) {
        if let Some(group) = self.group(id).cloned() {
            self.group_list.remove(group.place());
            self.groups.remove_mut(id);
        }
    }

    /// A name or a token that another user of the same change has by now stays with that one.
    fn remove_user(&mut self, id: &str) {
        let Some(user) = self.user(id).cloned() else {
            return;
        };
        let is_its = |found: Option<&Arc<User>>| found.is_some_and(|found| found.id == user.id);
        for token in &user.tokens {
            if is_its(self.tokens.get(&token.hash)) {
                self.tokens.remove_mut(&token.hash);
            }
        }
        if is_its(self.user_list.get(user.place())) {
            self.user_list.remove(user.place());
        }
        self.users.remove_mut(id);
    }
}

impl FromIterator<Row> for Snapshot {
    /// Rows that were checked, of no version.
    fn from_iter<T: IntoIterator<Item = Row>>(rows: T) -> Self {
        let mut snapshot = Self::default();
        rows.into_iter().for_each(|row| snapshot.put(row, 0));
        snapshot
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Snapshot")
            .field("channels", &self.channel_count())
            .field("groups", &self.groups.size())
            .field("users", &self.user_count())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserToken;

    fn key() -> TokenKey {
        TokenKey::new(&[1; 32]).unwrap()
    }

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn user(id: &str, name: &str, tokens: &[&str]) -> User {
        let token = |token: &&str| UserToken::of_hash(key().hash(token.as_bytes()));
        User {
            id: id.to_owned(),
            name: name.to_owned(),
            tokens: tokens.iter().map(token).collect(),
            ..User::default()
        }
    }

    fn channel(slug: &str, order: u32) -> Channel {
        Channel {
            slug: slug.to_owned(),
            order,
            ..Channel::default()
        }
    }

    fn users(users: &[User]) -> Snapshot {
        users.iter().cloned().map(Row::User).collect()
    }

    fn whose<'a>(snapshot: &'a Snapshot, token: &str) -> Option<&'a str> {
        let found = snapshot.authenticate(&key(), token, now());
        found.map(|(user, _)| user.id.as_str())
    }

    #[test]
    fn a_user_is_found_by_each_token_and_by_nothing_else() {
        let alice = user("1", "alice", &["right", "second"]);
        let snapshot = users(std::slice::from_ref(&alice));
        for token in ["right", "second"] {
            assert_eq!(whose(&snapshot, token), Some("1"));
        }
        let hash = alice.tokens[0].hash.to_string();
        for token in ["wrong", "", &"x".repeat(513), &hash] {
            assert_eq!(whose(&snapshot, token), None);
        }
        let other = TokenKey::new(&[2; 32]).unwrap();
        assert!(snapshot.authenticate(&other, "right", now()).is_none());
        assert_eq!(snapshot.user("1").unwrap().as_ref(), &alice);
        assert!(snapshot.user("alice").is_none() && snapshot.user("right").is_none());
    }

    #[test]
    fn an_expired_token_proves_nothing_while_the_others_do() {
        let mut alice = user("1", "alice", &["old", "new"]);
        alice.tokens[0].expires = Some(now());
        let snapshot = users(&[alice]);
        assert_eq!(whose(&snapshot, "old"), None);
        assert_eq!(whose(&snapshot, "new"), Some("1"));
    }

    #[test]
    fn a_password_opens_its_own_user_only() {
        let mut alice = user("1", "alice", &[]);
        alice.password = Some(key().hash_password("1", b"hunter2"));
        let snapshot = users(&[alice, user("2", "bob", &[])]);
        let login = |name: &str, password: &str| {
            let user = snapshot.login(&key(), name, password);
            user.map(|user| user.id.as_str())
        };
        assert_eq!(login("alice", "hunter2"), Some("1"));
        for (name, password) in [
            ("alice", "hunter3"),
            ("alice", ""),
            ("bob", "hunter2"),
            ("bob", ""),
            ("1", "hunter2"),
            ("carol", "hunter2"),
        ] {
            assert_eq!(login(name, password), None, "{name} {password}");
        }
    }

    #[test]
    fn channels_and_groups_stand_in_order_and_are_found_by_what_names_them() {
        let group = |id: &str, order| Group {
            id: id.to_owned(),
            order,
            ..Group::default()
        };
        let mut snapshot: Snapshot = [
            Row::Channel(channel("two", 1)),
            Row::Channel(channel("three", 7)),
            Row::Channel(channel("one", 1)),
            Row::Group(group("News", 2)),
            Row::Group(group("Sport", 1)),
        ]
        .into_iter()
        .collect();
        let slugs = |snapshot: &Snapshot| {
            let slugs = snapshot.channels().map(|one| one.slug.clone());
            slugs.collect::<Vec<_>>()
        };
        assert_eq!(slugs(&snapshot), ["one", "two", "three"]);
        assert_eq!(snapshot.channel("one").unwrap().slug, "one");
        assert!(snapshot.channel("four").is_none());
        snapshot.put(Row::Channel(channel("three", 0)), 9);
        assert_eq!(slugs(&snapshot), ["three", "one", "two"]);
        let revision = |slug: &str| snapshot.revision(&RowKey::Channel(slug.to_owned()));
        assert_eq!(
            (revision("three"), revision("one"), revision("four")),
            (Some(9), Some(0), None)
        );
        let groups: Vec<_> = snapshot.groups().map(|one| one.id.as_str()).collect();
        assert_eq!(groups, ["Sport", "News"]);
        assert!(snapshot.group("News").is_some());
    }

    #[test]
    fn users_may_swap_their_names_and_tokens_and_lose_nothing() {
        let mut snapshot = users(&[user("1", "alice", &["a"]), user("2", "bob", &["b"])]);
        snapshot.put(Row::User(user("1", "bob", &["b", "c"])), 1);
        snapshot.put(Row::User(user("2", "alice", &["a"])), 1);
        assert_eq!(
            ["a", "b", "c"].map(|token| whose(&snapshot, token)),
            [Some("2"), Some("1"), Some("1")]
        );
        let names: Vec<_> = snapshot
            .users()
            .map(|user| (user.name.as_str(), user.id.as_str()))
            .collect();
        assert_eq!(names, [("alice", "2"), ("bob", "1")]);
        assert_eq!(snapshot.user_named("alice").unwrap().id, "2");
        assert!(snapshot.user_named("1").is_none());
        snapshot.put(Row::User(user("1", "bob", &["c"])), 2);
        assert_eq!(whose(&snapshot, "b"), None);
        snapshot.remove(&RowKey::User("2".to_owned()));
        assert_eq!((whose(&snapshot, "a"), snapshot.user_count()), (None, 1));
    }

    #[test]
    fn a_changed_copy_leaves_the_one_before_as_it_was_and_shares_the_other_rows() {
        let before: Snapshot = (0..1000)
            .map(|number| Row::Channel(channel(&format!("c{number}"), number)))
            .collect();
        let mut after = before.clone();
        after.put(Row::Channel(channel("c7", 2000)), 1);
        after.remove(&RowKey::Channel("c8".to_owned()));
        assert_eq!((before.channel_count(), after.channel_count()), (1000, 999));
        assert_eq!(before.channel("c7").unwrap().order, 7);
        let shared = before.channels().filter(|row| {
            let other = after.channel(&row.slug);
            other.is_some_and(|other| Arc::ptr_eq(row, other))
        });
        assert_eq!(shared.count(), 998);
    }
}
