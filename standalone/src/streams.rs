//! The streams of this process, in the place of the API server and the pods: a wish starts one as a local task, and the gateway finds
//! it here by the same two ports. At most one stream has a name; its name is free again when nothing of it is left.

mod runner;
mod stream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::job::StreamIdentity;
use api::live_stream::Phase;
use api::playlists::Playlists;
use api::{LiveStreamSpec, StreamClassSpec};
use async_trait::async_trait;
use bytes::Bytes;
use gateway::directory::{
    Channel, EnsureError, Entry, OwnChannel, SteerError, Steering, StreamDirectory, StreamPhase,
    StreamSummary, StreamView, Urgency,
};
use gateway::origin::{Demand, Origin, SegmentError, SegmentId};
use presence::Presence;
use runtime::trace::TraceContext;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transcoder::job::JobOptions;

use crate::classes::Classes;
use crate::narrator::{Event, Narrator};
use stream::Stream;

/// How long streams may take to end with the process.
const END: Duration = Duration::from_secs(15);

/// What every stream shares.
pub(crate) struct Context {
    /// Where streams run.
    pub(crate) threads: Handle,
    pub(crate) classes: Classes,
    /// Where segments are written.
    pub(crate) output: PathBuf,
    /// Where the files are that sources may name.
    pub(crate) files: Option<PathBuf>,
    pub(crate) options: JobOptions,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) narrator: Narrator,
}

/// The streams. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LocalStreams(Arc<Inner>);

struct Inner {
    context: Context,
    names: Mutex<HashMap<String, Name>>,
    tasks: TaskTracker,
}

/// What is known of a name; kept for those who follow it, also while it has no stream.
#[derive(Default)]
struct Name {
    view: watch::Sender<Arc<StreamView>>,
    stream: Option<Arc<Stream>>,
    /// Nothing wakes it.
    suspended: bool,
}

/// A stream that runs, and when nobody watching stops it.
pub(crate) struct Running {
    pub(crate) identity: Arc<StreamIdentity>,
    pub(crate) idle_timeout: Duration,
}

