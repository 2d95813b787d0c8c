//! Follows the playlists of one stream for as long as somebody looks: long polls of its current pod, and the state file on the volume
//! while the pod cannot be reached. Decides nothing about numbers; the gateway does.

use std::sync::Arc;
use std::time::Duration;

use api::job::StreamIdentity;
use api::playlists::Playlists;
use jiff::Timestamp;
use tokio::sync::watch;

use super::pod::{PodFailure, Pods, Target};
use super::volume::Volume;
use crate::directory::StreamView;
use crate::origin::Demand;

/// The first pause after a poll that failed: a pod has an address before it listens.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAXIMUM: Duration = Duration::from_secs(1);

/// Everything one follower needs.
pub(super) struct Follower {
    pub(super) stream: Arc<StreamIdentity>,
    pub(super) demand: Arc<Demand>,
    pub(super) view: watch::Receiver<Arc<StreamView>>,
    pub(super) pods: Arc<Pods>,
    pub(super) volume: Arc<Volume>,
    pub(super) documents: watch::Sender<Option<Arc<Playlists>>>,
}

/// Runs until nobody looks any more.
pub(super) async fn follow(mut follower: Follower) {
    loop {
        let view = follower.view.borrow_and_update().clone();
        let target = Target::of(&view, &follower.stream.uid);
        let mut views = follower.view.clone();
        tokio::select! {
            () = follower.documents.closed() => return,
            () = changed(&mut views, &follower.stream.uid, target.as_ref()) => {}
            () = follower.poll(target.as_ref()) => {}
        }
    }
}

/// Ends when the stream has another target.
async fn changed(
    view: &mut watch::Receiver<Arc<StreamView>>,
    stream_uid: &str,
    target: Option<&Target>,
) {
    let other = |view: &Arc<StreamView>| Target::of(view, stream_uid).as_ref() != target;
    if view.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Follower {
    /// Polls one pod for ever.
    async fn poll(&self, target: Option<&Target>) {
        let Some(target) = target else {
            return std::future::pending().await;
        };
        let mut after = 0;
        let mut pause = PAUSE;
        loop {
            let requested: Vec<String> = self.demand.take().into_iter().collect();
            match self.wait(target, after, &requested.join(",")).await {
                Ok(playlists) => {
                    // A poll without news is answered with what is there; the pause keeps a pod that answers at once bearable.
                    let news = playlists.version != after;
                    after = playlists.version;
                    self.documents.send_replace(Some(Arc::new(playlists)));
                    pause = if news { Duration::ZERO } else { PAUSE };
                }
                Err(failure) => {
                    requested
                        .iter()
                        .for_each(|rendition| self.demand.ask(rendition));
                    self.fall_back(target, &failure).await;
                    pause = (pause * 2).clamp(PAUSE, PAUSE_MAXIMUM);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One long poll. What viewers ask for meanwhile and cannot wait is told beside it.
    async fn wait(
        &self,
        target: &Target,
        after: u64,
        requested: &str,
    ) -> Result<Playlists, PodFailure> {
        let mut poll =
            std::pin::pin!(
                self.pods
                    .playlists(target, after, requested, self.demand.viewers())
            );
        loop {
            tokio::select! {
                answer = &mut poll => return answer,
                () = self.demand.urged() => {}
            }
            let urgent: Vec<String> = self.demand.take().into_iter().collect();
            if !urgent.is_empty() {
                // Answered at once, as any version is news; the long poll brings what follows from it.
                let wanted = urgent.join(",");
                let told = self
                    .pods
                    .playlists(target, 0, &wanted, self.demand.viewers());
                tokio::select! {
                    answer = &mut poll => return answer,
                    told = told => if told.is_err() {
                        urgent.iter().for_each(|rendition| self.demand.ask(rendition));
                    },
                }
            }
        }
    }

    async fn fall_back(&self, target: &Target, failure: &PodFailure) {
        tracing::debug!(stream.uid = target.stream_uid, attempt = target.attempt, %failure, "poll failed");
        if matches!(failure, PodFailure::Misdirected) {
            return;
        }
        let view = self.view.borrow().clone();
        let pod = view.attempt_pod_name(&self.stream, target.attempt);
        let Ok(state) = self.volume.state(&pod).await else {
            return;
        };
        if is_current(&state, target, Timestamp::now()) {
            self.documents.send_replace(Some(Arc::new(state)));
        }
    }
}

/// Whether a state file speaks of the attempt and is not older than three target durations.
fn is_current(state: &Playlists, target: &Target, now: Timestamp) -> bool {
    let age = now
        .as_millisecond()
        .saturating_sub(state.updated_unix_milliseconds);
    let limit = 3 * 1000 * i64::from(state.target_duration_seconds);
    state.stream_uid == target.stream_uid && state.attempt == target.attempt && age <= limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::testing::playlists;

    #[test]
    fn a_state_file_counts_for_three_target_durations_of_its_own_attempt() {
        let target = |uid: &str, attempt| Target {
            stream_uid: uid.to_owned(),
            attempt,
            endpoint: "192.0.2.1:8080".parse().unwrap(),
        };
        let state = playlists("uid-1", 3, 1, 10..13);
        let at = |milliseconds| {
            let moment = state.updated_unix_milliseconds + milliseconds;
            Timestamp::from_millisecond(moment).unwrap()
        };
        assert!(is_current(&state, &target("uid-1", 3), at(0)));
        assert!(is_current(&state, &target("uid-1", 3), at(12_000)));
        assert!(!is_current(&state, &target("uid-1", 3), at(12_001)));
        assert!(!is_current(&state, &target("uid-1", 4), at(0)));
        assert!(!is_current(&state, &target("uid-2", 3), at(0)));
        assert!(
            is_current(&state, &target("uid-1", 3), at(-5_000)),
            "clocks differ"
        );
    }
}
