//! Reads what real FFmpeg writes and holds it against what FFmpeg's own prober reads.

mod chain;
mod changes;
mod facts;
mod front;
mod hostile;
mod pipes;
pub(crate) mod probe;
pub(crate) mod stream;
