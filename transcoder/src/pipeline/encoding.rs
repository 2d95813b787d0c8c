//! The part of the pipeline that deals with encoder processes: what they bring, what follows when they fail or lag.

use std::time::Duration;

use api::condition::Reason;
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
        self.tell_trouble("the encoder cannot keep up with the source");
        let now = self.parts.started.elapsed();
        let recovery = self.recoveries.entry(role).or_default();
        recovery.at = Some(match recovery.failures.another(now) {
            Restart::At(at) => at,
            Restart::Hopeless => now + NEXT_TRY,
        });
        let effects = self.flow.close_encoder(role);
        drop(self.carry_out(effects).await);
    }

    async fn encoder_failed(&mut self, role: Role, message: String) -> Option<Outcome> {
        self.tell_trouble(&message);
        let now = self.parts.started.elapsed();
        let recovery = self.recoveries.entry(role).or_default();
        recovery.at = Some(match recovery.failures.another(now) {
            Restart::At(at) => at,
            Restart::Hopeless if self.passes_through => now + NEXT_TRY,
            Restart::Hopeless => {
                return Some(self.give_up(Reason::TranscoderFailed, message).await);
            }
        });
        None
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
        if let Some(delay) = self.flow.encoder_delay(now) {
            self.parts.metrics.encoder_delay(delay.as_seconds());
            self.judge_delay(delay.to_duration());
        }
        let mut recoveries = self.recoveries.values_mut();
        let are_over = recoveries.any(|recovery| recovery.failures.are_over(now.monotonic));
        if are_over && !self.encoder_lags {
            let board = &self.parts.board;
            board.set_trouble(Reason::EncoderTooSlow, None);
        }
    }

    fn judge_delay(&mut self, delay: Duration) {
        if delay > LATE && !self.encoder_lags {
            self.encoder_lags = true;
            self.tell_trouble("the encoder is seconds behind the source; its renditions have gaps");
        } else if delay < IN_TIME && std::mem::take(&mut self.encoder_lags) {
            let board = &self.parts.board;
            board.set_trouble(Reason::EncoderTooSlow, None);
        }
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
