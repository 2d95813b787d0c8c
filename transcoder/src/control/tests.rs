//! Control HTTP asked without a network.
