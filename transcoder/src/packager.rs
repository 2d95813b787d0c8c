//! Owns what is listed: takes finished segments, sees them to the volume, publishes them in order, removes them when nobody may ask any more.
//! Never waits for the volume: what it does not take in time is published from memory, and said so.

pub(crate) mod first;
mod late;
pub(crate) mod queue;
pub(crate) mod rates;
pub(crate) mod standby;
mod turn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::condition::Reason;
use api::control::PublishRequest;
use api::names::{parse_segment_name, segment_name};
use api::playlists::Playlists;
use bytes::Bytes;
use media::playlist::numbers::{NumberedSegment, Numbers};
use media::playlist::render;
use media::playlist::window::Window;
use media::segmenter::io::{FinishedSegment, LateSegment};
use runtime::trace::TraceContext;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::metrics::StreamMetrics;
use crate::output::SegmentFiles;
use crate::output::memory::SegmentStore;
use crate::output::volume::StoredFile;
use crate::output::writer::{Listing, Order, Report, Writer};
use crate::status::{StatusBoard, unix_milliseconds};
use late::LateFiles;
use queue::{Queue, Stall};
use rates::RenditionFacts;
use standby::Reserve;

/// How long the last segments may take to reach the volume at the end.
const FLUSH: Duration = Duration::from_secs(2);
/// How often it is looked for files that may go.
const EXPIRY: Duration = Duration::from_secs(1);
/// How long a volume that would not remove files is left alone.
const REMOVAL_RETRY: Duration = Duration::from_secs(1);

/// What the packager is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// The renditions that follow, highest first.
    Renditions(Vec<RenditionFacts>),
    /// The next segment is complete.
    Segment(FinishedSegment),
    /// A rendition of a number that was complete without it.
    Late(LateSegment),
    /// The next segment is complete, and of a slate.
    Slate(FinishedSegment),
    /// A standby goes on where another attempt has ended. Answered when numbers and list are taken over.
    Publish(Box<PublishRequest>, oneshot::Sender<()>),
    /// These renditions are not made until somebody asks for them.
    Off(BTreeSet<String>),
    /// Nothing follows: publish what there is, and say what is listed.
    Finish(oneshot::Sender<Playlists>),
}

/// What a packager is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The attempt, part of every name.
    pub(crate) attempt: i32,
    /// When the process started.
    pub(crate) started: Instant,
    /// The trace of the start that it belongs to.
    pub(crate) trace: Option<TraceContext>,
    /// What is kept until it is told to publish, where it is a standby.
    pub(crate) reserve: Option<Reserve>,
    /// What numbers segments get.
    pub(crate) numbers: Numbers,
    /// What is listed.
    pub(crate) window: Window,
    /// The order of writing and publishing.
    pub(crate) queue: Queue,
    /// The volume.
    pub(crate) writer: Writer,
    /// What can be read.
    pub(crate) store: SegmentStore,
    /// Files of a former run, and when they may go.
    pub(crate) adopted: (Vec<StoredFile>, Instant),
    /// Where playlists are published.
    pub(crate) playlists: watch::Sender<Arc<Playlists>>,
    /// Where trouble and success are told.
    pub(crate) board: StatusBoard,
    /// The stream's figures.
    pub(crate) metrics: StreamMetrics,
}

/// The packager of one attempt.
#[derive(Debug)]
pub(crate) struct Packager {
    parts: Parts,
    facts: Vec<RenditionFacts>,
    /// What is there on request, of which no segment has come yet.
    unmeasured: Vec<RenditionFacts>,
    /// It has been a standby.
    is_successor: bool,
    /// Finished and not listed yet, without their bytes.
    unlisted: VecDeque<NumberedSegment>,
    /// Numbers of slates that are not published yet.
    slates: BTreeSet<u64>,
    /// Renditions with a file, by number.
    files: BTreeMap<u64, Vec<String>>,
    late: LateFiles,
    removals: Vec<(String, String)>,
    /// The removals under way.
    removing: Vec<(String, String)>,
    remove_at: Instant,
}

/// Runs until the other end is dropped.
pub(crate) async fn run(parts: Parts, mut inputs: mpsc::Receiver<Input>) {
    let mut packager = Packager {
        parts,
        facts: Vec::new(),
        unmeasured: Vec::new(),
        is_successor: false,
        unlisted: VecDeque::new(),
        slates: BTreeSet::new(),
        files: BTreeMap::new(),
        late: LateFiles::default(),
        removals: Vec::new(),
        removing: Vec::new(),
        remove_at: Instant::now(),
    };
    let mut expiry = tokio::time::interval(EXPIRY);
    loop {
        let wake_at = packager.wake_at();
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => packager.take(input).await,
                None => return,
            },
            report = packager.parts.writer.report() => packager.written(&report),
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            _ = expiry.tick() => packager.expire(),
        }
        packager.go_on();
    }
}

