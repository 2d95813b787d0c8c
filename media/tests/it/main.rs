//! Tests of the media core against real FFmpeg: what it makes we read, what we make it decodes.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly, and FFmpeg is their judge"
)]

mod properties;
mod sample;
mod segments;
mod soak;
mod source;
