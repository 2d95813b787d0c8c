//! Puts the timestamps of both tracks on one unwrapped time line and tells where it breaks.
//! Never changes a timestamp that is believable, and never judges by the wall clock.

use crate::front_end::clock::SourceClock;
use crate::time::Ticks;
use crate::ts::pes::PesHeader;
use crate::unit::Track;

/// A step forward beyond this is a break, unless the clock ran on meanwhile.
const LONGEST_STEP: Ticks = Ticks::from_seconds(1);

/// No picture is shown later than this after it is decoded.
const LONGEST_REORDERING: Ticks = Ticks::from_seconds(10);

/// Audio further than this from the video is not of its time line.
const LONGEST_DISTANCE: Ticks = Ticks::from_seconds(10);

/// How long after a break of the video the audio may take to follow.
const FOLLOW_UP: Ticks = Ticks::from_seconds(5);

/// Breaks of both tracks that are the same have moved them by about the same span.
const SAME_BREAK: Ticks = Ticks::from_seconds(2);

/// How far a new connection may repeat what the last one brought and still be the same time line.
const LONGEST_OVERLAP: Ticks = Ticks::from_seconds(60);

/// Sources that start anew for each connection start within this of the same time.
const SAME_START: Ticks = Ticks::from_milliseconds(500);

/// An overlap up to this is harmless, whatever it is.
const SHORT_OVERLAP: Ticks = Ticks::from_seconds(2);

/// What follows on over a new connection comes within so many halves of the usual step: where more is missing, pictures or sound
/// were lost, and players and decoders are told of that by a DISCONTINUITY.
const FOLLOWING_HALF_STEPS: i64 = 3;

/// A place where the time line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) from: Ticks,
    pub(super) to: Ticks,
}

/// The timestamps of one PES packet, placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) pts: Ticks,
    pub(super) dts: Ticks,
    /// Distance to the one before, where there is one on the same time line.
    pub(super) step: Option<Ticks>,
    pub(super) broke: Option<Break>,
}

/// Where each track stands.
#[derive(Debug)]
pub(super) struct Timeline {
    leader: Track,
    video: Position,
    audio: Position,
    /// How far the audio has run without a break since the last picture.
    audio_run: Option<Ticks>,
    following: Following,
    /// Where the leading track began over this connection, and over the one before.
    start: Option<Ticks>,
    last_start: Option<Ticks>,
    /// Every connection has times of its own, which say nothing of those before.
    own_times: bool,
    /// The last step of the leading track.
    usual_step: Ticks,
}

/// Where one track stands.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    last: Option<Ticks>,
    /// `last` came over another connection, so that the next time may differ without a break.
    stale: bool,
}

/// Whether the audio is on the time line of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    Together,
    /// The video has moved by `by`, at `since`; the audio has yet to.
    Behind {
        by: Ticks,
        since: Ticks,
    },
    /// The audio has moved by `by` first.
    Ahead {
        by: Ticks,
    },
}

impl Timeline {
    pub(super) fn new(leader: Track) -> Self {
        Self {
            leader,
            video: Position::default(),
            audio: Position::default(),
            audio_run: None,
            following: Following::Together,
            start: None,
            last_start: None,
            own_times: false,
            usual_step: Ticks::ZERO,
        }
    }

    /// Other tracks were selected. Nothing that went before can be repeated by them, so what does not follow on is a break.
    pub(super) fn lead_with(&mut self, leader: Track) {
        self.leader = leader;
        self.usual_step = Ticks::ZERO;
        self.video.stale = false;
        self.audio.stale = false;
    }

    /// A new connection: what comes next may repeat, continue, or be something else.
    pub(super) fn break_off(&mut self) {
        self.video.stale = true;
        self.audio.stale = true;
        self.audio_run = None;
        self.following = Following::Together;
        self.own_times = false;
        if self.start.is_some() {
            self.last_start = self.start.take();
        }
    }

    /// This connection brings again what the last one brought, even from the same place on: it reads a list that goes on.
    pub(super) fn expect_repetition(&mut self) {
        self.last_start = None;
    }

    /// The times of this connection are its own: whoever brings them began to count with it.
    pub(super) fn expect_own_times(&mut self) {
        self.own_times = true;
    }

    /// Compares where the last connection ended with where this one is.
    pub(super) fn resumption(&self, from: Ticks, to: Ticks) -> Resumption {
        if self.own_times || self.starts_anew(from) {
            Resumption::Breaks
        } else {
            resumption(from, to, self.usual_step)
        }
    }

