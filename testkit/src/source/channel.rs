//! One channel at run time: its one shared timeline, the ring its clients read from, its faults and its counts.
//! Between two clients nothing runs; the timeline goes on all the same, because it is a function of the time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::carousel::{Carousel, Cursor, clock_ticks};
use super::faults::{Cut, Faults};
use super::fragments::{self, Tracks};
use super::hls::HlsContainer;
use super::settings::ChannelSettings;
use crate::ts::packet::PACKET_SIZE;

/// How often due packets are handed to the clients: the bound of the pacing error.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Ticks that a client may lag behind before it loses what it has not read: ten seconds.
const RING: usize = 2048;

/// Where timestamps begin: an hour, as of a source that has been running for a while (90 kHz).
const FIRST_STAMP: i64 = 3600 * 90_000;

/// Most seconds of the past that a client may ask for.
const MAX_BURST: f64 = 120.0;

/// Counts of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStats {
    /// Clients that are connected now.
    pub clients: u64,
    /// Most clients that were ever connected at once.
    pub clients_peak: u64,
    /// Clients that ever got a stream.
    pub clients_total: u64,
    /// Requests, refused ones included.
    pub requests: u64,
    /// Bytes given to clients.
    pub bytes: u64,
    /// `User-Agent` of the last request.
    pub user_agent: Option<String>,
}

/// A channel that can be joined.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) settings: ChannelSettings,
    carousel: Arc<Carousel>,
    /// The same in another size, where the settings name one.
    resized: Option<Arc<Carousel>>,
    started: Instant,
    /// 27 MHz position of the timeline when the channel started: some laps, so that there is always a past to burst.
    first: u64,
    edge: Mutex<Edge>,
    offset: AtomicI64,
    /// Positions at which timestamps jumped, and how far (90 kHz).
    jumps: Mutex<Vec<(u64, i64)>>,
    /// Where the HLS playlist stopped, while it stands still.
    frozen: Mutex<Option<u64>>,
    /// Initialization sections, of the main HLS playlist and of that of its audio.
    inits: [OnceCell<Bytes>; 2],
    faults: watch::Sender<Faults>,
    cuts: watch::Sender<(u64, Option<Cut>)>,
    stats: Mutex<ChannelStats>,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Edge {
    /// What is played, and where it is.
    carousel: Arc<Carousel>,
    cursor: Cursor,
    /// Continuity counters, where two sizes share them.
    counters: HashMap<u16, u8>,
    position: u64,
    running: bool,
    wrapped: bool,
    ring: broadcast::Sender<Bytes>,
}

/// A client's way into the shared timeline: what it gets at once, and where the rest comes from.
pub(crate) struct Joined {
    pub(crate) burst: Bytes,
    pub(crate) live: broadcast::Receiver<Bytes>,
}

impl Channel {
    pub(crate) fn new(
        settings: ChannelSettings,
        carousel: Arc<Carousel>,
        resized: Option<Arc<Carousel>>,
    ) -> Self {
        let first = carousel.length() * (1 + clock_ticks(MAX_BURST) / carousel.length());
        let edge = Edge {
            cursor: carousel.cursor(first),
            carousel: Arc::clone(&carousel),
            counters: HashMap::new(),
            position: first,
            running: false,
            wrapped: settings.wrap.is_none(),
            ring: broadcast::channel(RING).0,
        };
        Self {
            faults: watch::Sender::new(settings.faults.clone()),
            cuts: watch::Sender::new((0, None)),
            started: Instant::now(),
            offset: AtomicI64::new(FIRST_STAMP),
            jumps: Mutex::default(),
            frozen: Mutex::default(),
            inits: Default::default(),
            edge: Mutex::new(edge),
            stats: Mutex::default(),
            bytes: AtomicU64::new(0),
            settings,
            carousel,
            resized,
            first,
        }
    }

    /// Joins at the live edge, after `burst` seconds of its past.
    pub(crate) fn join(self: &Arc<Self>, burst: f64) -> Joined {
        let mut edge = lock(&self.edge);
        self.settle_wrap(&mut edge);
        if !edge.running {
            edge.position = self.position(Instant::now());
            edge.carousel = Arc::clone(self.wanted());
            edge.cursor = edge.carousel.cursor(edge.position);
            edge.running = true;
            tokio::spawn(run(Arc::clone(self)));
        }
        let past = edge.position - clock_ticks(burst.min(MAX_BURST));
        let mut cursor = self.carousel.cursor(past);
        let mut out = BytesMut::new();
        self.render(&mut cursor, edge.position, &mut out);
        Joined {
            burst: out.freeze(),
            live: edge.ring.subscribe(),
        }
    }

