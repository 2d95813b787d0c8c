//! What each command asks the API: plain data, and no word of it is sent here.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::client::ApiError;
use super::{ApiCommand, Listing, RowAction, SessionAction, StreamAction, TokenAction, UserAction};

const CHANNELS: &[&str] = &["slug", "name", "number", "group", "disabled"];
const GROUPS: &[&str] = &["id", "name", "order"];
const USERS: &[&str] = &["name", "standing", "maxSessions", "expires", "channels"];
const TOKENS: &[&str] = &["name", "created", "expires"];
const STREAMS: &[&str] = &["name", "phase", "viewers", "reason", "message"];
const SESSIONS: &[&str] = &["id", "user", "channel", "since", "address", "agent"];

/// A question.
#[derive(Debug, PartialEq)]
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Segments of the path behind `/api/v1`.
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    /// Whether the answer comes in pages.
    pub(super) is_paged: bool,
    pub(super) document: Option<Document<'a>>,
    pub(super) answer: Answer,
}

/// What is sent with it.
#[derive(Debug, PartialEq)]
pub(super) enum Document<'a> {
    /// What a file says, or standard input.
    File(Option<&'a Path>),
    Value(Value),
}

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// A document, or nothing.
    One,
    /// Rows in that field, shown with these columns: so many at most.
    Rows {
        field: &'static str,
        columns: &'static [&'static str],
        most: Option<usize>,
    },
}

impl<'a> Question<'a> {
    fn new(method: Method, path: &[&'a str], answer: Answer) -> Self {
        Self {
            method,
            path: path.to_vec(),
            query: Vec::new(),
            is_paged: false,
            document: None,
            answer,
        }
    }

    fn get(path: &[&'a str]) -> Self {
        Self::new(Method::GET, path, Answer::One)
    }

    fn list(field: &'static str, columns: &'static [&'static str], listing: &Listing) -> Self {
        let most = listing.limit;
        let answer = Answer::Rows {
            field,
            columns,
            most,
        };
        let query = listing.search.iter();
        Self {
            query: query.map(|text| ("search", text.clone())).collect(),
            is_paged: true,
            ..Self::new(Method::GET, &[field], answer)
        }
    }

    fn with(self, document: Document<'a>) -> Self {
        Self {
            document: Some(document),
            ..self
        }
    }

    fn narrowed(mut self, name: &'static str, value: Option<&String>) -> Self {
        let value = value.map(|value| (name, value.clone()));
        self.query.extend(value);
        self
    }
}

/// What a command asks.
///
/// # Errors
/// When a name is none that an address can have.
pub(super) fn of(command: &ApiCommand) -> Result<Question<'_>, ApiError> {
    let question = match command {
        ApiCommand::Channels(on) => row("channels", CHANNELS, &on.action),
        ApiCommand::Groups(on) => row("groups", GROUPS, &on.action),
        ApiCommand::Users(on) => match &on.action {
            UserAction::Row(action) => row("users", USERS, action),
            UserAction::Kick { name } => switch(&["users", name, "kick"]),
        },
        ApiCommand::Tokens(on) => token(&on.action),
        ApiCommand::Streams(on) => stream(&on.action),
        ApiCommand::Sessions(on) => session(&on.action),
        ApiCommand::Stats(_) => Question::get(&["stats"]),
        ApiCommand::Health(_) => Question::get(&["health"]),
        // They are no single question.
        ApiCommand::Import(_) => Question::get(&["imports"]),
        ApiCommand::Export(_) => Question::get(&["export"]),
    };
    // An address leaves such a segment out, and would mean something else.
    let odd = question
        .path
        .iter()
        .find(|name| ["", ".", ".."].contains(name));
    match odd {
        Some(name) => Err(ApiError::Name((*name).to_owned())),
        None => Ok(question),
    }
}

fn switch<'a>(path: &[&'a str]) -> Question<'a> {
    Question::new(Method::POST, path, Answer::One)
}

