//! Who asked the API server for what, as it has written it down. Only reads.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Verbs that change nothing.
const READING: [&str; 3] = ["get", "list", "watch"];

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) user: String,
    pub(crate) verb: String,
    /// `livestreams/status`, `pods`; empty where it was about none.
    pub(crate) resource: String,
}

/// The log, from where it was last read on.
#[derive(Debug)]
pub(crate) struct AuditLog {
    path: PathBuf,
    offset: u64,
}

#[derive(Deserialize)]
struct Line {
    verb: String,
    user: User,
    #[serde(rename = "objectRef")]
    object: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl Asked {
    /// Whether it counts among the writes of a stream's life: events and leases are apart.
    pub(crate) fn is_write(&self) -> bool {
        let apart = ["events", "leases"].contains(&self.resource.as_str());
        !apart && !READING.contains(&self.verb.as_str())
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        self.verb == "list"
    }
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// What operators have asked for since the last look.
    pub(crate) fn of_operators(&mut self) -> Result<Vec<Asked>> {
        let mut news = self.news()?;
        news.retain(|asked| asked.user.starts_with("operator-"));
        Ok(news)
    }

    /// What has been asked since the last look.
    pub(crate) fn news(&mut self) -> Result<Vec<Asked>> {
        let mut file = File::open(&self.path).context("failed to open the audit log")?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)
            .context("failed to read the audit log")?;
        // The last line may still be being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        text[..whole].lines().map(asked).collect()
    }
}

fn asked(line: &str) -> Result<Asked> {
    let line: Line = serde_json::from_str(line).context("failed to read a line of the log")?;
    let resource = match line.object {
        None => String::new(),
        Some(object) if object.subresource.is_empty() => object.resource,
        Some(object) => format!("{}/{}", object.resource, object.subresource),
    };
    Ok(Asked {
        user: line.user.username,
        verb: line.verb,
        resource,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_request_is_told_once_and_half_a_line_later() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut log = AuditLog::new(file.path().to_owned());
        let line = |user: &str, verb: &str, object: &str| {
            format!(
                r#"{{"level":"Metadata","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{object}}}"#
            )
        };
        let status = r#"{"resource":"livestreams","name":"one","subresource":"status"}"#;
        let first = line("operator-tv-1", "patch", status);
        let (second, third) = (
            line("peer", "list", r#"{"resource":"pods"}"#),
            line("operator-tv-2", "create", r#"{"resource":"events"}"#),
        );
        write!(file, "{first}\n{second}\n{}", &third[..20]).unwrap();
        let of = |user: &str, verb: &str, resource: &str| Asked {
            user: user.to_owned(),
            verb: verb.to_owned(),
            resource: resource.to_owned(),
        };
        let news = log.news().unwrap();
        let patch = of("operator-tv-1", "patch", "livestreams/status");
        assert_eq!(news, [patch, of("peer", "list", "pods")]);
        assert_eq!(
            news.iter().map(Asked::is_write).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(news[1].is_list());
        writeln!(file, "{}", &third[20..]).unwrap();
        let news = log.of_operators().unwrap();
        assert_eq!(news, [of("operator-tv-2", "create", "events")]);
        assert!(!news[0].is_write());
        assert_eq!(log.news().unwrap(), []);
    }
}
