//! Talks to sources over the network under the egress policy; knows nothing of what the bytes mean.
