//! The part of the pipeline that ends things: commands, the last segment, giving up. Every step of it is bounded in time.

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase};
use api::job::ResumeFloor;
use tokio::sync::oneshot;

use super::{Outcome, Pipeline};
use crate::handle::Command;
use crate::packager;

impl Pipeline {
    /// Does what it is told.
    pub(super) async fn obey(&mut self, command: Command) -> Option<Outcome> {
        match command {
            Command::Finish(answer) => {
                let next = self.close().await;
                let board = &self.parts.board;
                board.update(|status| status.phase = JobPhase::Finished);
                let _ = answer.send(FinishAnswer { next });
                None
            }
            Command::Publish(floor, answer) => {
                tracing::info!(?floor, "told to publish, which it does already");
                let _ = answer.send(());
                None
            }
            Command::Stop(answer) => {
                let outcome = self.end().await;
                let _ = answer.send(());
                Some(outcome)
            }
        }
    }

    /// Ends because it was told to, or because the process ends.
    pub(super) async fn end(&mut self) -> Outcome {
        self.close().await;
        Outcome::Stopped
    }

    /// Ends because nothing helps.
    pub(super) async fn give_up(&mut self, reason: Reason, message: String) -> Outcome {
        self.close().await;
        let board = &self.parts.board;
        board.update(|status| status.phase = JobPhase::Failed);
        Outcome::Failed { reason, message }
    }

    /// Closes the source and the last segment, once; answers where to go on.
    async fn close(&mut self) -> ResumeFloor {
        if let Some(next) = self.finished {
            return next;
        }
        self.parts.source.close();
        self.deadline = None;
        self.recoveries.clear();
        let board = &self.parts.board;
        board.update(|status| status.source.connected = false);
        let now = self.now();
        let effects = self.flow.finish(now);
        drop(self.carry_out(effects).await);
        self.drain_encoders().await;
        self.parts.source.closed().await;
        let (answer, answered) = oneshot::channel();
        self.pack(packager::Input::Finish(answer)).await;
        let next = answered.await.unwrap_or_default();
        self.finished = Some(next);
        next
    }
}
