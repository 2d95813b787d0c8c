//! FFmpeg as an encoder: its arguments and its lines as values. Starts nothing.

pub mod args;
pub mod lines;
pub mod slate;
