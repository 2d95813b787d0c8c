//! Sees every state of the transcoder pods, one change after the other, so that what held only for a moment is not missed.

use std::collections::BTreeMap;
use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What matters of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSeen {
    /// Uid of its stream.
    pub stream_uid: String,
    /// Whether it has been deleted and is ending.
    pub terminating: bool,
    /// Whether it says that it plays.
    pub ready: bool,
}

/// All pods by name, at one moment.
pub type Pods = BTreeMap<String, PodSeen>;

/// Judges a moment; the error says what is broken.
pub type Judge = fn(&Pods) -> Result<()>;

/// Watches until it is told to end.
pub struct Witness {
    end: CancellationToken,
    watching: JoinHandle<Result<()>>,
}

impl Witness {
    /// Watches from now on; every moment has to please the judge.
    ///
    /// # Errors
    /// When the pods cannot be listed or watched.
    pub async fn start(watched: Api<Pod>, judge: Judge) -> Result<Self> {
        let labels = format!(
            "{}={}",
            api::names::LABEL_COMPONENT,
            api::names::COMPONENT_TRANSCODER
        );
        let listed = watched.list(&ListParams::default().labels(&labels)).await?;
        let mut pods: Pods = listed.items.iter().filter_map(seen).collect();
        let version = listed.metadata.resource_version.unwrap_or_default();
        let end = CancellationToken::new();
        let ended = end.clone();
        let watching = tokio::spawn(async move {
            let parameters = WatchParams::default().labels(&labels);
            let changes = watched.watch(&parameters, &version).await?;
            let mut changes = pin!(changes.take_until(ended.cancelled()));
            while let Some(change) = changes.try_next().await? {
                match change {
                    WatchEvent::Added(pod) | WatchEvent::Modified(pod) => pods.extend(seen(&pod)),
                    WatchEvent::Deleted(pod) => drop(pods.remove(&pod.name_any())),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => bail!("the watch of pods failed: {status:?}"),
                }
                judge(&pods)?;
            }
            ensure!(ended.is_cancelled(), "the watch of pods ended early");
            Ok(())
        });
        Ok(Self { end, watching })
    }

    /// Ends; answers whether every moment was as it should be.
    ///
    /// # Errors
    /// The first moment that was not.
    pub async fn end(self) -> Result<()> {
        self.end.cancel();
        self.watching.await.context("the witness is gone")?
    }
}

fn seen(pod: &Pod) -> Option<(String, PodSeen)> {
    let stream_uid = pod.labels().get(api::names::LABEL_STREAM_UID)?.clone();
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.flatten();
    let seen = PodSeen {
        stream_uid,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
    };
    Some((pod.name_any(), seen))
}

/// The invariant: one pod at the most that is not ending for each stream, and two in all.
///
/// # Errors
/// When it does not hold.
pub fn one_pod_a_stream(pods: &Pods) -> Result<()> {
    for uid in pods.values().map(|pod| &pod.stream_uid) {
        let of_stream = || pods.values().filter(|pod| pod.stream_uid == *uid);
        let staying = of_stream().filter(|pod| !pod.terminating).count();
        ensure!(
            staying <= 1 && of_stream().count() <= 2,
            "too many pods of {uid}: {pods:?}"
        );
    }
    Ok(())
}

/// The same; and at most one stream that is played at all has no pod that will go on playing.
///
/// # Errors
/// When it does not hold.
pub fn one_stream_moves(pods: &Pods) -> Result<()> {
    one_pod_a_stream(pods)?;
    let stays = |uid: &String| {
        let mut of_stream = pods.values().filter(|pod| pod.stream_uid == *uid);
        of_stream.any(|pod| pod.ready && !pod.terminating)
    };
    let uids: std::collections::BTreeSet<_> = pods.values().map(|pod| &pod.stream_uid).collect();
    let moving = uids.into_iter().filter(|uid| !stays(uid)).count();
    ensure!(moving <= 1, "{moving} streams move at once: {pods:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(pods: &[(&str, &str, bool, bool)]) -> Pods {
        let pods = pods.iter().map(|(name, stream, terminating, ready)| {
            let seen = PodSeen {
                stream_uid: (*stream).to_owned(),
                terminating: *terminating,
                ready: *ready,
            };
            ((*name).to_owned(), seen)
        });
        pods.collect()
    }

    #[test]
    fn what_breaks_the_invariant_is_seen() {
        let moving = [("a-1", "a", true, true), ("a-2", "a", false, false)];
        let other = ("b-1", "b", false, true);
        one_pod_a_stream(&pods(&moving)).unwrap();
        one_stream_moves(&pods(&[moving[0], moving[1], other])).unwrap();
        let both = [("a-1", "a", false, true), ("a-2", "a", false, false)];
        assert!(one_pod_a_stream(&pods(&both)).is_err());
        let three = [moving[0], moving[1], ("a-0", "a", true, false)];
        assert!(one_pod_a_stream(&pods(&three)).is_err());
        let two_move = [moving[0], moving[1], ("b-1", "b", true, true)];
        assert!(one_stream_moves(&pods(&two_move)).is_err());
    }
}
