//! From the bytes of a source to its units: follows tables, waits for a random access point, learns facts, tells breaks.
//! Adds no delay beyond the end of a unit, holds a bounded amount of it, and never panics on what a source sends.
//!
//! ```
//! use bytes::Bytes;
//! use media::front_end::{FrontEnd, FrontEndConfig, FrontEvent};
//!
//! let mut front = FrontEnd::new(FrontEndConfig { audio_language: Some("deu".to_owned()), feed: true });
//! for event in front.push(&Bytes::from_static(b"<html>")) {
//!     match event {
//!         FrontEvent::Facts(facts) if facts.complete => { /* decide::decide, ladder::renditions */ }
//!         FrontEvent::RandomAccessPoint(_) => { /* what came before it is whole: a segment may end here */ }
//!         FrontEvent::Unit(_) | FrontEvent::Clock(_) => { /* to the segmenter */ }
//!         FrontEvent::FeedStart(_) => { /* start a fresh FFmpeg, write these tables to its stdin */ }
//!         FrontEvent::Feed(_) => { /* write to its stdin */ }
//!         FrontEvent::Jump { .. } => { /* another generation, from the next random access point on */ }
//!         FrontEvent::OtherTracks => { /* the same, and it is to be decided anew what is played */ }
//!         FrontEvent::Malformed(malformed) => assert_eq!(malformed.to_string(), "source sends an HTML page instead of an MPEG transport stream"),
//!         FrontEvent::Facts(_) => {}
//!     }
//! }
//! // A new connection to the same source: front.reconnect(). What its pipes bring: pipe::PipeDemuxer.
//! ```

mod audio;
mod clock;
mod describe;
mod event;
mod facts;
mod feed;
mod gate;
mod passage;
mod sniff;
mod timeline;
mod tracks;
mod video;

use bytes::Bytes;

pub use crate::front_end::event::{
    FrontCounters, FrontEndConfig, FrontEvent, Malformed, RandomAccessPoint, Stage,
};
pub use crate::front_end::facts::{AudioFacts, SourceFacts, VideoFacts};
pub use crate::front_end::sniff::Foreign;
pub(crate) use crate::front_end::sniff::is_foreign;

use crate::front_end::clock::SourceClock;
use crate::front_end::facts::FactsKeeper;
use crate::front_end::feed::Feed;
use crate::front_end::gate::Gate;
use crate::front_end::timeline::Timeline;
use crate::front_end::tracks::{AudioTrack, VideoTrack};
use crate::time::Ticks;
use crate::ts::framer::Framer;
use crate::ts::packet::Packet;
use crate::ts::pes::Step;
use crate::ts::program::{Change, ProgramFollower, Selection};
use crate::ts::section::PACKET_BYTES;
use crate::ts::tables::NULL_PID;
use crate::unit::{AudioCodec, Track, VideoCodec};

/// Bytes without a packet after which no transport stream is expected any more.
const HOPELESS: u64 = 256 * 1024;

/// Scrambled packets of a chosen track, with no clear one between them, that make it a scrambled track.
const SCRAMBLED: u32 = 50;

/// Reads one source, over one connection after another.
#[derive(Debug)]
pub struct FrontEnd {
    framer: Framer,
    /// First bytes of the connection, until packets are found or it is told what came instead.
    head: Option<Vec<u8>>,
    skipped_before: u64,
    follower: ProgramFollower,
    selection: Option<Selection>,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    facts: Option<FactsKeeper>,
    clock: SourceClock,
    told_clock: Option<Ticks>,
    timeline: Timeline,
    gate: Gate,
    feed: Feed,
    scrambled_run: u32,
    has_rounds: bool,
    counters: FrontCounters,
    events: Vec<FrontEvent>,
}

impl FrontEnd {
    /// A front end for a new source.
    #[must_use]
    pub fn new(config: FrontEndConfig) -> Self {
        Self {
            framer: Framer::default(),
            head: Some(Vec::new()),
            skipped_before: 0,
            follower: ProgramFollower::new(config.audio_language),
            selection: None,
            video: None,
            audio: None,
            facts: None,
            clock: SourceClock::default(),
            told_clock: None,
            timeline: Timeline::new(Track::Video),
            gate: Gate::default(),
            feed: Feed::new(config.feed),
            scrambled_run: 0,
            has_rounds: false,
            counters: FrontCounters::default(),
            events: Vec::new(),
        }
    }