    /// A place, `burst` seconds in the past, on a timeline of one's own that starts at this share of the GOP, and how late that timeline is.
    pub(crate) fn join_at_phase(&self, phase: f64, burst: f64) -> (Cursor, u64) {
        self.settle_wrap(&mut lock(&self.edge));
        let past = self.position(Instant::now()) - clock_ticks(burst.min(MAX_BURST));
        let start = self.carousel.phase_before(past, phase);
        (self.carousel.cursor(start), past - start)
    }

    /// 27 MHz position of the live edge.
    pub(crate) fn position(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_nanos() * 27 / 1000;
        self.first + u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    /// What is to be played from the next key on.
    fn wanted(&self) -> &Arc<Carousel> {
        let is_resized = self.faults.borrow().resized == Some(true);
        self.resized
            .as_ref()
            .filter(|_| is_resized)
            .unwrap_or(&self.carousel)
    }

    /// Moves the edge to `position` and returns what is due until then.
    fn advance(&self, edge: &mut Edge, position: u64) -> Bytes {
        let offset = self.offset.load(Ordering::Relaxed);
        let mut out = BytesMut::new();
        let Edge {
            carousel, cursor, ..
        } = edge;
        if !Arc::ptr_eq(carousel, self.wanted())
            && let Some(key) = carousel
                .key_from(edge.position)
                .filter(|key| *key < position)
        {
            carousel.render(cursor, key, offset, &mut out);
            *carousel = Arc::clone(self.wanted());
            *cursor = carousel.cursor(key);
        }
        carousel.render(cursor, position, offset, &mut out);
        edge.position = position;
        if self.resized.is_some() {
            count_on(&mut edge.counters, &mut out);
        }
        out.freeze()
    }

    pub(crate) fn render(&self, cursor: &mut Cursor, until: u64, out: &mut BytesMut) {
        let offset = self.offset.load(Ordering::Relaxed);
        self.carousel.render(cursor, until, offset, out);
    }

    /// The first join decides when the timestamps wrap.
    fn settle_wrap(&self, edge: &mut Edge) {
        if let (false, Some(seconds)) = (edge.wrapped, self.settings.wrap) {
            let position = (self.position(Instant::now()) / 300).cast_signed();
            let offset = (1 << 33) - (seconds * 90_000.0) as i64 - position;
            self.offset.store(offset, Ordering::Relaxed);
            edge.wrapped = true;
        }
    }

    pub(crate) fn jump(&self, seconds: f64) {
        let ticks = (seconds * 90_000.0) as i64;
        lock(&self.jumps).push((self.position(Instant::now()), ticks));
        self.offset.fetch_add(ticks, Ordering::Relaxed);
    }

    /// The position up to which HLS segments are listed; it stays where it is while the channel is silent.
    pub(crate) fn hls_position(&self, silent: bool) -> u64 {
        self.settle_wrap(&mut lock(&self.edge));
        let now = self.position(Instant::now());
        let mut frozen = lock(&self.frozen);
        if !silent {
            *frozen = None;
            return now;
        }
        *frozen.get_or_insert(now)
    }

    /// Numbers of HLS segments at whose start timestamps jump.
    pub(crate) fn hls_jumps(&self) -> Vec<u64> {
        let length = self.settings.hls.length();
        let jumps = lock(&self.jumps);
        jumps.iter().map(|(at, _)| at / length + 1).collect()
    }

    /// The transport stream of an HLS segment.
    fn hls_media(&self, number: u64) -> Bytes {
        let length = self.settings.hls.length();
        let jumps = lock(&self.jumps);
        let to_come = jumps.iter().filter(|(at, _)| at / length + 1 > number);
        let ahead: i64 = to_come.map(|(_, ticks)| ticks).sum();
        let offset = self.offset.load(Ordering::Relaxed) - ahead;
        let mut cursor = self.carousel.cursor(number * length);
        let mut out = BytesMut::new();
        let until = (number + 1) * length;
        self.carousel.render(&mut cursor, until, offset, &mut out);
        out.freeze()
    }

    /// How long a whole HLS segment is, as it is sent.
    pub(crate) fn hls_length(&self, number: u64) -> usize {
        let hls = &self.settings.hls;
        hls.sealed(number, self.hls_media(number)).len()
    }

    /// An HLS segment of these tracks as it is sent.
    pub(crate) async fn hls_segment(&self, number: u64, tracks: Tracks) -> Option<Bytes> {
        let (hls, media) = (&self.settings.hls, self.hls_media(number));
        let media = match (hls.container, tracks) {
            _ if hls.is_packed(tracks) => fragments::packed(&media)?,
            (HlsContainer::Ts, Tracks::All) => media,
            (HlsContainer::Ts, _) => fragments::transport_stream(tracks, media).await?,
            (HlsContainer::Fmp4, _) => {
                fragments::mp4(tracks, self.settings.audio, media)
                    .await?
                    .media
            }
        };
        Some(hls.sealed(number, media))
    }

    /// The initialization section of these tracks as it is sent: always the same.
    pub(crate) async fn hls_init(&self, number: u64, tracks: Tracks) -> Option<Bytes> {
        let init = match tracks {
            Tracks::All | Tracks::Video => &self.inits[0],
            Tracks::Audio => &self.inits[1],
        };
        let make = || async {
            let made = fragments::mp4(tracks, self.settings.audio, self.hls_media(number))
                .await
                .ok_or(())?;
            Ok::<_, ()>(self.settings.hls.sealed_init(made.init))
        };
        init.get_or_try_init(make).await.ok().cloned()
    }

    pub(crate) fn cut(&self, how: Cut) {
        self.cuts.send_modify(|(number, last)| {
            *number += 1;
            *last = Some(how);
        });
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    pub(crate) fn faults(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    pub(crate) fn cuts(&self) -> watch::Receiver<(u64, Option<Cut>)> {
        self.cuts.subscribe()
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let mut stats = lock(&self.stats).clone();
        stats.bytes = self.bytes.load(Ordering::Relaxed);
        stats
    }

    pub(crate) fn count_request(&self, user_agent: Option<String>) {
        let mut stats = lock(&self.stats);
        stats.requests += 1;
        stats.user_agent = user_agent;
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a client until the guard is dropped; `None` when `limit` are connected already.
    pub(crate) fn count_client(self: &Arc<Self>, limit: Option<u64>) -> Option<ClientGuard> {
        let mut stats = lock(&self.stats);
        if limit.is_some_and(|limit| stats.clients >= limit) {
            return None;
        }
        stats.clients += 1;
        stats.clients_total += 1;
        stats.clients_peak = stats.clients_peak.max(stats.clients);
        Some(ClientGuard(Arc::clone(self)))
    }
}

/// One connected client.
#[derive(Debug)]
pub(crate) struct ClientGuard(Arc<Channel>);

impl Drop for ClientGuard {
    fn drop(&mut self) {
        lock(&self.0.stats).clients -= 1;
    }
}

/// Moves the shared edge until its last client has gone.
async fn run(channel: Arc<Channel>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let mut edge = lock(&channel.edge);
        if edge.ring.receiver_count() == 0 {
            edge.running = false;
            return;
        }
        let out = channel.advance(&mut edge, channel.position(Instant::now()));
        if !out.is_empty() {
            let _ = edge.ring.send(out);
        }
    }
}

/// Lets continuity counters run on where one loop of packets follows another.
fn count_on(counters: &mut HashMap<u16, u8>, out: &mut BytesMut) {
    for packet in out.chunks_mut(PACKET_SIZE) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let last = counters.entry(pid).or_default();
        *last = (*last + (packet[3] >> 4 & 1)) % 16;
        packet[3] = packet[3] & 0xf0 | *last;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::carousel::VIDEO;
    use crate::source::elementary::{Elementary, Unit};
    use crate::source::multiplex::multiplex;
    use crate::source::settings::Size;
    use crate::ts::demux::demux;
    use crate::ts::packet::Packet;

    /// Two seconds of pictures without sound.
    fn channel(change: fn(&mut ChannelSettings)) -> Arc<Channel> {
        let picture = |index: i64| Unit {
            pts: index * 3600,
            dts: index * 3600,
            key: index % 25 == 0,
            data: Bytes::from(vec![0; 2000]),
        };
        let media = Elementary {
            video: (0..50).map(picture).collect(),
            audio: Vec::new(),
            duration: 180_000,
            gop: 90_000,
        };
        let mut settings = ChannelSettings::small("a");
        change(&mut settings);
        let carousel = multiplex(&media, &settings);
        let larger = |unit: &Unit| Unit {
            data: Bytes::from(vec![1; 5000]),
            ..unit.clone()
        };
        let resized = Elementary {
            video: media.video.iter().map(larger).collect(),
            ..media
        };
        let resized = settings.resized.map(|_| multiplex(&resized, &settings));
        let resized = resized.map(Arc::new);
        Arc::new(Channel::new(settings, Arc::new(carousel), resized))
    }

    fn clocks(bytes: &[u8]) -> Vec<u64> {
        let packets = bytes.chunks(PACKET_SIZE).filter_map(Packet::parse);
        packets.filter_map(|packet| packet.pcr).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn packets_leave_within_one_tick_of_their_clock_reference() {
        let channel = channel(|_| {});
        let started = Instant::now();
        tokio::time::advance(Duration::from_millis(777)).await;
        let mut joined = channel.join(0.0);
        let zero = (channel.first / 300).cast_signed() + FIRST_STAMP;
        let mut seen = 0;
        while seen < 100 {
            let chunk = joined.live.recv().await.unwrap();
            for clock in clocks(&chunk) {
                let due = Duration::from_nanos((clock - zero.cast_unsigned() * 300) * 1000 / 27);
                let late = started.elapsed().checked_sub(due).unwrap();
                assert!(late <= TICK + Duration::from_millis(1), "{late:?}");
                seen += 1;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_see_the_same_edge_and_it_moves_on_while_nobody_looks() {
        let channel = channel(|_| {});
        let mut one = channel.join(0.0);
        let first = one.live.recv().await.unwrap();
        let mut two = channel.join(0.0);
        assert_eq!(one.live.recv().await, two.live.recv().await);
        drop((one, two));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!lock(&channel.edge).running);
        let mut three = channel.join(0.1);
        three.live.recv().await.unwrap();
        let moved = clocks(&three.burst)[0] - clocks(&first)[0];
        assert_eq!(moved / 27_000_000, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_ends_where_the_live_stream_goes_on() {
        let channel = channel(|_| {});
        let mut joined = channel.join(3.0);
        let mut bytes = joined.burst.to_vec();
        let span = clocks(&bytes).len();
        assert_eq!(span, 75);
        for _ in 0..20 {
            bytes.extend(joined.live.recv().await.unwrap());
        }
        let steps = clocks(&bytes);
        assert!(steps.windows(2).all(|pair| pair[1] - pair[0] == 1_080_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wrap_comes_when_asked_after_the_first_join() {
        let channel = channel(|settings| settings.wrap = Some(5.0));
        tokio::time::advance(Duration::from_secs(100)).await;
        let mut joined = channel.join(0.0);
        let joined_at = Instant::now();
        let wrapped_at = loop {
            let chunk = joined.live.recv().await.unwrap();
            if clocks(&chunk).iter().any(|clock| *clock < 27_000_000) {
                break joined_at.elapsed();
            }
        };
        assert_eq!((wrapped_at.as_millis() + 20) / 100, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn another_size_begins_with_a_key_and_the_counters_run_on() {
        let channel = channel(|settings| settings.resized = Some(Size(640, 360)));
        let mut joined = channel.join(0.0);
        joined.live.recv().await.unwrap();
        channel.set_faults(Faults {
            resized: Some(true),
            ..Faults::default()
        });
        let mut bytes = Vec::new();
        while clocks(&bytes).len() < 60 {
            bytes.extend(joined.live.recv().await.unwrap());
        }
        let demuxed = demux(&bytes);
        let pictures: Vec<_> = demuxed.pes.values().flatten().collect();
        // What was in progress at either end is not whole.
        let whole = &pictures[1..pictures.len() - 1];
        let resized = whole.iter().position(|pes| pes.data.len() == 5000).unwrap();
        assert!(whole[resized].random_access && resized > 0);
        let (before, after) = whole.split_at(resized);
        assert!(before.iter().all(|pes| pes.data.len() == 2000));
        assert!(after.iter().all(|pes| pes.data.len() == 5000));
        let steps = whole
            .windows(2)
            .map(|pair| pair[1].pts.unwrap() - pair[0].pts.unwrap());
        assert!(steps.into_iter().all(|step| step == 3600));
        let video = demuxed.headers.iter().filter(|header| header.pid == VIDEO);
        let counts = video.filter(|header| header.has_payload);
        let counts: Vec<_> = counts.map(|header| header.continuity).collect();
        assert!(counts.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 16));
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_moves_all_timestamps_at_once() {
        let channel = channel(|_| {});
        let mut joined = channel.join(0.1);
        let before = *clocks(&joined.burst).last().unwrap();
        channel.jump(-60.0);
        let after = loop {
            if let [clock, ..] = clocks(&joined.live.recv().await.unwrap())[..] {
                break clock;
            }
        };
        assert_eq!(before + 1_080_000 - after, 60 * 27_000_000);
    }

    #[tokio::test]
    async fn clients_are_counted_until_they_are_gone_and_refused_over_the_limit() {
        let channel = channel(|_| {});
        let first = channel.count_client(Some(1));
        assert!(first.is_some() && channel.count_client(Some(1)).is_none());
        drop(first);
        let _second = channel.count_client(Some(1)).unwrap();
        let stats = channel.stats();
        let counts = (stats.clients, stats.clients_peak, stats.clients_total);
        assert_eq!(counts, (1, 1, 2));
    }
}
