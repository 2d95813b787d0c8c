//! Tells the person at the terminal what happens, in words. Says nothing that the log does not know better, and never waits for a reader.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Things to say that wait for the terminal; more are dropped.
const WAITING: usize = 256;

/// Something that happened to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody asked for it, and its source is being connected.
    Starting,
    /// The first segment is there.
    Playable {
        /// From the start, if it was the first attempt.
        after: Option<Duration>,
        /// What is played, and how.
        what: String,
    },
    /// It cannot be played now.
    Trouble(String),
    /// As many watch it now.
    Viewers(u32),
    /// Nobody has watched for so long: it is being stopped.
    Idle(Duration),
    /// It has stopped: no connection, no process, no file is left.
    Stopped,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => write!(formatter, "somebody wants to watch: starting"),
            Self::Playable {
                after: Some(after),
                what,
            } => {
                write!(
                    formatter,
                    "playable after {:.1} s: {what}",
                    after.as_secs_f64()
                )
            }
            Self::Playable { after: None, what } => write!(formatter, "playable again: {what}"),
            Self::Trouble(message) => write!(formatter, "trouble: {message}"),
            Self::Viewers(1) => write!(formatter, "1 viewer"),
            Self::Viewers(viewers) => write!(formatter, "{viewers} viewers"),
            Self::Idle(timeout) => {
                write!(
                    formatter,
                    "nobody has watched for {} s: stopping",
                    timeout.as_secs()
                )
            }
            Self::Stopped => write!(formatter, "stopped; nothing of it runs any more"),
        }
    }
}

/// Where things are told. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Narrator(mpsc::Sender<String>);

impl Narrator {
    /// A narrator, and what it has to say.
    pub(crate) fn new() -> (Self, mpsc::Receiver<String>) {
        let (sender, lines) = mpsc::channel(WAITING);
        (Self(sender), lines)
    }

    /// Tells what happened to a channel.
    pub(crate) fn tell(&self, channel: &str, event: &Event) {
        tracing::debug!(channel, event = %event, "told");
        let _ = self.0.try_send(format!("{channel}: {event}"));
    }
}

/// Prints what is told until `end` is cancelled, and what was told before that.
pub(crate) async fn print(mut lines: mpsc::Receiver<String>, end: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => say(&line),
            () = end.cancelled() => return,
        }
    }
}

/// Prints a line. A closed standard output is nobody's trouble.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sentences() {
        let playable = Event::Playable {
            after: Some(Duration::from_millis(1340)),
            what: "passed through".to_owned(),
        };
        assert_eq!(playable.to_string(), "playable after 1.3 s: passed through");
        assert_eq!(Event::Viewers(1).to_string(), "1 viewer");
        assert_eq!(Event::Viewers(0).to_string(), "0 viewers");
    }

    #[tokio::test]
    async fn a_terminal_that_takes_nothing_holds_nobody_up() {
        let (narrator, mut lines) = Narrator::new();
        for _ in 0..2 * WAITING {
            narrator.tell("news", &Event::Starting);
        }
        assert_eq!(
            lines.recv().await.unwrap(),
            "news: somebody wants to watch: starting"
        );
    }
}
