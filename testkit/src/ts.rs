//! A second, small reader and writer of MPEG-TS, on purpose not the product's own: what judges a muxer must not share its mistakes.

pub(crate) mod demux;
pub(crate) mod packet;
pub(crate) mod pes;
pub(crate) mod tables;
