//! Turns LiveStreams into transcoder pods and idle ones into nothing.
