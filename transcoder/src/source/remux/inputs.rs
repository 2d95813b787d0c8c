//! The pipes that tracks go through into FFmpeg, each with a queue before it: FFmpeg reads now from one and now from another, and must
//! never wait for one that is held up by another. Bounded in bytes.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use command_fds::FdMapping;
use media::packed_audio::{PackedAudio, PackedAudioError};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, watch};
use upstream::input::{Apart, Format, Part, Track};

use super::arguments::FIRST_PIPE;
use crate::encoder::pipes;

/// Bytes that may wait for FFmpeg.
const QUEUE_MAXIMUM: usize = 2 << 20;
/// Bytes that may wait while there are none of one track: it reads on only when there are, so they have to pass those that wait.
const APART_MAXIMUM: usize = 24 << 20;

/// Whether more may be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Some,
    /// Not before FFmpeg has read more.
    None,
    /// One track is so far behind the other that they cannot be joined.
    TooFar,
}

/// The inputs of one FFmpeg.
pub(super) struct Inputs {
    inputs: Vec<Input>,
    /// Bytes that wait, of each.
    waiting: watch::Sender<Vec<usize>>,
    changes: watch::Receiver<Vec<usize>>,
}

struct Input {
    queue: Option<mpsc::UnboundedSender<Bytes>>,
    /// FFmpeg's end of the pipe, until it is started.
    theirs: Option<OwnedFd>,
    /// For sound without a transport stream.
    packed: PackedAudio,
    /// What it is, once something has come.
    format: Option<Format>,
}

impl Inputs {
    /// Pipes for these tracks, the main one first.
    ///
    /// # Errors
    /// When pipes cannot be made.
    pub(super) fn new(apart: Apart) -> io::Result<Self> {
        let count = 1 + usize::from(apart.has_audio);
        let (waiting, changes) = watch::channel(vec![0; count]);
        let input = |place| {
            let (ours, theirs) = pipes::input_pair()?;
            let (queue, incoming) = mpsc::unbounded_channel();
            tokio::spawn(write(ours, incoming, place, waiting.clone()));
            Ok(Input {
                queue: Some(queue),
                theirs: Some(theirs),
                packed: PackedAudio::default(),
                format: None,
            })
        };
        Ok(Self {
            inputs: (0..count).map(input).collect::<io::Result<_>>()?,
            waiting,
            changes,
        })
    }

    /// Hands over bytes; never waits.
    ///
    /// # Errors
    /// Nothing can be made of what they are.
    pub(super) fn push(&mut self, part: Part) -> Result<(), PackedAudioError> {
        let place = match part.track {
            Track::Main => 0,
            Track::Audio => 1,
        };
        let Some(input) = self.inputs.get_mut(place) else {
            return Ok(());
        };
        input.format = Some(part.format);
        let bytes = match part.format {
            Format::Mp4 | Format::TransportStream => part.bytes,
            Format::PackedAudio => input.packed(&part)?,
        };
        self.waiting
            .send_modify(|waiting| waiting[place] += bytes.len());
        if let Some(queue) = &input.queue {
            // One that is gone is about to end, and says so by ending.
            drop(queue.send(bytes));
        }
        Ok(())
    }

    /// Whether more may be handed over.
    pub(super) fn room(&self) -> Room {
        room(&self.waiting.borrow())
    }

    /// Waits until FFmpeg has read something.
    pub(super) async fn room_changes(&mut self) {
        // The sender is ours: it is not gone.
        let _ = self
            .changes
            .wait_for(|waiting| room(waiting) == Room::Some)
            .await;
    }

    /// The formats and FFmpeg's ends of the pipes, once, when every track has begun.
    pub(super) fn all_begun(&mut self) -> Option<(Vec<Format>, Vec<FdMapping>)> {
        let formats: Option<Vec<_>> = self.inputs.iter().map(|input| input.format).collect();
        let formats = formats?;
        let ends = (FIRST_PIPE..).zip(&mut self.inputs);
        let mappings = ends.filter_map(|(child_fd, input)| {
            let parent_fd = input.theirs.take()?;
            Some(FdMapping {
                parent_fd,
                child_fd,
            })
        });
        Some((formats, mappings.collect()))
    }

    /// Nothing more follows what waits.
    pub(super) fn close(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.queue = None);
    }
}

impl Input {
    fn packed(&mut self, part: &Part) -> Result<Bytes, PackedAudioError> {
        if part.is_start {
            self.packed.begin_segment();
        }
        self.packed.push(&part.bytes)
    }
}

fn room(waiting: &[usize]) -> Room {
    let total: usize = waiting.iter().sum();
    let is_starving = waiting.contains(&0);
    match (total < QUEUE_MAXIMUM, is_starving, total < APART_MAXIMUM) {
        (true, _, _) | (false, true, true) => Room::Some,
        (false, true, false) => Room::TooFar,
        (false, false, _) => Room::None,
    }
}

/// Writes what is queued, to the end, or until nobody reads any more.
async fn write(
    mut pipe: Sender,
    mut incoming: mpsc::UnboundedReceiver<Bytes>,
    place: usize,
    waiting: watch::Sender<Vec<usize>>,
) {
    while let Some(bytes) = incoming.recv().await {
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
        waiting.send_modify(|waiting| waiting[place] -= bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_that_has_nothing_gets_past_what_waits_of_the_other() {
        for (waiting, expected) in [
            (&[0, 0][..], Room::Some),
            (&[QUEUE_MAXIMUM, 0], Room::Some),
            (&[QUEUE_MAXIMUM, 1], Room::None),
            (&[0, APART_MAXIMUM], Room::TooFar),
            (&[QUEUE_MAXIMUM], Room::None),
            (&[QUEUE_MAXIMUM - 1], Room::Some),
        ] {
            assert_eq!(room(waiting), expected, "{waiting:?}");
        }
    }
}