fn delete<'a>(path: &[&'a str]) -> Question<'a> {
    Question::new(Method::DELETE, path, Answer::One)
}

fn row<'a>(
    rows: &'static str,
    columns: &'static [&'static str],
    action: &'a RowAction,
) -> Question<'a> {
    match action {
        RowAction::List(listing) => Question::list(rows, columns, listing),
        RowAction::Get { name } => Question::get(&[rows, name]),
        RowAction::Create { file } => {
            let document = Document::File(file.as_deref());
            Question::new(Method::POST, &[rows], Answer::One).with(document)
        }
        RowAction::Put { name, file } => {
            let document = Document::File(file.as_deref());
            Question::new(Method::PUT, &[rows, name], Answer::One).with(document)
        }
        RowAction::Delete { name } => delete(&[rows, name]),
    }
}

fn token(action: &TokenAction) -> Question<'_> {
    match action {
        TokenAction::List { user } => {
            let answer = Answer::Rows {
                field: "tokens",
                columns: TOKENS,
                most: None,
            };
            Question::new(Method::GET, &["users", user, "tokens"], answer)
        }
        TokenAction::Create {
            user,
            name,
            expires,
        } => {
            let mut document = json!({ "name": name });
            if let Some(expires) = expires {
                document["expires"] = json!(expires);
            }
            let path = &["users", user, "tokens"];
            Question::new(Method::POST, path, Answer::One).with(Document::Value(document))
        }
        TokenAction::Delete { user, name } => delete(&["users", user, "tokens", name]),
    }
}

fn stream(action: &StreamAction) -> Question<'_> {
    match action {
        StreamAction::List(listing) => Question::list("streams", STREAMS, listing),
        StreamAction::Get { name } => Question::get(&["streams", name]),
        StreamAction::Stop { name } => switch(&["streams", name, "stop"]),
        StreamAction::Suspend { name } => switch(&["streams", name, "suspend"]),
        StreamAction::Resume { name } => switch(&["streams", name, "resume"]),
    }
}

fn session(action: &SessionAction) -> Question<'_> {
    match action {
        SessionAction::List {
            listing,
            user,
            channel,
        } => Question::list("sessions", SESSIONS, listing)
            .narrowed("user", user.as_ref())
            .narrowed("channel", channel.as_ref()),
        SessionAction::Get { id } => Question::get(&["sessions", id]),
        SessionAction::End { id } => delete(&["sessions", id]),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::admin::Command;

    /// Method, path and query that words on a command line ask, or which name cannot be.
    fn asked(words: &str) -> String {
        let words = std::iter::once("headend-admin").chain(words.split(' '));
        let Command::Api(command) = Command::try_parse_from(words).unwrap() else {
            panic!("it does not go by the API");
        };
        match of(&command) {
            Ok(question) => {
                let query = question.query.iter();
                let query: Vec<_> = query
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let path = question.path.join("/");
                format!("{} {path} {}", question.method, query.join("&"))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_command_is_a_question() {
        for (words, question) in [
            ("channels list --search news", "GET channels search=news"),
            ("channels get news-one", "GET channels/news-one "),
            ("channels create", "POST channels "),
            ("groups put News news.json", "PUT groups/News "),
            ("groups delete News", "DELETE groups/News "),
            ("users kick anna", "POST users/anna/kick "),
            ("tokens list anna", "GET users/anna/tokens "),
            ("tokens create anna tv", "POST users/anna/tokens "),
            ("tokens delete anna tv", "DELETE users/anna/tokens/tv "),
            ("streams suspend news", "POST streams/news/suspend "),
            (
                "sessions list --user anna --channel news --json",
                "GET sessions user=anna&channel=news",
            ),
            ("sessions end 12ab", "DELETE sessions/12ab "),
            ("stats", "GET stats "),
        ] {
            assert_eq!(asked(words), question, "{words}");
        }
        for words in ["users delete ..", "users delete .", "tokens delete .. tv"] {
            assert!(asked(words).contains("name"), "{words}");
        }
    }
}
