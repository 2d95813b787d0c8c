//! What elementary streams say about themselves: parameters, random access points, frames. Reads headers only; decodes nothing.

pub mod aac;
pub mod ac3;
pub mod audio;
mod bits;
pub mod h264;
pub mod hevc;
pub mod mpeg2;
pub mod mpeg_audio;
mod nal;
pub mod video;
