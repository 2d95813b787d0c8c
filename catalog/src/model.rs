//! What a catalog knows of a channel and of a user. Plain values, checked by [`crate::draft`] before anyone sees them.

use std::collections::BTreeSet;

use api::stream_class::Preset;
use jiff::Timestamp;

use crate::token::TokenHash;

/// Something to watch or listen to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// Its name in URLs and of its LiveStream: a DNS label of at most 44 characters.
    pub slug: String,
    /// The name that people read.
    pub name: String,
    /// Its number on a remote control, such as `7` or `7.1`.
    pub number: Option<String>,
    /// The group it is listed in.
    pub group: Option<String>,
    /// The address of a picture.
    pub logo: Option<String>,
    /// Its id in the XMLTV guide.
    pub guide_id: Option<String>,
    /// Name of its StreamClass; the default class when absent.
    pub class: Option<String>,
    /// Which renditions, instead of what the class says.
    pub preset: Option<Preset>,
    /// Preferred language of the audio (ISO 639-2), instead of what the class says.
    pub audio_language: Option<String>,
    /// Where it can be had, tried in order. Never empty.
    pub sources: Vec<ChannelSource>,
    /// No picture.
    pub radio: bool,
}

/// One place where a channel can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelSource {
    /// An address, of one of [`api::live_stream::SOURCE_SCHEMES`].
    pub url: String,
    /// The User-Agent to ask with.
    pub user_agent: Option<String>,
    /// Further headers to ask with.
    pub headers: Vec<(String, String)>,
}

/// Somebody who may watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Unique among users.
    pub name: String,
    /// Keyed hash of the token that proves it.
    pub token_hash: TokenHash,
    /// Which channels.
    pub channels: Allowed,
    /// How many sessions at once; no limit when absent.
    pub max_sessions: Option<u32>,
    /// Switched off.
    pub disabled: bool,
    /// From when on no longer allowed.
    pub expires: Option<Timestamp>,
}

impl User {
    /// Whether the user may come in at all: not switched off, not expired.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        !self.disabled && self.expires.is_none_or(|expires| now < expires)
    }
}

/// Which channels a user may watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Every one, those made by hand included.
    All,
    /// These, by slug.
    Only(BTreeSet<String>),
}

impl Allowed {
    /// Whether this channel is among them.
    #[must_use]
    pub fn includes(&self, slug: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(slugs) => slugs.contains(slug),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(disabled: bool, expires: Option<&str>) -> User {
        User {
            name: "alice".to_owned(),
            token_hash: TokenHash::from_bytes([1; 32]),
            channels: Allowed::All,
            max_sessions: None,
            disabled,
            expires: expires.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn a_user_is_active_until_switched_off_or_expired() {
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        assert!(user(false, None).is_active(now));
        assert!(!user(true, None).is_active(now));
        assert!(user(false, Some("2026-06-01T12:00:01Z")).is_active(now));
        assert!(!user(false, Some("2026-06-01T12:00:00Z")).is_active(now));
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        let some = Allowed::Only(BTreeSet::from(["news-one".to_owned()]));
        assert!(some.includes("news-one"));
        assert!(!some.includes("news-two"));
        assert!(Allowed::All.includes("anything"));
    }
}