impl LocalStreams {
    pub(crate) fn new(context: Context) -> Self {
        Self(Arc::new(Inner {
            context,
            names: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The streams that are wanted now.
    pub(crate) fn running(&self) -> Vec<Running> {
        let streams = self.0.streams();
        let wanted = streams.iter().filter(|stream| !stream.is_ending());
        let running = |stream: &Arc<Stream>| Running {
            identity: stream.identity.clone(),
            idle_timeout: self.0.context.idle_timeout(&stream.spec()),
        };
        wanted.map(running).collect()
    }

    /// Ends a stream; its view says so at once.
    pub(crate) fn stop(&self, stream: &StreamIdentity) {
        let names = self.0.lock();
        let Some(name) = names.get(&stream.name) else {
            return;
        };
        if let Some(running) = &name.stream
            && running.identity.uid == stream.uid
        {
            running.end();
            name.show(|view| view.phase = StreamPhase::Ending);
        }
    }

    /// Ends every stream and waits for that; from now on none is started.
    pub(crate) async fn shutdown(&self) {
        self.0.tasks.close();
        for stream in self.0.streams() {
            self.stop(&stream.identity);
        }
        if tokio::time::timeout(END, self.0.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!(
                streams = self.0.tasks.len(),
                "failed to end streams in time"
            );
        }
    }

    fn start(
        &self,
        slug: &str,
        name: &mut Name,
        entry: &Arc<Entry>,
        trace: Option<TraceContext>,
    ) -> Result<(), EnsureError> {
        let failed = |reason: String| EnsureError::Unavailable {
            slug: slug.to_owned(),
            reason,
        };
        let stream = Stream::new(slug, entry.clone(), trace);
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let stream = Arc::new(stream);
        self.0.context.narrator.tell(slug, &Event::Starting);
        name.stream = Some(stream.clone());
        name.view.send_replace(Arc::new(StreamView {
            phase: StreamPhase::Wanted,
            identity: Some(stream.identity.clone()),
            ..StreamView::default()
        }));
        self.0.tasks.spawn(runner::run(self.0.clone(), stream));
        Ok(())
    }

    fn find(&self, uid: &str) -> Option<Arc<Stream>> {
        let names = self.0.lock();
        let mut streams = names.values().filter_map(|name| name.stream.as_ref());
        streams.find(|stream| stream.identity.uid == uid).cloned()
    }
}

impl Context {
    fn idle_timeout(&self, spec: &LiveStreamSpec) -> Duration {
        let built_in = StreamClassSpec::default();
        let class = self.classes.of(spec).unwrap_or(&built_in);
        let seconds = spec
            .idle_timeout_seconds
            .unwrap_or(class.idle_timeout_seconds);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> Vec<Arc<Stream>> {
        let names = self.lock();
        let streams = names.values().filter_map(|name| name.stream.clone());
        streams.collect()
    }

    /// Changes what is shown of a stream, unless another one has its name by now.
    fn show(&self, stream: &Stream, change: impl FnOnce(&mut StreamView)) {
        let names = self.lock();
        let name = names.get(&stream.identity.name);
        if let Some(name) = name.filter(|name| name.is_of(stream)) {
            name.show(change);
        }
    }

    /// Nothing of the stream is left: its name is free.
    fn forget(&self, stream: &Stream) {
        let mut names = self.lock();
        if let Some(name) = names.get_mut(&stream.identity.name)
            && name.is_of(stream)
        {
            name.stream = None;
            name.rest();
        }
    }
}

impl Name {
    fn is_of(&self, stream: &Stream) -> bool {
        let uid = |stream: &Arc<Stream>| stream.identity.uid.clone();
        self.stream.as_ref().map(uid).as_ref() == Some(&stream.identity.uid)
    }

    /// Shows that there is no stream, and whether there may be one.
    fn rest(&self) {
        let phase = match self.suspended {
            true => StreamPhase::Suspended,
            false => StreamPhase::Absent,
        };
        let view = StreamView {
            phase,
            ..StreamView::default()
        };
        self.view.send_replace(Arc::new(view));
    }

    /// What administrators see, if there is anything.
    fn summary(&self, slug: &str) -> Option<StreamSummary> {
        let identity = self.stream.as_ref().map(|stream| stream.identity.clone());
        let view = self.view.borrow();
        let plays = |stream: &Arc<Stream>| stream.playlists.borrow().is_some();
        let plays = self.stream.as_ref().is_some_and(plays);
        let phase = match (view.phase, plays) {
            _ if identity.is_none() && !self.suspended => return None,
            (StreamPhase::Absent | StreamPhase::Suspended | StreamPhase::Stopped, _) => {
                Phase::Suspended
            }
            (StreamPhase::Ending, _) => Phase::Stopping,
            (StreamPhase::Wanted, true) if view.refusal.is_some() => Phase::Degraded,
            (StreamPhase::Wanted, true) => Phase::Live,
            (StreamPhase::Wanted, false) => Phase::Starting,
        };
        let nobody = || {
            Arc::new(StreamIdentity {
                namespace: String::new(),
                name: slug.to_owned(),
                uid: String::new(),
            })
        };
        Some(StreamSummary {
            identity: identity.unwrap_or_else(nobody),
            display_name: None,
            phase,
            refusal: view.refusal.clone(),
        })
    }

    fn show(&self, change: impl FnOnce(&mut StreamView)) {
        self.view.send_if_modified(|view| {
            let before = view.clone();
            change(Arc::make_mut(view));
            *view != before
        });
    }
}

#[async_trait]
impl StreamDirectory for LocalStreams {
    async fn ensure(
        &self,
        channel: &Channel,
        _: Urgency,
        trace: Option<TraceContext>,
    ) -> Result<(), EnsureError> {
        let slug = &channel.slug;
        let entry = channel.entry.as_ref();
        let entry = entry.ok_or_else(|| EnsureError::Unknown { slug: slug.clone() })?;
        let mut names = self.0.lock();
        let name = names.entry(slug.clone()).or_default();
        match &name.stream {
            // The view says when the name is free again.
            Some(stream) if stream.is_ending() => Ok(()),
            Some(stream) => {
                stream.edit(entry);
                Ok(())
            }
            None if name.suspended => Err(EnsureError::Suspended { slug: slug.clone() }),
            // The process is ending, and with it whoever waits.
            None if self.0.tasks.is_closed() => Ok(()),
            None => self.start(slug, name, entry, trace),
        }
    }

    fn follow(&self, slug: &str) -> watch::Receiver<Arc<StreamView>> {
        let mut names = self.0.lock();
        names.entry(slug.to_owned()).or_default().view.subscribe()
    }

    fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>> {
        self.find(uid).map(|stream| stream.identity.clone())
    }

    fn own_channel(&self, _: &str) -> Option<OwnChannel> {
        None
    }

    fn own_channels(&self) -> Vec<OwnChannel> {
        Vec::new()
    }

    fn streams(&self) -> Vec<StreamSummary> {
        let names = self.0.lock();
        let streams = names.iter().filter_map(|(slug, name)| name.summary(slug));
        let mut streams: Vec<_> = streams.collect();
        streams.sort_by(|left, right| left.identity.name.cmp(&right.identity.name));
        streams
    }

    async fn steer(&self, slug: &str, steering: Steering) -> Result<(), SteerError> {
        let stream = {
            let mut names = self.0.lock();
            let name = names.get_mut(slug);
            let name = name.filter(|name| name.stream.is_some() || name.suspended);
            let name = name.ok_or(SteerError::Unknown)?;
            match steering {
                Steering::Stop => {}
                Steering::Suspend => name.suspended = true,
                Steering::Resume => {
                    name.suspended = false;
                    if name.stream.is_none() {
                        name.rest();
                    }
                    return Ok(());
                }
            }
            name.stream.clone()
        };
        if let Some(stream) = stream {
            self.stop(&stream.identity);
        }
        Ok(())
    }
}

#[async_trait]
impl Origin for LocalStreams {
    fn playlists(
        &self,
        stream: &Arc<StreamIdentity>,
        demand: &Arc<Demand>,
    ) -> watch::Receiver<Option<Arc<Playlists>>> {
        match self.find(&stream.uid) {
            Some(stream) => stream.follow(demand),
            None => watch::channel(None).1,
        }
    }

    async fn segment(
        &self,
        stream: &StreamIdentity,
        segment: &SegmentId,
    ) -> Result<Bytes, SegmentError> {
        let stream = self.find(&stream.uid).ok_or(SegmentError::NotFound)?;
        stream.segment(segment).await
    }
}
