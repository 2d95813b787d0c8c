//! What FFmpeg says of its connection and its end, in words of ours: its own lines repeat addresses, and what a server sent. Nothing
//! else of them is kept, logged or shown.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use upstream::failure::SourceFailure;
use upstream::milestones::{Milestone, Milestones};

/// Bytes of a line that are looked at.
const LINE_MAXIMUM: usize = 2048;

/// Levels of what FFmpeg says that are of no account for its end: attempts that fail while another one succeeds, names of media.
const CHATTER: [&str; 5] = ["warning", "info", "verbose", "debug", "trace"];
/// What it says, by the way, once a TCP connection of its is there. Of SRT it says nothing; over UDP and RTP there is none.
const CONNECTED: &str = "Successfully connected to ";

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
    fn hear(&mut self, line: &str, milestones: &Milestones) {
        let (level, message) = parts(line);
        if level.is_some_and(|level| CHATTER.contains(&level)) {
            if message.starts_with(CONNECTED) {
                milestones.reach(Milestone::Connected);
            }
            return;
        }
        let found = CAUSES
            .iter()
            .position(|(needle, _)| message.contains(needle));
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

/// The level of a line, where it says one, and its message: `[tcp @ 0x55fc939f8b00] [verbose] message`.
fn parts(line: &str) -> (Option<&str>, &str) {
    let mut rest = line;
    while let Some((mark, behind)) = rest.strip_prefix('[').and_then(|one| one.split_once("] ")) {
        if !mark.contains(" @ ") {
            return (Some(mark), behind);
        }
        rest = behind;
    }
    (None, rest)
}

/// Listens to the end.
pub(super) async fn listen(mut stderr: impl AsyncRead + Unpin, milestones: &Milestones) -> Words {
    let mut words = Words::default();
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        for &byte in &buffer[..length] {
            if byte == b'\n' {
                words.hear(&String::from_utf8_lossy(&line), milestones);
                line.clear();
            } else if line.len() < LINE_MAXIMUM {
                line.push(byte);
            }
        }
    }
    words.hear(&String::from_utf8_lossy(&line), milestones);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opening(said: &str) -> String {
        let words = listen(said.as_bytes(), &Milestones::default()).await;
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
    async fn a_connection_is_a_milestone_and_what_failed_on_the_way_to_it_is_no_cause() {
        for (said, is_connected) in [
            (
                "[tcp @ 0x5649ef1103c0] [verbose] Successfully connected to 192.0.2.1 port 1935\n",
                true,
            ),
            (
                "[tcp @ 0x5649ef1103c0] [verbose] Starting connection attempt to 192.0.2.1 port 1935\n",
                false,
            ),
            (
                "[rtmp @ 0x56] [tcp @ 0x55] [verbose] Connected attempt to ::1 failed: Connection refused\n",
                false,
            ),
            (
                "[info]     title : x Successfully connected to 192.0.2.1 port 1935\n",
                false,
            ),
            ("Successfully connected to 192.0.2.1 port 1935\n", false),
        ] {
            let milestones = Milestones::default();
            let words = listen(said.as_bytes(), &milestones).await;
            let reached = milestones.reached().connected;
            assert_eq!(reached.is_some(), is_connected, "{said}");
            assert_eq!(words, Words::default(), "{said}");
        }
        let refused = "[in#0 @ 0x5649] [error] Error opening input: Connection refused\n";
        assert!(opening(refused).await.ends_with("connection refused"));
    }

    #[tokio::test]
    async fn an_end_says_why_if_that_is_known() {
        let ended = |said: &'static str| async move {
            let words = listen(said.as_bytes(), &Milestones::default()).await;
            words.ending("srt://a.example:9").to_string()
        };
        assert_eq!(ended("").await, "srt://a.example:9 ended the stream");
        assert_eq!(
            ended("pipe:0: Input/output error\n").await,
            "srt://a.example:9 ended the stream: the connection broke"
        );
    }
}
