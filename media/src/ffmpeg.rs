//! FFmpeg as an encoder: its arguments as values and its progress lines as numbers. Starts nothing.

pub mod args;
pub mod progress;
