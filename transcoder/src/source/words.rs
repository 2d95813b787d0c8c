//! What FFmpeg says of its end, in words of ours: its own lines repeat addresses, and what a server sent. Nothing else of them
//! is kept, logged or shown.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use upstream::failure::SourceFailure;

/// Bytes of a line that are looked at.
const LINE_MAXIMUM: usize = 2048;

/// Why FFmpeg ended, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server answered with this status.
    Status(u16),
    /// What came is nothing that can be played.
    Unplayable(&'static str),
    /// Anything else.
    Other(&'static str),
}

/// What is looked for, the more telling first, and what it means.
const CAUSES: [(&str, Cause); 24] = [
    ("401 Unauthorized", Cause::Status(401)),
    ("403 Forbidden", Cause::Status(403)),
    ("404 Not Found", Cause::Status(404)),
    ("400 Bad Request", Cause::Status(400)),
    ("returned 4XX", Cause::Status(400)),
    ("returned 5XX", Cause::Status(500)),
    ("StreamNotFound", Cause::Status(404)),
    (
        "not on whitelist",
        Cause::Other("it leads to a protocol that is not allowed"),
    ),
    (
        "Failed to resolve hostname",
        Cause::Other("its name has no address"),
    ),
    ("Connection refused", Cause::Other("connection refused")),
    (
        "Connection reset by peer",
        Cause::Other("connection reset by peer"),
    ),
    ("Connection timed out", Cause::Other("connection timed out")),
    ("No route to host", Cause::Other("no route to host")),
    (
        "Network is unreachable",
        Cause::Other("network is unreachable"),
    ),
    (
        "Address already in use",
        Cause::Other("another stream of this machine takes from its port"),
    ),
    ("erify", Cause::Other("its certificate is not valid")),
    ("certificate", Cause::Other("its certificate is not valid")),
    (
        "does not contain any stream",
        Cause::Unplayable("it has neither picture nor sound"),
    ),
    (
        "Could not find codec parameters",
        Cause::Unplayable("its tracks cannot be told"),
    ),
    (
        "Could not write header",
        Cause::Unplayable("its tracks fit into no transport stream"),
    ),
    (
        "Invalid data found",
        Cause::Unplayable("it sends what FFmpeg cannot read"),
    ),
    // Said by our own program before it becomes FFmpeg.
    ("failed to start", Cause::Other("FFmpeg cannot be started")),
    ("Connection to", Cause::Other("no connection")),
    ("Input/output error", Cause::Other("the connection broke")),
];

/// The most telling of what FFmpeg has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Words(Option<usize>);

impl Words {
    fn hear(&mut self, line: &str) {
        let found = CAUSES.iter().position(|(needle, _)| line.contains(needle));
        self.0 = match (self.0, found) {
            (Some(known), Some(found)) => Some(known.min(found)),
            (known, found) => known.or(found),
        };
    }

    fn cause(self) -> Option<Cause> {
        self.0.map(|index| CAUSES[index].1)
    }

    /// Why a source that was never open cannot be opened.
    pub(super) fn opening(self, origin: &str) -> SourceFailure {
        let origin = origin.to_owned();
        match self.cause() {
            Some(Cause::Status(status)) => SourceFailure::HttpStatus {
                origin,
                status,
                retry_after: None::<Duration>,
            },
            Some(Cause::Unplayable(detail)) => SourceFailure::BadAnswer {
                origin,
                detail: detail.to_owned(),
            },
            Some(Cause::Other(detail)) => SourceFailure::ConnectFailed {
                origin,
                detail: detail.to_owned(),
            },
            None => SourceFailure::ConnectFailed {
                origin,
                detail: "FFmpeg ended without a word that is known".to_owned(),
            },
        }
    }

    /// Why a source that was open is no more.
    pub(super) fn ending(self, origin: &str) -> SourceFailure {
        let detail = self.cause().map(|cause| match cause {
            Cause::Status(status) => format!("status {status}"),
            Cause::Unplayable(detail) | Cause::Other(detail) => detail.to_owned(),
        });
        SourceFailure::EndOfStream {
            origin: origin.to_owned(),
            detail,
        }
    }

    /// Why tracks that FFmpeg was given cannot be joined, or are no more.
    pub(super) fn joining(self, origin: &str) -> SourceFailure {
        let origin = origin.to_owned();
        match self.cause() {
            Some(Cause::Unplayable(detail)) => SourceFailure::BadAnswer {
                origin,
                detail: detail.to_owned(),
            },
            _ => SourceFailure::EndOfStream {
                origin,
                detail: Some("the FFmpeg that joins its tracks is gone".to_owned()),
            },
        }
    }
}

/// Listens to the end.
pub(super) async fn listen(mut stderr: impl AsyncRead + Unpin) -> Words {
    let mut words = Words::default();
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        for &byte in &buffer[..length] {
            if byte == b'\n' {
                words.hear(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < LINE_MAXIMUM {
                line.push(byte);
            }
        }
    }
    words.hear(&String::from_utf8_lossy(&line));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opening(said: &str) -> String {
        let words = listen(said.as_bytes()).await;
        words.opening("rtmp://a.example").to_string()
    }

    #[tokio::test]
    async fn what_ffmpeg_says_is_told_in_words_of_ours() {
        let refused = "[tcp @ 0x55] Connection to tcp://a.example:1935?x=secret failed: Connection refused\n\
                       [concat @ 0x55] Impossible to open 'rtmp://a.example/live/secret'\n\
                       pipe:0: Input/output error\n";
        assert_eq!(
            opening(refused).await,
            "failed to connect to rtmp://a.example: connection refused"
        );
        let unknown = "pipe:0: something about rtmp://a.example/live/secret";
        assert!(
            opening(unknown)
                .await
                .ends_with("without a word that is known")
        );
        assert_eq!(
            opening("Server returned 404 Not Found\n").await,
            "rtmp://a.example answered with HTTP status 404"
        );
        assert_eq!(
            opening("pipe:0: Invalid data found when processing input").await,
            "failed to read the answer of rtmp://a.example: it sends what FFmpeg cannot read"
        );
    }

    #[tokio::test]
    async fn an_end_says_why_if_that_is_known() {
        let ended = |said: &'static str| async move {
            let words = listen(said.as_bytes()).await;
            words.ending("srt://a.example:9").to_string()
        };
        assert_eq!(ended("").await, "srt://a.example:9 ended the stream");
        assert_eq!(
            ended("pipe:0: Input/output error\n").await,
            "srt://a.example:9 ended the stream: the connection broke"
        );
    }
}