    /// Takes the next bytes of the connection.
    pub fn push(&mut self, chunk: &Bytes) -> Vec<FrontEvent> {
        let runs = self.framer.push(chunk);
        self.judge_start(chunk, false);
        for run in &runs {
            let (packets, _) = run.as_chunks::<PACKET_BYTES>();
            for (index, bytes) in packets.iter().enumerate() {
                self.take_packet(run, index * PACKET_BYTES, Packet::new(bytes));
            }
            self.feed.end_run(run);
        }
        self.flush_feed();
        std::mem::take(&mut self.events)
    }

    /// The connection has ended: what was in progress is as whole as it will be.
    pub fn finish(&mut self) -> Vec<FrontEvent> {
        self.judge_start(&Bytes::new(), true);
        if let Some(pes) = self.video.as_mut().and_then(|track| track.assembler.take()) {
            self.end_picture(&Bytes::new(), pes);
        }
        if let Some(pes) = self.audio.as_mut().and_then(|track| track.assembler.take()) {
            self.end_audio(&Bytes::new(), pes);
        }
        self.feed.settle();
        self.flush_feed();
        std::mem::take(&mut self.events)
    }

    /// The next bytes come over a new connection to the same source. What it repeats passes once; what does not follow on is a `Jump`.
    pub fn reconnect(&mut self) {
        self.framer.reset();
        self.head = Some(Vec::new());
        self.skipped_before = self.framer.skipped_bytes();
        self.follower.reset();
        self.clock.break_off();
        self.timeline.break_off();
        self.gate.break_off();
        let rest = self.feed.break_off();
        self.events.extend(rest.map(passage::feed_event));
        if let Some(track) = &mut self.video {
            track.break_off();
        }
        if let Some(track) = &mut self.audio {
            track.break_off();
        }
    }

    /// What the new connection brings is read from a list that goes on, so what it repeats is no new beginning.
    pub fn expect_repetition(&mut self) {
        self.timeline.expect_repetition();
    }

    /// The times of the new connection begin with it, so nothing of it is what came before.
    pub fn expect_own_times(&mut self) {
        self.timeline.expect_own_times();
    }

    /// What the source brings is made of rounds that follow each other on one time line: where the sound of one ends after that of the
    /// next has begun, the first of the next is left out.
    pub fn expect_rounds(&mut self) {
        self.has_rounds = true;
    }

    /// Switches the encoder's input on, to begin at the next random access point, or off.
    pub fn set_feed(&mut self, enabled: bool) {
        self.feed.enable(enabled);
    }

    /// Begins a new input at the next random access point, for a fresh encoder.
    pub fn restart_feed(&mut self) {
        if let Some(selection) = &self.selection {
            self.feed.restart(selection);
        }
    }

    /// What is known of the source so far.
    #[must_use]
    pub fn facts(&self) -> Option<&SourceFacts> {
        self.facts.as_ref().map(FactsKeeper::facts)
    }

    /// What is being waited for.
    #[must_use]
    pub fn stage(&self) -> Stage {
        if self.gate.is_open() {
            Stage::Open
        } else if self.selection.is_some() {
            Stage::AwaitingRandomAccessPoint
        } else if self.head.is_none() && self.framer.is_synced() {
            Stage::AwaitingTables
        } else {
            Stage::AwaitingPackets
        }
    }

    /// What went wrong on the way so far.
    #[must_use]
    pub fn counters(&self) -> FrontCounters {
        FrontCounters {
            sync_losses: self.framer.sync_losses(),
            skipped_bytes: self.framer.skipped_bytes(),
            ..self.counters
        }
    }

