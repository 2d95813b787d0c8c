//! One supervisor per stream: owns the upstream connection, the clock and the playlists; FFmpeg only encodes, and reads what is not HTTP.

mod audience;
pub mod control;
mod encoder;
#[cfg(test)]
mod fixtures;
pub mod handle;
pub mod job;
pub mod metrics;
mod output;
mod packager;
mod pipeline;
pub mod process;
pub mod sandbox;
pub mod settings;
mod source;
mod status;
mod trace;
pub mod waiting;
