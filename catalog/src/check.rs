//! Whether a row can be part of a catalog, wherever it comes from: what is too long, too much, or nothing that a stream could be made of.
//! A fault names what is wrong and never repeats what may be secret. Other rows are not looked at.

use api::files;
use api::live_stream::{ProviderChannel, SOURCE_SCHEMES};
use api::names::is_slug;
use url::Url;

use crate::model::{Allowed, Channel, ChannelSource, Group, SourceAddress, User, UserToken};
use crate::row::Row;

/// Characters of a name that people read, and of an id of a group, a user or a guide.
pub(crate) const NAME_MAXIMUM: usize = 256;
/// Characters of an address.
pub(crate) const URL_MAXIMUM: usize = 2048;
/// Characters of a channel's number.
pub(crate) const NUMBER_MAXIMUM: usize = 32;

const QUALITY_MAXIMUM: usize = 32;
const SOURCES_MAXIMUM: usize = 16;
const USER_AGENT_MAXIMUM: usize = 512;
const CLASS_MAXIMUM: usize = 63;
const HEADERS_MAXIMUM: usize = 16;
const HEADER_NAME_MAXIMUM: usize = 64;
const HEADER_VALUE_MAXIMUM: usize = 1024;
const TOKENS_MAXIMUM: usize = 100;
const ALLOWED_CHANNELS_MAXIMUM: usize = 10_000;
const ALLOWED_GROUPS_MAXIMUM: usize = 1_000;

/// What is wrong with a row, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The field, as documents name it: `sources[0].url`.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) what: String,
}

impl Fault {
    fn of(field: impl Into<String>, what: impl Into<String>) -> Option<Self> {
        let (field, what) = (field.into(), what.into());
        Some(Self { field, what })
    }
}

/// What is wrong with a row.
pub(crate) fn row(row: &Row) -> Option<Fault> {
    match row {
        Row::Channel(row) => channel(row),
        Row::Group(row) => group(row),
        Row::User(row) => user(row),
    }
}

/// What is wrong with a channel.
pub(crate) fn channel(channel: &Channel) -> Option<Fault> {
    if !is_slug(&channel.slug) {
        let what = "is not 1 to 44 letters a-z, digits and inner hyphens";
        return Fault::of("slug", format!("the slug {:?} {what}", channel.slug));
    }
    if !fits(&channel.name, NAME_MAXIMUM) {
        return Fault::of("name", format!("a name has 1 to {NAME_MAXIMUM} characters"));
    }
    for (field, what, text, maximum) in [
        ("number", "number", &channel.number, NUMBER_MAXIMUM),
        ("group", "group", &channel.group, NAME_MAXIMUM),
        ("logo", "logo", &channel.logo, URL_MAXIMUM),
        ("guideId", "guide id", &channel.guide_id, NAME_MAXIMUM),
        ("class", "class", &channel.class, CLASS_MAXIMUM),
    ] {
        if text.as_ref().is_some_and(|text| !fits(text, maximum)) {
            return Fault::of(field, format!("a {what} has 1 to {maximum} characters"));
        }
    }
    if let Some(language) = &channel.audio_language
        && (language.len() != 3 || !language.bytes().all(|byte| byte.is_ascii_lowercase()))
    {
        let what = "is not three letters of ISO 639-2, such as \"eng\"";
        return Fault::of("audioLanguage", format!("the language {language:?} {what}"));
    }
    if !(1..=SOURCES_MAXIMUM).contains(&channel.sources.len()) {
        let what = format!("a channel has 1 to {SOURCES_MAXIMUM} sources");
        return Fault::of("sources", what);
    }
    let mut sources = channel.sources.iter().enumerate();
    sources.find_map(|(index, one)| {
        let (field, what) = source(one)?;
        Fault::of(format!("sources[{index}]{field}"), what)
    })
}

/// What is wrong with a group.
pub(crate) fn group(group: &Group) -> Option<Fault> {
    let whole = fits(&group.id, NAME_MAXIMUM) && fits(&group.name, NAME_MAXIMUM);
    let field = match fits(&group.id, NAME_MAXIMUM) {
        true => "name",
        false => "id",
    };
    let what = format!("a group's id and name have 1 to {NAME_MAXIMUM} characters");
    Fault::of(field, what).filter(|_| !whole)
}

/// Whether a text has 1 to `maximum` characters.
pub(crate) fn fits(text: &str, maximum: usize) -> bool {
    !text.is_empty() && (text.len() <= maximum || text.chars().count() <= maximum)
}

/// Of names that stand in logs and that store adapters tell from each other by line: no control characters.
fn is_plain(text: &str) -> bool {
    fits(text, NAME_MAXIMUM) && !text.chars().any(char::is_control)
}

