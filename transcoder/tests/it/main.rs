//! Whole attempts on real media: a live source with faults in front, FFmpeg inside, the playlist checker behind.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod attempt;
mod bad;
mod closing;
mod demand;
mod encode;
mod ends;
mod faults;
mod files;
mod foreign;
mod full;
mod grants;
mod handover;
mod hevc;
mod hls;
mod joined;
mod killed;
mod links;
mod odd;
mod output;
mod play;
mod process;
mod providers;
mod radio;
mod sandbox;
mod shed;
mod slate;
mod soak;
mod station;
mod turns;
mod waiting;
