//! The whole operator against an API server in memory: lives, crashes, races, sweeping, uninstalling.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod api_server;
mod chart;
mod crash;
mod faults;
mod grants;
mod history;
mod kept;
mod leader;
mod life;
mod metrics;
mod monitoring;
mod players;
mod pools;
mod slots;
mod sweep;
mod uninstall;
mod warm;
mod world;
