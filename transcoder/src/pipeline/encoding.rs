//! The part of the pipeline that deals with encoder processes: what they bring, what follows when they fail or lag.

use std::time::Duration;

use api::condition::Reason;
use api::stream_class::EncodedRenditions;
use media::segmenter::io::RenditionId;
use rustix::process::Signal;
use tokio::time::Instant;

use super::flow::effect::{EncoderId, Now, Role};
use super::flow::ring::Next;
use super::processes::Restart;
use super::{Outcome, Pipeline, slate};
use crate::encoder::{EncoderEvent, Exit};

/// An encoder that is so far behind cannot keep up, however much of its input still fits the queue.
const LATE: Duration = Duration::from_secs(5);
/// An encoder that is no further behind than this keeps up.
const IN_TIME: Duration = Duration::from_secs(2);
/// What is said of one that falls behind.
const TOO_SLOW: &str = "the encoder cannot keep up with the source";
/// Beside a picture that is passed through, an encoder that fails again and again is tried this often.
const NEXT_TRY: Duration = Duration::from_secs(30);
/// What ends an encoder that writes to a file: no file of its may grow.
const WROTE: i32 = Signal::XFSZ.as_raw();

impl Pipeline {
    /// An encoder says something.
    pub(super) async fn hear(&mut self, id: EncoderId, event: EncoderEvent) -> Option<Outcome> {
        if id == slate::MAKER {
            self.hear_maker(event);
            return None;
        }
        let now = self.now();
        match event {
            EncoderEvent::Progress(line) => {
                tracing::trace!(line, "encoder progress");
                None
            }
            EncoderEvent::Media { pipe, bytes } => {
                let effects = self.flow.encoded(id, pipe, &bytes, now);
                self.settle(effects).await
            }
            EncoderEvent::Ended { exit, last_words } => {
                let role = self.flow.role(id);
                let effects = self.flow.encoder_ended(id, now);
                let outcome = self.settle(effects).await;
                match role {
                    Some(role) if outcome.is_none() => {
                        self.encoder_failed(role, describe(exit, last_words)).await
                    }
                    _ => outcome,
                }
            }
        }
    }

    /// Gives the encoders what they have room for; one that cannot keep up is replaced, and its renditions have a gap.
    pub(super) async fn feed_encoders(&mut self) {
        for id in self.flow.fed() {
            while self.processes.has_room(id) {
                match self.flow.input(id) {
                    Next::Bytes(bytes) => self.processes.feed(id, bytes),
                    Next::Nothing => break,
                    Next::Lost => {
                        self.too_slow(id).await;
                        break;
                    }
                }
            }
        }
    }

    async fn too_slow(&mut self, id: EncoderId) {
        let Some(role) = self.flow.role(id) else {
            return;
        };
        let now = self.now();
        let recovery = self.recoveries.entry(role).or_default();
        recovery.at = Some(match recovery.failures.another(now.monotonic) {
            Restart::At(at) => at,
            Restart::Hopeless => now.monotonic + NEXT_TRY,
        });
        let effects = self.flow.encoder_failed(role, true, now);
        drop(self.carry_out(effects).await);
        self.tell_trouble(&self.advise(TOO_SLOW));
    }

    async fn encoder_failed(&mut self, role: Role, message: String) -> Option<Outcome> {
        let now = self.now();
        let recovery = self.recoveries.entry(role).or_default();
        recovery.at = Some(match recovery.failures.another(now.monotonic) {
            Restart::At(at) => at,
            Restart::Hopeless if self.passes_through => now.monotonic + NEXT_TRY,
            Restart::Hopeless => {
                return Some(self.give_up(Reason::TranscoderFailed, message).await);
            }
        });
        let is_hard = recovery.failures.are_repeated();
        self.tell_trouble(&message);
        let effects = self.flow.encoder_failed(role, is_hard, now);
        self.settle(effects).await
    }

    /// When an encoder is started again.
    pub(super) fn restart_at(&self) -> Option<Instant> {
        let times = self.recoveries.values().filter_map(|recovery| recovery.at);
        times.min().map(|at| self.parts.started + at)
    }

    /// Fresh encoders take over.
    pub(super) async fn restart_encoders(&mut self) -> Option<Outcome> {
        let now = self.now();
        let mut effects = Vec::new();
        for (role, recovery) in &mut self.recoveries {
            if recovery.at.take_if(|at| *at <= now.monotonic).is_some() {
                effects.extend(self.flow.restart_encoder(*role, now));
            }
        }
        self.settle(effects).await
    }

