//! The gateway as viewers meet it: every surface, on an API server, transcoders and a volume of the tests' own.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod access_log;
mod admin;
mod catalog;
mod channels;
mod chart;
mod cluster;
mod connections;
mod continuous;
mod edge;
mod entry;
mod failures;
mod life;
mod page;
mod panel;
mod places;
mod playing;
mod serving;
mod support;
mod tls;
mod watching;
