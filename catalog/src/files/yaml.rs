//! Catalog files in YAML: rows with their lines, unknown keys refused. Nothing is defaulted here that [`crate::model`] does not default.

use std::collections::{BTreeMap, BTreeSet};

use api::live_stream::ProviderChannel;
use api::stream_class::Preset;
use jiff::Timestamp;
use serde::Deserialize;
use serde_saphyr::{Options, Spanned};

use crate::draft::{Draft, Place};
use crate::model::{
    Allowed, Channel, ChannelSource, Formats, OverLimit, SourceAddress, Status, User, UserToken,
};
use crate::slug;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    channels: Option<Vec<Spanned<ChannelRow>>>,
    #[serde(default)]
    users: Option<Vec<Spanned<UserRow>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChannelRow {
    slug: Option<String>,
    name: String,
    number: Option<String>,
    group: Option<String>,
    logo: Option<String>,
    guide_id: Option<String>,
    class: Option<String>,
    preset: Option<Preset>,
    audio_language: Option<String>,
    #[serde(default)]
    radio: bool,
    #[serde(default)]
    disabled: bool,
    sources: Vec<SourceRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceRow {
    url: Option<String>,
    provider: Option<ProviderRow>,
    user_agent: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderRow {
    name: String,
    channel: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserRow {
    name: String,
    token_hash: Option<String>,
    #[serde(default)]
    tokens: Vec<TokenRow>,
    channels: Option<AllowedRow>,
    #[serde(default)]
    groups: BTreeSet<String>,
    formats: Option<BTreeSet<FormatRow>>,
    max_sessions: Option<u32>,
    #[serde(default)]
    over_limit: OverLimit,
    #[serde(default)]
    disabled: bool,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenRow {
    name: String,
    hash: String,
    expires: Option<String>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
enum FormatRow {
    Hls,
    Ts,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`channels` of a user is `all` or a list of slugs"
)]
enum AllowedRow {
    Word(String),
    Slugs(BTreeSet<String>),
}

/// Adds the rows of a file.
pub(super) fn add(draft: &mut Draft, file: &str, text: &[u8]) {
    let place = |line: u64| Place {
        file: file.to_owned(),
        line: usize::try_from(line).unwrap_or(usize::MAX).max(1),
    };
    let document: Option<Document> = match read(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.location().map_or(1, |location| location.line());
            return draft.error(&place(line), one_line(&error));
        }
    };
    let Some(Document { channels, users }) = document else {
        return;
    };
    for row in channels.into_iter().flatten() {
        let place = place(row.referenced.line());
        match channel(row.value) {
            Ok(channel) => draft.add_channel(channel, &place),
            Err(fault) => draft.error(&place, fault),
        }
    }
    for row in users.into_iter().flatten() {
        let place = place(row.referenced.line());
        match user(row.value) {
            Ok(user) => draft.add_user(user, &place),
            Err(fault) => draft.error(&place, fault),
        }
    }
}

fn read(text: &[u8]) -> Result<Option<Document>, serde_saphyr::Error> {
    let options: Options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_slice_with_options(text, options)
}

/// The parser's message without the place, which is named before it.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    first
        .split(" at line ")
        .next()
        .unwrap_or(first)
        .trim()
        .to_owned()
}

fn channel(row: ChannelRow) -> Result<Channel, String> {
    let slug = row
        .slug
        .unwrap_or_else(|| slug::derive(&row.name, row.guide_id.as_deref()));
    let sources: Result<Vec<_>, _> = row.sources.into_iter().map(source).collect();
    Ok(Channel {
        slug,
        name: row.name,
        number: unless_empty(row.number),
        group: unless_empty(row.group),
        logo: unless_empty(row.logo),
        guide_id: unless_empty(row.guide_id),
        order: 0,
        class: row.class,
        preset: row.preset,
        audio_language: row.audio_language,
        sources: sources?,
        radio: row.radio,
        disabled: row.disabled,
    })
}

fn unless_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn source(row: SourceRow) -> Result<ChannelSource, String> {
    let address = match (row.url, row.provider) {
        (Some(url), None) => SourceAddress::Url(url),
        (None, Some(ProviderRow { name, channel })) => {
            SourceAddress::Provider(ProviderChannel { name, channel })
        }
        _ => return Err("a source has either a url or a provider".to_owned()),
    };
    Ok(ChannelSource {
        address,
        quality: None,
        user_agent: row.user_agent,
        headers: row.headers.into_iter().collect(),
    })
}

fn user(row: UserRow) -> Result<User, String> {
    let channels = allowed(row.channels, row.groups)?;
    let status = if row.disabled {
        Status::Disabled
    } else {
        Status::Active
    };
    Ok(User {
        id: row.name.clone(),
        name: row.name,
        tokens: tokens(row.token_hash, row.tokens)?,
        channels,
        formats: row
            .formats
            .map_or_else(Formats::default, |formats| Formats {
                hls: formats.contains(&FormatRow::Hls),
                ts: formats.contains(&FormatRow::Ts),
            }),
        max_sessions: row.max_sessions,
        over_limit: row.over_limit,
        status,
        expires: expiry(row.expires)?,
        ..User::default()
    })
}

fn tokens(hash: Option<String>, rows: Vec<TokenRow>) -> Result<Vec<UserToken>, String> {
    let parse = |text: String| text.parse().map_err(|error| format!("{error}"));
    let mut tokens = Vec::with_capacity(rows.len() + 1);
    if let Some(hash) = hash {
        tokens.push(UserToken::of_hash(parse(hash)?));
    }
    for TokenRow {
        name,
        hash,
        expires,
    } in rows
    {
        tokens.push(UserToken {
            name,
            hash: parse(hash)?,
            created: None,
            expires: expiry(expires)?,
        });
    }
    if tokens.is_empty() {
        return Err("a user has a tokenHash, or tokens".to_owned());
    }
    Ok(tokens)
}

fn allowed(channels: Option<AllowedRow>, groups: BTreeSet<String>) -> Result<Allowed, String> {
    match channels {
        Some(AllowedRow::Word(word)) if word == "all" => Ok(Allowed::All),
        Some(AllowedRow::Word(word)) => Err(format!(
            "the channels of a user are `all` or a list of slugs, not {word:?}"
        )),
        Some(AllowedRow::Slugs(channels)) => Ok(Allowed::Only { channels, groups }),
        None if groups.is_empty() => Err("a user has channels, or groups".to_owned()),
        None => Ok(Allowed::Only {
            channels: BTreeSet::new(),
            groups,
        }),
    }
}

fn expiry(text: Option<String>) -> Result<Option<Timestamp>, String> {
    let moment = |text: String| {
        text.parse()
            .map_err(|_| format!("{text:?} is no moment such as 2030-01-31T00:00:00Z"))
    };
    text.map(moment).transpose()
}
