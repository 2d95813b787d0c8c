//! Continuous transport streams: a task for each reader hands on one segment after the other, as they are listed, out of the memory that all
//! readers share. Of a reader it never holds more than a portion that it has not taken, and it ends where a segment ends.

mod course;
mod join;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use self::course::{List, Next, Place};
use self::join::Join;
use crate::Gateway;
use crate::access::Form;
use crate::audience::About;
use crate::http::error::Error;
use crate::metrics::ReaderEnd;
use crate::origin::{SegmentError, SegmentId};
use crate::session::{SessionError, Verified};
use crate::streams::{Following, Ready};
use crate::viewers::{Watcher, viewer};
use crate::window::{Video, Window};

/// At least so often it is looked whether the viewer may still watch, and it counts as watching.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A reader that takes nothing for so long is too slow.
const PATIENCE: Duration = Duration::from_secs(12);

/// A stream that brings nothing for so long is over: long enough to replace a pod.
const SILENCE: Duration = Duration::from_mins(1);

/// A segment that cannot be had is left out at this attempt.
const ATTEMPTS: u32 = 3;

type Outlet = mpsc::Sender<Bytes>;

/// Somebody who reads a channel as one stream.
pub(crate) struct Reader {
    gateway: Arc<Gateway>,
    session: Verified,
    /// What administrators are shown of it.
    about: About,
    watcher: Watcher,
    video: Video,
    following: Following,
    /// What was listed last.
    ready: Ready,
    looked_at: Instant,
    /// When it was given a segment last.
    fed_at: Instant,
    place: Option<Place>,
    /// It waits for more.
    had_all: bool,
    /// How often the next segment could not be had.
    failures: u32,
    join: Join,
    bytes: u64,
}

