//! Live source with faults and playlist checker, for tests, e2e and xtask only.