    /// Looks how the encoder is doing.
    pub(super) fn look_at_encoder(&mut self, now: Now) {
        let delay = self.flow.encoder_delay(now);
        if let Some(delay) = delay {
            self.parts.metrics.encoder_delay(delay.as_seconds());
        }
        self.judge_delay(delay.unwrap_or_default().to_duration());
        for recovery in self.recoveries.values_mut() {
            recovery.failures.forget(now.monotonic);
        }
        let mut recoveries = self.recoveries.values();
        let is_well = recoveries.all(|recovery| recovery.failures.is_empty());
        if is_well && !self.encoder_lags && self.left_out.is_empty() {
            let board = &self.parts.board;
            board.set_trouble(Reason::EncoderTooSlow, None);
        }
    }

    fn judge_delay(&mut self, delay: Duration) {
        if delay > LATE && !self.encoder_lags {
            self.encoder_lags = true;
            self.tell_trouble(&self.advise("the encoder is seconds behind the source"));
        } else if delay < IN_TIME {
            self.encoder_lags = false;
        }
    }

    /// The encoder goes without these renditions from now on: they have gaps, and everything else goes on.
    pub(super) fn leave_out(&mut self, renditions: Vec<RenditionId>) {
        self.parts.metrics.renditions_left_out(renditions.len());
        self.left_out = renditions;
        if self.left_out.is_empty() {
            return tracing::info!("every rendition is encoded again");
        }
        let message = self.advise(TOO_SLOW);
        tracing::warn!(message, "fewer renditions are encoded");
        let board = &self.parts.board;
        board.restate_trouble(Reason::EncoderTooSlow, &message);
    }

    fn advise(&self, what: &str) -> String {
        let class = &self.parts.job.class;
        let always = class.encoded_renditions == EncodedRenditions::Always;
        advise(what, &self.left_out, self.passes_through && always)
    }

    fn tell_trouble(&self, message: &str) {
        tracing::warn!(message, "the encoder failed");
        let board = &self.parts.board;
        board.set_trouble(Reason::EncoderTooSlow, Some(message));
    }

    /// Lets the encoders bring what they have, in bounded time: each of them is closed, and closing is bounded.
    pub(super) async fn drain_encoders(&mut self) {
        let limit = Instant::now() + Duration::from_secs(6);
        while !self.flow.is_drained() {
            let heard = tokio::time::timeout_at(limit, self.processes.next()).await;
            let Ok(Some((id, event))) = heard else {
                tracing::warn!("the encoders did not end in time");
                return;
            };
            let now = self.now();
            let effects = match event {
                EncoderEvent::Media { pipe, bytes } => self.flow.encoded(id, pipe, &bytes, now),
                EncoderEvent::Ended { .. } => self.flow.encoder_ended(id, now),
                EncoderEvent::Progress(_) => continue,
            };
            drop(self.carry_out(effects).await);
        }
    }
}

/// What is wrong, what follows from it, and what can be done.
fn advise(what: &str, left_out: &[RenditionId], could_wait: bool) -> String {
    let names: Vec<&str> = left_out.iter().map(RenditionId::as_str).collect();
    let follows = match names.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is left out for now"),
        all => format!("; {} are left out for now", all.join(", ")),
    };
    let besides = match could_wait {
        true => ", a lower preset, or encodedRenditions: OnDemand",
        false => " or a lower preset",
    };
    format!("{what}{follows}: give the class more CPU{besides}")
}

fn describe(exit: Exit, last_words: Option<String>) -> String {
    let how = match exit {
        Exit::Code(code) => format!("ended with code {code}"),
        Exit::Signal(WROTE) => "was ended by its sandbox because it wrote to a file".to_owned(),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    };
    match last_words {
        Some(words) => format!("the encoder {how}: {words}"),
        None => format!("the encoder {how}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_says_what_is_left_out_and_what_to_do() {
        for (left_out, could_wait, told) in [
            (
                &["720p", "480p"][..],
                true,
                "the encoder cannot keep up with the source; 720p, 480p are left out for now: \
                 give the class more CPU, a lower preset, or encodedRenditions: OnDemand",
            ),
            (
                &["720p"],
                false,
                "the encoder cannot keep up with the source; 720p is left out for now: \
                 give the class more CPU or a lower preset",
            ),
            (
                &[],
                false,
                "the encoder cannot keep up with the source: give the class more CPU or a lower preset",
            ),
        ] {
            let left_out: Vec<_> = left_out.iter().map(|id| RenditionId::new(id)).collect();
            assert_eq!(advise(TOO_SLOW, &left_out, could_wait), told);
        }
    }

    #[test]
    fn the_end_of_an_encoder_has_a_name_and_its_last_words() {
        for (exit, words, told) in [
            (
                Exit::Code(1),
                Some("Cannot allocate memory"),
                "the encoder ended with code 1: Cannot allocate memory",
            ),
            (
                Exit::Signal(25),
                None,
                "the encoder was ended by its sandbox because it wrote to a file",
            ),
            (Exit::Signal(11), None, "the encoder was ended by signal 11"),
        ] {
            assert_eq!(describe(exit, words.map(str::to_owned)), told);
        }
    }
}
