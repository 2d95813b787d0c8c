//! Channel lists to and from the API: an import is followed to its end, an export goes to standard output as it comes. Reads nothing of what
//! lists say.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use http::Method;
use http_body_util::BodyExt;
use runtime::exit::ProcessError;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::ApiSettings;
use super::client::{ApiError, Client};
use super::show::{fields, plain};

/// Bytes of a list at most; the API takes less.
const LIST_MAXIMUM: u64 = 128 * 1024 * 1024;

/// How often an import is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long an export may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// The form of a channel list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Extended M3U.
    M3u,
    /// Rows of `id|name|url|logo|category|quality|order|category_order`.
    Pipe,
}

/// An import.
#[derive(Debug, clap::Args)]
pub struct ImportArguments {
    /// Which gateway.
    #[command(flatten)]
    pub settings: ApiSettings,
    /// The list; `-` is standard input.
    pub file: PathBuf,
    /// What it is; by the ending of the file's name when not given: .m3u and .m3u8, or .txt.
    #[arg(long)]
    pub format: Option<Format>,
    /// Only say what would be changed.
    #[arg(long)]
    pub dry_run: bool,
}

/// An export.
#[derive(Debug, clap::Args)]
pub struct ExportArguments {
    /// Which gateway.
    #[command(flatten)]
    pub settings: ApiSettings,
    /// What the list is to be.
    #[arg(long, default_value = "m3u")]
    pub format: Format,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::M3u => "m3u",
            Self::Pipe => "pipe",
        }
    }

    /// What a file of that name is.
    fn of(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "m3u" | "m3u8" => Some(Self::M3u),
            "txt" => Some(Self::Pipe),
            _ => None,
        }
    }
}

pub(super) async fn import(
    client: &Client,
    arguments: &ImportArguments,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let file = &arguments.file;
    let format = arguments.format.or_else(|| Format::of(file));
    let format = format.ok_or_else(|| {
        ProcessError::input(format!(
            "failed to tell what {file:?} is: say --format m3u or --format pipe"
        ))
    })?;
    let list = read(file, input)?;
    let asked = [
        ("format", format.as_str().to_owned()),
        ("dryRun", arguments.dry_run.to_string()),
    ];
    let ended = follow(client, &asked, list).await;
    let import = ended.map_err(ApiError::into_process)?;
    if arguments.settings.json {
        writeln!(output, "{import}")?;
    } else {
        write!(output, "{}", shown(&import))?;
    }
    match import["state"].as_str() {
        Some("done") => Ok(()),
        state => {
            let state = state.unwrap_or_default();
            let message = import["message"].as_str().map(plain);
            let message = message.unwrap_or_else(|| format!("the import is {state}"));
            Err(ApiError::Import(message).into_process())
        }
    }
}

/// Imports a list, and answers how that ended.
async fn follow(
    client: &Client,
    asked: &[(&'static str, String)],
    list: Vec<u8>,
) -> Result<Value, ApiError> {
    let url = client.url(&["imports"], asked)?;
    let begun = client.send(&Method::POST, &url, Some("text/plain"), list);
    let mut import = client.document(begun.await?).await?;
    let id = import["id"].as_str().unwrap_or_default().to_owned();
    let url = client.url(&["imports", &id], &[])?;
    // An import that says nothing any more is shown as interrupted, so this ends.
    while matches!(import["state"].as_str(), Some("reading" | "changing")) {
        sleep(ASK_EVERY).await;
        let answer = client.send(&Method::GET, &url, None, Vec::new()).await?;
        import = client.document(answer).await?;
    }
    Ok(import)
}

fn shown(import: &Value) -> String {
    let mut import = import.clone();
    let problems = import.get_mut("problems").map(Value::take);
    let mut text = String::new();
    for problem in problems.iter().filter_map(Value::as_array).flatten() {
        let reason = problem["reason"].as_str().unwrap_or_default();
        text.push_str(&format!("line {}: {}\n", problem["line"], plain(reason)));
    }
    if let Some(fields) = import.as_object_mut() {
        fields.remove("problems");
    }
    text + &fields(&import)
}

pub(super) async fn export(
    client: &Client,
    arguments: &ExportArguments,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let asked = [("format", arguments.format.as_str().to_owned())];
    let url = client.url(&["export"], &asked);
    let url = url.map_err(ApiError::into_process)?;
    let answer = client.send(&Method::GET, &url, None, Vec::new()).await;
    let mut list = answer.map_err(ApiError::into_process)?.into_body();
    loop {
        let frame = timeout(SILENCE, list.frame()).await;
        let late = |_| client.unreachable("the list did not come to its end");
        let frame = frame.map_err(late).map_err(ApiError::into_process)?;
        let Some(frame) = frame else {
            return Ok(output.flush()?);
        };
        let broken = |error: hyper::Error| client.unreachable(&error.to_string());
        let frame = frame.map_err(broken).map_err(ApiError::into_process)?;
        if let Ok(bytes) = frame.into_data() {
            output.write_all(&bytes)?;
        }
    }
}

fn read(file: &Path, input: &mut impl Read) -> Result<Vec<u8>, ProcessError> {
    let mut list = Vec::new();
    if file == Path::new("-") {
        input.take(LIST_MAXIMUM).read_to_end(&mut list)?;
        return Ok(list);
    }
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|file| file.take(LIST_MAXIMUM).read_to_end(&mut list));
    read.map(|_| list).map_err(|source| {
        let path = file.to_owned();
        ApiError::File { path, source }.into_process()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_what_its_name_says() {
        for (name, format) in [
            ("a.m3u", Some(Format::M3u)),
            ("a.M3U8", Some(Format::M3u)),
            ("a.txt", Some(Format::Pipe)),
            ("a.csv", None),
            ("-", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn an_import_is_shown_with_what_was_wrong_line_by_line() {
        let import = json!({
            "state": "done", "changed": 7, "problems": [{ "line": 3, "reason": "no\u{1b} name" }]
        });
        let expected = "line 3: no name\nchanged: 7\nstate: done\n";
        assert_eq!(shown(&import), expected);
    }
}
