//! What a catalog says at one moment: immutable, indexed, shared by every request. Only [`crate::draft`] makes one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Channel, User};
use crate::token::{TOKEN_MAXIMUM, TokenHash, TokenKey};

/// Channels by slug, users by token.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    channels: Vec<Arc<Channel>>,
    by_slug: HashMap<String, Arc<Channel>>,
    by_token: HashMap<TokenHash, Arc<User>>,
    by_name: HashMap<String, Arc<User>>,
}

impl Snapshot {
    pub(crate) fn new(channels: Vec<Channel>, users: Vec<User>) -> Self {
        let channels: Vec<_> = channels.into_iter().map(Arc::new).collect();
        let by_slug = channels
            .iter()
            .map(|channel| (channel.slug.clone(), channel.clone()))
            .collect();
        let users: Vec<_> = users.into_iter().map(Arc::new).collect();
        let by_name = users
            .iter()
            .map(|user| (user.name.clone(), user.clone()))
            .collect();
        let by_token = users
            .into_iter()
            .map(|user| (user.token_hash, user))
            .collect();
        Self {
            channels,
            by_slug,
            by_token,
            by_name,
        }
    }

    /// Every channel, in the catalog's order.
    #[must_use]
    pub fn channels(&self) -> &[Arc<Channel>] {
        &self.channels
    }

    /// The channel of that slug.
    #[must_use]
    pub fn channel(&self, slug: &str) -> Option<&Arc<Channel>> {
        self.by_slug.get(slug)
    }

    /// The user whose token this is, active or not. What it takes tells nothing about tokens that exist:
    /// they are looked up by keyed hash, and the hash is compared as a whole.
    #[must_use]
    pub fn authenticate(&self, key: &TokenKey, token: &str) -> Option<&Arc<User>> {
        if token.is_empty() || token.len() > TOKEN_MAXIMUM {
            return None;
        }
        let hash = key.hash(token.as_bytes());
        let user = self.by_token.get(&hash)?;
        user.token_hash.matches(&hash).then_some(user)
    }

    /// The user of that name, active or not: for those who proved it before.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.by_token.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Allowed;

    #[test]
    fn a_user_is_found_by_the_token_and_by_nothing_else() {
        let key = TokenKey::new(&[1; 32]).unwrap();
        let alice = User {
            name: "alice".to_owned(),
            token_hash: key.hash(b"right"),
            channels: Allowed::All,
            max_sessions: None,
            disabled: false,
            expires: None,
        };
        let snapshot = Snapshot::new(vec![], vec![alice.clone()]);
        assert_eq!(
            snapshot.authenticate(&key, "right").unwrap().as_ref(),
            &alice
        );
        assert!(snapshot.authenticate(&key, "wrong").is_none());
        assert!(snapshot.authenticate(&key, "").is_none());
        assert!(snapshot.authenticate(&key, &"x".repeat(513)).is_none());
        assert!(
            snapshot
                .authenticate(&key, &alice.token_hash.to_string())
                .is_none()
        );
        let other = TokenKey::new(&[2; 32]).unwrap();
        assert!(snapshot.authenticate(&other, "right").is_none());
        assert_eq!(snapshot.user("alice").unwrap().as_ref(), &alice);
        assert!(snapshot.user("right").is_none());
    }

    #[test]
    fn channels_keep_their_order_and_are_found_by_slug() {
        let channel = |slug: &str| Channel {
            slug: slug.to_owned(),
            ..Channel::default()
        };
        let snapshot = Snapshot::new(vec![channel("two"), channel("one")], vec![]);
        let slugs: Vec<_> = snapshot
            .channels()
            .iter()
            .map(|one| one.slug.as_str())
            .collect();
        assert_eq!(slugs, ["two", "one"]);
        assert_eq!(snapshot.channel("one").unwrap().slug, "one");
        assert!(snapshot.channel("three").is_none());
    }
}
