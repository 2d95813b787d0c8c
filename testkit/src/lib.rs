//! Live source with faults, playlist checker, and what the chart sets; for tests, e2e and xtask only. Never part of the product.

pub mod chart;
pub mod checker;
pub mod panel;
pub mod source;
pub mod tls;
mod ts;
