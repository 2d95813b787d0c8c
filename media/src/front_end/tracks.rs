//! The two chosen tracks while their units are in progress. Holds bytes and times; decides nothing about them.

use crate::codec::audio::AudioFramer;
use crate::codec::video::{Picture, VideoReader};
use crate::front_end::timeline::Placed;
use crate::time::Ticks;
use crate::ts::pes::{Assembly, PesAssembler};
use crate::ts::program::Selection;
use crate::unit::{AudioCodec, RandomAccess, VideoCodec};

/// More than a picture of any broadcast has.
const MAX_PICTURE: usize = 8 * 1024 * 1024;

/// More than an audio PES packet with a stated length can have.
const MAX_AUDIO: usize = 128 * 1024;

/// The chosen video track.
#[derive(Debug)]
pub(super) struct VideoTrack {
    pub(super) codec: VideoCodec,
    pub(super) pid: u16,
    pub(super) assembler: PesAssembler,
    pub(super) reader: VideoReader,
    pub(super) current: Option<CurrentPicture>,
    pub(super) feeding: Feeding,
}

/// The picture in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurrentPicture {
    pub(super) pts: Ticks,
    pub(super) dts: Ticks,
    /// Known once the first slice has come.
    pub(super) random_access: Option<RandomAccess>,
}

/// The chosen audio track.
#[derive(Debug)]
pub(super) struct AudioTrack {
    pub(super) codec: AudioCodec,
    pub(super) pid: u16,
    pub(super) language: Option<String>,
    pub(super) assembler: PesAssembler,
    pub(super) framer: AudioFramer,
    /// The times of the PES packet in progress.
    pub(super) current: Option<Placed>,
    pub(super) feeding: Feeding,
    /// What sounded last: its time, and how long.
    pub(super) heard: Option<(Ticks, Ticks)>,
    /// What comes begins before that has ended, and is left out.
    pub(super) is_covered: bool,
}

/// Which PES packets of a track the encoder has been given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Feeding {
    last: Option<Ticks>,
    floor: Option<Ticks>,
    /// The one in progress was given before, over an earlier connection.
    repeats: bool,
}

impl Feeding {
    /// A PES packet starts; `false` when the encoder has had it already.
    pub(super) fn begin(&mut self, dts: Ticks) -> bool {
        self.repeats = self.floor.is_some_and(|floor| dts <= floor);
        if !self.repeats {
            self.last = Some(dts);
        }
        !self.repeats
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.repeats
    }

    /// A PES packet starts that nobody is to have.
    pub(super) fn leave_out(&mut self) {
        self.repeats = true;
    }

    /// The connection broke; the next one may repeat what was given.
    pub(super) fn break_off(&mut self) {
        self.floor = self.last;
    }

    /// Nothing is repeated on another time line.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl VideoTrack {
    pub(super) fn select(selection: &Selection) -> Option<Self> {
        let (codec, stream) = selection.video.as_ref()?;
        Some(Self {
            codec: *codec,
            pid: stream.pid,
            assembler: PesAssembler::new(Assembly {
                limit: MAX_PICTURE,
                joins_untimed: true,
                ends_on_stuffing: false,
            }),
            reader: VideoReader::new(*codec),
            current: None,
            feeding: Feeding::default(),
        })
    }

    /// Looks at the picture in progress; `Some` once, when its kind can be told.
    pub(super) fn read_progress(&mut self) -> Option<Picture> {
        self.current
            .filter(|current| current.random_access.is_none())?;
        let picture = self.reader.read(self.assembler.progress(), false)?;
        self.settle(picture)
    }

    /// Looks at the picture that has ended, unless its kind has been told.
    pub(super) fn read_ended(&mut self, payload: &[u8]) -> Option<Picture> {
        self.current
            .filter(|current| current.random_access.is_none())?;
        let picture = self.reader.read(payload, true)?;
        self.settle(picture)
    }

    fn settle(&mut self, picture: Picture) -> Option<Picture> {
        if let Some(current) = &mut self.current {
            current.random_access = Some(picture.random_access);
        }
        Some(picture)
    }

    pub(super) fn break_off(&mut self) {
        self.assembler.break_off();
        self.current = None;
        self.feeding.break_off();
    }
}

impl AudioTrack {
    /// Whether a PES packet of this time begins clearly before what sounded last has ended; times are rounded. One that goes back further
    /// is another matter.
    pub(super) fn covers(&self, pts: Ticks) -> bool {
        self.heard.is_some_and(|(start, duration)| {
            (start..start + Ticks(duration.0 * 3 / 4)).contains(&pts)
        })
    }

    pub(super) fn select(selection: &Selection) -> Option<Self> {
        let (codec, stream) = selection.audio.as_ref()?;
        Some(Self {
            codec: *codec,
            pid: stream.pid,
            language: stream.language(),
            assembler: PesAssembler::new(Assembly {
                limit: MAX_AUDIO,
                joins_untimed: false,
                ends_on_stuffing: false,
            }),
            framer: AudioFramer::new(*codec),
            current: None,
            feeding: Feeding::default(),
            heard: None,
            is_covered: false,
        })
    }

    pub(super) fn break_off(&mut self) {
        self.assembler.break_off();
        self.framer.reset();
        self.current = None;
        self.heard = None;
        self.is_covered = false;
        self.feeding.break_off();
    }
}
