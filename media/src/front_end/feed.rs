//! The encoder's input: the chosen tracks' own packets behind tables of ours, from a random access point on.
//! Carries the source's timestamps untouched; copies packets only to join what lies apart.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::ts::program::Selection;
use crate::ts::section::PACKET_BYTES;
use crate::ts::tables::{ElementaryStream, PAT_PID, Pat, Pmt, Program};

/// The most bytes that are held while it is open whether a picture is a random access point.
const MAX_HELD: usize = 1024 * 1024;

/// Our PMT's PID, unless a track of the source has it.
const PMT_PIDS: [u16; 3] = [0x1000, 0x1001, 0x1002];

const NO_CLOCK: u16 = 0x1FFF;

/// What the encoder is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedPart {
    /// A new input begins, with these tables.
    Start(Bytes),
    /// It goes on.
    More(Bytes),
}

#[derive(Debug)]
enum State {
    /// Nobody encodes.
    Off,
    /// Waiting for a picture that may be a random access point.
    Waiting,
    /// A picture has started; its packets are held until its kind is known.
    Holding,
    Open,
    /// Open, and a picture has started: what comes with it is held until its kind is known, so that what precedes a random access
    /// point is given before anybody is told of it.
    Judging,
}

/// Gathers the encoder's input.
#[derive(Debug)]
pub(super) struct Feed {
    state: State,
    tables: Bytes,
    /// Packets of the run in progress that lie together.
    range: Range<usize>,
    held: Vec<Bytes>,
    held_bytes: usize,
    gathered: Vec<Bytes>,
    /// The input was open when the connection broke; it may go on.
    resumes: bool,
    /// What it is made of has changed: it ends at the next random access point, where a new one begins.
    renews: bool,
}

impl Feed {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            state: if enabled { State::Waiting } else { State::Off },
            tables: Bytes::new(),
            range: 0..0,
            held: Vec::new(),
            held_bytes: 0,
            gathered: Vec::new(),
            resumes: false,
            renews: false,
        }
    }

    /// Whether packets are of any use now.
    pub(super) fn wants_packets(&self) -> bool {
        matches!(self.state, State::Holding | State::Open | State::Judging)
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Switches on, to begin at the next random access point, or off.
    pub(super) fn enable(&mut self, enabled: bool) {
        if enabled != self.is_on() {
            self.clear();
            self.state = if enabled { State::Waiting } else { State::Off };
        }
    }

    /// The input ends; a new one begins at the next random access point, from these tracks.
    pub(super) fn restart(&mut self, selection: &Selection) {
        if self.is_on() {
            self.clear();
            self.state = State::Waiting;
            (self.resumes, self.renews) = (false, false);
        }
        self.tables = tables(selection);
    }

    /// A new input begins at the next random access point, from these tracks; until then the one before goes on.
    pub(super) fn renew(&mut self, selection: &Selection) {
        self.tables = tables(selection);
        self.renew_as_it_is();
    }

    /// A new input begins at the next random access point, because pictures are of another kind from there on.
    pub(super) fn renew_as_it_is(&mut self) {
        self.renews |= self.is_on();
    }

    /// The connection broke: the input goes on at the next random access point, if that is of the same time line. Answers what
    /// belongs to it so far.
    pub(super) fn break_off(&mut self) -> Option<FeedPart> {
        self.settle();
        let rest = self.flush();
        if self.is_on() {
            self.resumes |= matches!(self.state, State::Open);
            self.clear();
            self.state = State::Waiting;
        }
        rest
    }

    /// What comes next follows what was given before the connection broke, without a hole.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.resumes) {
            self.clear();
            self.state = State::Open;
        }
    }

    /// A picture starts with the packet that comes next.
    pub(super) fn begin_picture(&mut self, run: &Bytes) {
        match self.state {
            State::Off => {}
            State::Waiting | State::Holding => {
                self.clear();
                self.state = State::Holding;
            }
            State::Open | State::Judging => {
                self.end_run(run);
                self.settle();
                self.state = State::Judging;
            }
        }
    }

    /// Takes a packet of a chosen track by its place in the run.
    pub(super) fn take(&mut self, run: &Bytes, start: usize) {
        if self.range.end != start {
            self.close_range(run);
            self.range.start = start;
        }
        self.range.end = start + PACKET_BYTES;
    }

    /// The picture in progress is not one to begin with.
    pub(super) fn reject_picture(&mut self) {
        if matches!(self.state, State::Holding) {
            self.clear();
            self.state = State::Waiting;
        }
        self.settle();
    }

    /// What is held of an open input belongs to it, whatever it is.
    pub(super) fn settle(&mut self) {
        if matches!(self.state, State::Judging) {
            self.gathered.append(&mut self.held);
            self.held_bytes = 0;
            self.state = State::Open;
        }
    }

    /// The picture in progress is a random access point: the input begins with it, or goes on where it `continues` one.
    pub(super) fn open(&mut self, run: &Bytes, continues: bool) -> Option<FeedPart> {
        if !self.renews {
            self.settle();
        }
        if !matches!(self.state, State::Holding | State::Judging) {
            return None;
        }
        self.end_run(run);
        if !matches!(self.state, State::Holding | State::Judging) {
            return None;
        }
        self.state = State::Open;
        self.gathered = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let is_renewed = std::mem::take(&mut self.renews);
        let goes_on = std::mem::take(&mut self.resumes) && continues && !is_renewed;
        (!goes_on).then(|| FeedPart::Start(self.tables.clone()))
    }

    /// The run ends, or what lies in it is to be told apart.
    pub(super) fn end_run(&mut self, run: &Bytes) {
        self.close_range(run);
        self.range = 0..0;
    }

    /// What belongs to the input so far, in one piece.
    pub(super) fn flush(&mut self) -> Option<FeedPart> {
        if self.gathered.len() < 2 {
            return self.gathered.pop().map(FeedPart::More);
        }
        let total = self.gathered.iter().map(Bytes::len).sum();
        let mut joined = BytesMut::with_capacity(total);
        for part in self.gathered.drain(..) {
            joined.extend_from_slice(&part);
        }
        Some(FeedPart::More(joined.freeze()))
    }

    fn close_range(&mut self, run: &Bytes) {
        let range = std::mem::take(&mut self.range);
        if range.is_empty() {
            return;
        }
        let part = run.slice(range);
        match self.state {
            State::Open => self.gathered.push(part),
            State::Judging => {
                self.held_bytes += part.len();
                self.held.push(part);
                if self.held_bytes > MAX_HELD {
                    self.settle();
                }
            }
            State::Holding if self.held_bytes + part.len() <= MAX_HELD => {
                self.held_bytes += part.len();
                self.held.push(part);
            }
            State::Holding => self.reject_picture(),
            State::Off | State::Waiting => {}
        }
    }

    fn clear(&mut self) {
        self.range = 0..0;
        self.held.clear();
        self.held_bytes = 0;
        self.gathered.clear();
    }
}

