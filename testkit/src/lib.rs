//! Live source with faults, playlist checker, collector of spans, recorder of requests, logs of a test, what the chart sets and what metrics there are; for tests, e2e and xtask only. Never part of the product.

pub mod chart;
pub mod checker;
pub mod collector;
pub mod logs;
pub mod metrics;
pub mod panel;
pub mod recorder;
pub mod source;
pub mod tls;
mod ts;
