//! The formats of the IPTV world, parsed and written. Pure: bytes in, values out, and back.
//! Nothing here reads a file, opens a socket or trusts what it is given.

pub mod hls;
pub mod language;
pub mod m3u;
pub mod pipe;
pub mod stalker;
pub mod xtream;
