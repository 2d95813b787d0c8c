//! Live source with faults and playlist checker, for tests, e2e and xtask only. Never part of the product.

pub mod checker;
pub mod source;
pub mod tls;
mod ts;
