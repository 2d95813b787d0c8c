//! Segments of real streams: each alone and all together are decoded by FFmpeg without a word.

mod copy;
mod encode;
mod encoder;
mod holes;
mod player;
mod rig;
