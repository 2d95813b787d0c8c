//! Makes one transport stream of what a source delivers track by track, or as fragmented MP4: a confined FFmpeg copies what it reads
//! from pipes, with the timestamps that it has. What comes as a transport stream passes by, and sound alone is made one without FFmpeg,
//! in segments or as one body without an end.
//! Never opens anything by itself.

mod arguments;
mod inputs;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media::packed_audio::{PackedAudio, Told, tell};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;
use upstream::failure::SourceFailure;
use upstream::input::{Apart, Part, Piece, Sound};
use upstream::milestones::Milestones;
use upstream::provider::Playing;

use super::SourceEvent;
use super::child::{Child, Start};
use crate::sandbox::Launcher;
use inputs::{Inputs, Room};

/// Bytes that FFmpeg is given without an answer at most: more than it holds back for a track that was announced and does not come.
const UNANSWERED_MAXIMUM: usize = 32 << 20;
/// An FFmpeg that takes nothing, or has been given all and says nothing, for so long does not go on.
const PATIENCE: Duration = Duration::from_secs(4);

/// A source, as one transport stream.
pub(super) struct Remux {
    playing: Playing,
    launcher: Launcher,
    processes: TaskTracker,
    joining: Option<Joining>,
    /// For sound that comes alone, without a transport stream.
    packed: PackedAudio,
    body: Body,
    /// What comes after everything that is being joined is out.
    after: Option<After>,
}

/// What comes in no segments.
enum Body {
    /// It is not known yet; this has come.
    Unknown(BytesMut),
    /// Packets of a transport stream, or what will be named because it has none.
    Stream,
    /// Frames of sound.
    Sound(Box<PackedAudio>),
}

enum After {
    Piece(Piece),
    Failure(SourceFailure),
}

/// Tracks on their way through one FFmpeg.
struct Joining {
    inputs: Inputs,
    /// Absent until every track has begun.
    child: Option<Child>,
    /// Bytes that it was given since it said something.
    unanswered: usize,
    /// Since when something is expected of it without which nothing goes on.
    waiting_since: Option<Instant>,
}

/// What happens to tracks.
enum Event {
    Output(Option<Bytes>),
    Piece(Result<Piece, SourceFailure>),
    Room,
    Stuck,
}

impl Remux {
    /// Nothing has come yet. Processes count as tasks until they are reaped.
    pub(super) fn new(playing: Playing, launcher: &Launcher, processes: &TaskTracker) -> Self {
        Self {
            playing,
            launcher: launcher.clone(),
            processes: processes.clone(),
            joining: None,
            packed: PackedAudio::default(),
            body: Body::Unknown(BytesMut::new()),
            after: None,
        }
    }

    /// What comes next: bytes or a pace. May be cancelled and called again without losing anything.
    ///
    /// # Errors
    /// The source ended or failed, or FFmpeg cannot make anything of it.
    pub(super) async fn next(&mut self) -> Result<SourceEvent, SourceFailure> {
        loop {
            let Some(joining) = &mut self.joining else {
                let piece = match self.after.take() {
                    Some(After::Failure(failure)) => return Err(failure),
                    Some(After::Piece(piece)) => piece,
                    None => match self.playing.next().await {
                        Ok(piece) => piece,
                        Err(failure) => return self.broke_off(failure),
                    },
                };
                match piece {
                    Piece::Apart(apart) => self.joining = Some(self.begin(apart)?),
                    // Of something that is over.
                    Piece::Part(_) => {}
                    Piece::Bytes(bytes) => {
                        if let Some(event) = self.event_of(bytes)? {
                            return Ok(event);
                        }
                    }
                    Piece::Sound(sound) => {
                        let bytes = self.stream_of(&sound)?;
                        if !bytes.is_empty() {
                            return Ok(SourceEvent::Bytes(bytes));
                        }
                    }
                    Piece::Pace(pace) => return Ok(SourceEvent::Paced(pace)),
                }
                continue;
            };
            let is_closing = self.after.is_some();
            match joining.event(&mut self.playing, is_closing).await {
                Event::Room => {}
                Event::Output(Some(bytes)) => return Ok(SourceEvent::Bytes(bytes)),
                Event::Output(None) | Event::Stuck if is_closing => self.joining = None,
                Event::Output(None) => return Err(self.ended().await),
                Event::Stuck => {
                    return Err(self.useless("the FFmpeg that joins its tracks takes nothing"));
                }
                Event::Piece(Ok(Piece::Part(part))) => self.feed(part)?,
                // What it is about follows behind what is being joined, which keeps its time.
                Event::Piece(Ok(Piece::Pace(pace))) => return Ok(SourceEvent::Paced(pace)),
                Event::Piece(Ok(piece)) => self.close(After::Piece(piece)),
                Event::Piece(Err(failure)) => self.close(After::Failure(failure)),
            }
        }
    }