/// PAT and PMT for the chosen tracks alone, at the source's PIDs and with its descriptors.
fn tables(selection: &Selection) -> Bytes {
    let tracks = || {
        let video = selection.video.iter().map(|(_, stream)| stream);
        video.chain(selection.audio.iter().map(|(_, stream)| stream))
    };
    let is_free = |pid: &&u16| tracks().all(|stream| stream.pid != **pid);
    let pmt_pid = PMT_PIDS.iter().find(is_free).copied().unwrap_or_default();
    let carries_clock = |pid: &u16| tracks().any(|stream| stream.pid == *pid);
    let pat = Pat {
        transport_stream_id: 1,
        version: 0,
        programs: vec![Program {
            number: selection.program_number,
            pmt_pid,
        }],
    };
    let pmt = Pmt {
        program_number: selection.program_number,
        version: 0,
        // A clock on a PID of its own is not fed: the encoder goes by decoding times.
        pcr_pid: selection.pcr_pid.filter(carries_clock).unwrap_or(NO_CLOCK),
        streams: tracks().cloned().collect::<Vec<ElementaryStream>>(),
    };
    let mut bytes = pat.section().packets(PAT_PID, &mut 0);
    bytes.extend(pmt.section().packets(pmt_pid, &mut 0));
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::packet::Packet;
    use crate::ts::program::{Change, ProgramFollower};
    use crate::unit::{AudioCodec, VideoCodec};

    fn stream(stream_type: u8, pid: u16) -> ElementaryStream {
        ElementaryStream {
            stream_type,
            pid,
            descriptors: Vec::new(),
        }
    }

    fn selection(pcr_pid: u16) -> Selection {
        Selection {
            program_number: 7,
            pcr_pid: Some(pcr_pid),
            video: Some((VideoCodec::H264, stream(0x1B, 0x1000))),
            audio: Some((AudioCodec::Mpeg, stream(0x03, 0x1E2))),
        }
    }

    fn run(packets: usize) -> Bytes {
        let bytes: Vec<u8> = (0..packets)
            .flat_map(|index| [u8::try_from(index).unwrap(); PACKET_BYTES])
            .collect();
        Bytes::from(bytes)
    }

    fn take(feed: &mut Feed, run: &Bytes, packets: &[usize]) {
        for packet in packets {
            feed.take(run, packet * PACKET_BYTES);
        }
    }

    #[test]
    fn the_tables_name_the_chosen_tracks_at_their_own_pids() {
        for (pcr_pid, expected) in [(0x1000, Some(0x1000)), (0x1F0, None)] {
            let bytes = tables(&selection(pcr_pid));
            let mut follower = ProgramFollower::new(None);
            let (packets, _) = bytes.as_chunks::<PACKET_BYTES>();
            let change = packets
                .iter()
                .find_map(|packet| follower.push(Packet::new(packet)));
            let read = Selection {
                pcr_pid: expected,
                ..selection(pcr_pid)
            };
            assert_eq!(change, Some(Change::Selected(read)));
        }
    }

    #[test]
    fn the_input_begins_with_the_first_packet_of_the_random_access_point() {
        let mut feed = Feed::new(true);
        let run = run(8);
        feed.restart(&selection(0x1000));
        assert!(!feed.wants_packets());
        feed.begin_picture(&run);
        take(&mut feed, &run, &[0, 1]);
        feed.reject_picture();
        feed.begin_picture(&run);
        take(&mut feed, &run, &[3, 4]);
        let start = FeedPart::Start(tables(&selection(0x1000)));
        assert_eq!(feed.open(&run, false), Some(start));
        take(&mut feed, &run, &[5, 6]);
        feed.end_run(&run);
        let rest = run.slice(3 * PACKET_BYTES..7 * PACKET_BYTES);
        assert_eq!(feed.flush(), Some(FeedPart::More(rest)));
        assert_eq!(feed.flush(), None);
    }

    #[test]
    fn an_input_of_other_tracks_begins_with_a_key_and_the_one_before_lacks_nothing() {
        let mut feed = Feed::new(true);
        let run = run(8);
        feed.restart(&selection(0x1000));
        feed.begin_picture(&run);
        feed.open(&run, false);
        take(&mut feed, &run, &[0]);
        let silent = Selection {
            audio: None,
            ..selection(0x1000)
        };
        feed.renew(&silent);
        feed.begin_picture(&run);
        take(&mut feed, &run, &[1]);
        feed.reject_picture();
        feed.begin_picture(&run);
        take(&mut feed, &run, &[2]);
        let before = run.slice(..2 * PACKET_BYTES);
        assert_eq!(feed.flush(), Some(FeedPart::More(before)));
        let start = FeedPart::Start(tables(&silent));
        assert_eq!(feed.open(&run, false), Some(start));
        take(&mut feed, &run, &[3]);
        feed.begin_picture(&run);
        take(&mut feed, &run, &[4]);
        assert_eq!(feed.open(&run, false), None);
        feed.end_run(&run);
        let after = run.slice(2 * PACKET_BYTES..5 * PACKET_BYTES);
        assert_eq!(feed.flush(), Some(FeedPart::More(after)));
    }

    #[test]
    fn packets_that_lie_together_are_not_copied() {
        let mut feed = Feed::new(true);
        let run = run(8);
        feed.begin_picture(&run);
        feed.open(&run, false);
        take(&mut feed, &run, &[2, 3, 4]);
        feed.end_run(&run);
        match feed.flush() {
            Some(FeedPart::More(bytes)) => {
                assert_eq!(bytes.as_ptr(), run[2 * PACKET_BYTES..].as_ptr());
            }
            other => panic!("no input: {other:?}"),
        }
    }

    #[test]
    fn after_a_broken_connection_the_input_goes_on_only_on_the_same_time_line() {
        for continues in [true, false] {
            let mut feed = Feed::new(true);
            let run = run(8);
            feed.begin_picture(&run);
            assert!(feed.open(&run, false).is_some());
            feed.break_off();
            feed.begin_picture(&run);
            take(&mut feed, &run, &[1]);
            assert_eq!(feed.open(&run, continues).is_none(), continues);
            let packet = run.slice(PACKET_BYTES..2 * PACKET_BYTES);
            assert_eq!(feed.flush(), Some(FeedPart::More(packet)));
        }
    }

    #[test]
    fn what_precedes_a_random_access_point_is_given_apart_from_it() {
        let packets = |run: &Bytes, first: usize, end: usize| {
            let bytes = run.slice(first * PACKET_BYTES..end * PACKET_BYTES);
            Some(FeedPart::More(bytes))
        };
        for is_key in [true, false] {
            let mut feed = Feed::new(true);
            let run = run(8);
            feed.begin_picture(&run);
            feed.open(&run, false);
            take(&mut feed, &run, &[0, 1]);
            feed.begin_picture(&run);
            take(&mut feed, &run, &[2, 3]);
            assert_eq!(feed.flush(), packets(&run, 0, 2));
            if is_key {
                assert_eq!(feed.open(&run, false), None);
            } else {
                feed.reject_picture();
            }
            take(&mut feed, &run, &[4]);
            feed.end_run(&run);
            assert_eq!(feed.flush(), packets(&run, 2, 5), "{is_key}");
        }
    }

    #[test]
    fn a_picture_that_is_never_judged_holds_little_and_costs_nothing() {
        let mut feed = Feed::new(true);
        let run = run(100);
        feed.begin_picture(&run);
        feed.open(&run, false);
        feed.begin_picture(&run);
        let mut given = 0;
        for round in 0..100 {
            take(&mut feed, &run, &(0..100).collect::<Vec<_>>());
            feed.end_run(&run);
            assert!(feed.held_bytes <= MAX_HELD);
            if round == 99 {
                feed.settle();
            }
            if let Some(FeedPart::More(bytes)) = feed.flush() {
                given += bytes.len();
            }
        }
        assert_eq!(given, 100 * run.len());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut feed = Feed::new(true);
        let run = run(100);
        feed.begin_picture(&run);
        for _ in 0..1000 {
            take(&mut feed, &run, &(0..100).collect::<Vec<_>>());
            feed.end_run(&run);
        }
        assert!(feed.held_bytes <= MAX_HELD);
        assert_eq!(feed.open(&run, false), None);
    }
}