    /// Whether what comes over this connection began where the last one did, far behind `from`, where that ended. A live source
    /// repeats its latest seconds; one that is started for each connection sends other pictures with the times of before.
    fn starts_anew(&self, from: Ticks) -> bool {
        let (Some(start), Some(last_start)) = (self.start, self.last_start) else {
            return false;
        };
        (-SAME_START..=SAME_START).contains(&(start - last_start)) && from - start > SHORT_OVERLAP
    }

    /// Places the timestamps of a PES header; `None` when it has none.
    pub(super) fn place(
        &mut self,
        track: Track,
        header: &PesHeader,
        clock: &SourceClock,
    ) -> Option<Placed> {
        let wire_pts = header.pts?;
        let position = self.position(track);
        let near = |wire: u64, reference: Option<Ticks>| match reference {
            Some(reference) => Ticks::unwrap_near(wire, reference),
            None => Ticks(i64::try_from(wire).unwrap_or(0)),
        };
        let wire_dts = header.dts.unwrap_or(wire_pts);
        let own = near(wire_dts, position.last.or(clock.reference()));
        let step = position.last.map(|last| own - last);
        let continues = step.is_none_or(|step| {
            let explained = clock.explains(step) || self.audio_explains(track, step);
            step >= Ticks::ZERO && (step <= LONGEST_STEP || explained)
        });
        let dts = if continues {
            own
        } else {
            near(wire_dts, self.anchor(track).or(position.last))
        };
        let pts = Ticks::unwrap_near(wire_pts, dts);
        let believable = (Ticks::ZERO..=LONGEST_REORDERING).contains(&(pts - dts));
        let broke = position
            .last
            .filter(|_| !continues && !position.stale)
            .map(|from| Break { from, to: dts });
        if let Some(broke) = broke {
            self.note_break(track, broke);
        }
        self.audio_run = match track {
            Track::Video => Some(Ticks::ZERO),
            Track::Audio if continues => self.audio_run.map(|run| run + step.unwrap_or_default()),
            Track::Audio => None,
        };
        *self.position_mut(track) = Position {
            last: Some(dts),
            stale: false,
        };
        let step = step.filter(|_| continues && !position.stale);
        if track == self.leader {
            self.start.get_or_insert(dts);
            self.usual_step = step.unwrap_or(self.usual_step);
        }
        Some(Placed {
            pts: if believable { pts } else { dts },
            dts,
            step,
            broke,
        })
    }

    /// Whether audio of this time is of the time line that the video is on now.
    pub(super) fn admits_audio(&mut self, pts: Ticks) -> bool {
        let Some(video) = self.video.last.filter(|_| self.leader == Track::Video) else {
            return true;
        };
        if let Following::Behind { since, .. } = self.following
            && video - since > FOLLOW_UP
        {
            self.following = Following::Together;
        }
        let distance = pts - video;
        !matches!(self.following, Following::Behind { .. })
            && (-LONGEST_DISTANCE..=LONGEST_DISTANCE).contains(&distance)
    }

    /// Whether the audio ran on while pictures made a step: then they are rare, not broken.
    fn audio_explains(&self, track: Track, step: Ticks) -> bool {
        track == Track::Video && self.audio_run.is_some_and(|run| run >= step - LONGEST_STEP)
    }

    fn position(&self, track: Track) -> Position {
        match track {
            Track::Video => self.video,
            Track::Audio => self.audio,
        }
    }

    fn position_mut(&mut self, track: Track) -> &mut Position {
        match track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        }
    }

    /// What a track that broke is placed near to: audio stays with its video over half a turn of the clock.
    fn anchor(&self, track: Track) -> Option<Ticks> {
        match track {
            Track::Audio => self.video.last,
            Track::Video => None,
        }
    }

    fn note_break(&mut self, track: Track, broke: Break) {
        let by = broke.to - broke.from;
        let is_same = |other: Ticks| (-SAME_BREAK..=SAME_BREAK).contains(&(by - other));
        self.following = match (track, self.following) {
            (Track::Video, Following::Ahead { by: other }) if is_same(other) => Following::Together,
            (Track::Video, _) if self.audio.last.is_some() => Following::Behind {
                by,
                since: broke.to,
            },
            (Track::Audio, Following::Behind { by: other, .. }) if !is_same(other) => {
                self.following
            }
            // A pause of the audio alone ends near the video's time; a break leads away from it.
            (Track::Audio, Following::Together | Following::Ahead { .. })
                if self.leads_away(broke.to) =>
            {
                Following::Ahead { by }
            }
            (Track::Audio, _) => Following::Together,
            (Track::Video, following) => following,
        };
    }

    fn leads_away(&self, audio: Ticks) -> bool {
        self.video
            .last
            .is_some_and(|video| !(-LONGEST_DISTANCE..=LONGEST_DISTANCE).contains(&(audio - video)))
    }
}

