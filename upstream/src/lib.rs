//! Talks to sources over the network under the egress policy; knows nothing of what the media mean.
//! Every wait and every count is bounded, and no message carries a secret of an address.

mod client;
pub mod egress;
pub mod failure;
pub mod foreign;
mod hls;
pub mod input;
mod login;
pub mod looks;
pub mod milestones;
pub mod provider;
pub mod proxy;
mod redirect;
pub mod sockets;
pub mod source;
pub mod stalker;
mod unhurried;
pub mod xtream;
