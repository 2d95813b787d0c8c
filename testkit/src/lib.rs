//! Live source with faults, playlist checker, collector of spans, what the chart sets and what metrics there are; for tests, e2e and xtask only. Never part of the product.

pub mod chart;
pub mod checker;
pub mod collector;
pub mod metrics;
pub mod panel;
pub mod source;
pub mod tls;
mod ts;
