//! What the tests on a cluster and the benchmarks share: the installed chart, viewers, waiting for conditions. Never part of the product.

pub mod fence;
pub mod helm;
pub mod nodes;
pub mod proxy;
pub mod suite;
pub mod viewer;
pub mod wait;
pub mod witness;
