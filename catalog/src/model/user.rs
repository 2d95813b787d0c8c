//! Somebody who may watch: how it is proved, until when, how much and what. Decides only what follows from a user's own row.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Channel;
use crate::token::{TokenHash, TokenTag};

/// Somebody who may watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What sessions name it by, and what it keeps for life: 1 to 256 characters that mean nothing. Unique among users.
    pub id: String,
    /// The name it logs in with: 1 to 256 characters. Unique among users.
    pub name: String,
    /// Keyed hash of the password ([`crate::TokenKey::hash_password`]); without one nobody logs in by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<TokenHash>,
    /// What proves it without a name: at most 100. One that is taken away proves nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<UserToken>,
    /// What people decided about it.
    #[serde(default)]
    pub status: Status,
    /// From when on no longer allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Sessions that began until then are over: somebody ended them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions_ended: Option<Timestamp>,
    /// How many sessions at once, at least 1; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// What happens to one session too many.
    #[serde(default)]
    pub over_limit: OverLimit,
    /// Which channels.
    #[serde(default)]
    pub channels: Allowed,
    /// In which forms.
    #[serde(default)]
    pub formats: Formats,
}

/// A token of a user: its keyed hash, and what people know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserToken {
    /// What it is for, such as `living room`: 1 to 256 characters. Unique among the user's tokens.
    pub name: String,
    /// Keyed hash of the token. Unique among all tokens.
    pub hash: TokenHash,
    /// When it was made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// From when on it proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What people decided about a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// May come in.
    #[default]
    Active,
    /// Switched off for now.
    Disabled,
    /// Thrown out.
    Banned,
}

/// How a user stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// May come in.
    Active,
    /// Switched off for now.
    Disabled,
    /// Its time is over.
    Expired,
    /// Thrown out.
    Banned,
}

/// What happens to a session beyond a user's limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OverLimit {
    /// It is refused.
    #[default]
    Refuse,
    /// The oldest one ends.
    NewestWins,
}

/// In which forms a user may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Formats {
    /// HLS playlists and segments.
    pub hls: bool,
    /// One continuous transport stream.
    pub ts: bool,
}

/// Which channels a user may watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allowed {
    /// Every one, those made by hand included.
    All,
    /// These channels, and all of these groups.
    Only {
        /// By slug, at most 10,000.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        channels: BTreeSet<String>,
        /// By id, at most 1,000.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        groups: BTreeSet<String>,
    },
}

impl User {
    /// How the user stands. A ban is said before anything else, and what people switched off before what time did.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.status {
            Status::Banned => Standing::Banned,
            Status::Disabled => Standing::Disabled,
            Status::Active if self.expires.is_some_and(|expires| expires <= now) => {
                Standing::Expired
            }
            Status::Active => Standing::Active,
        }
    }

    /// Whether a token of this tag still proves the user.
    #[must_use]
    pub fn has_token(&self, tag: &TokenTag, now: Timestamp) -> bool {
        let mut tokens = self.tokens.iter();
        tokens.any(|token| token.hash.tag() == *tag && token.is_valid(now))
    }

    /// Whether a session that began then, in Unix seconds, was ended since.
    #[must_use]
    pub fn has_ended(&self, session_began: u64) -> bool {
        let ended = self.sessions_ended.map(Timestamp::as_second);
        let ended = ended.and_then(|ended| u64::try_from(ended).ok());
        ended.is_some_and(|ended| session_began <= ended)
    }

    /// Whether the user may come in at all.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.standing(now) == Standing::Active
    }
}

impl UserToken {
    /// A token that nothing but its hash is known of.
    #[must_use]
    pub fn of_hash(hash: TokenHash) -> Self {
        Self {
            name: "token".to_owned(),
            hash,
            created: None,
            expires: None,
        }
    }

    /// Whether it still proves its user.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Default for Formats {
    fn default() -> Self {
        Self {
            hls: true,
            ts: true,
        }
    }
}

impl Default for Allowed {
    /// Nothing.
    fn default() -> Self {
        Self::Only {
            channels: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }
}

impl Allowed {
    /// Whether this channel is among them.
    #[must_use]
    pub fn includes(&self, channel: &Channel) -> bool {
        match self {
            Self::All => true,
            Self::Only { channels, groups } => {
                let group = channel.group.as_ref();
                channels.contains(&channel.slug) || group.is_some_and(|id| groups.contains(id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "2026-06-01T12:00:00Z";
    const NOW: &str = "2026-06-01T12:00:01Z";
    const LATER: &str = "2026-06-01T12:00:02Z";

    #[test]
    fn a_user_is_active_until_switched_off_thrown_out_or_expired() {
        for (status, expires, standing) in [
            (Status::Active, None, Standing::Active),
            (Status::Active, Some(LATER), Standing::Active),
            (Status::Active, Some(NOW), Standing::Expired),
            (Status::Active, Some(EARLIER), Standing::Expired),
            (Status::Disabled, Some(EARLIER), Standing::Disabled),
            (Status::Banned, Some(LATER), Standing::Banned),
        ] {
            let user = User {
                status,
                expires: expires.map(|text| text.parse().unwrap()),
                ..User::default()
            };
            let now = NOW.parse().unwrap();
            assert_eq!(user.standing(now), standing, "{status:?} {expires:?}");
            assert_eq!(user.is_active(now), standing == Standing::Active);
        }
    }

    #[test]
    fn sessions_that_began_until_they_were_ended_are_over() {
        let mut user = User::default();
        assert!(!user.has_ended(0));
        let now: Timestamp = NOW.parse().unwrap();
        let second = u64::try_from(now.as_second()).unwrap();
        user.sessions_ended = Some(now);
        let ended = [second - 1, second, second + 1].map(|began| user.has_ended(began));
        assert_eq!(ended, [true, true, false]);
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let mut token = UserToken::of_hash(TokenHash::from_bytes([1; 32]));
        let now = NOW.parse().unwrap();
        for (expires, valid) in [(None, true), (Some(LATER), true), (Some(NOW), false)] {
            token.expires = expires.map(|text| text.parse().unwrap());
            assert_eq!(token.is_valid(now), valid, "{expires:?}");
        }
    }

    #[test]
    fn a_user_is_proved_by_the_tags_of_its_valid_tokens() {
        let hash = |byte| TokenHash::from_bytes([byte; 32]);
        let mut user = User {
            tokens: vec![UserToken::of_hash(hash(1)), UserToken::of_hash(hash(2))],
            ..User::default()
        };
        let now = NOW.parse().unwrap();
        user.tokens[1].expires = Some(now);
        let proved = [1, 2, 3].map(|byte| user.has_token(&hash(byte).tag(), now));
        assert_eq!(proved, [true, false, false]);
    }

    #[test]
    fn a_list_allows_what_it_names_itself_or_by_its_group_and_nothing_else() {
        let channel = |slug: &str, group: Option<&str>| Channel {
            slug: slug.to_owned(),
            group: group.map(str::to_owned),
            ..Channel::default()
        };
        let some = Allowed::Only {
            channels: BTreeSet::from(["news-one".to_owned()]),
            groups: BTreeSet::from(["Sport".to_owned()]),
        };
        assert!(some.includes(&channel("news-one", None)));
        assert!(some.includes(&channel("sport-one", Some("Sport"))));
        assert!(!some.includes(&channel("news-two", Some("News"))));
        assert!(!some.includes(&channel("Sport", None)));
        assert!(!Allowed::default().includes(&channel("news-one", Some("Sport"))));
        assert!(Allowed::All.includes(&channel("anything", None)));
    }
}
