//! Formats of the IPTV world, parsed and written; no I/O.
