//! The stream directory (port): which streams there are, and how to say that one is wanted. Adapters: Kubernetes here, local tasks
//! in standalone. It knows no viewer and no segment, and never waits for a stream to become playable.

pub mod kubernetes;

use std::sync::Arc;

use api::LiveStreamSpec;
use api::condition::Reason;
use api::job::StreamIdentity;
use api::live_stream::{Phase, WarmAttempt, attempt_pod_name};
use async_trait::async_trait;
use runtime::trace::TraceContext;
use tokio::sync::watch;

/// A channel that somebody wants to watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its slug, which is the name of its stream.
    pub slug: String,
    /// What its stream is made from; absent for a stream that only the directory knows (a hand-made LiveStream).
    pub entry: Option<Arc<Entry>>,
}

/// What a channel's stream is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The stream to make: sources, class and the rest, with `replicas` 1 and `whenIdle` Delete.
    pub spec: LiveStreamSpec,
    /// A hash of the entry: another one means that the channel was edited, and its stream has to follow.
    pub revision: String,
}

/// A channel that only the directory knows: users who are allowed every channel may watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChannel {
    /// The stream's name.
    pub slug: String,
    /// The name that people read.
    pub display_name: Option<String>,
}

/// Whether a stream that looks wanted is to be woken all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Only what is not wanted yet is changed.
    Normal,
    /// The presence store said `closed`: a collection is under way, and only a change of the stream stops it.
    Fenced,
}

/// What a stream does, as far as starting it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamPhase {
    /// There is none of that name.
    #[default]
    Absent,
    /// It is being removed; its name is free again when it is gone.
    Ending,
    /// It is there and not wanted to run.
    Stopped,
    /// Somebody switched it off; nothing wakes it.
    Suspended,
    /// It runs, or is on its way to.
    Wanted,
}

/// What is known of the stream of one channel now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamView {
    /// What it does.
    pub phase: StreamPhase,
    /// Which stream it is; absent with the stream.
    pub identity: Option<Arc<StreamIdentity>>,
    /// The attempt that is meant to run it. Origins in the same process need none.
    pub pod: Option<PodView>,
    /// Its attempts whose pods' names do not follow from the attempt.
    pub warm_attempts: Vec<WarmAttempt>,
    /// Why it cannot be played, where that is known for certain.
    pub refusal: Option<Refusal>,
}

impl StreamView {
    /// Name of the pod of an attempt of this stream, which is the name of its directory on the volume.
    #[must_use]
    pub fn attempt_pod_name(&self, stream: &StreamIdentity, attempt: i32) -> String {
        let is_it = self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.uid == stream.uid);
        let warm = if is_it { &self.warm_attempts[..] } else { &[] };
        attempt_pod_name(warm, &stream.name, &stream.uid, attempt)
    }
}

/// The attempt that is meant to run a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its number.
    pub attempt: i32,
    /// `address:port` of its control HTTP, once it is known.
    pub endpoint: Option<String>,
}

/// Why a stream cannot be played: what viewers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as in the LiveStream's conditions.
    pub reason: String,
    /// One sentence, without secrets.
    pub message: String,
    /// Whether waiting a few seconds is pointless: somebody has to act first.
    pub lasting: bool,
}

impl Refusal {
    /// What somebody else found out, such as an operator or a transcoder: the reason says whether somebody has to act before the
    /// stream can be played; anything else may pass within a hold.
    #[must_use]
    pub fn told(reason: &str, message: &str) -> Self {
        const LASTING: [Reason; 12] = [
            Reason::ClassNotFound,
            Reason::ReferenceNotFound,
            Reason::InvalidSpec,
            Reason::ImageUnavailable,
            Reason::ProviderSlotsExhausted,
            Reason::EgressRefused,
            Reason::FileUnavailable,
            Reason::AccountRefused,
            Reason::HttpError,
            Reason::NotTransportStream,
            Reason::UnsupportedMedia,
            Reason::SourceTooLargeToTranscode,
        ];
        Self {
            reason: reason.to_owned(),
            message: message.to_owned(),
            lasting: LASTING.iter().any(|lasting| lasting.as_str() == reason),
        }
    }

    /// A refusal that somebody has to act on.
    #[must_use]
    pub fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: reason.as_str().to_owned(),
            message: message.into(),
            lasting: true,
        }
    }

    /// A refusal that may pass by itself within a hold.
    #[must_use]
    pub fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            lasting: false,
            ..Self::lasting(reason, message)
        }
    }
}

/// A stream as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Which one it is.
    pub identity: Arc<StreamIdentity>,
    /// The name that people read.
    pub display_name: Option<String>,
    /// What it does, as far as is told.
    pub phase: Phase,
    /// Why it cannot be played, where that is known for certain.
    pub refusal: Option<Refusal>,
}

/// What an administrator does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// It stops. Whoever watches it starts it again.
    Stop,
    /// It stops, and nothing wakes it.
    Suspend,
    /// It may run again.
    Resume,
}

/// Why a stream was not steered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is none of that name.
    #[error("there is no such stream")]
    Unknown,
    /// What keeps the streams cannot be reached, or refused it.
    #[error("failed to steer the stream: {reason}")]
    Unavailable {
        /// The cause, for the log.
        reason: String,
    },
}

/// Why a stream could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsureError {
    /// It is switched off by hand.
    #[error("the stream {slug:?} is suspended")]
    Suspended {
        /// The channel.
        slug: String,
    },
    /// Neither catalog nor directory has it.
    #[error("failed to find the stream {slug:?}")]
    Unknown {
        /// The channel.
        slug: String,
    },
    /// What keeps the streams cannot be reached, or answered with an error that may pass.
    #[error("failed to start the stream {slug:?}: {reason}")]
    Unavailable {
        /// The channel.
        slug: String,
        /// The cause, for the log.
        reason: String,
    },
    /// What keeps the streams refused it: somebody has to correct the channel.
    #[error("failed to start the stream {slug:?}: it was refused: {reason}")]
    Refused {
        /// The channel.
        slug: String,
        /// The cause.
        reason: String,
    },
}

/// The port. Implementations are shared by every request, and bounded in time.
#[async_trait]
pub trait StreamDirectory: Send + Sync {
    /// Makes the channel's stream be wanted: creates or wakes it, or brings its sources up to date. Does nothing when all is well.
    /// The caller sees to it that there is one call per channel at a time. `Ok` says that the wish is recorded and that
    /// [`StreamDirectory::follow`] shows or will show what becomes of it. Whoever starts the stream tells of it in that trace.
    async fn ensure(
        &self,
        channel: &Channel,
        urgency: Urgency,
        trace: Option<TraceContext>,
    ) -> Result<(), EnsureError>;

    /// What is known of the stream of that name, now and from now on. Never blocks; a name without a stream is `Absent`.
    fn follow(&self, slug: &str) -> watch::Receiver<Arc<StreamView>>;

    /// The stream with that uid; only these are served.
    fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>>;

    /// The stream of that name, when it is a channel of its own (made by hand).
    fn own_channel(&self, slug: &str) -> Option<OwnChannel>;

    /// Every channel of the directory's own, by slug.
    fn own_channels(&self) -> Vec<OwnChannel>;

    /// Every stream there is, by name.
    fn streams(&self) -> Vec<StreamSummary>;

    /// Steers the stream of that name. `Ok` says that it is recorded and that [`StreamDirectory::follow`] shows what becomes of it.
    async fn steer(&self, slug: &str, steering: Steering) -> Result<(), SteerError>;
}
