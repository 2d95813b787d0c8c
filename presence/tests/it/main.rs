//! What the port promises, shown on each adapter: the in-memory store and a real Redis server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod conformance;
mod notes;
mod outage;
mod places;
mod reports;
mod walks;
mod world;
