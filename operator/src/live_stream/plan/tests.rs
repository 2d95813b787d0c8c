//! Every state of a pod against everything that can be wanted.