impl Packager {
    async fn take(&mut self, input: Input) {
        match input {
            Input::Renditions(facts) => self.renditions(facts),
            Input::Segment(segment) => self.segment(segment),
            Input::Late(late) => self.late(late),
            Input::Slate(segment) => self.slate(segment),
            Input::Publish(request, answer) => {
                self.go_on_behind(&request);
                let _ = answer.send(());
            }
            Input::Off(off) => self.off(off),
            Input::Finish(answer) => {
                self.flush().await;
                let _ = answer.send(self.parts.window.document(unix_milliseconds()));
            }
        }
    }

    fn finished(&mut self, segment: FinishedSegment) {
        self.learn_rates(&segment);
        let mut segment = self.parts.numbers.give(segment);
        let name = segment_name(self.parts.attempt, segment.number);
        let files = SegmentFiles {
            number: segment.number,
            name,
            files: segment
                .renditions
                .iter_mut()
                .map(|one| {
                    let bytes = std::mem::replace(&mut one.bytes, Bytes::new());
                    let rendition = one.rendition.as_str();
                    self.parts.metrics.segment_bytes(rendition, bytes.len());
                    (rendition.to_owned(), bytes)
                })
                .collect(),
        };
        let listed_from = self.listed_from();
        let now = Instant::now();
        let queue = &mut self.parts.queue;
        let admission = queue.finished(segment.number, files.size(), listed_from, now);
        for number in admission.evicted {
            self.parts
                .store
                .release(&segment_name(self.parts.attempt, number));
        }
        if admission.dropped {
            self.parts.metrics.segment_dropped();
            segment.renditions.clear();
        } else {
            self.parts.store.hold(files);
        }
        self.unlisted.push_back(segment);
    }

    /// The master is written once: with the first segment, whose rates are measured. What is there on request is measured once it is.
    fn learn_rates(&mut self, segment: &FinishedSegment) {
        let window = &mut self.parts.window;
        if !self.facts.is_empty() {
            let facts = std::mem::take(&mut self.facts);
            let may_lack = facts.iter().filter(|facts| facts.may_lack());
            let may_lack: Vec<String> = may_lack.map(|facts| facts.id.clone()).collect();
            window.set_encoded(&may_lack, self.parts.started.elapsed());
            let (on_request, usual): (Vec<_>, Vec<_>) =
                facts.into_iter().partition(|facts| facts.on_request);
            let renditions = rates::renditions(&usual, segment, window.renditions());
            window.set_renditions(renditions);
            if on_request.is_empty() {
                window.set_on_request(Vec::new());
            }
            self.unmeasured = on_request;
        }
        if self.unmeasured.iter().any(|facts| facts.is_in(segment)) {
            let facts = std::mem::take(&mut self.unmeasured);
            let renditions = rates::renditions(&facts, segment, window.on_request());
            window.set_on_request(renditions);
        }
    }

    /// Publishes what may be published, then gives the writer its next order: that lists a number which nobody may see yet.
    fn go_on(&mut self) {
        let now = Instant::now();
        let numbers = self.parts.queue.publishable(now);
        self.publish(&numbers);
        if self.parts.window.lapse(self.parts.started.elapsed()) {
            self.republish();
        }
        if !self.parts.writer.is_busy() {
            match self.parts.queue.next_write(now) {
                Some(number) => self.write(number),
                None => self.write_late(now),
            }
        }
        if !self.parts.writer.is_busy() && !self.removals.is_empty() && now >= self.remove_at {
            self.removing = std::mem::take(&mut self.removals);
            let order = Order::Remove(self.removing.clone());
            self.parts.writer.give(order);
        }
        self.tell_stall();
    }

    fn write(&mut self, number: u64) {
        self.list_through(number);
        let name = segment_name(self.parts.attempt, number);
        if let Some(segment) = self.parts.store.held(&name) {
            let renditions = segment.files.iter().map(|(rendition, _)| rendition.clone());
            self.files.entry(number).or_default().extend(renditions);
            let listing = Arc::new(self.listing());
            self.parts.writer.give(Order::Store { segment, listing });
        }
    }