/// Which field of a source is wrong, and what.
fn source(source: &ChannelSource) -> Option<(&'static str, String)> {
    let address = match &source.address {
        SourceAddress::Url(text) => url_fault(text).map(|fault| (".url", fault)),
        SourceAddress::Provider(channel) => {
            provider_fault(channel).map(|fault| (".provider", fault))
        }
    };
    if address.is_some() {
        return address;
    }
    let quality = source.quality.as_deref().unwrap_or("x");
    if !fits(quality, QUALITY_MAXIMUM) {
        let what = format!("a quality has 1 to {QUALITY_MAXIMUM} characters");
        return Some((".quality", what));
    }
    let user_agent = source.user_agent.as_deref().unwrap_or("x");
    if user_agent.is_empty() || user_agent.len() > USER_AGENT_MAXIMUM {
        let what = format!("a user agent has 1 to {USER_AGENT_MAXIMUM} characters");
        return Some((".userAgent", what));
    }
    if user_agent.chars().any(char::is_control) {
        let what = "the user agent has a control character".to_owned();
        return Some((".userAgent", what));
    }
    if source.headers.len() > HEADERS_MAXIMUM {
        let what = format!("a source has at most {HEADERS_MAXIMUM} headers");
        return Some((".headers", what));
    }
    let fault = source.headers.iter().find_map(header_fault);
    fault.map(|fault| (".headers", fault))
}

/// Addresses carry logins, so no fault repeats one.
fn url_fault(text: &str) -> Option<String> {
    let has_host = |url: &Url| url.host_str().is_some_and(|host| !host.is_empty());
    let is_of_network = |url: Url| SOURCE_SCHEMES.contains(&url.scheme()) && has_host(&url);
    let is_one = match files::path_of(text) {
        Some(Err(invalid)) => return Some(format!("the address of a file {invalid}")),
        Some(Ok(_)) => true,
        None => Url::parse(text).is_ok_and(is_of_network),
    };
    (!is_one || text.len() > URL_MAXIMUM).then(|| {
        format!(
            "a source is an address of at most {URL_MAXIMUM} characters that begins with one of {}",
            SOURCE_SCHEMES.join(", ")
        )
    })
}

