//! FFmpeg as an encoder: its arguments as values. Starts nothing.

pub mod args;