    /// What is to be told of the next bytes of a body; nothing while it is not known what they are, or no frame is whole.
    fn event_of(&mut self, bytes: Bytes) -> Result<Option<SourceEvent>, SourceFailure> {
        let made = match &mut self.body {
            Body::Stream => return Ok(Some(SourceEvent::Bytes(bytes))),
            Body::Sound(sound) => sound.push(&bytes),
            Body::Unknown(head) => {
                head.extend_from_slice(&bytes);
                let Some(told) = tell(head) else {
                    return Ok(None);
                };
                let head = std::mem::take(head).freeze();
                let (body, first) = match told {
                    Told::Other => (Body::Stream, SourceEvent::Bytes(head)),
                    Told::Sound(codec) => {
                        self.after = Some(After::Piece(Piece::Bytes(head)));
                        let sound = Box::new(PackedAudio::endless(codec));
                        (Body::Sound(sound), SourceEvent::OwnTimes)
                    }
                };
                self.body = body;
                return Ok(Some(first));
            }
        };
        let made = made.map_err(|error| self.useless(&error.to_string()))?;
        Ok((!made.is_empty()).then_some(SourceEvent::Bytes(made)))
    }

    /// Nothing follows. What came before it was known what it is comes first.
    fn broke_off(&mut self, failure: SourceFailure) -> Result<SourceEvent, SourceFailure> {
        match &mut self.body {
            Body::Unknown(head) if !head.is_empty() => {
                let head = std::mem::take(head).freeze();
                self.after = Some(After::Failure(failure));
                Ok(SourceEvent::Bytes(head))
            }
            _ => Err(failure),
        }
    }

    fn begin(&self, apart: Apart) -> Result<Joining, SourceFailure> {
        Ok(Joining {
            inputs: Inputs::new(apart).map_err(|error| not_started(&error))?,
            child: None,
            unanswered: 0,
            waiting_since: None,
        })
    }

    /// Nothing more follows of what is being joined.
    fn close(&mut self, after: After) {
        self.after = Some(after);
        match &mut self.joining {
            Some(joining) if joining.child.is_some() => {
                joining.inputs.close();
                joining.waiting_since = None;
            }
            // A track that never began: there is nothing to join.
            _ => self.joining = None,
        }
    }

    fn feed(&mut self, part: Part) -> Result<(), SourceFailure> {
        let Some(joining) = &mut self.joining else {
            return Ok(());
        };
        joining.unanswered += part.bytes.len();
        if let Err(error) = joining.inputs.push(part) {
            return Err(self.useless(&error.to_string()));
        }
        if joining.inputs.room() == Room::TooFar {
            return Err(self.useless("one of its tracks is too far behind the other"));
        }
        if joining.unanswered > UNANSWERED_MAXIMUM && joining.child.is_some() {
            return Err(self.useless("FFmpeg makes nothing of its tracks"));
        }
        if joining.child.is_none()
            && let Some((formats, inputs)) = joining.inputs.all_begun()
        {
            let start = Start {
                command: self.launcher.command(arguments::arguments(&formats)),
                script: String::new(),
                inputs,
                // It reads pipes.
                milestones: Milestones::default(),
            };
            let child = Child::start(start, &self.processes);
            joining.child = Some(child.map_err(|error| not_started(&error))?);
        }
        Ok(())
    }

    fn stream_of(&mut self, sound: &Sound) -> Result<Bytes, SourceFailure> {
        if sound.is_start {
            self.packed.begin_segment();
        }
        let made = self.packed.push(&sound.bytes);
        made.map_err(|error| self.useless(&error.to_string()))
    }

    async fn ended(&mut self) -> SourceFailure {
        let origin = self.playing.origin().to_owned();
        let child = self
            .joining
            .as_mut()
            .and_then(|joining| joining.child.as_mut());
        match child {
            Some(child) => child.last_words().await.joining(&origin),
            None => self.useless("its tracks cannot be joined"),
        }
    }

    fn useless(&self, detail: &str) -> SourceFailure {
        SourceFailure::BadAnswer {
            origin: self.playing.origin().to_owned(),
            detail: detail.to_owned(),
        }
    }
}

impl Joining {
    /// What happens next. What came out is handed on before more is taken in.
    async fn event(&mut self, playing: &mut Playing, is_closing: bool) -> Event {
        let has_room = !is_closing && self.inputs.room() == Room::Some;
        if has_room {
            self.waiting_since = None;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let waiting = async {
            let until = since + PATIENCE;
            if is_closing {
                sleep_until(until).await;
                return Event::Stuck;
            }
            let changed = timeout_at(until, self.inputs.room_changes()).await;
            changed.map_or(Event::Stuck, |()| Event::Room)
        };
        let child = self.child.as_mut();
        let reading = async {
            match child {
                Some(child) => child.read().await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            bytes = reading => Event::Output(bytes),
            piece = playing.next(), if has_room => Event::Piece(piece),
            event = waiting, if !has_room => event,
        };
        if let Event::Output(Some(_)) | Event::Room = event {
            self.waiting_since = None;
        }
        if let Event::Output(Some(_)) = event {
            self.unanswered = 0;
        }
        event
    }
}

fn not_started(error: &std::io::Error) -> SourceFailure {
    SourceFailure::InvalidRequest {
        detail: format!("FFmpeg cannot be started: {error}"),
    }
}