    /// A number is listed before it is written, because the state that names it is written with it; nobody is told before it is published.
    fn list_through(&mut self, number: u64) {
        let now = self.parts.started.elapsed();
        while let Some(next) = self.unlisted.front()
            && next.number <= number
        {
            self.parts.window.push(next, now);
            self.unlisted.pop_front();
        }
    }

    fn listing(&self) -> Listing {
        let playlists = self.parts.window.document(unix_milliseconds());
        let own = render::own(&playlists);
        let media = playlists.all_renditions().map(|rendition| {
            let text = render::media(&own, &rendition.id, |entry| {
                segment_name(entry.attempt, entry.number)
            });
            (rendition.id.clone(), text)
        });
        Listing {
            media: media.collect(),
            master: render::master(&playlists, |rendition| {
                format!("{}/index.m3u8", rendition.id)
            }),
            playlists,
        }
    }

    fn written(&mut self, report: &Report) {
        if let Err(error) = report {
            tracing::warn!(%error, "failed to write to the output volume");
        }
        let removed = std::mem::take(&mut self.removing);
        if self.late.is_writing() {
            self.late_written(report.is_ok());
        } else if !removed.is_empty() {
            self.removed(report.is_ok(), removed);
        } else if let Some(number) = self.parts.queue.written(report.is_ok(), Instant::now()) {
            self.parts
                .store
                .release(&segment_name(self.parts.attempt, number));
        }
    }

    /// Files that could not be removed are tried again: nobody else does it while the attempt runs, and they count until they are gone.
    fn removed(&mut self, succeeded: bool, files: Vec<(String, String)>) {
        if !succeeded {
            self.removals.extend(files);
            self.remove_at = Instant::now() + REMOVAL_RETRY;
            return;
        }
        for (_, name) in &files {
            if let Some((_, number)) = parse_segment_name(name) {
                self.parts.queue.removed(number);
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let lapse = self.parts.window.lapses_at();
        let lapse = lapse.map(|at| self.parts.started + at);
        self.parts.queue.wake_at().into_iter().chain(lapse).min()
    }

    fn publish(&mut self, numbers: &[u64]) {
        let Some(&last) = numbers.last() else { return };
        self.list_through(last);
        let document = self.parts.window.document(unix_milliseconds());
        for entry in &document.segments {
            if numbers.contains(&entry.number) {
                self.parts.metrics.segment_published(entry);
            }
        }
        self.parts.board.set_next(document.next);
        self.parts.playlists.send_replace(Arc::new(document));
        self.tell_live(numbers);
    }

    fn tell_stall(&self) {
        let stall = self.parts.queue.stall();
        let message = stall.map(|stall| match stall {
            Stall::Slow => "the output volume takes longer than a segment lasts; segments are served from memory",
            Stall::Failing => "the output volume refuses segments; they are served from memory",
            Stall::Full => "the byte limit of the job is reached; segments are served from memory",
        });
        self.parts.board.set_trouble(Reason::OutputStalled, message);
        self.parts.metrics.output_stalled(stall.is_some());
    }

    fn expire(&mut self) {
        let attempt = self.parts.attempt;
        for number in self.parts.window.expired(self.parts.started.elapsed()) {
            let name = segment_name(attempt, number);
            self.parts.queue.expired(number);
            self.late_expired(number);
            self.parts.store.release(&name);
            let renditions = self.files.remove(&number).unwrap_or_default();
            let files = renditions.into_iter().map(|id| (id, name.clone()));
            self.removals.extend(files);
        }
        let (adopted, due) = &mut self.parts.adopted;
        if Instant::now() >= *due {
            let files = adopted.drain(..).map(|file| (file.rendition, file.name));
            self.removals.extend(files);
        }
    }

    fn listed_from(&self) -> u64 {
        let document = self.parts.playlists.borrow();
        document.segments.first().map_or(0, |entry| entry.number)
    }

    /// Sees what is finished to the volume within a limit, and publishes it in any case.
    async fn flush(&mut self) {
        let flushing = async {
            self.go_on();
            while !self.parts.queue.is_empty() && self.parts.writer.is_busy() {
                let report = self.parts.writer.report().await;
                self.written(&report);
                self.go_on();
            }
        };
        if timeout(FLUSH, flushing).await.is_err() {
            tracing::warn!("the output volume did not take the last segments in time");
        }
        let numbers = self.parts.queue.publish_all();
        self.publish(&numbers);
    }
}

#[cfg(test)]
mod tests;
