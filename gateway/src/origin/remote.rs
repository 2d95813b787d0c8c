//! The origin of a cluster: playlists by long poll from the transcoder pods, segments from the volume that they write, each the other's
//! fallback. Every request to a pod carries the stream's identity, so a reused address never shows another channel.

mod follow;
mod pod;
mod volume;

use std::path::PathBuf;
use std::sync::Arc;

use api::job::StreamIdentity;
use api::playlists::Playlists;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::directory::StreamDirectory;
use crate::origin::{Demand, Origin, SegmentError, SegmentId};
pub use pod::PodsError;
use pod::{PodFailure, Pods, Target};
use volume::{Volume, VolumeFailure};

/// Playlists and segments of transcoder pods.
pub struct RemoteOrigin {
    directory: Arc<dyn StreamDirectory>,
    pods: Arc<Pods>,
    volume: Arc<Volume>,
}

impl RemoteOrigin {
    /// An origin for the streams of a directory; `output` is where the volume of all pods is mounted, `gateway` the name by which pods
    /// tell this gateway from others.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        directory: Arc<dyn StreamDirectory>,
        output: PathBuf,
        gateway: &str,
    ) -> Result<Self, PodsError> {
        Ok(Self {
            directory,
            pods: Arc::new(Pods::new(gateway)?),
            volume: Arc::new(Volume::new(output)),
        })
    }

    /// The pod that can be asked for a segment of that attempt.
    fn target(&self, stream: &StreamIdentity, attempt: i32) -> Option<Target> {
        let view = self.directory.follow(&stream.name).borrow().clone();
        Target::of(&view, &stream.uid).filter(|target| target.attempt == attempt)
    }
}

#[async_trait]
impl Origin for RemoteOrigin {
    fn playlists(
        &self,
        stream: &Arc<StreamIdentity>,
        demand: &Arc<Demand>,
    ) -> watch::Receiver<Option<Arc<Playlists>>> {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(follow::follow(follow::Follower {
            stream: stream.clone(),
            demand: demand.clone(),
            view: self.directory.follow(&stream.name),
            pods: self.pods.clone(),
            volume: self.volume.clone(),
            documents: sender,
        }));
        receiver
    }

    async fn segment(
        &self,
        stream: &StreamIdentity,
        segment: &SegmentId,
    ) -> Result<Bytes, SegmentError> {
        let view = self.directory.follow(&stream.name).borrow().clone();
        let pod = view.attempt_pod_name(stream, segment.attempt);
        let missing = match self.volume.segment(&pod, segment).await {
            Ok(bytes) => return Ok(bytes),
            Err(failure) => failure,
        };
        // Not (yet) in the volume, or the volume is stuck: the pod keeps what it lists.
        let Some(target) = self.target(stream, segment.attempt) else {
            return Err(match missing {
                VolumeFailure::NotFound => SegmentError::NotFound,
                VolumeFailure::Failed(reason) => SegmentError::Unavailable { reason },
            });
        };
        match self.pods.segment(&target, segment).await {
            Ok(bytes) => Ok(bytes),
            Err(PodFailure::NotFound) => Err(SegmentError::NotFound),
            Err(failure) => Err(SegmentError::Unavailable {
                reason: format!("{failure}; volume: {missing}"),
            }),
        }
    }
}
