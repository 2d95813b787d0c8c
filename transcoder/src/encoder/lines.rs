//! What the encoder writes for people and for meters: its problems and its progress. Bounded in length and in number.
//! Its words are logged and shown, never acted upon.

use std::time::Duration;

use media::ffmpeg::lines::Lines;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::{EncoderEvent, Report};

/// Lines that are logged in one go.
const ALLOWANCE: u32 = 20;
/// One more line is logged each such interval.
const REFILL: Duration = Duration::from_secs(5);

/// How many lines may still be logged.
#[derive(Debug)]
struct Allowance {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: ALLOWANCE,
            refilled: now,
            suppressed: 0,
        }
    }

    /// Whether a line may be logged now, and how many were not before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let intervals = now.duration_since(self.refilled).as_millis() / REFILL.as_millis();
        if intervals > 0 {
            let more = u32::try_from(intervals).unwrap_or(ALLOWANCE);
            self.left = self.left.saturating_add(more).min(ALLOWANCE);
            self.refilled = now;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// What FFmpeg says of every pipe of encoded audio, and what is no problem.
const HARMLESS: &str = "frame size not set";

/// Logs the encoder's problems until it ends; answers its last words.
pub(super) async fn problems(stderr: impl AsyncRead + Unpin) -> Option<String> {
    let mut last = None;
    let mut allowance = Allowance::new(Instant::now());
    read(stderr, |line| {
        if line.ends_with(HARMLESS) {
            return;
        }
        if let Some(suppressed) = allowance.take(Instant::now()) {
            tracing::warn!(line, suppressed, "the encoder reports a problem");
        }
        last = Some(line);
    })
    .await;
    last
}

/// Hands on the lines of the progress report.
pub(super) async fn progress(stdout: impl AsyncRead + Unpin, report: Report) {
    read(stdout, |line| {
        report.tell(EncoderEvent::Progress(line));
    })
    .await;
}

async fn read(mut pipe: impl AsyncRead + Unpin, mut line: impl FnMut(String)) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        lines.push(&buffer[..length], &mut line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_lines_is_logged_in_part_and_counted() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let logged = (0..100).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(allowance.take(start + REFILL), Some(80));
        assert_eq!(allowance.take(start + REFILL), None);
    }
}
