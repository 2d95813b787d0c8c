//! From a job's source to the request that is made: addresses and headers that stand in mounted files are read here.
//! What is read is never logged.

use std::io;
use std::time::Duration;

use api::job::{JobSource, SourceAddress};
use tokio::io::AsyncReadExt;
use upstream::failure::SourceFailure;
use upstream::source::{Patience, SourceRequest, Terms};
use url::Url;

/// Bytes of a mounted file that are read.
const FILE_MAXIMUM: u64 = 64 << 10;

/// The request of a source.
pub(super) async fn of(source: &JobSource) -> Result<SourceRequest, SourceFailure> {
    let address = match &source.address {
        SourceAddress::Url(url) => url.clone(),
        SourceAddress::UrlFile(path) => read(path, "address").await?,
    };
    let url = Url::parse(address.trim())
        .map_err(|error| invalid(format!("the address is no URL ({error})")))?;
    let mut headers = source.headers.clone();
    if let Some(path) = &source.headers_file {
        headers.extend(parse_headers(&read(path, "headers").await?)?);
    }
    Ok(SourceRequest {
        url,
        user_agent: source.user_agent.clone(),
        headers,
    })
}

/// The terms of a source: its own word first.
pub(super) fn terms(source: &JobSource, of_class: Terms) -> Terms {
    let said = source.timeouts.unwrap_or_default();
    let or = |seconds: Option<i32>, otherwise| {
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(otherwise, Duration::from_secs)
    };
    let patience = of_class.patience;
    Terms {
        patience: Patience {
            connect: or(said.connect_seconds, patience.connect),
            first_byte: or(said.first_byte_seconds, patience.first_byte),
            silence: or(said.silence_seconds, patience.silence),
        },
        ..of_class
    }
}

async fn read(path: &str, what: &str) -> Result<String, SourceFailure> {
    let reading = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(FILE_MAXIMUM).read_to_string(&mut text).await?;
        Ok(text)
    };
    reading.await.map_err(|error: io::Error| {
        invalid(format!("the file with its {what} cannot be read ({error})"))
    })
}

/// Headers as `Name: value` lines; empty lines and lines with `#` are left out.
fn parse_headers(text: &str) -> Result<Vec<(String, String)>, SourceFailure> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| match line.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(invalid(format!(
                "line {} of its headers is not `Name: value`",
                index + 1
            ))),
        })
        .collect()
}

fn invalid(detail: String) -> SourceFailure {
    SourceFailure::InvalidRequest { detail }
}

#[cfg(test)]
mod tests {
    use api::connection::SourceTimeouts;
    use upstream::egress::EgressPolicy;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_source_is_waited_for_as_it_says_and_else_like_all_others() {
        let of_class = Terms {
            policy: EgressPolicy::default(),
            patience: Patience::default(),
        };
        let plain = fixtures::source(0, "http://a.example");
        assert_eq!(terms(&plain, of_class), of_class);
        let slow = JobSource {
            timeouts: Some(SourceTimeouts {
                silence_seconds: Some(12),
                ..SourceTimeouts::default()
            }),
            ..plain
        };
        let expected = Patience {
            silence: Duration::from_secs(12),
            ..Patience::default()
        };
        assert_eq!(terms(&slow, of_class).patience, expected);
    }

    #[tokio::test]
    async fn address_and_headers_may_stand_in_mounted_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        let source = JobSource {
            address: SourceAddress::UrlFile(file("url", "http://a.example/live?key=1\n")),
            headers: vec![("X-One".to_owned(), "1".to_owned())],
            headers_file: Some(file("headers", "# login\nX-Two: a:b\n\nX-Three:c\n")),
            user_agent: Some("Box/1".to_owned()),
            ..fixtures::source(0, "")
        };
        let request = of(&source).await.unwrap();
        assert_eq!(request.url.as_str(), "http://a.example/live?key=1");
        assert_eq!(request.user_agent.as_deref(), Some("Box/1"));
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            headers,
            [("X-One", "1"), ("X-Two", "a:b"), ("X-Three", "c")]
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_without_what_was_read() {
        let missing = JobSource {
            address: SourceAddress::UrlFile("/nonexistent/url".to_owned()),
            ..fixtures::source(0, "")
        };
        let message = of(&missing).await.err().unwrap().to_string();
        assert!(message.contains("file with its address"), "{message}");
        let message = of(&fixtures::source(0, "secret words"))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains("no URL") && !message.contains("secret"),
            "{message}"
        );
        let message = parse_headers("X-One: 1\nsecret").unwrap_err().to_string();
        assert!(
            message.contains("line 2") && !message.contains("secret"),
            "{message}"
        );
    }
}
