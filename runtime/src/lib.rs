//! What every process needs and no domain: logs, traces, shutdown, admin endpoints, an HTTP server loop, exit codes, build information.
//! Nothing here may know what a stream, a channel or a cluster is.

pub mod admin;
pub mod build;
mod connection;
pub mod exit;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod trace;
mod write_deadline;
