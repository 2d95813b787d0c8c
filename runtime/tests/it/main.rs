//! What every process relies on, over real sockets and with real signals.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod serve;
mod signals;
mod trace;
