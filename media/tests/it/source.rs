//! Reads what real FFmpeg writes and holds it against what FFmpeg's own prober reads.

mod facts;
mod front;
mod hostile;
mod probe;
mod stream;
