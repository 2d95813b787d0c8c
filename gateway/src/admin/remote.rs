//! Tasks of `headend-admin` that go by the admin API: what each of them asks, and how the answer is shown. Decides nothing that the API decides:
//! a refusal is told in its words. No token stands on a command line.

mod client;
mod lists;
mod question;
mod show;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use runtime::exit::ProcessError;
use serde_json::Value;
use url::Url;

use self::client::{ApiError, Client, read_token};
use self::question::{Answer, Document, Question};
pub use lists::{ExportArguments, Format, ImportArguments};

/// The variable with a token, where no file is named.
const TOKEN: &str = "HEADEND_ADMIN_TOKEN";

/// Bytes of a document at most; the API takes less.
const DOCUMENT_MAXIMUM: u64 = 4 * 1024 * 1024;

/// Rows of a page at most.
const PAGE: usize = 500;

/// Which gateway, and as whom.
#[derive(Debug, clap::Args)]
pub struct ApiSettings {
    /// Address of the gateway.
    #[arg(
        long,
        global = true,
        env = "HEADEND_ADDRESS",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub address: Url,
    /// File whose first line is the token of an administrator; without it the variable HEADEND_ADMIN_TOKEN has it.
    #[arg(
        long,
        global = true,
        env = "HEADEND_ADMIN_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// Answers as JSON: each row of a list, or what was asked for, on one line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// An action on what is kept there.
#[derive(Debug, clap::Args)]
pub struct On<A: clap::Subcommand> {
    /// Which gateway.
    #[command(flatten)]
    pub settings: ApiSettings,
    /// What to do.
    #[command(subcommand)]
    pub action: A,
}

/// No action: it is only read.
#[derive(Debug, clap::Args)]
pub struct Reading {
    /// Which gateway.
    #[command(flatten)]
    pub settings: ApiSettings,
}

/// Tasks by the admin API.
#[derive(Debug, clap::Subcommand)]
pub enum ApiCommand {
    /// Channels, by slug.
    Channels(On<RowAction>),
    /// Groups of channels, by id.
    Groups(On<RowAction>),
    /// Users, by name.
    Users(On<UserAction>),
    /// Tokens of a user, by name.
    Tokens(On<TokenAction>),
    /// Streams: what they do, and their switches.
    Streams(On<StreamAction>),
    /// Sessions: who watches what, and the end of one.
    Sessions(On<SessionAction>),
    /// Imports a channel list, and says how that went.
    Import(ImportArguments),
    /// Writes all channels that have an address as a list to standard output. Addresses of sources are in it as they are: keep it like a password.
    Export(ExportArguments),
    /// What is going on.
    Stats(Reading),
    /// How the gateway is that answers.
    Health(Reading),
}

/// What of a list.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Listing {
    /// Only those with this in a name.
    #[arg(long)]
    pub search: Option<String>,
    /// So many at most; all of them when not given.
    #[arg(long)]
    pub limit: Option<usize>,
}

/// Actions on rows that are changed as documents.
#[derive(Debug, clap::Subcommand)]
pub enum RowAction {
    /// Lists them.
    List(Listing),
    /// Shows one.
    Get {
        /// What names it.
        name: String,
    },
    /// Makes one, of a document as `get --json` shows it.
    Create {
        /// File with it; standard input when not given.
        file: Option<PathBuf>,
    },
    /// Makes one, or puts it in place of the one of that name.
    Put {
        /// What names it.
        name: String,
        /// File with the document; standard input when not given.
        file: Option<PathBuf>,
    },
    /// Removes one.
    Delete {
        /// What names it.
        name: String,
    },
}

/// Actions on users.
#[derive(Debug, clap::Subcommand)]
pub enum UserAction {
    /// Those of every row.
    #[command(flatten)]
    Row(RowAction),
    /// Ends all sessions of a user, who may begin new ones.
    Kick {
        /// The user's name.
        name: String,
    },
}

/// Actions on tokens.
#[derive(Debug, clap::Subcommand)]
pub enum TokenAction {
    /// Lists those of a user, without the tokens themselves.
    List {
        /// The user's name.
        user: String,
    },
    /// Makes one. The token is shown once, here.
    Create {
        /// The user's name.
        user: String,
        /// What it is for.
        name: String,
        /// From when on it proves nothing, such as 2030-01-31T00:00:00Z; never when not given.
        #[arg(long)]
        expires: Option<String>,
    },
    /// Takes one away.
    Delete {
        /// The user's name.
        user: String,
        /// The token's name.
        name: String,
    },
}

