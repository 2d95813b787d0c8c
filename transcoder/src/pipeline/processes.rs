//! The encoder processes of one attempt: started, fed and closed as the flow says, started again in bounded numbers when they fail.
//! What they do wrong is theirs, never the source's.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use media::ffmpeg::args::Encode;
use media::ffmpeg::slate::SlateOrder;
use tokio::sync::mpsc;
use upstream::looks;

use super::flow::effect::EncoderId;
use crate::encoder::{Encoder, EncoderCommand, EncoderEvent, Reports};
use crate::sandbox::Launcher;

/// Failures within this are counted together.
const MEMORY: Duration = Duration::from_secs(60);
/// How long is waited after each of them.
const DELAYS: [u64; 5] = [0, 1, 2, 4, 8];
/// So many of them are no accident: less work may mend it.
const REPEATED: usize = 3;
/// After so long without a failure all is well.
const WELL: Duration = Duration::from_secs(30);

/// What follows upon the failure of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// Another one, at that time.
    At(Duration),
    /// They fail again and again.
    Hopeless,
}

/// How one role does: its failures, and when it is tried again.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The failures of late.
    pub(super) failures: Failures,
    /// When another encoder is started.
    pub(super) at: Option<Duration>,
}

/// The failures of late. Pure.
#[derive(Debug, Default)]
pub(super) struct Failures {
    recent: VecDeque<Duration>,
}

impl Failures {
    /// One more.
    pub(super) fn another(&mut self, now: Duration) -> Restart {
        self.recent.retain(|at| now.saturating_sub(*at) < MEMORY);
        let delay = DELAYS.get(self.recent.len());
        self.recent.push_back(now);
        delay.map_or(Restart::Hopeless, |delay| {
            Restart::At(now + Duration::from_secs(*delay))
        })
    }

    /// Whether another one like the last would be no accident any more.
    pub(super) fn are_repeated(&self) -> bool {
        self.recent.len() >= REPEATED
    }

    /// Whether none counts any more.
    pub(super) fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    /// Forgets them when the last is long enough ago.
    pub(super) fn forget(&mut self, now: Duration) {
        let last = self.recent.back();
        if last.is_some_and(|last| now.saturating_sub(*last) >= WELL) {
            self.recent.clear();
        }
    }
}

/// The processes.
#[derive(Debug)]
pub(super) struct Processes {
    launcher: Launcher,
    running: BTreeMap<EncoderId, Encoder>,
    reports: Reports,
    events: mpsc::UnboundedReceiver<(u64, EncoderEvent)>,
}

impl Processes {
    /// None yet.
    pub(super) fn new(launcher: Launcher) -> Self {
        let (reports, events) = mpsc::unbounded_channel();
        Self {
            launcher,
            running: BTreeMap::new(),
            reports,
            events,
        }
    }

    /// Starts one. One that cannot be started ends at once, like one that fails later.
    pub(super) fn start(&mut self, id: EncoderId, encode: &Encode) {
        tracing::info!(
            encoder = id.0,
            rungs = encode.rungs.len(),
            audio = encode.audio,
            deinterlace = encode.deinterlace,
            "encoder starts"
        );
        self.launch(id, encode.arguments(), encode.pipes());
    }

    /// Starts the one that makes a slate, and ends by itself.
    pub(super) fn start_slate(&mut self, id: EncoderId, order: &SlateOrder) {
        self.launch(id, order.arguments(), order.pipes());
    }

    fn launch(&mut self, id: EncoderId, arguments: Vec<OsString>, pipes: usize) {
        let (program, arguments) = self.launcher.command(arguments);
        let command = EncoderCommand {
            program,
            arguments,
            pipes,
            hurry: looks::HURRY,
        };
        let encoder = Encoder::start(command, id.0, self.reports.clone());
        drop(self.running.insert(id, encoder));
    }

    /// Whether one takes more at the moment; one that has ended takes nothing.
    pub(super) fn has_room(&self, id: EncoderId) -> bool {
        let encoder = self.running.get(&id);
        encoder.is_some_and(Encoder::has_room)
    }

    /// Feeds one that has room.
    pub(super) fn feed(&self, id: EncoderId, bytes: Bytes) {
        if let Some(encoder) = self.running.get(&id) {
            encoder.feed(bytes);
        }
    }

    /// Tells one that nothing more follows.
    pub(super) fn close(&mut self, id: EncoderId) {
        if let Some(encoder) = self.running.get_mut(&id) {
            encoder.close();
        }
    }

    /// Ends one at once: nobody wants what it still has.
    pub(super) fn end(&mut self, id: EncoderId) {
        self.running.remove(&id);
    }

    /// What one of them says next. May be cancelled.
    pub(super) async fn next(&mut self) -> Option<(EncoderId, EncoderEvent)> {
        let (number, event) = self.events.recv().await?;
        let id = EncoderId(number);
        if let EncoderEvent::Ended { exit, last_words } = &event {
            self.running.remove(&id);
            tracing::info!(encoder = number, ?exit, last_words, "encoder ended");
        }
        Some((id, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_encoder_that_fails_again_and_again_is_hopeless_and_forgotten_in_time() {
        let mut failures = Failures::default();
        let mut now = seconds(100);
        for delay in DELAYS {
            let expected = now + seconds(delay);
            assert_eq!(failures.another(now), Restart::At(expected));
            now = expected;
        }
        assert_eq!(failures.another(now), Restart::Hopeless);
        assert!(failures.are_repeated());
        failures.forget(now + seconds(29));
        assert!(!failures.is_empty());
        failures.forget(now + seconds(30));
        assert!(failures.is_empty() && !failures.are_repeated());
        let later = now + seconds(31);
        assert_eq!(failures.another(later), Restart::At(later));
    }
}
