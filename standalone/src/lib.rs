//! Headend in one process, without a cluster: the gateway as it is, its streams as local tasks, presence in memory, the same idle rule.
//! Nothing here serves a viewer or cuts a segment: it only stands in for the API server, the operator and the pods.
//!
//! | to see | read |
//! |---|---|
//! | what the process is made of | [`process`] |
//! | how a wished channel becomes a running stream | [`streams`] |
//! | when a stream is stopped | [`collector`] |

mod attempt;
mod classes;
mod collector;
mod guest;
mod narrator;
pub mod process;
mod restart;
pub mod settings;
mod sources;
mod stored;
mod streams;
mod threads;