    /// Bytes of the source that are held at the moment; bounded whatever it sends.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let video = self.video.as_ref();
        let audio = self.audio.as_ref();
        self.framer.held_bytes()
            + video.map_or(0, |track| track.assembler.progress().len())
            + audio.map_or(0, |track| track.assembler.progress().len())
            + audio.map_or(0, |track| track.framer.held_bytes())
            + self.gate.held_bytes()
            + self.feed.held_bytes()
    }

    /// Until packets are found, watches for what is no transport stream.
    fn judge_start(&mut self, chunk: &[u8], ended: bool) {
        let Some(head) = &mut self.head else {
            return;
        };
        if self.framer.is_synced() {
            self.head = None;
            return;
        }
        let room = sniff::HEAD - head.len();
        head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let skipped = self.framer.skipped_bytes() - self.skipped_before;
        let hopeless = (skipped > HOPELESS).then_some(Foreign::Unknown);
        if let Some(foreign) = sniff::sniff(head, ended).or(hopeless) {
            self.head = None;
            self.report(Malformed::NotTransportStream(foreign));
        }
    }

    fn take_packet(&mut self, run: &Bytes, start: usize, packet: Packet<'_>) {
        let pid = packet.pid();
        if pid == NULL_PID {
            return;
        }
        let selection = self.selection.as_ref();
        if selection.is_some_and(|selection| selection.pcr_pid == Some(pid)) {
            self.take_clock(packet);
        }
        if self.video.as_ref().is_some_and(|track| track.pid == pid) {
            self.take_video(run, start, packet);
        } else if self.audio.as_ref().is_some_and(|track| track.pid == pid) {
            self.take_audio(run, start, packet);
        } else if self.follower.is_table(pid) {
            match self.follower.push(packet) {
                Some(Change::Selected(selection)) => self.select(run, selection),
                Some(Change::NothingPlayable) => self.report(Malformed::NothingPlayable),
                None => {}
            }
        }
    }

    fn take_clock(&mut self, packet: Packet<'_>) {
        if packet.has_transport_error() {
            return;
        }
        if let Some(pcr) = packet.adaptation().and_then(|adaptation| adaptation.pcr) {
            self.clock.see_pcr(pcr);
            self.tell_clock();
        }
    }

    fn tell_clock(&mut self) {
        let now = self.clock.now();
        if now != self.told_clock
            && let Some(now) = now
        {
            self.told_clock = Some(now);
            self.events.push(FrontEvent::Clock(now));
        }
    }

    /// Goes over to another selection. Video that stays the same goes on without a break while audio comes, goes or moves; other
    /// video, and audio of another format, are other tracks.
    fn select(&mut self, run: &Bytes, selection: Selection) {
        let (video, audio) = (
            VideoTrack::select(&selection),
            AudioTrack::select(&selection),
        );
        let same_video = video.is_some() && key_of_video(&video) == key_of_video(&self.video);
        let same_audio = key_of_audio(&audio) == key_of_audio(&self.audio);
        if same_video && same_audio {
            self.selection = Some(selection);
            return;
        }
        if let Some(pes) = self.audio.as_mut().and_then(|track| track.assembler.take()) {
            self.end_audio(run, pes);
        }
        let is_other_audio =
            matches!((&audio, &self.audio), (Some(next), Some(last)) if next.codec != last.codec);
        if same_video && !is_other_audio {
            if let Some(facts) = &mut self.facts {
                facts.select_audio(&selection);
            }
            self.feed.renew(&selection);
        } else {
            self.replace_video(run, video, &selection);
        }
        self.audio = audio;
        self.selection = Some(selection);
    }

    fn replace_video(&mut self, run: &Bytes, video: Option<VideoTrack>, selection: &Selection) {
        // The picture in progress may lack its end, as at a new connection.
        self.video = video;
        self.end_feed(run);
        self.feed.restart(selection);
        self.gate.close();
        if self.facts.replace(FactsKeeper::new(selection)).is_some() {
            self.events.push(FrontEvent::OtherTracks);
        }
        self.timeline.lead_with(self.leader());
    }

    fn leader(&self) -> Track {
        match self.video {
            Some(_) => Track::Video,
            None => Track::Audio,
        }
    }

    fn now(&self) -> Ticks {
        self.clock.now().unwrap_or_default()
    }

    fn report(&mut self, malformed: Malformed) {
        self.events.push(FrontEvent::Malformed(malformed));
    }

    fn is_scrambled(&mut self, packet: Packet<'_>) -> bool {
        if !packet.is_scrambled() {
            self.scrambled_run = 0;
            return false;
        }
        self.scrambled_run = self.scrambled_run.saturating_add(1);
        if self.scrambled_run == SCRAMBLED {
            self.report(Malformed::Scrambled);
        }
        true
    }

    fn count(&mut self, step: &Step) {
        self.counters.continuity_errors += u64::from(step.gap);
        if step.oversized {
            self.counters.oversized_units += 1;
            self.report(Malformed::Oversized);
        }
    }
}

fn key_of_video(track: &Option<VideoTrack>) -> Option<(VideoCodec, u16)> {
    track.as_ref().map(|track| (track.codec, track.pid))
}

fn key_of_audio(track: &Option<AudioTrack>) -> Option<(AudioCodec, u16)> {
    track.as_ref().map(|track| (track.codec, track.pid))
}
