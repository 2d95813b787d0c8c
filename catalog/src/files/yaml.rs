//! Catalog files in YAML: rows with their lines, unknown keys refused. Nothing is defaulted here that [`crate::model`] does not default.

use std::collections::{BTreeMap, BTreeSet};

use api::stream_class::Preset;
use jiff::Timestamp;
use serde::Deserialize;
use serde_saphyr::{Options, Spanned};

use crate::draft::{Draft, Place};
use crate::model::{Allowed, Channel, ChannelSource, User};
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
    sources: Vec<SourceRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceRow {
    url: String,
    user_agent: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserRow {
    name: String,
    token_hash: String,
    channels: AllowedRow,
    max_sessions: Option<u32>,
    #[serde(default)]
    disabled: bool,
    expires: Option<String>,
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
        draft.add_channel(channel(row.value), &place);
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

fn channel(row: ChannelRow) -> Channel {
    let slug = row
        .slug
        .unwrap_or_else(|| slug::derive(&row.name, row.guide_id.as_deref()));
    let source = |row: SourceRow| ChannelSource {
        url: row.url,
        user_agent: row.user_agent,
        headers: row.headers.into_iter().collect(),
    };
    Channel {
        slug,
        name: row.name,
        number: row.number,
        group: row.group,
        logo: row.logo,
        guide_id: row.guide_id,
        class: row.class,
        preset: row.preset,
        audio_language: row.audio_language,
        sources: row.sources.into_iter().map(source).collect(),
        radio: row.radio,
    }
}

fn user(row: UserRow) -> Result<User, String> {
    let channels = match row.channels {
        AllowedRow::Word(word) if word == "all" => Allowed::All,
        AllowedRow::Word(word) => {
            return Err(format!(
                "the channels of a user are `all` or a list of slugs, not {word:?}"
            ));
        }
        AllowedRow::Slugs(slugs) => Allowed::Only(slugs),
    };
    let expires = row.expires.map(|text| expiry(&text)).transpose()?;
    Ok(User {
        token_hash: row.token_hash.parse().map_err(|error| format!("{error}"))?,
        name: row.name,
        channels,
        max_sessions: row.max_sessions,
        disabled: row.disabled,
        expires,
    })
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no moment such as 2030-01-31T00:00:00Z"))
}