/// How what starts over a new connection stands to what ended with the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    /// It repeats some of it, so that nothing is lost.
    Overlaps,
    /// It follows, without a hole.
    Follows,
    /// It is something else.
    Breaks,
}

/// Compares an end with a start, of a track whose units are `usual` apart.
fn resumption(from: Ticks, to: Ticks, usual: Ticks) -> Resumption {
    let step = to - from;
    let longest = Ticks(usual.min(LONGEST_STEP).0 * FOLLOWING_HALF_STEPS / 2);
    if (-LONGEST_OVERLAP..=Ticks::ZERO).contains(&step) {
        Resumption::Overlaps
    } else if (Ticks::ZERO..=longest).contains(&step) {
        Resumption::Follows
    } else {
        Resumption::Breaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WRAP;

    fn header(pts: i64, dts: i64) -> PesHeader {
        PesHeader {
            header_bytes: 19,
            payload_bytes: None,
            pts: Some(Ticks(pts).wrapped()),
            dts: (dts != pts).then(|| Ticks(dts).wrapped()),
        }
    }

    fn place(timeline: &mut Timeline, track: Track, pts: i64, dts: i64) -> Placed {
        let clock = SourceClock::default();
        timeline.place(track, &header(pts, dts), &clock).unwrap()
    }

    #[test]
    fn the_wrap_is_no_break() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Video, WRAP - 1000, WRAP - 4600);
        assert_eq!(
            place(&mut timeline, Track::Video, WRAP + 6200, WRAP - 1000),
            Placed {
                pts: Ticks(WRAP + 6200),
                dts: Ticks(WRAP - 1000),
                step: Some(Ticks(3600)),
                broke: None,
            }
        );
        let after = place(&mut timeline, Track::Video, WRAP + 2600, WRAP + 2600);
        assert_eq!((after.dts, after.broke), (Ticks(WRAP + 2600), None));
    }

    #[test]
    fn steps_back_and_long_steps_forward_are_breaks() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Video, 900_000, 900_000);
        let back = place(&mut timeline, Track::Video, 810_000, 810_000);
        assert_eq!(
            back.broke,
            Some(Break {
                from: Ticks(900_000),
                to: Ticks(810_000)
            })
        );
        let forward = place(&mut timeline, Track::Video, 910_001, 910_001);
        assert_eq!(forward.broke.unwrap().to, Ticks(910_001));
        assert_eq!(forward.step, None);
    }

    #[test]
    fn a_presentation_time_before_its_decoding_time_is_not_believed() {
        let mut timeline = Timeline::new(Track::Video);
        assert_eq!(
            place(&mut timeline, Track::Video, 5000, 9000).pts,
            Ticks(9000)
        );
    }

    #[test]
    fn audio_of_the_old_time_line_is_kept_out_until_it_follows() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Audio, 400_000, 400_000);
        place(&mut timeline, Track::Video, 450_000, 450_000);
        place(&mut timeline, Track::Video, 200_000, 200_000);
        place(&mut timeline, Track::Audio, 402_000, 402_000);
        assert!(!timeline.admits_audio(Ticks(402_000)));
        let audio = place(&mut timeline, Track::Audio, 152_000, 152_000);
        assert!(timeline.admits_audio(audio.pts));
    }

    #[test]
    fn audio_that_jumps_first_waits_for_the_video() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Video, 450_000, 450_000);
        place(&mut timeline, Track::Audio, 460_000, 460_000);
        place(&mut timeline, Track::Audio, 9_460_000, 9_460_000);
        assert!(!timeline.admits_audio(Ticks(9_460_000)));
        place(&mut timeline, Track::Video, 9_450_000, 9_450_000);
        assert!(timeline.admits_audio(Ticks(9_462_000)));
    }

    #[test]
    fn a_pause_of_the_audio_is_no_break_of_the_time_line() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Audio, 400_000, 400_000);
        for dts in (400_000..800_000).step_by(3600) {
            place(&mut timeline, Track::Video, dts, dts);
        }
        place(&mut timeline, Track::Audio, 750_000, 750_000);
        assert!(timeline.admits_audio(Ticks(750_000)));
    }

    #[test]
    fn rare_pictures_beside_running_audio_are_no_break() {
        let mut timeline = Timeline::new(Track::Video);
        place(&mut timeline, Track::Audio, 300_000, 300_000);
        place(&mut timeline, Track::Video, 400_000, 400_000);
        for pts in (310_000..700_000).step_by(10_000) {
            place(&mut timeline, Track::Audio, pts, pts);
        }
        let next = place(&mut timeline, Track::Video, 760_000, 760_000);
        assert_eq!((next.step, next.broke), (Some(Ticks(360_000)), None));
        let lost = place(&mut timeline, Track::Video, 1_120_000, 1_120_000);
        assert!(lost.broke.is_some());
    }

    #[test]
    fn a_new_connection_may_repeat_or_continue() {
        let end = Ticks::from_seconds(100);
        for (milliseconds, usual, expected) in [
            (-61_000, 40, Resumption::Breaks),
            (-60_000, 40, Resumption::Overlaps),
            (0, 40, Resumption::Overlaps),
            (40, 40, Resumption::Follows),
            (60, 40, Resumption::Follows),
            (80, 40, Resumption::Breaks),
            (500, 40, Resumption::Breaks),
            (500, 500, Resumption::Follows),
            (2000, 9000, Resumption::Breaks),
            (40, 0, Resumption::Breaks),
        ] {
            let to = end + Ticks::from_milliseconds(milliseconds);
            let found = resumption(end, to, Ticks::from_milliseconds(usual));
            assert_eq!(found, expected, "{milliseconds} ms, usually {usual} ms");
        }
        let mut timeline = Timeline::new(Track::Video);
        for dts in [892_800, 896_400, 900_000] {
            place(&mut timeline, Track::Video, dts, dts);
        }
        timeline.break_off();
        let again = place(&mut timeline, Track::Video, 700_000, 700_000);
        assert_eq!((again.step, again.broke), (None, None));
        let last = Ticks(900_000);
        let follows = timeline.resumption(last, last + Ticks(3600));
        assert_eq!(follows, Resumption::Follows);
        let lost = timeline.resumption(last, last + Ticks(45_000));
        assert_eq!(lost, Resumption::Breaks);
    }

    #[test]
    fn times_that_begin_with_the_connection_repeat_nothing_wherever_they_begin() {
        let mut timeline = Timeline::new(Track::Video);
        for seconds in 0..10 {
            place(
                &mut timeline,
                Track::Video,
                seconds * 90_000,
                seconds * 90_000,
            );
        }
        let from = timeline.video.last.unwrap();
        timeline.break_off();
        timeline.expect_own_times();
        for begins in [0, 135_000, 813_600] {
            let to = Ticks(begins);
            assert_eq!(timeline.resumption(from, to), Resumption::Breaks, "{to:?}");
        }
        timeline.break_off();
        place(&mut timeline, Track::Video, 450_000, 450_000);
        let repeated = timeline.resumption(from, Ticks(450_000));
        assert_eq!(repeated, Resumption::Overlaps, "another kind of connection");
    }

    #[test]
    fn a_source_that_is_started_for_each_connection_does_not_repeat() {
        let mut timeline = Timeline::new(Track::Video);
        for seconds in 0..30 {
            let dts = 126_000 + seconds * 90_000;
            place(&mut timeline, Track::Video, dts, dts);
        }
        let from = timeline.video.last.unwrap();
        timeline.break_off();
        assert!(!timeline.starts_anew(from));
        place(&mut timeline, Track::Video, 129_600, 129_600);
        assert!(timeline.starts_anew(from));
        assert!(!timeline.starts_anew(Ticks(126_000 + 90_000)));
        timeline.break_off();
        place(&mut timeline, Track::Video, 1_900_000, 1_900_000);
        assert!(!timeline.starts_anew(from));
        timeline.break_off();
        timeline.expect_repetition();
        place(&mut timeline, Track::Video, 126_000, 126_000);
        assert!(!timeline.starts_anew(from));
    }
}
