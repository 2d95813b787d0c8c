//! What goes into a front end and what comes out of it. Plain data.

use bytes::Bytes;
use thiserror::Error;

use crate::front_end::facts::SourceFacts;
use crate::front_end::sniff::Foreign;
use crate::time::Ticks;
use crate::unit::{AccessUnit, RandomAccess};

/// How a front end is to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrontEndConfig {
    /// Language of the preferred audio track, ISO 639-2 in either form.
    pub audio_language: Option<String>,
    /// Whether the encoder's input is wanted (see [`FrontEnd::set_feed`](super::FrontEnd::set_feed)).
    pub feed: bool,
}

/// What a source brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontEvent {
    /// What is known of the source: when the gate opens, and when it changes. Decide when `complete`.
    Facts(SourceFacts),
    /// A random access point of the leading track has begun to arrive: what came before it is whole, and the encoder's input before it
    /// is given; what follows of that begins with it. Its unit follows when it has ended.
    RandomAccessPoint(RandomAccessPoint),
    /// A whole unit, from the first random access point on.
    Unit(AccessUnit),
    /// The source's clock moved.
    Clock(Ticks),
    /// The time line broke: what follows, from its next random access point on, is another generation.
    Jump {
        /// Decoding time of the leading track's last unit.
        from: Ticks,
        /// Decoding time that came instead of its continuation.
        to: Ticks,
    },
    /// Other tracks were chosen, because the tables say so: what was known of the source holds no more, and what follows, from its
    /// next random access point on, is another generation.
    OtherTracks,
    /// The encoder's input begins anew, with these tables: a fresh encoder is needed.
    FeedStart(Bytes),
    /// The encoder's input goes on.
    Feed(Bytes),
    /// The source does not send what it should.
    Malformed(Malformed),
}

/// A unit that a decoder may start at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomAccessPoint {
    /// When it is shown.
    pub pts: Ticks,
    /// When it is decoded.
    pub dts: Ticks,
    /// How a decoder may start at it.
    pub random_access: RandomAccess,
}

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Not a transport stream at all.
    #[error("source sends {0} instead of an MPEG transport stream")]
    NotTransportStream(Foreign),
    /// The tables list nothing that can be played.
    #[error("source has neither video nor audio of a known kind")]
    NothingPlayable,
    /// A chosen track is encrypted.
    #[error("source is scrambled")]
    Scrambled,
    /// A unit grew over every bound and was thrown away.
    #[error("source sends a unit without end")]
    Oversized,
}

/// What a front end is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Packets.
    AwaitingPackets,
    /// Programme tables.
    AwaitingTables,
    /// A random access point of the video, or the first frame of radio.
    AwaitingRandomAccessPoint,
    /// Nothing: units pass.
    Open,
}

/// What went wrong on the way so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrontCounters {
    /// Gaps in the continuity of the chosen tracks.
    pub continuity_errors: u64,
    /// How often packets were found and then no longer.
    pub sync_losses: u64,
    /// Bytes that belonged to no packet.
    pub skipped_bytes: u64,
    /// Units thrown away for their size.
    pub oversized_units: u64,
    /// Audio units left out because they were not of the video's time line.
    pub stray_audio_units: u64,
}