impl Reader {
    /// A reader of a channel of which this is listed; `None` where nobody has just asked for it.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        session: Verified,
        about: About,
        video: Video,
        ready: Ready,
    ) -> Option<Self> {
        let now = Instant::now();
        let watcher = Watcher {
            session: session.id,
            viewer: viewer(&session.session.user, session.session.client),
        };
        Some(Self {
            following: gateway.streams.follow(&session.session.channel, video)?,
            gateway: gateway.clone(),
            session,
            about,
            watcher,
            video,
            ready,
            looked_at: now,
            fed_at: now,
            place: None,
            had_all: false,
            failures: 0,
            join: Join::default(),
            bytes: 0,
        })
    }

    /// What it reads, from now on.
    pub(crate) fn body(self) -> Body {
        let (outlet, mut taken) = mpsc::channel(1);
        tokio::spawn(self.run(outlet));
        Body::from_stream(poll_fn(move |context| {
            let portion = taken.poll_recv(context);
            portion.map(|portion| portion.map(Ok::<_, Infallible>))
        }))
    }

    async fn run(mut self, outlet: Outlet) {
        let began = Instant::now();
        let gateway = self.gateway.clone();
        gateway.metrics.readers.inc();
        let end = tokio::select! {
            () = outlet.closed() => ReaderEnd::Left,
            end = self.relay(&outlet) => end,
        };
        gateway.metrics.readers.dec();
        gateway.metrics.read(end);
        gateway
            .viewers
            .leaves(&self.ready.stream_uid, &self.session.id);
        gateway.places.leaves(&self.session.id);
        tracing::info!(
            stream.name = self.session.session.channel,
            stream.uid = self.ready.stream_uid,
            ?end,
            seconds = began.elapsed().as_secs(),
            bytes = self.bytes,
            "a continuous stream ended"
        );
    }

    async fn relay(&mut self, outlet: &Outlet) -> ReaderEnd {
        loop {
            if let Err(end) = self.step(outlet).await {
                return end;
            }
        }
    }

    /// One segment, or a wait for one.
    async fn step(&mut self, outlet: &Outlet) -> Result<(), ReaderEnd> {
        if self.gateway.draining.is_cancelled() {
            return Err(ReaderEnd::Drained);
        }
        self.look().await?;
        let ready = self.ready.clone();
        let list = list(&ready, self.video).ok_or(ReaderEnd::Over)?;
        match course::next(self.place.as_ref(), self.had_all, &list) {
            Next::Behind => Err(ReaderEnd::Slow),
            Next::Wait => {
                self.had_all = true;
                self.rest().await
            }
            Next::Send { entry, goes_on } => {
                self.had_all = false;
                let place = list.place(entry);
                let segment = SegmentId {
                    rendition: list.rendition.to_owned(),
                    attempt: entry.attempt,
                    number: entry.number,
                };
                let Some(bytes) = self.fetch(&segment, &place).await? else {
                    return Ok(());
                };
                for portion in self.join.append(bytes, goes_on, entry.discontinuity) {
                    self.hand(portion, &place, outlet).await?;
                }
                self.place = Some(place);
                self.fed_at = Instant::now();
                Ok(())
            }
        }
    }

    /// Whether the viewer may still watch, and what is listed now. The viewer counts as watching.
    async fn look(&mut self) -> Result<(), ReaderEnd> {
        let now = Instant::now();
        self.looked_at = now;
        match self.following.look(now) {
            Ok(Some(ready)) => self.ready = ready,
            Ok(None) => {}
            Err(_) => return Err(ReaderEnd::Over),
        }
        let is_counted = self.admitted(now).await.map_err(|error| {
            let reason = error.reason();
            tracing::debug!(stream.name = self.session.session.channel, %reason, "a reader is sent away");
            ReaderEnd::Refused
        })?;
        if is_counted {
            let (gateway, target) = (&self.gateway, self.ready.window.target());
            let stream_uid = &self.ready.stream_uid;
            gateway.places.used(&self.session.id, target, now);
            let viewers = &gateway.viewers;
            if viewers.touch_session(stream_uid, self.watcher, target, now) {
                viewers.describe(stream_uid, &self.session.id, self.about.clone());
            }
        }
        Ok(())
    }

    async fn admitted(&self, now: Instant) -> Result<bool, Error> {
        let session = &self.session.session;
        let (time, unix_seconds) = self.gateway.now();
        if session.is_over(unix_seconds) {
            return Err(Error::Session(SessionError::Expired));
        }
        let user = self.gateway.access.still(session, Form::Continuous, time)?;
        self.gateway.admit(&self.session, &user, now).await
    }

    /// Waits for something new.
    async fn rest(&mut self) -> Result<(), ReaderEnd> {
        if self.fed_at.elapsed() >= SILENCE {
            return Err(ReaderEnd::Over);
        }
        tokio::select! {
            () = self.following.changed() => {}
            () = self.gateway.draining.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        Ok(())
    }

    /// The bytes of a segment; nothing where it is to be tried again, or left out.
    async fn fetch(
        &mut self,
        segment: &SegmentId,
        place: &Place,
    ) -> Result<Option<Bytes>, ReaderEnd> {
        let stream = self.gateway.directory.stream(&self.ready.stream_uid);
        let outcome = match &stream {
            Some(stream) => self.gateway.cache.get(stream, segment).await,
            None => Err(SegmentError::NotFound),
        };
        match outcome {
            Ok(bytes) => {
                self.failures = 0;
                Ok(Some(bytes))
            }
            Err(_) if self.failures + 1 < ATTEMPTS => {
                self.failures += 1;
                self.rest().await.map(|()| None)
            }
            Err(error) => {
                tracing::warn!(
                    stream.name = self.session.session.channel,
                    segment.number,
                    segment.rendition,
                    %error,
                    "a continuous stream goes on without a segment"
                );
                self.failures = 0;
                self.join.leave_out();
                self.place = Some(place.clone());
                Ok(None)
            }
        }
    }

    /// Hands a portion of the segment there to the reader, when it takes it.
    async fn hand(
        &mut self,
        portion: Bytes,
        place: &Place,
        outlet: &Outlet,
    ) -> Result<(), ReaderEnd> {
        let offered_at = Instant::now();
        let permit = loop {
            if self.looked_at.elapsed() >= LOOK_EVERY {
                self.look().await?;
                if list(&self.ready, self.video).is_some_and(|list| list.has_passed(place)) {
                    return Err(ReaderEnd::Slow);
                }
            }
            match timeout(LOOK_EVERY, outlet.reserve()).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => return Err(ReaderEnd::Left),
                Err(_) if offered_at.elapsed() >= PATIENCE => return Err(ReaderEnd::Slow),
                Err(_) => {}
            }
        };
        let bytes = portion.len() as u64;
        self.bytes += bytes;
        self.gateway.metrics.reader_bytes.inc_by(bytes);
        self.gateway.metrics.segment_bytes.inc_by(bytes);
        permit.send(portion);
        Ok(())
    }
}

/// What is listed of the rendition that the reader is given; `None` where there is none.
fn list(ready: &Ready, video: Video) -> Option<List<'_>> {
    let window: &Window = &ready.window;
    let best = window.best(video)?;
    Some(List {
        stream_uid: &ready.stream_uid,
        rendition: window.played(best),
        aim: window.aim(),
        segments: window.segments(best),
    })
}
