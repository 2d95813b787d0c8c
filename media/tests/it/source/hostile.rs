//! Bytes that no muxer wrote: never a panic, never more memory than the bounds allow.
