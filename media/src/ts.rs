//! MPEG transport streams (ISO/IEC 13818-1): packets and tables, read and written. Bytes only; decides nothing about streams.

pub mod framer;
pub mod mux;
pub mod packet;
pub mod pes;
pub mod program;
pub mod seam;
pub mod section;
pub mod splice;
pub mod tables;
