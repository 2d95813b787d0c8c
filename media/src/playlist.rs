//! HLS playlists (RFC 8216): the live window as a model, and its text. What is listed is decided in one file, written in another.

pub mod numbers;
pub mod render;
pub mod window;
