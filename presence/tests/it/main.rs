//! What the port promises, shown on each adapter: the in-memory store and a real Redis server.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod conformance;
mod outage;
mod redis_server;
mod world;
