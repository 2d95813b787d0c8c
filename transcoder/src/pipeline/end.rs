//! The part of the pipeline that ends things: commands, the last segment, giving up. Every step of it is bounded in time.

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase};
use tokio::sync::oneshot;

use super::{Outcome, Pipeline, grants};
use crate::handle::Command;
use crate::packager;

impl Pipeline {
    /// Does what it is told.
    pub(super) async fn obey(&mut self, command: Command) -> Option<Outcome> {
        match command {
            Command::Finish(answer) => {
                let finished = self.close().await;
                self.parts.board.update(|status| {
                    status.phase = JobPhase::Finished;
                    status.ready = false;
                });
                let _ = answer.send(finished);
                None
            }
            Command::Publish(request, answer) => {
                self.publish(*request, answer).await;
                None
            }
            Command::Grant(grant, answer) => {
                let _ = answer.send(self.take_grant(&grant).await);
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
    async fn close(&mut self) -> FinishAnswer {
        if let Some(answer) = &self.finished {
            return answer.clone();
        }
        self.parts.source.close();
        self.deadline = None;
        self.recoveries.clear();
        let board = &self.parts.board;
        board.update(|status| {
            status.source.connected = false;
            grants::ask(status, Vec::new());
        });
        let now = self.now();
        let effects = self.flow.finish(now);
        drop(self.carry_out(effects).await);
        self.drain_encoders().await;
        self.parts.source.closed().await;
        let (answer, answered) = oneshot::channel();
        self.pack(packager::Input::Finish(answer)).await;
        let playlists = answered.await.ok();
        let finished = FinishAnswer {
            next: playlists
                .as_ref()
                .map_or(self.parts.job.resume, |last| last.next),
            listed: playlists.filter(|last| !last.segments.is_empty()),
        };
        self.finished.insert(finished).clone()
    }
}
