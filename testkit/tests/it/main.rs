//! The live source and the checker over real sockets, with real FFmpeg.

mod source;
