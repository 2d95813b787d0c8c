//! The pure media core: bytes, timestamps and playlists in, segments and decisions out.
//! No clock, process, socket, file or cluster: whoever calls passes `now` and the bytes.

pub mod codec;
pub mod decide;
pub mod failover;
pub mod ffmpeg;
pub mod front_end;
pub mod ladder;
pub mod pacer;
pub mod packed_audio;
pub mod pipe;
pub mod playlist;
pub mod segmenter;
pub mod shedding;
pub mod time;
pub mod ts;
pub mod unit;