/// Actions on streams.
#[derive(Debug, clap::Subcommand)]
pub enum StreamAction {
    /// Lists them.
    List(Listing),
    /// Shows one.
    Get {
        /// Its name.
        name: String,
    },
    /// Stops one. Who watches it starts it again.
    Stop {
        /// Its name.
        name: String,
    },
    /// Suspends one: nothing wakes it.
    Suspend {
        /// Its name.
        name: String,
    },
    /// Lets one that is suspended run again.
    Resume {
        /// Its name.
        name: String,
    },
}

/// Actions on sessions.
#[derive(Debug, clap::Subcommand)]
pub enum SessionAction {
    /// Lists those in use.
    List {
        /// What of them.
        #[command(flatten)]
        listing: Listing,
        /// Only those of the user of this name.
        #[arg(long)]
        user: Option<String>,
        /// Only those at the channel of this slug.
        #[arg(long)]
        channel: Option<String>,
    },
    /// Shows one.
    Get {
        /// Its id.
        id: String,
    },
    /// Ends one. Its player may begin another.
    End {
        /// Its id.
        id: String,
    },
}

impl ApiCommand {
    fn settings(&self) -> &ApiSettings {
        match self {
            Self::Channels(on) | Self::Groups(on) => &on.settings,
            Self::Users(on) => &on.settings,
            Self::Tokens(on) => &on.settings,
            Self::Streams(on) => &on.settings,
            Self::Sessions(on) => &on.settings,
            Self::Import(arguments) => &arguments.settings,
            Self::Export(arguments) => &arguments.settings,
            Self::Stats(reading) | Self::Health(reading) => &reading.settings,
        }
    }
}

/// Carries a command out.
///
/// # Errors
/// What the API refuses, in its words, or why it was not reached.
pub(super) fn run(
    command: &ApiCommand,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let settings = command.settings();
    let token = read_token(settings.token_file.as_deref(), std::env::var(TOKEN).ok());
    let client = token.and_then(|token| Client::new(settings.address.clone(), &token));
    let client = client.map_err(ApiError::into_process)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            ApiCommand::Import(arguments) => lists::import(&client, arguments, input, output).await,
            ApiCommand::Export(arguments) => lists::export(&client, arguments, output).await,
            other => {
                let question = question::of(other).map_err(ApiError::into_process)?;
                ask(&client, &question, settings.json, input, output).await
            }
        }
    })
}

async fn ask(
    client: &Client,
    question: &Question<'_>,
    is_json: bool,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let document = match &question.document {
        None => None,
        Some(Document::Value(value)) => Some(value.to_string().into_bytes()),
        Some(Document::File(file)) => Some(read_document(*file, input)?),
    };
    let (field, columns, most) = match question.answer {
        Answer::Rows {
            field,
            columns,
            most,
        } => (field, columns, most.unwrap_or(usize::MAX)),
        Answer::One => {
            let answer = client.ask(question, &question.query, document).await;
            let answer = answer.map_err(ApiError::into_process)?;
            if is_json && !answer.is_null() {
                writeln!(output, "{answer}")?;
            } else if !answer.is_null() {
                write!(output, "{}", show::fields(&answer))?;
            }
            return Ok(());
        }
    };
    let rows = all_rows(client, question, field, most).await;
    let rows = rows.map_err(ApiError::into_process)?;
    if is_json {
        for row in rows {
            writeln!(output, "{row}")?;
        }
    } else {
        write!(output, "{}", show::table(columns, &rows))?;
    }
    Ok(())
}

/// The rows of all pages, `most` of them at most.
async fn all_rows(
    client: &Client,
    question: &Question<'_>,
    field: &str,
    most: usize,
) -> Result<Vec<Value>, ApiError> {
    let mut rows = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let mut query = question.query.clone();
        if question.is_paged {
            query.push(("limit", (most - rows.len()).clamp(1, PAGE).to_string()));
        }
        query.extend(next.map(|cursor| ("cursor", cursor)));
        let mut page = client.ask(question, &query, None).await?;
        if let Some(Value::Array(found)) = page.get_mut(field).map(Value::take) {
            rows.extend(found);
        }
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() || rows.len() >= most {
            rows.truncate(most);
            return Ok(rows);
        }
    }
}

fn read_document(file: Option<&Path>, input: &mut impl Read) -> Result<Vec<u8>, ProcessError> {
    let Some(path) = file else {
        let mut bytes = Vec::new();
        input.take(DOCUMENT_MAXIMUM).read_to_end(&mut bytes)?;
        return Ok(bytes);
    };
    let read = || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(DOCUMENT_MAXIMUM).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source: std::io::Error| {
        let path = path.to_owned();
        ApiError::File { path, source }.into_process()
    })
}