/// The limits of the custom resource.
fn provider_fault(channel: &ProviderChannel) -> Option<String> {
    let ProviderChannel { name, channel } = channel;
    let whole = fits(name, CLASS_MAXIMUM) && fits(channel, NAME_MAXIMUM);
    (!whole).then(|| {
        format!(
            "a provider's name has 1 to {CLASS_MAXIMUM} characters, its channel 1 to {NAME_MAXIMUM}"
        )
    })
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

/// What is wrong with a user.
pub(crate) fn user(user: &User) -> Option<Fault> {
    if !is_plain(&user.name) {
        let what = format!(
            "a user's name has 1 to {NAME_MAXIMUM} characters, none of them a control character"
        );
        return Fault::of("name", what);
    }
    if !is_plain(&user.id) {
        return Fault::of(
            "id",
            format!("a user's id has 1 to {NAME_MAXIMUM} characters"),
        );
    }
    if user.max_sessions == Some(0) {
        let what = "maxSessions is at least 1; leave it out for no limit";
        return Fault::of("maxSessions", what);
    }
    if let Allowed::Only { channels, groups } = &user.channels
        && (channels.len() > ALLOWED_CHANNELS_MAXIMUM || groups.len() > ALLOWED_GROUPS_MAXIMUM)
    {
        let what = format!(
            "a user is allowed at most {ALLOWED_CHANNELS_MAXIMUM} channels and {ALLOWED_GROUPS_MAXIMUM} groups by name"
        );
        return Fault::of("channels", what);
    }
    let fault = tokens_fault(&user.tokens);
    fault.and_then(|what| Fault::of("tokens", what))
}

fn tokens_fault(tokens: &[UserToken]) -> Option<String> {
    if tokens.len() > TOKENS_MAXIMUM {
        return Some(format!("a user has at most {TOKENS_MAXIMUM} tokens"));
    }
    for (index, token) in tokens.iter().enumerate() {
        if !is_plain(&token.name) {
            return Some(format!("a token's name has 1 to {NAME_MAXIMUM} characters"));
        }
        let before = &tokens[..index];
        if before.iter().any(|other| other.name == token.name) {
            return Some(format!("two tokens have the name {:?}", token.name));
        }
        if before.iter().any(|other| other.hash == token.hash) {
            return Some(format!("the token {:?} is there twice", token.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenHash;

    fn sound() -> Channel {
        Channel {
            slug: "one".to_owned(),
            name: "One".to_owned(),
            sources: vec![ChannelSource::at("http://source.example/1")],
            ..Channel::default()
        }
    }

    fn with(change: impl FnOnce(&mut Channel)) -> Option<String> {
        let mut channel = sound();
        change(&mut channel);
        super::channel(&channel).map(|fault| fault.what)
    }

    #[test]
    fn channels_that_no_stream_could_be_made_from_are_refused() {
        assert_eq!(with(|_| {}), None);
        let slug = with(|channel| channel.slug = "Not A Slug".to_owned());
        assert!(slug.unwrap().starts_with("the slug \"Not A Slug\""));
        let sources = with(|channel| channel.sources.clear());
        assert_eq!(sources.unwrap(), "a channel has 1 to 16 sources");
        let at = |url| with(|channel| channel.sources = vec![ChannelSource::at(url)]);
        for (url, told) in [
            ("mms://x/1", "begins with one of http"),
            ("http://", "begins with one of http"),
            ("rtmp://", "begins with one of http"),
            ("one.ts", "begins with one of http"),
            ("file://host/one.ts", "is not file:/// and a path"),
            ("file:///../one.ts", "has dots for directories"),
        ] {
            let fault = at(url).unwrap();
            assert!(fault.contains(told) && !fault.contains(url), "{fault}");
        }
        assert_eq!(at("file:///loops/barker.ts"), None);
        let language = with(|channel| channel.audio_language = Some("english".to_owned()));
        assert!(language.unwrap().contains("ISO 639-2"));
        let header = with(|channel| {
            channel.sources[0].headers = vec![("A".to_owned(), "b\r\nc: d".to_owned())];
        });
        assert!(header.unwrap().contains("the header A is not one line"));
    }

    #[test]
    fn a_channel_s_texts_are_bounded_in_characters() {
        let of = |length| Some("é".repeat(length));
        assert_eq!(with(|channel| channel.number = of(32)), None);
        assert_eq!(with(|channel| channel.group = of(256)), None);
        for fault in [
            with(|channel| channel.name = String::new()),
            with(|channel| channel.name = "x".repeat(257)),
            with(|channel| channel.number = of(33)),
            with(|channel| channel.group = of(0)),
            with(|channel| channel.group = of(257)),
            with(|channel| channel.logo = of(2049)),
            with(|channel| channel.guide_id = of(257)),
            with(|channel| channel.class = of(64)),
            with(|channel| channel.sources[0].quality = of(33)),
        ] {
            assert!(fault.unwrap().contains(" has 1 to "));
        }
    }

    #[test]
    fn a_channel_of_a_provider_is_a_source() {
        let provider = |name: &str, channel: &str| {
            let address = ProviderChannel {
                name: name.to_owned(),
                channel: channel.to_owned(),
            };
            with(|channel| channel.sources[0].address = SourceAddress::Provider(address))
        };
        assert_eq!(provider("panel", "1234"), None);
        assert!(provider("", "1234").is_some() && provider("panel", "").is_some());
    }

    #[test]
    fn users_are_bounded_and_tell_their_tokens_apart() {
        let token = |name: &str, byte| UserToken {
            name: name.to_owned(),
            ..UserToken::of_hash(TokenHash::from_bytes([byte; 32]))
        };
        let sound = User {
            id: "1".to_owned(),
            name: "alice".to_owned(),
            tokens: vec![token("tv", 1), token("phone", 2)],
            ..User::default()
        };
        assert_eq!(user(&sound), None);
        let with = |change: &dyn Fn(&mut User)| {
            let mut changed = sound.clone();
            change(&mut changed);
            user(&changed).map_or_else(String::new, |fault| fault.what)
        };
        for (fault, expected) in [
            (with(&|user| user.name = "a\nb".to_owned()), "control"),
            (with(&|user| user.id = String::new()), "a user's id"),
            (with(&|user| user.max_sessions = Some(0)), "at least 1"),
            (
                with(&|user| user.tokens[1].name = "tv".to_owned()),
                "two tokens have the name \"tv\"",
            ),
            (
                with(&|user| user.tokens[1].hash = user.tokens[0].hash),
                "the token \"phone\" is there twice",
            ),
            (
                with(&|user| user.tokens = vec![token("tv", 1); 101]),
                "at most 100 tokens",
            ),
            (
                with(&|user| {
                    let channels = (0..10_001).map(|number| format!("c{number}")).collect();
                    let groups = [].into();
                    user.channels = Allowed::Only { channels, groups };
                }),
                "at most 10000 channels",
            ),
        ] {
            assert!(fault.contains(expected), "{fault:?} {expected}");
        }
    }
}
