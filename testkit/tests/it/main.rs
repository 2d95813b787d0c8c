//! The live source and the checker over real sockets, with real FFmpeg.
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod checker;
mod hls;
mod source;
