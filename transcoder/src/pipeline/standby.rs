//! The part of the pipeline that is a standby: it waits for its turn, whatever its sources do meanwhile, and goes on when it is told to.
//! Nothing that happens before that is counted against the stream.

use std::time::Duration;

use api::control::{JobPhase, PublishRequest};
use tokio::sync::oneshot;

use super::sources::Sources;
use super::{Outcome, Pipeline};
use crate::packager;

/// A standby whose sources were all tried for long enough begins anew after this.
pub(super) const NEXT_ROUND: Duration = Duration::from_secs(15);

impl Pipeline {
    /// Goes on where another attempt has ended; what publishes already does so anyway. An attempt that is finished says that it has
    /// ended: by dropping the answer.
    pub(super) async fn publish(&mut self, request: PublishRequest, answer: oneshot::Sender<()>) {
        if self.finished.is_some() {
            return;
        }
        if std::mem::take(&mut self.standby) {
            tracing::info!(floor = ?request.floor, "told to publish");
            self.parts.board.update(|status| {
                status.phase = JobPhase::Starting;
                status.ready = false;
            });
            let (done, is_done) = oneshot::channel();
            self.pack(packager::Input::Publish(Box::new(request), done))
                .await;
            let _ = is_done.await;
            self.have_source().await;
        }
        let _ = answer.send(());
    }

    /// Connects where there is no connection, with all the patience that a stream has that begins now.
    async fn have_source(&mut self) {
        let healthy = self.parts.board.subscribe().borrow().source.healthy;
        let is_on_its_way = self.parts.source.is_open();
        if is_on_its_way && healthy != Some(false) {
            return;
        }
        self.begin_round(Duration::ZERO).await;
    }

    /// Tries the sources from the first one on, as if nothing had happened.
    pub(super) async fn begin_round(&mut self, after: Duration) {
        let before = self.sources.index();
        self.sources = Sources::new(&self.parts.job, self.parts.give_up_after);
        self.connect(before, after).await;
    }

    /// The process is to end: a stream goes on for a while, a standby has nothing to go on with.
    pub(super) async fn shut_down(&mut self) -> Option<Outcome> {
        if self.standby {
            return Some(self.end().await);
        }
        self.ends_at = Some(tokio::time::Instant::now() + self.parts.grace);
        None
    }
}
