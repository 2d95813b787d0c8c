//! A catalog in the making: rows come in with the place they stand at, and are checked before they count.
//! What is wrong is collected and named by place; a draft with errors never becomes a snapshot.

use std::collections::HashMap;
use std::fmt;

use api::live_stream::SOURCE_SCHEMES;
use api::names::is_slug;
use url::Url;

use crate::model::{Allowed, Channel, ChannelSource, User};
use crate::snapshot::Snapshot;
use crate::token::TokenHash;

/// Problems that are kept; more are counted only.
const KEPT: usize = 50;
/// Problems that a message shows.
const SHOWN: usize = 5;

const SOURCES_MAXIMUM: usize = 16;
const URL_MAXIMUM: usize = 2048;
const NAME_MAXIMUM: usize = 256;
const USER_AGENT_MAXIMUM: usize = 512;
const CLASS_MAXIMUM: usize = 63;
const HEADERS_MAXIMUM: usize = 16;
const HEADER_NAME_MAXIMUM: usize = 64;
const HEADER_VALUE_MAXIMUM: usize = 1024;

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
    fn push(&mut self, place: &Place, fault: String) {
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

/// A catalog in the making.
#[derive(Debug, Default)]
pub struct Draft {
    channels: Vec<Channel>,
    users: Vec<User>,
    slugs: HashMap<String, Place>,
    names: HashMap<String, Place>,
    tokens: HashMap<TokenHash, Place>,
    mentions: Vec<(Place, String)>,
    errors: Problems,
    warnings: Problems,
}

impl Draft {
    /// Takes a channel.
    pub fn add_channel(&mut self, channel: Channel, place: &Place) {
        if let Some(fault) = channel_fault(&channel) {
            return self.error(place, fault);
        }
        if let Some(first) = self.slugs.get(&channel.slug) {
            let fault = format!("the slug {:?} is that of {first} already", channel.slug);
            return self.error(place, fault);
        }
        self.slugs.insert(channel.slug.clone(), place.clone());
        self.channels.push(channel);
    }

    /// Takes a user.
    pub fn add_user(&mut self, user: User, place: &Place) {
        if let Some(fault) = user_fault(&user) {
            return self.error(place, fault);
        }
        if let Some(first) = self.names.get(&user.name) {
            let fault = format!("the user {:?} is at {first} already", user.name);
            return self.error(place, fault);
        }
        if let Some(first) = self.tokens.get(&user.token_hash) {
            let fault = format!("the token of {:?} is that of {first} already", user.name);
            return self.error(place, fault);
        }
        if let Allowed::Only(slugs) = &user.channels {
            let mentions = slugs.iter().map(|slug| (place.clone(), slug.clone()));
            self.mentions.extend(mentions);
        }
        self.names.insert(user.name.clone(), place.clone());
        self.tokens.insert(user.token_hash, place.clone());
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

    /// The finished catalog and what is doubtful about it.
    ///
    /// # Errors
    /// What makes it unusable.
    pub fn finish(mut self) -> Result<(Snapshot, Problems), Problems> {
        for (place, slug) in std::mem::take(&mut self.mentions) {
            if !self.slugs.contains_key(&slug) {
                self.warning(&place, format!("there is no channel {slug:?}"));
            }
        }
        if self.errors.is_empty() {
            Ok((Snapshot::new(self.channels, self.users), self.warnings))
        } else {
            Err(self.errors)
        }
    }
}

fn channel_fault(channel: &Channel) -> Option<String> {
    if !is_slug(&channel.slug) {
        return Some(format!(
            "the slug {:?} is not 1 to 44 letters a-z, digits and inner hyphens",
            channel.slug
        ));
    }
    if channel.name.is_empty() || channel.name.chars().count() > NAME_MAXIMUM {
        return Some(format!("a name has 1 to {NAME_MAXIMUM} characters"));
    }
    if let Some(class) = &channel.class
        && (class.is_empty() || class.len() > CLASS_MAXIMUM)
    {
        return Some(format!("a class has 1 to {CLASS_MAXIMUM} characters"));
    }
    if let Some(language) = &channel.audio_language
        && (language.len() != 3 || !language.bytes().all(|byte| byte.is_ascii_lowercase()))
    {
        return Some(format!(
            "the language {language:?} is not three letters of ISO 639-2, such as \"eng\""
        ));
    }
    if !(1..=SOURCES_MAXIMUM).contains(&channel.sources.len()) {
        return Some(format!("a channel has 1 to {SOURCES_MAXIMUM} sources"));
    }
    channel.sources.iter().find_map(source_fault)
}

/// Addresses carry logins, so no fault repeats one.
fn source_fault(source: &ChannelSource) -> Option<String> {
    let url = Url::parse(&source.url).ok();
    let has_host = |url: &Url| url.host_str().is_some_and(|host| !host.is_empty());
    let fits = url.is_some_and(|url| SOURCE_SCHEMES.contains(&url.scheme()) && has_host(&url));
    if !fits || source.url.len() > URL_MAXIMUM {
        return Some(format!(
            "a source is an address of at most {URL_MAXIMUM} characters that begins with one of {}",
            SOURCE_SCHEMES.join(", ")
        ));
    }
    let user_agent = source.user_agent.as_deref().unwrap_or("x");
    if user_agent.is_empty() || user_agent.len() > USER_AGENT_MAXIMUM {
        return Some(format!(
            "a user agent has 1 to {USER_AGENT_MAXIMUM} characters"
        ));
    }
    if user_agent.chars().any(char::is_control) {
        return Some("the user agent has a control character".to_owned());
    }
    if source.headers.len() > HEADERS_MAXIMUM {
        return Some(format!("a source has at most {HEADERS_MAXIMUM} headers"));
    }
    source.headers.iter().find_map(header_fault)
}

/// Headers may be secret too: no fault repeats a value.
fn header_fault((name, value): &(String, String)) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !(1..=HEADER_NAME_MAXIMUM).contains(&name.len()) || !name.bytes().all(plain) {
        return Some(format!("{name:?} is no name of a header"));
    }
    if !(1..=HEADER_VALUE_MAXIMUM).contains(&value.len()) || value.chars().any(char::is_control) {
        return Some(format!(
            "the header {name} is not one line of 1 to {HEADER_VALUE_MAXIMUM} characters"
        ));
    }
    None
}

fn user_fault(user: &User) -> Option<String> {
    if user.name.is_empty() || user.name.chars().count() > NAME_MAXIMUM {
        return Some(format!("a user's name has 1 to {NAME_MAXIMUM} characters"));
    }
    if user.max_sessions == Some(0) {
        return Some("maxSessions is at least 1; leave it out for no limit".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn place(line: usize) -> Place {
        let file = "catalog.yaml".to_owned();
        Place { file, line }
    }

    fn channel(slug: &str) -> Channel {
        Channel {
            slug: slug.to_owned(),
            name: "One".to_owned(),
            sources: vec![source("http://source.example/1")],
            ..Channel::default()
        }
    }

    fn source(url: &str) -> ChannelSource {
        ChannelSource {
            url: url.to_owned(),
            ..ChannelSource::default()
        }
    }

    fn user(name: &str, token: u8) -> User {
        User {
            name: name.to_owned(),
            token_hash: TokenHash::from_bytes([token; 32]),
            channels: Allowed::All,
            max_sessions: None,
            disabled: false,
            expires: None,
        }
    }

    fn refusal(channel: Channel) -> String {
        let mut draft = Draft::default();
        draft.add_channel(channel, &place(7));
        draft.finish().unwrap_err().to_string()
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
    fn channels_that_no_stream_could_be_made_from_are_refused() {
        assert!(
            refusal(channel("Not A Slug")).starts_with("catalog.yaml:7: the slug \"Not A Slug\"")
        );
        let nothing = Channel {
            sources: vec![],
            ..channel("one")
        };
        assert_eq!(
            refusal(nothing),
            "catalog.yaml:7: a channel has 1 to 16 sources"
        );
        for url in [
            "mms://x/1",
            "file:///etc/passwd",
            "http://",
            "rtmp://",
            "one.ts",
        ] {
            let bad = Channel {
                sources: vec![source(url)],
                ..channel("one")
            };
            let message = refusal(bad);
            assert!(
                message.contains("begins with one of http") && !message.contains(url),
                "{message}"
            );
        }
        let language = Channel {
            audio_language: Some("english".to_owned()),
            ..channel("one")
        };
        assert!(refusal(language).contains("ISO 639-2"));
        let mut header = channel("one");
        header.sources[0].headers = vec![("A".to_owned(), "b\r\nc: d".to_owned())];
        assert!(refusal(header).contains("the header A is not one line"));
    }

    #[test]
    fn a_user_of_a_channel_that_is_not_there_is_a_doubt_and_no_error() {
        let mut draft = Draft::default();
        let slugs = BTreeSet::from(["one".to_owned(), "gone".to_owned()]);
        let channels = Allowed::Only(slugs);
        draft.add_user(
            User {
                channels,
                ..user("alice", 1)
            },
            &place(2),
        );
        draft.add_channel(channel("one"), &place(3));
        let (snapshot, warnings) = draft.finish().unwrap();
        assert_eq!(snapshot.user_count(), 1);
        assert_eq!(
            warnings.to_string(),
            "catalog.yaml:2: there is no channel \"gone\""
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
